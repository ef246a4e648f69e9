"""Initializers: callables ``f(shape, dtype=None, partition_info=None) -> Tensor``.

Every class keeps the two spellings of TensorFlow 1.x: ``tf.zeros_initializer`` and
``tf.initializers.zeros`` are one object. Random initializers draw from the seeded streams of
:mod:`conv3d.framework.random_seed`: the same graph seed and operation seed give the same values
on every machine and for every number of threads.

The scaled families follow ``Var(w) = scale / n`` with ``n`` the fan in, the fan out or their mean.
For a kernel ``[kd, kh, kw, in, out]``: ``fan_in = kd*kh*kw*in`` and ``fan_out = kd*kh*kw*out``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d.framework import dtypes, tensor_shape
from conv3d.ops import array_ops, orthogonal_ops, random_ops

__all__ = [
    "Constant",
    "ConvolutionDeltaOrthogonal",
    "ConvolutionOrthogonal1D",
    "ConvolutionOrthogonal2D",
    "ConvolutionOrthogonal3D",
    "GlorotNormal",
    "GlorotUniform",
    "Identity",
    "Initializer",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "UniformUnitScaling",
    "VarianceScaling",
    "Zeros",
    "get",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
]

# Standard deviation of a unit normal cut off at two standard deviations; dividing by it gives the
# truncated draw the standard deviation that was asked for.
_TRUNCATED_STDDEV = 0.87962566103423978


def _shape_list(shape: Any) -> list[int]:
    """``shape`` as a list of ints; ValueError if a dimension is unknown."""
    sizes = tensor_shape.as_shape(shape)
    if not sizes.is_fully_defined():
        raise ValueError(f"`shape` is {sizes}; an initializer needs a fully defined one")
    return [d for d in sizes.as_list() if d is not None]


def _floating(dtype: Any, who: str) -> dtypes.DType:
    kind = dtypes.as_dtype(dtype)
    if not kind.is_floating:
        raise ValueError(
            f"`dtype` of {who} is {kind.name}; random initializers need a floating point type "
            "(float16, bfloat16, float32 or float64)"
        )
    return kind


def _whole_shape(shape: Any, partition_info: Any) -> Any:
    """Shape that the fans are counted over: that of the whole variable, not of one slice."""
    return shape if partition_info is None else partition_info.full_shape


def compute_fans(shape: Sequence[int]) -> tuple[float, float]:
    """Numbers of inputs and outputs of one unit of a weight of this shape.

    Args:
        shape: `[]`, `[n]`, `[in, out]` or `[k_1, ..., k_d, in, out]`.

    Returns:
        `(fan_in, fan_out)`.
    """
    if not shape:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    receptive = float(np.prod(shape[:-2], dtype=np.float64))
    return shape[-2] * receptive, shape[-1] * receptive


class Initializer:
    """Base of all initializers. Subclasses define ``__call__`` and ``get_config``."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Returns a tensor of this shape and type.

        Args:
            shape: shape of the tensor, fully defined.
            dtype: its type; by default the type given to the constructor.
            partition_info: ``full_shape`` and ``var_offset`` of the slice being made, or None.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as values that JSON can hold."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """The inverse of :meth:`get_config`."""
        return cls(**config)


class Zeros(Initializer):
    """All zeros (False for bool, empty strings for string). Source: `tf.zeros_initializer`."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        return array_ops.zeros(shape, self.dtype if dtype is None else dtype)

    def get_config(self) -> dict[str, Any]:
        return {"dtype": self.dtype.name}


class Ones(Initializer):
    """All ones. Source: `tf.ones_initializer`."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        return array_ops.ones(shape, self.dtype if dtype is None else dtype)

    def get_config(self) -> dict[str, Any]:
        return {"dtype": self.dtype.name}


class Constant(Initializer):
    """One value, or an array read in C order whose last element fills what is left.

    Args:
        value: number, list, tuple or array.
        dtype: type used when the call names none.
        verify_shape: if true, `value` must have exactly the shape asked for.

    Raises:
        TypeError: `value` is none of these.

    Source: `tf.constant_initializer`.
    """

    def __init__(
        self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False
    ) -> None:
        if not (np.isscalar(value) or isinstance(value, (list, tuple, np.ndarray))):
            raise TypeError(
                f"`value` is of type {type(value).__name__}; constant_initializer takes a number, "
                "a list, a tuple or a numpy.ndarray"
            )
        self.value = value
        self.dtype = dtypes.as_dtype(dtype)
        self._verify_shape = verify_shape

    def __call__(
        self,
        shape: Any,
        dtype: Any = None,
        partition_info: Any = None,
        verify_shape: bool | None = None,
    ) -> Any:
        return array_ops.constant(
            self.value,
            dtype=self.dtype if dtype is None else dtype,
            shape=shape,
            verify_shape=self._verify_shape if verify_shape is None else verify_shape,
        )

    def get_config(self) -> dict[str, Any]:
        # JSON has no arrays; a list reads back as the same constant.
        value = self.value.tolist() if isinstance(self.value, np.ndarray) else self.value
        return {"value": value, "dtype": self.dtype.name}


class RandomUniform(Initializer):
    """Uniform in `[minval, maxval)`; `maxval=None` means 1 for floats.

    Source: `tf.random_uniform_initializer`.
    """

    def __init__(
        self,
        minval: float = 0,
        maxval: float | None = None,
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        self.minval = minval
        self.maxval = maxval
        self.seed = seed
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        dtype = self.dtype if dtype is None else dtype
        return random_ops.random_uniform(shape, self.minval, self.maxval, dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {
            "minval": self.minval,
            "maxval": self.maxval,
            "seed": self.seed,
            "dtype": self.dtype.name,
        }


class _Normal(Initializer):
    """What the two normal initializers share: mean, stddev, seed, dtype."""

    def __init__(
        self,
        mean: float = 0.0,
        stddev: float = 1.0,
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = seed
        self.dtype = _floating(dtype, type(self).__name__)

    def get_config(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "stddev": self.stddev,
            "seed": self.seed,
            "dtype": self.dtype.name,
        }


class RandomNormal(_Normal):
    """Normal distribution. Source: `tf.random_normal_initializer`.

    Raises:
        ValueError: `dtype` is not floating.
    """

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        dtype = self.dtype if dtype is None else dtype
        return random_ops.random_normal(shape, self.mean, self.stddev, dtype, seed=self.seed)


class TruncatedNormal(_Normal):
    """Normal distribution without the values further than `2 * stddev` from the mean.

    `stddev` is that of the distribution before the cut, as in TensorFlow.
    Source: `tf.truncated_normal_initializer`.

    Raises:
        ValueError: `dtype` is not floating.
    """

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        dtype = self.dtype if dtype is None else dtype
        return random_ops.truncated_normal(shape, self.mean, self.stddev, dtype, seed=self.seed)


class UniformUnitScaling(Initializer):
    """Uniform in `(-limit, limit)` with `limit = factor * sqrt(3 / n)`, `n = prod(shape[:-1])`.

    Keeps the scale of a linear layer's input. Source: `tf.uniform_unit_scaling_initializer`;
    Sussillo and Abbott, arXiv:1412.6558.
    """

    def __init__(
        self, factor: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        self.factor = factor
        self.seed = seed
        self.dtype = _floating(dtype, "UniformUnitScaling")

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        dtype = self.dtype if dtype is None else dtype
        inputs = 1.0
        for size in _shape_list(_whole_shape(shape, partition_info))[:-1]:
            inputs *= float(size)
        # One unit of an empty weight still has a finite limit.
        limit = math.sqrt(3.0 / max(inputs, 1.0)) * self.factor
        return random_ops.random_uniform(shape, -limit, limit, dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "seed": self.seed, "dtype": self.dtype.name}


class VarianceScaling(Initializer):
    """Random weights of variance `scale / n`.

    Args:
        scale: positive.
        mode: `"fan_in"`, `"fan_out"` or `"fan_avg"`: what `n` is.
        distribution: `"normal"` (the same as `"truncated_normal"`), `"uniform"` or
            `"untruncated_normal"`, in any case.
        seed: seed of the operation.
        dtype: floating type used when the call names none.

    Raises:
        ValueError: an argument outside of these sets.

    Source: `tf.variance_scaling_initializer`. As in TensorFlow from 1.10 on, the truncated draw is
    widened so that its standard deviation after the cut is `sqrt(scale / n)`.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "normal",
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        if scale <= 0.0:
            raise ValueError(f"`scale` is {scale!r}; it has to be a positive number")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"`mode` is {mode!r}; it has to be 'fan_in', 'fan_out' or 'fan_avg'")
        lowered = distribution.lower() if isinstance(distribution, str) else distribution
        if lowered not in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(
                f"`distribution` is {distribution!r}; it has to be 'normal', 'uniform', "
                "'truncated_normal' or 'untruncated_normal'"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = lowered
        self.seed = seed
        self.dtype = _floating(dtype, type(self).__name__)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        dtype = self.dtype if dtype is None else dtype
        fan_in, fan_out = compute_fans(_shape_list(_whole_shape(shape, partition_info)))
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
        # A weight without elements has a fan of 0; any finite scale serves it.
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random_ops.random_uniform(shape, -limit, limit, dtype, seed=self.seed)
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return random_ops.random_normal(shape, 0.0, stddev, dtype, seed=self.seed)
        stddev /= _TRUNCATED_STDDEV
        return random_ops.truncated_normal(shape, 0.0, stddev, dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "seed": self.seed,
            "dtype": self.dtype.name,
        }


class GlorotUniform(VarianceScaling):
    """Uniform in `(-l, l)`, `l = sqrt(6 / (fan_in + fan_out))`; also known as Xavier uniform.

    The default of every layer. Source: `tf.glorot_uniform_initializer`; Glorot and Bengio, 2010.
    """

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance `2 / (fan_in + fan_out)`; also known as Xavier normal.

    Source: `tf.glorot_normal_initializer`; Glorot and Bengio, 2010.
    """

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "normal", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance `1 / fan_in`. Source: `tf.keras.initializers.lecun_normal`."""
    return VarianceScaling(scale=1.0, mode="fan_in", distribution="normal", seed=seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform of variance `1 / fan_in`. Source: `tf.keras.initializers.lecun_uniform`."""
    return VarianceScaling(scale=1.0, mode="fan_in", distribution="uniform", seed=seed)


def he_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance `2 / fan_in`. Source: `tf.keras.initializers.he_normal`."""
    return VarianceScaling(scale=2.0, mode="fan_in", distribution="normal", seed=seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform of variance `2 / fan_in`. Source: `tf.keras.initializers.he_uniform`."""
    return VarianceScaling(scale=2.0, mode="fan_in", distribution="uniform", seed=seed)


class Identity(Initializer):
    """`gain` times the identity matrix, for 2-D shapes (rectangular ones too).

    Source: `tf.initializers.identity`.
    """

    def __init__(self, gain: float = 1.0, dtype: Any = dtypes.float32) -> None:
        self.gain = gain
        self.dtype = _floating(dtype, "Identity")

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        full = _shape_list(_whole_shape(shape, partition_info))
        if len(full) != 2:
            raise ValueError(
                f"`shape` is {full}; the identity initializer makes matrices, so it takes 2 sizes"
            )
        dtype = dtypes.as_dtype(self.dtype if dtype is None else dtype)
        if not dtype.is_floating:
            raise TypeError(f"`dtype` is {dtype.name}; Identity needs a floating point type")
        # Only float32 rounding may separate gain * I from what a product would give.
        eye = np.eye(full[0], full[1]) * self.gain
        if partition_info is not None:
            begin = partition_info.var_offset
            sizes = _shape_list(shape)
            eye = eye[begin[0] : begin[0] + sizes[0], begin[1] : begin[1] + sizes[1]]
        return array_ops.constant(eye.astype(dtype.as_numpy_dtype), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "dtype": self.dtype.name}


class Orthogonal(Initializer):
    """Orthogonal matrix; higher ranks are flattened to `[prod(shape[:-1]), shape[-1]]`.

    With fewer rows than columns the rows are orthonormal, else the columns. The distribution is
    uniform over the orthogonal group (the signs of the QR decomposition are fixed).

    Args:
        gain: factor of the result.

    Source: `tf.orthogonal_initializer`; Saxe et al., arXiv:1312.6120; Mezzadri, 2007.
    """

    def __init__(
        self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        self.gain = gain
        self.seed = seed
        self.dtype = _floating(dtype, type(self).__name__)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        sizes = _shape_list(shape)
        if len(sizes) < 2:
            raise ValueError(
                f"`shape` is {sizes}; an orthogonal weight needs at least two dimensions"
            )
        dtype = self.dtype if dtype is None else dtype
        return orthogonal_ops.random_orthogonal("matrix", sizes, self.gain, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "seed": self.seed, "dtype": self.dtype.name}


class ConvolutionDeltaOrthogonal(Initializer):
    """Convolution kernel that is an orthogonal matrix at its centre and zero elsewhere.

    For shapes of 3 to 5 dimensions, `[k_1, ..., k_d, in, out]` with `in <= out`.
    Source: `tf.initializers.delta_orthogonal`; Xiao et al., arXiv:1806.05393.
    """

    def __init__(
        self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        self.gain = gain
        self.seed = seed
        self.dtype = _floating(dtype, type(self).__name__)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        sizes = _shape_list(shape)
        if not 3 <= len(sizes) <= 5:
            raise ValueError(f"`shape` is {sizes}; a kernel of 3 to 5 dimensions is needed")
        _check_channels(sizes)
        dtype = self.dtype if dtype is None else dtype
        return orthogonal_ops.random_orthogonal("delta", sizes, self.gain, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "seed": self.seed, "dtype": self.dtype.name}


def _check_channels(sizes: Sequence[int]) -> None:
    if sizes[-2] > sizes[-1]:
        raise ValueError(
            f"`shape` is {list(sizes)}: {sizes[-2]} input channels cannot be mapped to "
            f"{sizes[-1]} output channels without loss; in <= out is needed"
        )


class _ConvolutionOrthogonal(Initializer):
    """Kernel whose circular convolution keeps norms; cubes of side `k` only."""

    _RANK = 0  # spatial dimensions

    def __init__(
        self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        self.gain = gain
        self.seed = seed
        self.dtype = _floating(dtype, type(self).__name__)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        sizes = _shape_list(shape)
        if len(sizes) != self._RANK + 2:
            raise ValueError(
                f"`shape` is {sizes}; {type(self).__name__} needs {self._RANK + 2} dimensions"
            )
        _check_channels(sizes)
        if len(set(sizes[: self._RANK])) > 1:
            raise ValueError(f"`shape` is {sizes}; all sides of the kernel have to be equal")
        dtype = self.dtype if dtype is None else dtype
        return orthogonal_ops.random_orthogonal("convolution", sizes, self.gain, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "seed": self.seed, "dtype": self.dtype.name}


class ConvolutionOrthogonal1D(_ConvolutionOrthogonal):
    """Norm-preserving `[k, in, out]` kernel. Source: Xiao et al., arXiv:1806.05393, algorithm 1."""

    _RANK = 1


class ConvolutionOrthogonal2D(_ConvolutionOrthogonal):
    """Norm-preserving `[k, k, in, out]` kernel. Source: arXiv:1806.05393, algorithm 1."""

    _RANK = 2


class ConvolutionOrthogonal3D(_ConvolutionOrthogonal):
    """Norm-preserving `[k, k, k, in, out]` kernel. Source: arXiv:1806.05393, algorithm 1."""

    _RANK = 3


zeros_initializer = Zeros
ones_initializer = Ones
constant_initializer = Constant
random_uniform_initializer = RandomUniform
random_normal_initializer = RandomNormal
truncated_normal_initializer = TruncatedNormal
uniform_unit_scaling_initializer = UniformUnitScaling
variance_scaling_initializer = VarianceScaling
glorot_uniform_initializer = GlorotUniform
glorot_normal_initializer = GlorotNormal
orthogonal_initializer = Orthogonal

# The spellings of `tf.initializers` and `tf.keras.initializers`.
zeros = zero = Zeros
ones = one = Ones
constant = Constant
random_uniform = uniform = RandomUniform
random_normal = normal = RandomNormal
truncated_normal = TruncatedNormal
uniform_unit_scaling = UniformUnitScaling
variance_scaling = VarianceScaling
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
orthogonal = Orthogonal
identity = Identity
delta_orthogonal = convolutional_delta_orthogonal = ConvolutionDeltaOrthogonal
convolutional_orthogonal_1d = ConvolutionOrthogonal1D
convolutional_orthogonal_2d = ConvolutionOrthogonal2D
convolutional_orthogonal_3d = ConvolutionOrthogonal3D

_BY_NAME: dict[str, Callable[..., Initializer]] = {
    name: value
    for name, value in list(globals().items())
    if (isinstance(value, type) and issubclass(value, Initializer) and not name.startswith("_"))
    or name in ("he_normal", "he_uniform", "lecun_normal", "lecun_uniform")
}


def serialize(initializer: Initializer) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}` of an initializer."""
    return {"class_name": type(initializer).__name__, "config": initializer.get_config()}


def deserialize(config: dict[str, Any]) -> Initializer:
    """The inverse of :func:`serialize`.

    Raises:
        ValueError: unknown class name.
    """
    maker = _named(config["class_name"])
    made: Initializer = maker(**config.get("config", {}))
    return made


def _named(name: str) -> Any:
    if name not in _BY_NAME:
        known = ", ".join(sorted(n for n in _BY_NAME if n.islower()))
        raise ValueError(f"{name!r} is not an initializer; the names are: {known}")
    return _BY_NAME[name]


def get(identifier: Any) -> Any:
    """An initializer by name, by configuration, or itself.

    Args:
        identifier: None, a name (`"he_normal"`, `"Zeros"`), what :func:`serialize` gave, or a
            callable, which is returned as it is.

    Raises:
        ValueError: none of these, or an unknown name.

    Source: `tf.keras.initializers.get`.
    """
    if identifier is None or callable(identifier):
        return identifier
    if isinstance(identifier, str):
        return _named(identifier)()
    if isinstance(identifier, dict):
        return deserialize(identifier)
    raise ValueError(
        f"`identifier` is {identifier!r}; a name, a configuration dict or a callable is needed"
    )
