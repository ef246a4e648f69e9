"""The compiled core. Private: conv3d.engine is its only importer."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

__version__: str

_Triple = tuple[int, int, int]

class Problem:
    def __init__(
        self,
        *,
        direction: int,
        dtype: int,
        layout: int,
        padding: int,
        activation: int,
        accuracy: int,
        with_bias: bool,
        batch: int,
        groups: int,
        input_channels: int,
        output_channels: int,
        input: _Triple,
        kernel: _Triple,
        stride: _Triple,
        dilation: _Triple,
        pad_before: _Triple,
        pad_after: _Triple,
    ) -> None: ...
    @property
    def output(self) -> _Triple: ...
    @property
    def pad_before(self) -> _Triple: ...
    @property
    def pad_after(self) -> _Triple: ...
    @property
    def flops(self) -> float: ...

class PackedFilter:
    @property
    def bytes(self) -> int: ...

class Plan:
    def __init__(self, problem: Problem, algorithm: str) -> None: ...
    def pack(self, filter: NDArray[Any]) -> PackedFilter: ...
    def accepts(self, packed: PackedFilter) -> bool: ...
    def execute(
        self,
        batch: int,
        input: NDArray[Any] | None,
        filter: NDArray[Any] | None,
        packed: PackedFilter | None,
        grad_output: NDArray[Any] | None,
        bias: NDArray[Any] | None,
        result: NDArray[Any],
        num_threads: int,
    ) -> None: ...
    def info(self, batch: int, num_threads: int) -> dict[str, Any]: ...

class Pool:
    def __init__(
        self,
        *,
        kind: int,
        dtype: int,
        layout: int,
        padding: int,
        batch: int,
        channels: int,
        input: _Triple,
        window: _Triple,
        stride: _Triple,
        pad_before: _Triple,
        pad_after: _Triple,
    ) -> None: ...
    @property
    def output(self) -> _Triple: ...
    def forward(self, input: NDArray[Any], result: NDArray[Any], num_threads: int) -> None: ...
    def backward(
        self,
        input: NDArray[Any] | None,
        output: NDArray[Any] | None,
        grad_output: NDArray[Any],
        result: NDArray[Any],
        num_threads: int,
    ) -> None: ...

def channel_moments(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    x: NDArray[Any],
    mean: NDArray[Any],
    variance: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def channel_sums(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    x: NDArray[Any],
    y: NDArray[Any] | None,
    center: NDArray[Any] | None,
    sum: NDArray[Any],
    product: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def channel_affine(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    x: NDArray[Any],
    scale: NDArray[Any] | None,
    y: NDArray[Any] | None,
    scale_y: NDArray[Any] | None,
    shift: NDArray[Any] | None,
    relu: bool,
    result: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def pointwise(
    op: int,
    dtype: int,
    n: int,
    a: NDArray[Any],
    b: NDArray[Any],
    parameter: float,
    result: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def softmax(
    dtype: int,
    rows: int,
    classes: int,
    x: NDArray[Any],
    y: NDArray[Any] | None,
    result: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def sparse_cross_entropy(
    dtype: int,
    rows: int,
    classes: int,
    x: NDArray[Any],
    labels: NDArray[Any],
    loss: NDArray[Any],
    grad: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def optimizer_step(
    rule: int,
    dtype: int,
    n: int,
    numbers: Sequence[float],
    grad: NDArray[Any],
    var: NDArray[Any],
    slot0: NDArray[Any] | None,
    slot1: NDArray[Any] | None,
    new_var: NDArray[Any],
    new_slot0: NDArray[Any] | None,
    new_slot1: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def join_rows(
    rows: int,
    bytes: Sequence[int],
    arrays: tuple[NDArray[Any], ...],
    out: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def cut_rows(
    rows: int,
    bytes: Sequence[int],
    array: NDArray[Any],
    out: tuple[NDArray[Any], ...],
    num_threads: int,
    /,
) -> None: ...

class Buffer:
    def __init__(self, bytes: int) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def set_verbose(on: bool) -> None: ...
def time_phases(on: bool) -> list[float]: ...
def workspace_cache_bytes() -> int: ...
def clear_workspace_cache() -> None: ...
def check_memory(bytes: int, what: str) -> None: ...
def machine_info() -> dict[str, Any]: ...
def measure_fma_peak(threads: int, seconds: float) -> float: ...
