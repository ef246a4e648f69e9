"""Settings of a program: session options as TensorFlow spells them, and what we do with them.

TensorFlow takes protocol buffers here. Ours are plain objects with the fields that programs set;
a field that the CPU engine has no use for (device placement, GPU memory) is kept and ignored.
"""

from __future__ import annotations

from typing import Any, ClassVar


class _Options:
    """Fields with defaults; an unknown field is refused so that a typing error is noticed."""

    _fields: ClassVar[dict[str, Any]] = {}

    def __init__(self, **kwargs: Any):
        for name, default in self._fields.items():
            object.__setattr__(self, name, default() if callable(default) else default)
        for name, value in kwargs.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise AttributeError(
                f"{type(self).__name__} has no field {name!r}; its fields are "
                f"{', '.join(sorted(self._fields))}."
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({shown})"

    def CopyFrom(self, other: _Options) -> None:
        """Takes over all fields of `other`, as the protocol buffer's method does."""
        for name in self._fields:
            setattr(self, name, getattr(other, name))


class GPUOptions(_Options):
    """Accepted so that scripts run; there is no GPU here."""

    _fields: ClassVar[dict[str, Any]] = {
        "per_process_gpu_memory_fraction": 0.0,
        "allow_growth": False,
        "allocator_type": "",
        "deferred_deletion_bytes": 0,
        "visible_device_list": "",
        "force_gpu_compatible": False,
    }


class OptimizerOptions(_Options):
    """Graph optimizer switches, accepted and ignored: the plan is always optimized."""

    L0, L1 = -1, 0
    DEFAULT, OFF, ON_1, ON_2 = 0, -1, 1, 2
    _fields: ClassVar[dict[str, Any]] = {
        "do_common_subexpression_elimination": False,
        "do_constant_folding": False,
        "do_function_inlining": False,
        "opt_level": 0,
        "global_jit_level": 0,
    }


class GraphOptions(_Options):
    """Graph switches, accepted and ignored."""

    _fields: ClassVar[dict[str, Any]] = {
        "enable_recv_scheduling": False,
        "optimizer_options": OptimizerOptions,
        "build_cost_model": 0,
        "infer_shapes": False,
        "place_pruned_graph": False,
        "enable_bfloat16_sendrecv": False,
        "timeline_step": 0,
        "rewrite_options": None,
    }


class ConfigProto(_Options):
    """Options of a `Session`.

    `intra_op_parallelism_threads` above 0 sets the engine's number of threads when the session is
    made; the engine has one pool, so this holds for the whole program, as in TensorFlow. All other
    fields are accepted and ignored.
    """

    _fields: ClassVar[dict[str, Any]] = {
        "device_count": dict,
        "intra_op_parallelism_threads": 0,
        "inter_op_parallelism_threads": 0,
        "use_per_session_threads": False,
        "placement_period": 0,
        "device_filters": list,
        "gpu_options": GPUOptions,
        "allow_soft_placement": False,
        "log_device_placement": False,
        "graph_options": GraphOptions,
        "operation_timeout_in_ms": 0,
        "cluster_def": None,
        "isolate_session_state": False,
    }


class RunOptions(_Options):
    """Options of one `Session.run`, accepted and ignored."""

    NO_TRACE, SOFTWARE_TRACE, HARDWARE_TRACE, FULL_TRACE = 0, 1, 2, 3
    _fields: ClassVar[dict[str, Any]] = {
        "trace_level": 0,
        "timeout_in_ms": 0,
        "inter_op_thread_pool": 0,
        "output_partition_graphs": False,
        "report_tensor_allocations_upon_oom": False,
    }


class RunMetadata(_Options):
    """Statistics of one `Session.run`; stays empty."""

    _fields: ClassVar[dict[str, Any]] = {
        "step_stats": None,
        "cost_graph": None,
        "partition_graphs": list,
    }


__all__ = [
    "ConfigProto",
    "GPUOptions",
    "GraphOptions",
    "OptimizerOptions",
    "RunMetadata",
    "RunOptions",
]
