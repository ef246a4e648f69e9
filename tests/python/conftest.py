"""What all Python tests share: a fresh default graph, and eager mode on request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conv3d.framework import context


@pytest.fixture(autouse=True)
def fresh_graph() -> Iterator[None]:
    """Each test starts with an empty default graph."""
    context.reset_default_graph()
    yield


@pytest.fixture
def eager() -> Iterator[None]:
    """Eager mode, which a program otherwise switches on at its start and never off."""
    context.program.eager = True
    try:
        yield
    finally:
        context.program.eager = False
