"""A row of the compatibility table: what it is about, how it behaves, the check that proves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of docs/tf1-compatibility.md.

    Attributes:
        section: heading under which it stands.
        what: the argument, attribute, method or rule.
        here: how it behaves here.
        differs: how TensorFlow 1.8 behaves instead and why we differ; empty where it is the same.
        check: raises unless the behaviour is as `here` says; gets the module `conv3d`.
        eager: the check runs with eager execution enabled.
    """

    section: str
    what: str
    here: str
    differs: str
    check: Callable[[Any], None]
    eager: bool

    @property
    def id(self) -> str:
        return self.check.__name__


ROWS: list[Row] = []


def row(
    section: str, what: str, here: str, differs: str = "", eager: bool = False
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Files the decorated check as a row; the name of the function is the row's id."""

    def file(check: Callable[[Any], None]) -> Callable[[Any], None]:
        if any(check.__name__ == other.id for other in ROWS):
            raise ValueError(f"two rows are called {check.__name__}")
        ROWS.append(Row(section, what, here, differs, check, eager))
        return check

    return file


def raises(kind: Any, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """Asserts that a call raises an error whose class is `kind` or is called so."""
    try:
        function(*arguments, **keywords)
    except Exception as error:
        name = kind if isinstance(kind, str) else kind.__name__
        assert name in [base.__name__ for base in type(error).__mro__], repr(error)
        assert str(error), "an error without a message"
        return
    raise AssertionError(f"no {kind} from {function}{arguments}{keywords}")


def volume(tf: Any, *shape: Any, dtype: Any = None) -> Any:
    """A placeholder, `[None, 6, 6, 6, 2]` by default."""
    return tf.placeholder(dtype or tf.float32, shape or (None, 6, 6, 6, 2))


def names(variables: Any) -> list[str]:
    return [variable.name for variable in variables]
