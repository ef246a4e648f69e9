"""How copies of a variable are kept equal, on machines with several devices.

There is one device here, so the values are checked and kept, and only one of them has an effect:
a variable synchronised `ON_READ` is not trainable unless asked for, and may not be.
"""

from __future__ import annotations

import enum

__all__ = ["VariableAggregation", "VariableSynchronization", "resolve"]


class VariableSynchronization(enum.Enum):
    """When copies of a variable are made equal. Source: `tf.VariableSynchronization`."""

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3


class VariableAggregation(enum.Enum):
    """How updates of copies are put together. Source: `tf.VariableAggregation`."""

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3
    ONLY_FIRST_TOWER = 3  # noqa: PIE796 - the older name of the same


def resolve(
    synchronization: VariableSynchronization | None,
    aggregation: VariableAggregation | None,
    trainable: bool | None,
    name: str | None,
) -> tuple[VariableSynchronization, VariableAggregation, bool]:
    """Checks the three settings of a new variable and fills in what was left open.

    Raises:
        ValueError: a value of another kind.
    """
    if synchronization is None:
        synchronization = VariableSynchronization.AUTO
    if not isinstance(synchronization, VariableSynchronization):
        raise ValueError(
            f"`synchronization` of variable {name} is {synchronization!r}; it has to be a member "
            "of VariableSynchronization"
        )
    if aggregation is None:
        aggregation = VariableAggregation.NONE
    if not isinstance(aggregation, VariableAggregation):
        raise ValueError(
            f"`aggregation` of variable {name} is {aggregation!r}; it has to be a member of "
            "VariableAggregation"
        )
    on_read = synchronization is VariableSynchronization.ON_READ
    return synchronization, aggregation, not on_read if trainable is None else bool(trainable)
