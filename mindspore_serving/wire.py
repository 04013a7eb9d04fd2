"""The bytes around the data of a tensor, in requests and replies.

With | between fields, and sizes as varints:

    PredictRequest    0x0a size ServableSpec | 0x12 size Instance | 0x12 size Instance ...
    PredictReply      0x0a size ServableSpec | 0x1a size Instance | 0x1a size Instance ...    where all is well
    Instance          0x0a size Entry | 0x0a size Entry ...                    one entry per input or output
    Entry             0x0a size name | 0x12 size Tensor
    Tensor            0x0a size TensorShape | 0x10 data type | 0x1a size data  numbers, little-endian, in C order
                      0x0a size TensorShape | 0x10 data type | 0x22 size text  str (UTF-8) and bytes, shape [1]

Everything of an entry but the data is its head here. It is the same for all arrays of one name, type and shape.
"""

from __future__ import annotations

from functools import lru_cache

SPEC = 0x0A
INSTANCE_OF_REQUEST = 0x12
INSTANCE_OF_FIRST_GENERATION = 0x1A
INSTANCE_OF_REPLY = 0x1A
ENTRY = 0x0A
NAME = 0x0A
TENSOR = 0x12
ARRAY_DATA = 0x1A
TEXT_DATA = 0x22
_FIXED_SIZES = {1: 8, 5: 4}
"""Bytes of the field types that have always as many."""


def varint(number: int) -> bytes:
    """A non-negative number as a varint: 7 bits of it in each byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The varint at a position, and the position after it.

    Raises:
        ValueError: It has more than ten bytes.
        IndexError: The data ends inside it.
    """
    number = data[at]
    if number < 0x80:
        return number, at + 1
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError(f"no varint at byte {at}")


def field_at(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Tag of the field at a position, and the position after it.

    Raises:
        ValueError: It is of a type that is not used any more, or of none.
        IndexError: The data ends inside it.
    """
    tag, at = read_varint(data, at)
    number, kind = tag >> 3, tag & 7
    if not number:
        raise ValueError("field 0")
    if kind == 2:
        size, at = read_varint(data, at)
        at += size
    elif kind == 0:
        _, at = read_varint(data, at)
    elif kind in _FIXED_SIZES:
        at += _FIXED_SIZES[kind]
    else:
        raise ValueError(f"field type {kind}")
    if at > len(data):
        raise IndexError("the data ends inside a field")
    return tag, at


@lru_cache(1024)
def head_of_field(tag: int, size: int) -> bytes:
    """Tag and size of a field."""
    return bytes([tag]) + varint(size)


def head_of_entry(name: bytes, shape_and_type: bytes, data_tag: int, data_size: int) -> bytes:
    """All that precedes the data of an entry.

    Args:
        name: Name of the input or output, UTF-8.
        shape_and_type: A Tensor without data, serialized.
        data_tag: ARRAY_DATA or TEXT_DATA.
        data_size: Bytes of the data.
    """
    tensor = shape_and_type + head_of_field(data_tag, data_size)
    entry = head_of_field(NAME, len(name)) + name + head_of_field(TENSOR, len(tensor) + data_size) + tensor
    return head_of_field(ENTRY, len(entry) + data_size) + entry
