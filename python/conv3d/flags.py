"""`tf.flags`: command-line flags that are defined where they are used.

    DEFINE_integer("steps", 100, "how many steps")
    FLAGS.steps        # parses sys.argv at the first access

`--steps=3`, `--steps 3`, `-steps 3`; `--verbose` and `--noverbose` for booleans; `--` ends the
flags.

Source: `tf.app.flags` with the behaviour of absl.flags for these kinds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = [
    "DEFINE_bool",
    "DEFINE_boolean",
    "DEFINE_enum",
    "DEFINE_float",
    "DEFINE_integer",
    "DEFINE_list",
    "DEFINE_multi_float",
    "DEFINE_multi_integer",
    "DEFINE_multi_string",
    "DEFINE_string",
    "FLAGS",
    "DuplicateFlagError",
    "Error",
    "FlagValues",
    "IllegalFlagValueError",
    "UnparsedFlagAccessError",
    "UnrecognizedFlagError",
    "mark_flag_as_required",
    "mark_flags_as_required",
]


class Error(Exception):
    """Base of the errors of flags."""


class DuplicateFlagError(Error):
    """A flag is defined twice."""


class IllegalFlagValueError(Error):
    """A value does not fit its flag, or a required flag is missing."""


class UnrecognizedFlagError(Error):
    """The command line has a flag that nobody defined."""


class UnparsedFlagAccessError(Error):
    """A flag is read before the command line was parsed."""


class _Flag:
    """One flag: how text becomes its value."""

    def __init__(
        self, name: str, default: Any, help: str | None, parse: Callable[[str], Any],
        boolean: bool = False, multi: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.help = help or ""
        self.boolean = boolean
        self.multi = multi
        self.required = False
        self.present = 0
        self._parse = parse
        self.default = self._convert(default)
        self.value = self.default

    def _convert(self, value: Any) -> Any:
        if value is None:
            return None
        if self.multi:
            items = value if isinstance(value, (list, tuple)) else [value]
            return [self._one(item) for item in items]
        return self._one(value)

    def _one(self, value: Any) -> Any:
        try:
            return self._parse(value)
        except (ValueError, TypeError) as error:
            raise IllegalFlagValueError(
                f"flag --{self.name}: {value!r} is not accepted: {error}"
            ) from error

    def set(self, text: Any) -> None:
        """Takes a value from the command line."""
        value = self._one(text)
        if self.multi:
            self.value = [*self.value, value] if self.present and self.value else [value]
        else:
            self.value = value
        self.present += 1


class FlagValues:
    """All flags as attributes. Source: `tf.app.flags.FLAGS`."""

    def __init__(self) -> None:
        self.__dict__["_flags"] = {}
        self.__dict__["_parsed"] = False

    def _register(self, flag: _Flag) -> None:
        if flag.name in self._flags:
            raise DuplicateFlagError(f"flag --{flag.name} is defined twice")
        self._flags[flag.name] = flag

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        """Parses a command line whose first element is the program; returns what is left.

        Args:
            argv: the command line.
            known_only: leave unknown flags in what is returned.

        Raises:
            UnrecognizedFlagError: an unknown flag.
            IllegalFlagValueError: a value that does not fit, or a required flag that is missing.
        """
        rest, words = list(argv[:1]), list(argv[1:])
        while words:
            word = words.pop(0)
            if word == "--":
                rest.extend(words)
                break
            if not word.startswith("-") or word == "-":
                rest.append(word)
                continue
            name, equals, text = word.lstrip("-").partition("=")
            flag = self._flags.get(name)
            if flag is None and name.startswith("no") and not equals:
                opposite = self._flags.get(name[2:])
                if opposite is not None and opposite.boolean:
                    opposite.set(False)
                    continue
            if flag is None:
                if known_only:
                    rest.append(word)
                    continue
                raise UnrecognizedFlagError(f"flag --{name} is unknown")
            if equals:
                flag.set(text)
            elif flag.boolean:
                flag.set(True)
            elif words:
                flag.set(words.pop(0))
            else:
                raise IllegalFlagValueError(f"flag --{name}: a value is missing")
        self.__dict__["_parsed"] = True
        for flag in self._flags.values():
            if flag.required and flag.value is None:
                raise IllegalFlagValueError(f"flag --{flag.name}: is required")
        return rest

    def is_parsed(self) -> bool:
        """Whether a command line has been parsed."""
        return bool(self._parsed)

    def mark_as_parsed(self) -> None:
        """Lets flags be read with their defaults."""
        self.__dict__["_parsed"] = True

    def unparse_flags(self) -> None:
        """Lets the next access parse again."""
        self.__dict__["_parsed"] = False

    def __getattr__(self, name: str) -> Any:
        flags = self.__dict__["_flags"]
        if name not in flags:
            raise AttributeError(f"flag --{name} is not defined")
        if not self.__dict__["_parsed"]:
            self(sys.argv, known_only=True)
        return flags[name].value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._flags:
            raise AttributeError(f"flag --{name} is not defined")
        self._flags[name].value = value

    def __delattr__(self, name: str) -> None:
        if name not in self._flags:
            raise AttributeError(f"flag --{name} is not defined")
        del self._flags[name]

    def __contains__(self, name: object) -> bool:
        return name in self._flags

    def __iter__(self) -> Iterator[str]:
        return iter(self._flags)

    def __getitem__(self, name: str) -> Any:
        return self._flags[name]

    def __len__(self) -> int:
        return len(self._flags)

    def flag_values_dict(self) -> dict[str, Any]:
        """Values by name."""
        return {name: flag.value for name, flag in self._flags.items()}

    def get_help(self) -> str:
        """A line or two for each flag."""
        lines = []
        for name, flag in sorted(self._flags.items()):
            form = f"--[no]{name}" if flag.boolean else f"--{name}"
            lines.append(f"  {form}: {flag.help}\n    (default: {flag.default!r})")
        return "\n".join(lines)


FLAGS = FlagValues()


def _integer(value: Any) -> int:
    if isinstance(value, str):
        return int(value, 0)
    if isinstance(value, bool) or int(value) != value:
        raise TypeError("an integer is needed")
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("a number is needed")
    return float(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in ("true", "t", "1"):
            return True
        if value.lower() in ("false", "f", "0"):
            return False
        raise ValueError("true or false is needed")
    if value not in (0, 1):
        raise ValueError("true or false is needed")
    return bool(value)


def _list(value: Any) -> list[str]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")] if value else []
    return [str(item) for item in value]


def _define(
    name: str, default: Any, help: str | None, parse: Callable[[Any], Any],
    flag_values: FlagValues, required: bool = False, **kinds: bool,
) -> None:  # fmt: skip
    flag = _Flag(name, default, help, parse, **kinds)
    flag.required = required
    flag_values._register(flag)


def DEFINE_string(
    name: str, default: str | None, help: str | None = None, flag_values: FlagValues = FLAGS,
    required: bool = False,
) -> None:  # fmt: skip
    """Defines a flag with text."""
    _define(name, default, help, str, flag_values, required)


def DEFINE_integer(
    name: str, default: int | None, help: str | None = None, lower_bound: int | None = None,
    upper_bound: int | None = None, flag_values: FlagValues = FLAGS, required: bool = False,
) -> None:  # fmt: skip
    """Defines a flag with an integer between the bounds."""
    parse = _bounded(_integer, lower_bound, upper_bound)
    _define(name, default, help, parse, flag_values, required)


def DEFINE_float(
    name: str, default: float | None, help: str | None = None, lower_bound: float | None = None,
    upper_bound: float | None = None, flag_values: FlagValues = FLAGS, required: bool = False,
) -> None:  # fmt: skip
    """Defines a flag with a number between the bounds."""
    parse = _bounded(_float, lower_bound, upper_bound)
    _define(name, default, help, parse, flag_values, required)


def _bounded(parse: Callable[[Any], Any], low: Any, high: Any) -> Callable[[Any], Any]:
    def bounded(value: Any) -> Any:
        number = parse(value)
        if (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(f"a number from {low} to {high} is needed")
        return number

    return bounded


def DEFINE_boolean(
    name: str, default: bool | None, help: str | None = None, flag_values: FlagValues = FLAGS,
    required: bool = False,
) -> None:  # fmt: skip
    """Defines a flag that is on (`--name`) or off (`--noname`)."""
    _define(name, default, help, _boolean, flag_values, required, boolean=True)


DEFINE_bool = DEFINE_boolean


def DEFINE_enum(
    name: str, default: str | None, enum_values: Sequence[str], help: str | None = None,
    flag_values: FlagValues = FLAGS, required: bool = False,
) -> None:  # fmt: skip
    """Defines a flag with one of some words."""

    def parse(value: Any) -> str:
        if value not in enum_values:
            raise ValueError(f"one of {list(enum_values)} is needed")
        return str(value)

    _define(name, default, help, parse, flag_values, required)


def DEFINE_list(
    name: str, default: Any, help: str | None = None, flag_values: FlagValues = FLAGS,
    required: bool = False,
) -> None:  # fmt: skip
    """Defines a flag with words between commas."""
    _define(name, default, help, _list, flag_values, required)


def DEFINE_multi_string(
    name: str, default: Any, help: str | None = None, flag_values: FlagValues = FLAGS,
    required: bool = False,
) -> None:  # fmt: skip
    """Defines a flag that may be given several times."""
    _define(name, default, help, str, flag_values, required, multi=True)


def DEFINE_multi_integer(
    name: str, default: Any, help: str | None = None, flag_values: FlagValues = FLAGS,
    required: bool = False,
) -> None:  # fmt: skip
    """The same with integers."""
    _define(name, default, help, _integer, flag_values, required, multi=True)


def DEFINE_multi_float(
    name: str, default: Any, help: str | None = None, flag_values: FlagValues = FLAGS,
    required: bool = False,
) -> None:  # fmt: skip
    """The same with numbers."""
    _define(name, default, help, _float, flag_values, required, multi=True)


def mark_flag_as_required(flag_name: str, flag_values: FlagValues = FLAGS) -> None:
    """Makes parsing fail where the flag has no value."""
    flag_values[flag_name].required = True


def mark_flags_as_required(flag_names: Sequence[str], flag_values: FlagValues = FLAGS) -> None:
    """The same for several."""
    for name in flag_names:
        mark_flag_as_required(name, flag_values)
