"""Event files, which TensorBoard reads: records of length, checksum, data, checksum.

    uint64 length | masked crc32c of length | data | masked crc32c of data

The first record names the version of the format. Source: the framing is documented at
`tf.io.TFRecordWriter`, the messages in messages.py.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from conv3d.framework.graph import Graph
from conv3d.summary.messages import Event, Summary
from conv3d.weights import CorruptFile, wire
from conv3d.weights.crc32c import masked_crc32c


def put_record(data: bytes) -> bytes:
    """One framed record."""
    head = struct.pack("<Q", len(data))
    return (
        head
        + struct.pack("<I", masked_crc32c(head))
        + data
        + struct.pack("<I", masked_crc32c(data))
    )


def read_records(path: str) -> Iterator[bytes]:
    """The records of a file.

    Raises:
        CorruptFile: a checksum does not match or the file ends inside a record.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as stream:
        while head := stream.read(12):
            if len(head) < 12 or masked_crc32c(head[:8]) != struct.unpack("<I", head[8:])[0]:
                raise CorruptFile(f"{path}: the length of a record is damaged")
            (length,) = struct.unpack_from("<Q", head)
            if length > size - stream.tell() - 4:
                raise CorruptFile(f"{path}: the file ends inside a record")
            data = stream.read(length)
            if masked_crc32c(data) != struct.unpack("<I", stream.read(4))[0]:
                raise CorruptFile(f"{path}: a record does not match its checksum")
            yield data


def summary_iterator(path: str) -> Iterator[Event]:
    """The events of an event file. Source: `tf.train.summary_iterator`."""
    for record in read_records(path):
        yield Event.FromString(record)


def graph_def(graph: Graph) -> bytes:
    """The nodes of a graph as a GraphDef: names, types and edges, as TensorBoard draws them."""
    out = b""
    for op in graph.get_operations():
        node = wire.put_bytes(1, op.name) + wire.put_bytes(2, op.type)
        for tensor in op.inputs:
            index = tensor.value_index
            node += wire.put_bytes(3, f"{tensor.op.name}:{index}" if index else tensor.op.name)
        for before in op.control_inputs:
            node += wire.put_bytes(3, f"^{before.name}")
        out += wire.put_bytes(1, node)
    return out


class FileWriter:
    """Writes summaries to an event file in a directory. Source: `tf.summary.FileWriter`.

    Args:
        logdir: the directory, made where it is missing.
        graph: a graph to be written first.
        max_queue: accepted; events are written at once into a buffer.
        flush_secs: the buffer reaches the file at least so often while events come.
        graph_def: accepted as an encoded GraphDef in the place of `graph`.
        filename_suffix: end of the file's name.
        session: accepted.

    Raises:
        TypeError: `graph` is no graph, or `graph_def` no bytes.
    """

    def __init__(
        self,
        logdir: str,
        graph: Any = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: bytes | None = None,
        filename_suffix: str | None = None,
        session: Any = None,
    ) -> None:
        self._stream: Any = None
        self._lock = threading.Lock()
        self._logdir = os.fspath(logdir)
        self._flush_secs = flush_secs
        self._suffix = filename_suffix or ""
        self._open()
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)

    def _open(self) -> None:
        os.makedirs(self._logdir, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}{self._suffix}"
        path = os.path.join(self._logdir, name)
        self._stream = open(path, "ab")
        self._flushed = now
        self.add_event(Event(wall_time=now, file_version="brain.Event:2"))
        self.flush()

    def get_logdir(self) -> str:
        """The directory."""
        return self._logdir

    def add_event(self, event: Event) -> None:
        """Writes an event; a closed writer takes none and says nothing, as TensorFlow's."""
        with self._lock:
            if self._stream is None:
                return
            self._stream.write(put_record(event.SerializeToString()))
            if time.time() - self._flushed > self._flush_secs:
                self._stream.flush()
                self._flushed = time.time()

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """Writes what a summary op gave, or a `Summary`.

        Args:
            summary: bytes or a `Summary`.
            global_step: the step.

        Raises:
            TypeError: `summary` is neither.
        """
        if isinstance(summary, (bytes, bytearray)):
            summary = Summary.FromString(bytes(summary))
        if not isinstance(summary, Summary):
            raise TypeError(f"summary: bytes or a Summary is needed, got {type(summary).__name__}")
        step = 0 if global_step is None else int(global_step)
        self.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def add_graph(
        self, graph: Any = None, global_step: Any = None, graph_def: bytes | None = None
    ) -> None:
        """Writes a graph's nodes and edges."""
        if graph_def is None:
            if not isinstance(graph, Graph):
                raise TypeError(f"graph: a Graph is needed, got {graph!r}")
            encoded = _encode_graph(graph)
        elif isinstance(graph_def, bytes):
            encoded = graph_def
        else:
            raise TypeError(f"graph_def: bytes are needed, got {type(graph_def).__name__}")
        step = 0 if global_step is None else int(global_step)
        self.add_event(Event(wall_time=time.time(), step=step, graph_def=encoded))

    def add_run_metadata(self, run_metadata: Any, tag: str, global_step: Any = None) -> None:
        """Accepted; there is nothing in run metadata to be written."""

    def flush(self) -> None:
        """Brings all events to the file."""
        with self._lock:
            if self._stream is not None:
                self._stream.flush()
                self._flushed = time.time()

    def close(self) -> None:
        """Flushes and closes the file."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def reopen(self) -> None:
        """Starts a new file after `close`; does nothing to an open writer."""
        if self._stream is None:
            self._open()

    def __del__(self) -> None:
        # Scripts seldom close a writer; what it holds must reach the file all the same.
        if getattr(self, "_lock", None) is not None:
            self.close()

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


_encode_graph = graph_def


class FileWriterCache:
    """One writer per directory. Source: `tf.summary.FileWriterCache`."""

    _cache: ClassVar[dict[str, FileWriter]] = {}
    _lock = threading.RLock()

    @classmethod
    def get(cls, logdir: str) -> FileWriter:
        """The writer of a directory."""
        with cls._lock:
            if logdir not in cls._cache:
                from conv3d.framework import context

                cls._cache[logdir] = FileWriter(logdir, graph=context.get_default_graph())
            return cls._cache[logdir]

    @classmethod
    def clear(cls) -> None:
        """Closes and forgets all writers."""
        with cls._lock:
            for writer in cls._cache.values():
                writer.close()
            cls._cache = {}
