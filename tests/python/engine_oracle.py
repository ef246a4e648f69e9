"""What the engine must compute, in float64 by NumPy alone; and the sets of `tests/problems`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PROBLEMS = Path(__file__).parents[1] / "problems"
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Problem:
    """One line of a problem set."""

    text: str
    batch: int
    groups: int
    in_channels: int
    filters: int
    extents: Triple
    kernel: Triple
    strides: Triple
    dilations: Triple
    padding: Any

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, *self.extents, self.in_channels)

    @property
    def filter_shape(self) -> tuple[int, ...]:
        return (*self.kernel, self.in_channels // self.groups, self.filters)

    @property
    def keywords(self) -> dict[str, Any]:
        return {
            "strides": self.strides,
            "padding": self.padding,
            "dilations": self.dilations,
            "groups": self.groups,
        }


def parse_problem(text: str) -> Problem:
    """Reads one line of the grammar in `tests/problems/README.md`."""
    padding: Any = next((p for p in ("same", "valid") if text.endswith("_" + p)), None)
    body = text[: -len(padding) - 1] if padding else text
    numbers: dict[str, int] = {}
    for part in body.split("_"):
        found = re.findall(r"([a-z]+)([0-9]+)", part)
        if "".join(a + b for a, b in found) != part:
            raise ValueError(f"malformed problem: {text}")
        for name, value in found:
            if name in numbers:
                raise ValueError(f"{name} twice in {text}")
            numbers[name] = int(value)

    def three(prefix: str, default: int | None = None) -> Triple:
        values = [numbers.pop(prefix + axis, default) for axis in "dhw"]
        if None in values:
            raise ValueError(f"problem without {prefix}: {text}")
        return tuple(values)  # type: ignore[return-value]

    if padding is None:
        padding = tuple(zip(three("p"), three("q"), strict=True))
    problem = Problem(
        text=text,
        batch=numbers.pop("mb"),
        groups=numbers.pop("g", 1),
        in_channels=numbers.pop("ic"),
        filters=numbers.pop("oc"),
        extents=three("i"),
        kernel=three("k"),
        strides=three("s"),
        dilations=three("d", 1),
        padding=padding,
    )
    if numbers:
        raise ValueError(f"unknown parts {sorted(numbers)} in {text}")
    return problem


def problem_set(*names: str) -> list[Problem]:
    """All problems of the named sets."""
    problems = []
    for name in names:
        for line in (PROBLEMS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            text = line.split("#")[0].strip()
            if text:
                problems.append(parse_problem(text))
    return problems


def geometry(
    extents: Triple, kernel: Triple, strides: Triple, dilations: Triple, padding: Any
) -> list[tuple[int, int, int]]:
    """(output, pad before, pad after) of each axis."""
    axes = []
    for a, (n, k, s, d) in enumerate(zip(extents, kernel, strides, dilations, strict=True)):
        effective = (k - 1) * d + 1
        if padding == "same":
            out = -(-n // s)
            total = max((out - 1) * s + effective - n, 0) if out else 0
            axes.append((out, total // 2, total - total // 2))
        else:
            before, after = (0, 0) if padding == "valid" else padding[a]
            axes.append(((n + before + after - effective) // s + 1, before, after))
    return axes


class Convolution:
    """One convolution of channels-last arrays in its three directions, by explicit windows."""

    def __init__(self, input_shape, filter_shape, *, strides, padding, dilations, groups):
        self.input_shape, self.filter_shape, self.groups = input_shape, filter_shape, groups
        self.axes = geometry(input_shape[1:4], filter_shape[:3], strides, dilations, padding)
        self.strides, self.dilations = strides, dilations
        self.output_shape = (input_shape[0], *(a[0] for a in self.axes), filter_shape[4])
        self.padded = [
            max(
                n + before + after,
                (out - 1) * s + (k - 1) * d + 1,
            )
            for n, (out, before, after), s, k, d in zip(
                input_shape[1:4], self.axes, strides, filter_shape[:3], dilations, strict=True
            )
        ]

    def _window(self, tap):
        spatial = tuple(
            slice(k * d, k * d + (out - 1) * s + 1, s)
            for k, d, s, (out, _, _) in zip(
                tap, self.dilations, self.strides, self.axes, strict=True
            )
        )
        return (slice(None), *spatial)

    def _inside(self):
        return (
            slice(None),
            *(
                slice(before, before + n)
                for n, (_, before, _) in zip(self.input_shape[1:4], self.axes, strict=True)
            ),
        )

    def _groups(self):
        icg, ocg = self.filter_shape[3], self.filter_shape[4] // self.groups
        for g in range(self.groups):
            yield slice(g * icg, (g + 1) * icg), slice(g * ocg, (g + 1) * ocg)

    def _pad(self, x):
        padded = np.zeros((x.shape[0], *self.padded, x.shape[4]))
        padded[self._inside()] = x
        return padded

    def forward(self, x, w):
        x, w = self._pad(x.astype(np.float64)), w.astype(np.float64)
        y = np.zeros(self.output_shape)
        for tap in np.ndindex(*self.filter_shape[:3]):
            v = x[self._window(tap)]
            for i, o in self._groups():
                y[..., o] += v[..., i] @ w[tap][:, o]
        return y

    def backward_input(self, w, dy):
        w, dy = w.astype(np.float64), dy.astype(np.float64)
        dx = np.zeros((self.input_shape[0], *self.padded, self.input_shape[4]))
        for tap in np.ndindex(*self.filter_shape[:3]):
            v = dx[self._window(tap)]
            for i, o in self._groups():
                v[..., i] += dy[..., o] @ w[tap][:, o].T
        return dx[self._inside()]

    def backward_filter(self, x, dy):
        x, dy = self._pad(x.astype(np.float64)), dy.astype(np.float64)
        dw = np.zeros(self.filter_shape)
        for tap in np.ndindex(*self.filter_shape[:3]):
            v = x[self._window(tap)]
            for i, o in self._groups():
                dw[tap][:, o] = np.einsum("ndhwi,ndhwo->io", v[..., i], dy[..., o])
        return dw


def of_problem(problem: Problem) -> Convolution:
    """The oracle of a problem."""
    return Convolution(problem.input_shape, problem.filter_shape, **problem.keywords)


def integers(rng: np.random.Generator, shape, dtype=np.float32):
    """Small integers: their sums of products are exact in float32."""
    return rng.integers(-4, 5, shape).astype(dtype)
