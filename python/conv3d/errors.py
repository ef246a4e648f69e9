"""The exception classes: TensorFlow's families of run-time errors, and our own for damaged files.

Only class names and codes are TensorFlow's; every message is written where the error is raised and
names the argument, what was given and what is accepted.
"""

from __future__ import annotations

from typing import Any

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16


class OpError(Exception):
    """An operation failed while it ran.

    Args:
        node_def: description of the node that failed, or None.
        op: the `Operation` that failed, or None (eager mode).
        message: what happened.
        error_code: the canonical code, one of the integers of this module.
    """

    _code = UNKNOWN

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int | None = None):
        super().__init__(message)
        self._node_def = node_def
        self._op = op
        self._message = message
        self._error_code = self._code if error_code is None else error_code

    @property
    def message(self) -> str:
        return self._message

    @property
    def op(self) -> Any:
        return self._op

    @property
    def node_def(self) -> Any:
        return self._node_def

    @property
    def error_code(self) -> int:
        return self._error_code

    def __reduce__(self) -> tuple[Any, ...]:
        # Operations hold a graph and do not travel between processes; the message does.
        if type(self) is OpError:
            return OpError, (None, None, self._message, self._error_code)
        return type(self), (None, None, self._message)

    def __str__(self) -> str:
        if self._op is not None:
            return f"{self._message}\n\t [[node {self._op.name} ({self._op.type})]]"
        return self._message


class CancelledError(OpError):
    """The step was cancelled."""

    _code = CANCELLED


class UnknownError(OpError):
    """A failure of no other family."""

    _code = UNKNOWN

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int = UNKNOWN):
        super().__init__(node_def, op, message, error_code)


class InvalidArgumentError(OpError):
    """An operation received an invalid argument."""

    _code = INVALID_ARGUMENT


class DeadlineExceededError(OpError):
    """A deadline passed before the operation finished."""

    _code = DEADLINE_EXCEEDED


class NotFoundError(OpError):
    """A file, a name or another entity was not found."""

    _code = NOT_FOUND


class AlreadyExistsError(OpError):
    """An entity that was to be created exists already."""

    _code = ALREADY_EXISTS


class PermissionDeniedError(OpError):
    """The caller may not do this."""

    _code = PERMISSION_DENIED


class UnauthenticatedError(OpError):
    """The caller is not known."""

    _code = UNAUTHENTICATED


class ResourceExhaustedError(OpError, MemoryError):
    """Memory or another resource has run out."""

    _code = RESOURCE_EXHAUSTED


class FailedPreconditionError(OpError):
    """The system is not in the state that the operation needs, e.g. a variable is uninitialized."""

    _code = FAILED_PRECONDITION


class AbortedError(OpError):
    """The operation was aborted."""

    _code = ABORTED


class OutOfRangeError(OpError):
    """An operation went past the valid range, e.g. past the end of its input."""

    _code = OUT_OF_RANGE


class UnimplementedError(OpError):
    """The operation is not implemented."""

    _code = UNIMPLEMENTED


class InternalError(OpError):
    """A broken invariant inside the package."""

    _code = INTERNAL


class UnavailableError(OpError):
    """The service is not available at the moment."""

    _code = UNAVAILABLE


class DataLossError(OpError):
    """Data were lost or damaged."""

    _code = DATA_LOSS


class Conv3DError(Exception):
    """Base of the errors that have no counterpart in TensorFlow."""


class CorruptFile(Conv3DError, ValueError):
    """A weight file is truncated, damaged or hostile."""


_BY_CODE = {
    cls._code: cls
    for cls in (
        CancelledError,
        UnknownError,
        InvalidArgumentError,
        DeadlineExceededError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        ResourceExhaustedError,
        FailedPreconditionError,
        AbortedError,
        OutOfRangeError,
        UnimplementedError,
        InternalError,
        UnavailableError,
        DataLossError,
        UnauthenticatedError,
    )
}


def exception_type_from_error_code(error_code: int) -> type[OpError]:
    """The class that stands for a canonical code.

    Raises:
        KeyError: the code is none of this module's.
    """
    return _BY_CODE[error_code]


def error_code_from_exception_type(cls: type[OpError]) -> int:
    """The canonical code of an error class."""
    return cls._code


__all__ = [cls.__name__ for cls in _BY_CODE.values()] + [
    "ABORTED",
    "ALREADY_EXISTS",
    "CANCELLED",
    "DATA_LOSS",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OK",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
    "Conv3DError",
    "CorruptFile",
    "OpError",
    "error_code_from_exception_type",
    "exception_type_from_error_code",
]
