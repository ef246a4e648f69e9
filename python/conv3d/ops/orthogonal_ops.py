"""Random orthogonal matrices and norm-preserving convolution kernels.

One stateful operation, ``RandomOrthogonal``, draws Gaussian matrices and orthogonalises them. Its
gradient does not exist: it has no inputs.

* ``matrix``: Q of the QR decomposition of a Gaussian matrix, with the signs of R's diagonal moved
  into Q, so that Q is uniform over the orthogonal group (Mezzadri, 2007).
* ``delta``: that matrix at the centre tap, zero elsewhere.
* ``convolution``: product of `k - 1` two-tap blocks made of random projections, per axis
  (Xiao et al., arXiv:1806.05393, algorithm 1). Convolution with it keeps the norm of a signal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d.framework import dtypes, execute, random_seed, registry, tensor_shape

__all__ = ["random_orthogonal"]


def _orthogonal(rng: Any, rows: int, cols: int) -> Any:
    """`[rows, cols]` with orthonormal columns, or rows if there are fewer of them."""
    tall, thin = max(rows, cols), min(rows, cols)
    q, r = np.linalg.qr(rng.standard_normal((tall, thin)))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.array(q if rows >= cols else q.T)


def _projection(rng: Any, n: int) -> Any:
    """Random symmetric projection `[n, n]` onto a subspace of random dimension."""
    kept = _orthogonal(rng, n, n) * (rng.standard_normal(n) > 0)
    return kept @ kept.T


def _two_taps(projections: Sequence[np.ndarray]) -> dict[tuple[int, ...], np.ndarray]:
    """Block of `2 ** rank` taps: products of each axis' projection or its complement."""
    eye = np.eye(projections[0].shape[0])
    taps = {}
    for index in itertools.product((0, 1), repeat=len(projections)):
        product = eye
        for bit, projection in zip(index, projections, strict=True):
            product = product @ (eye - projection if bit else projection)
        taps[index] = product
    return taps


def _convolve(
    a: dict[tuple[int, ...], np.ndarray], b: dict[tuple[int, ...], np.ndarray]
) -> dict[tuple[int, ...], np.ndarray]:
    """Full convolution of two kernels of matrices."""
    result: dict[tuple[int, ...], np.ndarray] = {}
    for (i, p), (j, q) in itertools.product(a.items(), b.items()):
        index = tuple(x + y for x, y in zip(i, j, strict=True))
        result[index] = result[index] + p @ q if index in result else p @ q
    return result


def _kernel(rng: Any, shape: Sequence[int]) -> np.ndarray:
    *spatial, cin, cout = shape
    side, rank = spatial[0], len(spatial)
    head = _orthogonal(rng, cout, cout)[:cin]
    taps: dict[tuple[int, ...], np.ndarray] = {(0,) * rank: np.eye(cout)}
    for _ in range(side - 1):
        taps = _convolve(taps, _two_taps([_projection(rng, cout) for _ in range(rank)]))
    result = np.zeros(shape)
    for index, matrix in taps.items():
        result[index] = head @ matrix
    return result


def _compute(ctx: Any, attrs: dict[str, Any]) -> np.ndarray:
    shape = [int(d) for d in attrs["shape"]]
    dtype = dtypes.as_dtype(attrs["dtype"])
    if 0 in shape:
        return np.zeros(shape, dtype.as_numpy_dtype)
    rng = ctx.rng(attrs["seed"], attrs["seed2"], ctx.op)
    if attrs["kind"] == "matrix":
        rows = int(np.prod(shape[:-1]))
        result = _orthogonal(rng, rows, shape[-1]).reshape(shape)
    elif attrs["kind"] == "delta":
        result = np.zeros(shape)
        centre = tuple((side - 1) // 2 for side in shape[:-2])
        result[centre] = _orthogonal(rng, shape[-1], shape[-1])[: shape[-2]]
    else:
        result = _kernel(rng, shape)
    return np.asarray(attrs["gain"] * result, dtype.as_numpy_dtype)


registry.register(
    "RandomOrthogonal",
    infer=lambda attrs, inputs: [
        (dtypes.as_dtype(attrs["dtype"]), tensor_shape.TensorShape(attrs["shape"]))
    ],
    compute=_compute,
    gradient=registry.NOT_DIFFERENTIABLE,
    stateful=True,
)


def random_orthogonal(
    kind: str,
    shape: Sequence[int],
    gain: float = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Random orthogonal weight.

    Args:
        kind: `"matrix"`, `"delta"` or `"convolution"`.
        shape: shape of the result; `[..., in, out]`.
        gain: factor of the result.
        dtype: floating type.
        seed: seed of this operation.
        name: name of the operation.

    Returns:
        Tensor of this shape and type.

    Raises:
        TypeError: `dtype` is no floating point type.
    """
    if not dtypes.as_dtype(dtype).is_floating:
        raise TypeError(f"`dtype` is {dtypes.as_dtype(dtype).name}; a floating type is needed")
    first, second = random_seed.get_seed(seed)
    attrs = {
        "kind": kind,
        "shape": list(shape),
        "gain": float(gain),
        "dtype": dtypes.as_dtype(dtype),
        # An unseeded operation has no seeds; 0 stands for "take one from the system".
        "seed": first or 0,
        "seed2": second or 0,
    }
    return execute.apply_op("RandomOrthogonal", [], attrs, name=name)
