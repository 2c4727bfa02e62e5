"""The names in a serialised ONNX graph, read without the onnx package, whose import takes longer than the session's.

A protobuf message is a sequence of fields: a key (field number << 3 | wire type), then a varint (wire type 0), eight
bytes (1), a length and as many bytes (2), or four bytes (5). Source: protobuf.dev, "Encoding"; numbers from onnx.proto.
"""

from collections.abc import Iterator

GRAPH, INITIALIZER, NAME = 7, 5, 8  # fields of ModelProto, GraphProto and TensorProto
LENGTH_DELIMITED = 2
FIXED_BYTES = {1: 8, 5: 4}


def initializer_names(model: bytes) -> set[str]:
    """Names of the tensors that the graph of a ModelProto holds or points at."""
    buffer = memoryview(model)
    tensors = (tensor for graph in _messages(buffer, GRAPH) for tensor in _messages(graph, INITIALIZER))
    return {bytes(name).decode() for tensor in tensors for name in _messages(tensor, NAME)}


def _messages(buffer: memoryview, wanted: int) -> Iterator[memoryview]:
    """The contents of the length-delimited fields of one number."""
    position = 0
    while position < len(buffer):
        key, position = _varint(buffer, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == LENGTH_DELIMITED:
            length, position = _varint(buffer, position)
            if number == wanted:
                yield buffer[position : position + length]
            position += length
        elif wire_type in FIXED_BYTES:
            position += FIXED_BYTES[wire_type]
        else:
            _, position = _varint(buffer, position)


def _varint(buffer: memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
