"""Summaries against those of TensorFlow 1.15 (tests/data/summary), and the event file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from conv3d import errors, summary, train
from conv3d.framework import context
from conv3d.framework.graph import Graph, GraphKeys, get_collection
from conv3d.framework.session import Session
from conv3d.ops import array_ops
from conv3d.summary import summary_ops, writer
from conv3d.weights import CorruptFile

RECORD = np.load(Path(__file__).parents[2] / "data" / "summary" / "summaries.npz")


@pytest.fixture
def sess():
    with Graph().as_default(), Session() as made:
        yield made


def decode_png(data: bytes) -> np.ndarray:
    """Reads a PNG without filters, checking each chunk."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, packed, header = 8, b"", b""
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", data, place + 8 + size)[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            header = body
        if kind == b"IDAT":
            packed += body
        place += 12 + size
    width, height, depth, color = struct.unpack_from(">IIBB", header)
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[color]
    assert depth == 8
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


def test_scalar(sess):
    op = summary.scalar("a b", 2.5)
    assert op.op.name == "a_b" and get_collection(GraphKeys.SUMMARIES) == [op]
    assert sess.run(op) == RECORD["scalar_message"].tobytes()


@pytest.mark.parametrize("name", ["values", "empty", "ints"])
def test_histogram_is_byte_for_byte_that_of_tensorflow(sess, name):
    values = {"values": RECORD["values"], "empty": np.zeros(0), "ints": np.arange(5)}[name]
    found = summary.Summary.FromString(sess.run(summary.histogram(name, values)))
    wanted = summary.Summary.FromString(RECORD[f"histogram_{name}_message"].tobytes())
    one, other = found.value[0].histo, wanted.value[0].histo
    assert found.value[0].tag == wanted.value[0].tag
    assert one.bucket == other.bucket
    np.testing.assert_allclose(one.bucket_limit, other.bucket_limit, rtol=1e-12)
    for field in ("min", "max", "num", "sum", "sum_squares"):
        assert getattr(one, field) == pytest.approx(getattr(other, field), rel=1e-12)


@pytest.mark.parametrize("name", ["negative", "positive", "broken", "flat", "bytes"])
def test_image(sess, name):
    found = summary.Summary.FromString(sess.run(summary.image(name, RECORD[name])))
    picture = found.value[0].image
    pixels = decode_png(picture.encoded_image_string)
    assert (picture.height, picture.width, picture.colorspace) == pixels.shape
    np.testing.assert_array_equal(pixels, RECORD[name + "_pixels"])


def test_names_and_tags(sess):
    ops = []
    with context.name_scope("scope"):
        for _ in range(2):
            ops.append(summary.scalar("loss", 1.0, family="f"))
            ops.append(summary.scalar("loss", 1.0))
    ops.append(summary.image("pictures", np.zeros((5, 2, 2, 1), np.float32), max_outputs=2))
    ops.append(summary.image("one", np.zeros((5, 2, 2, 1), np.float32), max_outputs=1))
    pairs = [
        [op.op.name, value.tag]
        for op in ops
        for value in summary.Summary.FromString(sess.run(op)).value
    ]
    assert pairs == RECORD["names"].tolist()


def test_merge(sess):
    assert summary.merge_all() is None
    x = array_ops.placeholder("float32", [])
    summary.scalar("x", x)
    summary.histogram("h", x)
    hidden = summary.scalar("hidden", x, collections=["mine"])
    merged = summary.merge_all()
    found = summary.Summary.FromString(sess.run(merged, {x: 3.0}))
    assert [value.tag for value in found.value] == ["x", "h"]
    assert summary.merge_all("mine") is not None
    twice = summary.merge([hidden, hidden])
    with pytest.raises(errors.InvalidArgumentError, match="hidden"):
        sess.run(twice, {x: 1.0})


def test_refusals(sess):
    x = array_ops.placeholder("float32", None)
    with pytest.raises(errors.InvalidArgumentError, match="NaN"):
        sess.run(summary.histogram("h", x), {x: [1.0, np.nan]})
    with pytest.raises(errors.InvalidArgumentError, match="values"):
        sess.run(summary.scalar("s", x), {x: [1.0, 2.0]})
    with pytest.raises(errors.InvalidArgumentError, match="tensor"):
        sess.run(summary.image("i", x), {x: np.zeros((1, 2, 2, 5))})
    with pytest.raises(ValueError, match="max_outputs"):
        summary.image("i", x, max_outputs=0)
    with pytest.raises(TypeError, match="real numbers"):
        summary.scalar("s", "text")


def events(folder: Path) -> list[summary.Event]:
    (path,) = folder.glob("events.out.tfevents.*")
    return list(summary.summary_iterator(str(path)))


def test_event_file(sess, tmp_path):
    x = array_ops.placeholder("float32", [], name="x")
    op = summary.scalar("s", x)
    with summary.FileWriter(tmp_path / "log", sess.graph) as out:
        assert out.get_logdir() == str(tmp_path / "log")
        out.add_summary(sess.run(op, {x: 1.5}), global_step=np.int64(3))
        made = summary.Summary(value=[summary.Summary.Value(tag="t", simple_value=2.0)])
        made.value.add(tag="u", simple_value=-4.0)
        out.add_summary(made, 4)
        with pytest.raises(TypeError, match="summary"):
            out.add_summary("text")
        with pytest.raises(TypeError, match="graph"):
            out.add_graph("graph")
    out.add_summary(made, 5)  # closed: nothing happens
    first, graph, third, fourth = events(tmp_path / "log")
    assert first.file_version == "brain.Event:2" and first.wall_time > 1e9
    assert b"ScalarSummary" in graph.graph_def and b"x" in graph.graph_def
    assert third.step == 3 and third.summary.value[0].simple_value == 1.5
    assert fourth.summary == made


def test_a_writer_that_nobody_closes(tmp_path):
    out = summary.FileWriter(tmp_path)
    out.add_summary(summary.Summary([summary.Summary.Value(tag="t", simple_value=2.0)]), 1)
    del out
    assert events(tmp_path)[1].step == 1


def test_damaged_event_file(tmp_path):
    with summary.FileWriter(tmp_path) as out:
        out.add_summary(summary.Summary([summary.Summary.Value(tag="t", simple_value=2.0)]), 1)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :])
        with pytest.raises(CorruptFile):
            events(tmp_path)
    path.write_bytes(struct.pack("<Q", 1 << 62) * 2)
    with pytest.raises(CorruptFile):
        list(writer.read_records(str(path)))


def test_message_round_trip():
    histogram = summary_ops.histogram_message(np.arange(5.0))
    made = summary.Summary()
    made.value.add(tag="h", histo=histogram, node_name="n")
    picture = summary.Summary.Image(height=1, width=2, colorspace=3, encoded_image_string=b"png")
    made.value.add(tag="i", image=picture)
    assert summary.Summary.FromString(made.SerializeToString()) == made


def test_writer_cache(tmp_path):
    one = summary.FileWriterCache.get(str(tmp_path))
    assert summary.FileWriterCache.get(str(tmp_path)) is one
    summary.FileWriterCache.clear()
    assert summary.FileWriterCache.get(str(tmp_path)) is not one
    summary.FileWriterCache.clear()


def test_fields_that_are_absent_read_as_defaults(tmp_path):
    value = summary.Summary.Value(tag="t", simple_value=0.0)
    assert value.HasField("simple_value") and not value.HasField("histo")
    assert value.histo.num == 0 and value.image.height == 0
    with pytest.raises(ValueError, match="nothing"):
        value.HasField("nothing")
    with pytest.raises(ValueError, match="nothing"):
        summary.Summary.Value(nothing=1)
    with pytest.raises(AttributeError, match="nothing"):
        _ = value.nothing
    assert value == summary.Summary.Value(tag="t", simple_value=0.0) != summary.Summary.Value()
    with summary.FileWriter(str(tmp_path)) as out:
        out.add_summary(summary.Summary([value]), 4)
    (path,) = tmp_path.iterdir()
    seen = [
        (event.step, each.tag, each.simple_value)
        for event in train.summary_iterator(str(path))
        for each in event.summary.value  # the first event has no summary
    ]
    assert seen == [(4, "t", 0.0)]


def test_a_merge_of_nothing_is_refused():
    with pytest.raises(ValueError, match="inputs"):
        summary.merge([])
