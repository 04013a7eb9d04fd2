"""`Tensor` of protobuf, of both services: read without an object for each element, and written so.

Fields of numbers are cut out of a message, and viewed where they lie; the protobuf library reads the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError, Message

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.paddle.elements import CONTENT, WIDE
from mindspore_serving.server.dialect.paddle.messages import Elements, SentTensor
from mindspore_serving.server.dialect.paddle.packed import decoded_varints, encoded_varints
from mindspore_serving.tensor import NUMPY_OF, Array
from mindspore_serving.wire import field_at, head_of_field, read_varint

MOST_FIELDS: Final = 1 << 16
"""Fields of a message: tensors, names, and each text of a tensor is one."""
_TAGS: Final = MappingProxyType(
    {
        0x0A: "int64_data",
        0x12: "float_data",
        0x1A: "int_data",
        0x22: "float64_data",
        0x2A: "uint32_data",
        0x32: "bool_data",
    }
)
"""Packed fields of numbers, by their tags."""
_TAG_OF: Final = MappingProxyType({name: tag for tag, name in _TAGS.items()})
_CONTENT_TAG: Final = 0x7A
_FIXED: Final = frozenset(("float_data", "float64_data"))
_LENGTH_TYPE: Final = 2


@dataclass(frozen=True, slots=True)
class TensorFields:
    """What the two services call the fields of a tensor.

    Attributes:
        kind: Class of the message.
        alias: Field of the other name; "" where there is none.
        content: Field of raw bytes, `tensor_content` or `byte_data`.
        text: Field of texts.
    """

    kind: type[Message]
    alias: str
    content: str
    text: str


def cut(message: bytes | memoryview, tag: int) -> tuple[bytes, list[memoryview]]:
    """Cut fields out of a message.

    Args:
        message: Serialised.
        tag: Of the fields, which have their length in front.

    Returns:
        The rest of the message, and the contents of the fields in order.

    Raises:
        DecodeError: The bytes are no message.
        InvalidInput: It has too many fields.
    """
    rest: list[memoryview] = []
    found: list[memoryview] = []
    for got, whole, content in _fields_of(message):
        if got == tag:
            found.append(content)
        else:
            rest.append(whole)
    return b"".join(rest), found


def sent_tensor(message: memoryview, fields: TensorFields) -> SentTensor:
    """A tensor, of which integers are yet to be decoded: see `decode`.

    Args:
        message: Serialised.
        fields: What its service calls them.

    Raises:
        DecodeError, UnicodeDecodeError: The bytes are no message.
        InvalidInput: It has too many fields.
    """
    rest: list[memoryview] = []
    packed: dict[str, list[memoryview]] = {}
    for tag, whole, content in _fields_of(message):
        if tag in _TAGS:
            packed.setdefault(_TAGS[tag], []).append(content)
        elif tag == _CONTENT_TAG and fields.content == CONTENT:
            packed[CONTENT] = [content]  # the last one counts
        else:
            rest.append(whole)
    read: Any = fields.kind.FromString(b"".join(rest))
    elements: dict[str, Elements] = {
        name: _joined(name, parts) for name, parts in packed.items() if any(parts)
    }
    for name in (*WIDE, fields.text, fields.content):  # numbers that were not packed, too
        value = getattr(read, name)
        if len(value):
            elements[name] = _with_more(name, value, elements.get(name))
    alias = getattr(read, fields.alias) if fields.alias else ""
    return SentTensor(read.name, alias, read.elem_type, tuple(read.shape), len(read.lod), elements)


def decode(tensor: SentTensor) -> None:
    """Decode the integers of a tensor.

    Raises:
        DecodeError: They are none.
    """
    for name, data in tensor.fields.items():
        if name in WIDE and isinstance(data, memoryview):
            tensor.fields = {**tensor.fields, name: _integers(name, _checked(decoded_varints(data)))}


async def decode_slowly(tensor: SentTensor) -> None:
    """As `decode`, while others have their turns."""
    for name, data in tensor.fields.items():
        if name in WIDE and isinstance(data, memoryview):
            parts = []
            for part in _checked(decoded_varints(data)):
                parts.append(part)
                await asyncio.sleep(0)
            tensor.fields = {**tensor.fields, name: _integers(name, parts)}


def tensor_bytes(head: Message, field: str, data: Array) -> bytes:
    """A tensor with numbers.

    Args:
        head: The message without them.
        field: Where they are.
        data: The numbers, of one dimension.
    """
    if field == CONTENT:
        raw = np.ascontiguousarray(data).tobytes()
        return head.SerializeToString() + head_of_field(_CONTENT_TAG, len(raw)) + raw
    numbers = data.astype(NUMPY_OF[WIDE[field]], copy=False)
    raw = numbers.tobytes() if field in _FIXED else b"".join(encoded_varints(numbers))
    return head.SerializeToString() + head_of_field(_TAG_OF[field], len(raw)) + raw


def _fields_of(message: bytes | memoryview) -> Iterable[tuple[int, memoryview, memoryview]]:
    """Tag, all bytes and content of each field; nothing is content of a field without a length in front.

    Raises:
        DecodeError: The bytes are no message.
        InvalidInput: It has too many fields.
    """
    view = memoryview(message)
    at = count = 0
    try:
        while at < len(view):
            begin = at
            tag, at = field_at(view, begin)
            count += 1
            if count > MOST_FIELDS:
                raise InvalidInput(f"The request has a message of more than {MOST_FIELDS} fields")
            start = at
            if tag & 7 == _LENGTH_TYPE:
                _, start = read_varint(view, begin)
                _, start = read_varint(view, start)
            yield tag, view[begin:at], view[start:at]
    except (ValueError, IndexError) as cause:
        raise DecodeError(str(cause)) from cause


def _joined(name: str, parts: list[memoryview]) -> Elements:
    """The pieces of one field: numbers of fixed size as an array, all else as bytes.

    Raises:
        DecodeError: The bytes are no numbers.
    """
    data = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
    if name not in _FIXED:
        return data
    try:
        array: Array = np.frombuffer(data, NUMPY_OF[WIDE[name]])
    except ValueError as cause:
        raise DecodeError(str(cause)) from cause
    return array


def _with_more(name: str, value: Any, packed: Elements | None) -> Elements:
    """Elements that the protobuf library has read.

    Raises:
        InvalidInput: There are packed ones as well, of which nobody would know the order.
    """
    if packed is not None:
        raise InvalidInput(f"A tensor has {name} both packed and not packed")
    if name in WIDE:
        array: Array = np.array(value, NUMPY_OF[WIDE[name]])
        return array
    elements: Elements = value if isinstance(value, bytes) else list(value)
    return elements


def _checked(parts: Iterable[Array]) -> Iterable[Array]:
    try:
        yield from parts
    except ValueError as cause:
        raise DecodeError(str(cause)) from cause


def _integers(name: str, parts: Iterable[Array]) -> Array:
    """What protobuf makes of varints: the bits that the type has; any but 0 is true."""
    numbers = np.concatenate([*parts, np.empty(0, np.uint64)])
    dtype = NUMPY_OF[WIDE[name]]
    found: Array = numbers != 0 if dtype.kind == "b" else numbers.view(np.int64).astype(dtype)
    return found
