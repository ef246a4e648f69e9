"""The messages of event files: `Summary`, `HistogramProto`, `Event`, with the fields that are used.

Plain containers that know their protobuf encoding. Source: TensorFlow's public message definitions
`summary.proto` and `event.proto`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from conv3d.weights import wire


class _Message:
    """Fields that may be absent: one reads as its default then, and `HasField` tells."""

    _defaults: ClassVar[dict[str, Callable[[], Any]]] = {}

    def __init__(self, **fields: Any) -> None:
        for name, value in fields.items():
            if name not in self._defaults:
                raise ValueError(f"{type(self).__name__} has no field {name!r}")
            if value is not None:
                setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        # Asked for what is not set.
        if name in type(self)._defaults:
            return type(self)._defaults[name]()
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def HasField(self, name: str) -> bool:
        """Whether the field is set.

        Raises:
            ValueError: there is no such field.
        """
        if name not in self._defaults:
            raise ValueError(f"{type(self).__name__} has no field {name!r}")
        return name in self.__dict__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({inner})"


class _Values(list):  # type: ignore[type-arg]
    """A list of `Summary.Value` with protobuf's `add`."""

    def add(self, **fields: Any) -> Summary.Value:
        """Appends a value made of `fields` and returns it."""
        value = Summary.Value(**fields)
        self.append(value)
        return value


@dataclasses.dataclass
class HistogramProto:
    """Counts of values between limits; `bucket[i]` counts those up to `bucket_limit[i]`."""

    min: float = 0.0
    max: float = 0.0
    num: float = 0.0
    sum: float = 0.0
    sum_squares: float = 0.0
    bucket_limit: list[float] = dataclasses.field(default_factory=list)
    bucket: list[float] = dataclasses.field(default_factory=list)

    def SerializeToString(self) -> bytes:
        """The encoded message."""
        out = b"".join(
            wire.put_double(number, value)
            for number, value in enumerate(
                (self.min, self.max, self.num, self.sum, self.sum_squares), 1
            )
        )
        for number, values in ((6, self.bucket_limit), (7, self.bucket)):
            if values:
                out += wire.put_bytes(number, np.asarray(values, "<f8").tobytes())
        return out


class Summary:
    """A list of named values for one step. Source: `tf.Summary`.

    Args:
        value: the values.
    """

    class Image(_Message):
        """An encoded picture; `colorspace` is the number of channels."""

        height: int
        width: int
        colorspace: int
        encoded_image_string: bytes
        _defaults: ClassVar = {
            "height": int,
            "width": int,
            "colorspace": int,
            "encoded_image_string": bytes,
        }

    class Value(_Message):
        """One named value: a number, a histogram or a picture."""

        tag: str
        simple_value: float
        histo: HistogramProto
        image: Summary.Image
        node_name: str
        _defaults: ClassVar = {
            "tag": str,
            "simple_value": float,
            "histo": HistogramProto,
            "image": lambda: Summary.Image(),
            "node_name": str,
        }

        def SerializeToString(self) -> bytes:
            """The encoded message."""
            out = wire.put_bytes(1, self.tag)
            if self.HasField("simple_value"):
                out += wire.put_float(2, self.simple_value)
            if self.HasField("image"):
                picture = self.image
                out += wire.put_bytes(
                    4,
                    wire.put_int(1, picture.height)
                    + wire.put_int(2, picture.width)
                    + wire.put_int(3, picture.colorspace)
                    + wire.put_bytes(4, picture.encoded_image_string),
                )
            if self.HasField("histo"):
                out += wire.put_bytes(5, self.histo.SerializeToString())
            if self.node_name:
                out += wire.put_bytes(7, self.node_name)
            return out

    def __init__(self, value: Any = ()) -> None:
        self.value = _Values(value)

    def SerializeToString(self) -> bytes:
        """The encoded message."""
        return b"".join(wire.put_bytes(1, value.SerializeToString()) for value in self.value)

    def ParseFromString(self, data: bytes) -> None:
        """Replaces the values by those encoded in `data`.

        Raises:
            CorruptFile: `data` is no such message.
        """
        self.value = _Values()
        for number, kind, field in wire.fields(memoryview(data)):
            if number == 1:
                self.value.append(_parse_value(wire.as_bytes(number, kind, field)))

    @classmethod
    def FromString(cls, data: bytes) -> Summary:
        """The message encoded in `data`; raises like `ParseFromString`."""
        out = cls()
        out.ParseFromString(data)
        return out

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Summary) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Summary(value={list(self.value)!r})"


def _doubles(buf: memoryview) -> list[float]:
    return [float(one) for one in np.frombuffer(buf[: len(buf) // 8 * 8], "<f8")]


def _parse_value(buf: memoryview) -> Summary.Value:
    value = Summary.Value()
    for number, kind, field in wire.fields(buf):
        if number == 1:
            value.tag = wire.as_text(number, kind, field)
        elif number == 2 and isinstance(field, int):
            value.simple_value = float(np.uint32(field & 0xFFFFFFFF).view(np.float32))
        elif number == 4:
            picture = Summary.Image()
            for inner in wire.fields(wire.as_bytes(number, kind, field)):
                if inner[0] == 4:
                    picture.encoded_image_string = bytes(wire.as_bytes(*inner))
                elif inner[0] in (1, 2, 3):
                    name = ("height", "width", "colorspace")[inner[0] - 1]
                    setattr(picture, name, wire.as_int(*inner))
            value.image = picture
        elif number == 5:
            histogram = HistogramProto()
            names = ("min", "max", "num", "sum", "sum_squares")
            for inner in wire.fields(wire.as_bytes(number, kind, field)):
                if inner[0] <= 5 and isinstance(inner[2], int):
                    setattr(histogram, names[inner[0] - 1], float(np.uint64(inner[2]).view("f8")))
                elif inner[0] == 6:
                    histogram.bucket_limit = _doubles(wire.as_bytes(*inner))
                elif inner[0] == 7:
                    histogram.bucket = _doubles(wire.as_bytes(*inner))
            value.histo = histogram
        elif number == 7:
            value.node_name = wire.as_text(number, kind, field)
    return value


class Event(_Message):
    """One record of an event file. Source: `tf.Event`.

    Attributes:
        wall_time: seconds since 1970.
        step: the global step.
        file_version: set in the first record of a file only.
        graph_def: an encoded GraphDef.
        summary: values of this step.
    """

    wall_time: float
    step: int
    file_version: str
    graph_def: bytes
    summary: Summary
    _defaults: ClassVar = {
        "wall_time": float,
        "step": int,
        "file_version": str,
        "graph_def": bytes,
        "summary": Summary,
    }

    def SerializeToString(self) -> bytes:
        """The encoded message."""
        out = wire.put_double(1, self.wall_time)
        if self.step:
            out += wire.put_int(2, self.step)
        if self.file_version:
            out += wire.put_bytes(3, self.file_version)
        if self.graph_def:
            out += wire.put_bytes(4, self.graph_def)
        if self.HasField("summary"):
            out += wire.put_bytes(5, self.summary.SerializeToString())
        return out

    @classmethod
    def FromString(cls, data: bytes) -> Event:
        """The message encoded in `data`.

        Raises:
            CorruptFile: `data` is no such message.
        """
        out = cls()
        for number, kind, field in wire.fields(memoryview(data)):
            if number == 1 and isinstance(field, int):
                out.wall_time = float(np.uint64(field).view("f8"))
            elif number == 2:
                out.step = wire.as_int(number, kind, field)
            elif number == 3:
                out.file_version = wire.as_text(number, kind, field)
            elif number == 4:
                out.graph_def = bytes(wire.as_bytes(number, kind, field))
            elif number == 5:
                out.summary = Summary.FromString(bytes(wire.as_bytes(number, kind, field)))
        return out
