"""`tf.summary.scalar`, `histogram`, `image`, `merge`, `merge_all`.

Each makes an op that gives an encoded `Summary` (bytes) and lists it under `GraphKeys.SUMMARIES`.
The tag is the op's name: the name scope, and `_1`, ... where the name is taken.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from conv3d.framework import context, convert, execute
from conv3d.framework.graph import GraphKeys, add_to_collections, get_collection
from conv3d.summary import summary_ops

# Imported for its ops.
assert summary_ops

_ILLEGAL = re.compile(r"[^-/\w\.]")


def _clean(name: str) -> str:
    """A name that ops may have: illegal characters become `_`, slashes at the start go."""
    return _ILLEGAL.sub("_", name).lstrip("/")


@contextlib.contextmanager
def _scope(name: str, family: str | None, values: Any) -> Iterator[tuple[str, str]]:
    """The tag and the op's name."""
    base = _clean(name)
    if family is not None:
        family = _clean(family)
        base = f"{family}/{base}"
    with context.name_scope(base, values=[values]) as scope:
        tag = scope.rstrip("/")
        yield (tag if family is None else f"{family}/{tag}"), scope


def _collect(summary: Any, collections: Sequence[str] | None) -> Any:
    if not context.executing_eagerly():
        add_to_collections([GraphKeys.SUMMARIES] if collections is None else collections, summary)
    return summary


def scalar(
    name: str,
    tensor: Any,
    collections: Sequence[str] | None = None,
    family: str | None = None,
) -> Any:
    """A number for TensorBoard.

    Args:
        name: the tag, cleaned of characters that names may not have.
        tensor: one real number.
        collections: graph keys to list the op under; by default `GraphKeys.SUMMARIES`.
        family: a prefix under which TensorBoard groups tags.

    Returns:
        A scalar string tensor.
    """
    with _scope(name, family, tensor) as (tag, scope):
        return _collect(
            execute.apply_op("ScalarSummary", [_tag(tag, "tags"), tensor], {}, scope or None),
            collections,
        )


def _tag(tag: str, label: str) -> Any:
    return convert.convert_to_tensor(tag, name=label)


def histogram(
    name: str,
    values: Any,
    collections: Sequence[str] | None = None,
    family: str | None = None,
) -> Any:
    """A histogram of the elements of `values`; see `scalar`."""
    with _scope(name, family, values) as (tag, scope):
        return _collect(
            execute.apply_op("HistogramSummary", [_tag(tag, "tag"), values], {}, scope or None),
            collections,
        )


def image(
    name: str,
    tensor: Any,
    max_outputs: int = 3,
    collections: Sequence[str] | None = None,
    family: str | None = None,
) -> Any:
    """Pictures; see `scalar`.

    Args:
        name: the tag; the pictures are `name/image/0` and so on, or `name/image`.
        tensor: `[batch, height, width, channels]` with 1, 3 or 4 channels, uint8 or floats.
        max_outputs: pictures taken from the batch, at least one.
        collections: as in `scalar`.
        family: as in `scalar`.

    Raises:
        ValueError: `max_outputs` is not positive.
    """
    if max_outputs < 1:
        raise ValueError(f"max_outputs: has to be at least 1, got {max_outputs}")
    with _scope(name, family, tensor) as (tag, scope):
        return _collect(
            execute.apply_op(
                "ImageSummary",
                [_tag(tag, "tag"), tensor],
                {"max_images": int(max_outputs)},
                scope or None,
            ),
            collections,
        )


def merge(
    inputs: Sequence[Any], collections: Sequence[str] | None = None, name: str | None = None
) -> Any:
    """One summary with the values of all `inputs`.

    Raises:
        RuntimeError: in eager mode.
        ValueError: no inputs.
        InvalidArgumentError: at run time, two values of one tag.
    """
    if context.executing_eagerly():
        raise RuntimeError("summaries are merged in graph mode only")
    if not list(inputs):
        raise ValueError("inputs: there are no summaries to merge")
    with context.name_scope(name, "Merge", list(inputs)):
        merged = execute.apply_op("MergeSummary", list(inputs), {}, name or "MergeSummary")
    add_to_collections(collections or [], merged)
    return merged


def merge_all(
    key: str = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None
) -> Any:
    """One summary of all in the collection `key`, or None if there are none.

    Raises:
        RuntimeError: in eager mode.
    """
    if context.executing_eagerly():
        raise RuntimeError("summaries are merged in graph mode only")
    found = get_collection(key, scope)
    return merge(found, name=name) if found else None
