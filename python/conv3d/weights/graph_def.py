"""Constants of a TensorFlow GraphDef: the weights of a frozen graph.

A GraphDef (`graph.pb`) is a list of NodeDefs (field 1). Freezing turns each variable into a node of
op `Const` with the variable's name, whose attribute `value` is a TensorProto. The edges of the
graph are not followed, so a cyclic graph is no danger. Also read: the GraphDef inside a
MetaGraphDef (`*.meta`).

Source: TensorFlow's public message definitions `graph.proto`, `node_def.proto`, `attr_value.proto`.
"""

from __future__ import annotations

from conv3d.errors import CorruptFile
from conv3d.weights import lazy, tensor_proto, wire

FORMAT = "tf_graph_def"


def looks_like(buf: memoryview) -> str | None:
    """Which message of protobuf files `buf` is: "graph", "meta_graph", "saved_model", "onnx"."""
    kinds: dict[int, int] = {}
    try:
        for number, kind, _ in wire.fields(buf):
            if kinds.setdefault(number, kind) != kind:
                return None
    except CorruptFile:
        # Damage behind a sound first node: still a graph, whose reader says what is wrong.
        return "graph" if kinds.get(1) == wire.BYTES else None
    if kinds.get(1) == wire.VARINT:
        if kinds.get(7) == wire.BYTES:
            return "onnx"
        return "saved_model" if kinds.get(2) == wire.BYTES else None
    if kinds.get(3) == wire.BYTES or (1 not in kinds and kinds.get(2) == wire.BYTES):
        return "meta_graph"
    return "graph" if kinds.get(1) == wire.BYTES else None


def read(path: str, data: bytes | None = None) -> lazy.WeightFile:
    """The `Const` nodes of the GraphDef or MetaGraphDef at `path`, by node name.

    String constants come as object arrays of bytes.

    Raises:
        CorruptFile: the file is damaged, or names a node twice.
    """
    buf = memoryview(lazy.read_all(path) if data is None else data)
    with lazy.reading(path):
        if looks_like(buf) == "meta_graph":
            for number, kind, value in wire.fields(buf):
                if number == 2:
                    return lazy.WeightFile(
                        path, FORMAT, constants(wire.as_bytes(number, kind, value), len(buf))
                    )
        return lazy.WeightFile(path, FORMAT, constants(buf, len(buf)))


def constants(graph: memoryview, file_size: int) -> dict[str, lazy.Entry]:
    """Entries for the `Const` nodes of one encoded GraphDef."""
    entries: dict[str, lazy.Entry] = {}
    seen: set[str] = set()
    for number, kind, value in wire.fields(graph):
        if number != 1:
            continue
        name, op, tensor = _node(wire.as_bytes(number, kind, value))
        if not name:
            raise CorruptFile("a node has no name")
        if name in seen:
            raise CorruptFile(f"two nodes have the name {name!r}")
        seen.add(name)
        if op != "Const":
            continue
        if tensor is None:
            raise CorruptFile(f"the constant {name!r} has no value")
        proto = tensor_proto.TensorProto(tensor, file_size)
        if proto.number in tensor_proto.NOT_ARRAYS:
            continue
        dtype = tensor_proto.numpy_dtype(proto.number)
        entries[name] = lazy.Entry(proto.shape, dtype, proto.array)
    return entries


def _node(buf: memoryview) -> tuple[str, str, memoryview | None]:
    """Name, op and the encoded TensorProto of attribute `value` of a NodeDef."""
    name = op = ""
    tensor = None
    for number, kind, value in wire.fields(buf):
        if number == 1:
            name = wire.as_text(number, kind, value)
        elif number == 2:
            op = wire.as_text(number, kind, value)
        elif number == 5:
            key = None
            attr = None
            for inner in wire.fields(wire.as_bytes(number, kind, value)):
                if inner[0] == 1:
                    key = wire.as_text(*inner)
                elif inner[0] == 2:
                    attr = wire.as_bytes(*inner)
            if key == "value" and attr is not None:
                for inner in wire.fields(attr):
                    if inner[0] == 8:
                        tensor = wire.as_bytes(*inner)
    return name, op, tensor
