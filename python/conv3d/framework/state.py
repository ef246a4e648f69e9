"""The mutable cell of a variable, and the context that stateful ops are given.

An array once stored is never written to again: readers share it without copying, and an update
stores a new array.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import dtypes
from conv3d.framework.tensor_shape import TensorShape


class Ref:
    """The value of one variable in one session, or of one eager variable.

    Args:
        dtype: element type of all values.
        shape: static shape; a value of another shape is refused unless `validate_shape=False`.
        name: the variable's name, for messages.
    """

    __slots__ = ("_value", "dtype", "lock", "name", "shape", "version")

    def __init__(self, dtype: Any, shape: Any = None, name: str = "variable"):
        self.dtype = dtypes.as_dtype(dtype).base_dtype
        self.shape = TensorShape(shape)
        self.name = name
        self.version = 0
        self.lock = threading.RLock()
        self._value: np.ndarray | None = None

    @property
    def initialized(self) -> bool:
        return self._value is not None

    def get(self) -> np.ndarray:
        """The value, read-only.

        Raises:
            FailedPreconditionError: nothing has been stored yet.
        """
        value = self._value
        if value is None:
            raise errors.FailedPreconditionError(
                None,
                None,
                f"Variable {self.name!r} is uninitialized; run its initializer (for all variables: "
                "tf.global_variables_initializer()) first.",
            )
        return value

    def set(self, value: Any, validate_shape: bool = True) -> np.ndarray:
        """Stores a value, which becomes read-only, and returns it.

        Raises:
            InvalidArgumentError: another dtype than the variable's, or (if `validate_shape`) a
                shape that does not fit.
        """
        array = np.asarray(value)
        old = self._value
        same = old is not None and array.dtype == old.dtype
        if not same and dtypes.as_dtype(array.dtype) != self.dtype:
            raise errors.InvalidArgumentError(
                None,
                None,
                f"Variable {self.name!r} holds {self.dtype.name}; the value is {array.dtype}.",
            )
        if validate_shape and not self.shape._fits(array.shape):
            raise errors.InvalidArgumentError(
                None,
                None,
                f"Variable {self.name!r} has shape {self.shape}; the value given has shape "
                f"{array.shape}.",
            )
        array = own(array)
        with self.lock:
            self._value = array
            self.version += 1
        return array

    def __deepcopy__(self, memo: Any) -> Ref:
        copy = Ref(self.dtype, self.shape, self.name)
        copy._value = self._value
        copy.version = self.version
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_ref, (self.dtype, self.shape, self.name, self._value, self.version)


def _restore_ref(dtype: Any, shape: Any, name: str, value: Any, version: int) -> Ref:
    ref = Ref(dtype, shape, name)
    if value is not None:
        ref.set(value, validate_shape=False)
    ref.version = version
    return ref


def root(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory which `array` shows, as far as NumPy knows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def own(array: np.ndarray) -> np.ndarray:
    """`array` as an array that nobody will write to: itself if that is sure, else a copy."""
    owner = root(array)
    if owner.flags.writeable:
        # A view of memory that others may write to (a fed array) has to be copied. An array that
        # owns its memory comes out of a computation, and no computation writes to its results.
        if owner is not array:
            array = array.copy()
        array.flags.writeable = False
    return array


class StatefulContext:
    """What a stateful op may use besides its inputs.

    Attributes:
        op: the graph operation, None in eager mode.
        session: the session, None in eager mode.
        cache: what the op wants to keep from run to run of one plan.
    """

    def __init__(self, store: Store, op: Any = None, session: Any = None):
        self.store = store
        self.cache: dict[Any, Any] = {}
        self.op = op
        self.session = session

    def ref(self, op: Any) -> Ref:
        """The cell of the variable whose handle `op` makes."""
        return self.store.ref(op)

    def rng(self, seed: int | None, seed2: int | None, op: Any = None) -> np.random.Generator:
        """The stream of random numbers of an op: it goes on from run to run.

        Equal seeds start equal streams in every session; two seeds of 0 or None start a stream
        that cannot be foreseen.
        """
        return self.store.rng(seed or 0, seed2 or 0, op)


class Store:
    """All state of a session, or of eager execution."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refs: dict[Any, Ref] = {}
        self._streams: dict[Any, np.random.Generator] = {}

    def ref(self, op: Any) -> Ref:
        found = self._refs.get(op)
        if found is None:
            with self._lock:
                made = Ref(op.get_attr("dtype"), op.get_attr("shape"), op.name)
                found = self._refs.setdefault(op, made)
        return found

    def rng(self, seed: int, seed2: int, op: Any) -> np.random.Generator:
        key = (op, seed, seed2)
        with self._lock:
            stream = self._streams.get(key)
            if stream is None:
                if seed or seed2:
                    entropy: Any = [seed % 2**64, seed2 % 2**64]
                else:
                    entropy = None
                stream = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
                if entropy is not None or op is not None:
                    self._streams[key] = stream
        return stream

    def clear_streams(self) -> None:
        """Starts all streams anew."""
        with self._lock:
            self._streams.clear()


class locked:
    """Holds the locks of all cells among `values`, so that read-modify-write is one step."""

    __slots__ = ("_refs",)

    def __init__(self, values: Sequence[Any]):
        refs = [v for v in values if type(v) is Ref]
        if len(refs) > 1:
            # Always in one order, or two threads could wait for each other.
            refs = sorted(set(refs), key=id)
        self._refs = refs

    def __enter__(self) -> None:
        held = 0
        try:
            for ref in self._refs:
                ref.lock.acquire()
                held += 1
        except BaseException:  # an interrupt while waiting
            for ref in self._refs[:held]:
                ref.lock.release()
            raise

    def __exit__(self, *_: Any) -> None:
        for ref in self._refs:
            ref.lock.release()


#: State of eager execution: random streams. Eager variables own their cells.
eager_store = Store()
