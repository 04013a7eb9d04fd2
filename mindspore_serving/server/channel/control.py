"""Messages without instances: the fields as a JSON object, and what is bytes behind it.

    body    the object; or, of a message with fields of bytes:
            object_len u32 | length u32 of each field of bytes | object | each field of bytes

The type hints of the fields say how they are read (`hints`).
"""

from __future__ import annotations

import dataclasses
import struct
from itertools import pairwise
from typing import Any

import orjson

from mindspore_serving.server.channel.hints import field_readers, fields_reader, json_of
from mindspore_serving.server.channel.memory import SharedMemory


class ControlCodec:
    """Writes and reads one kind of message.

    Args:
        kind: The dataclass.

    Attributes:
        name: How errors call it.

    Raises:
        UnknownHint: A field has a hint that no value can be read by.
    """

    def __init__(self, kind: type) -> None:
        readers = field_readers(kind, without=bytes)
        names = [field.name for field in dataclasses.fields(kind)]
        self.name = kind.__name__
        self._kind = kind
        self._read_fields = fields_reader(kind, readers)
        self._object_names = [name for name in names if name in readers]
        self._bytes_names = [name for name in names if name not in readers]
        self._lengths = struct.Struct(f"<{1 + len(self._bytes_names)}I")

    def parts_of(self, message: Any, memory: SharedMemory | None) -> list[bytes]:
        """The body in parts, behind an empty one for the frame's head."""
        encoded = json_of({name: getattr(message, name) for name in self._object_names})
        if not self._bytes_names:
            return [b"", encoded]
        parts = [encoded, *(getattr(message, name) for name in self._bytes_names)]
        return [b"", self._lengths.pack(*map(len, parts)), *parts]

    def read(self, body: memoryview, memory: SharedMemory | None, own: bool) -> Any:
        """The message in a body.

        Raises:
            ValueError, struct.error: The body does not hold one.
        """
        if not self._bytes_names:
            return self._kind(**self._read_fields(orjson.loads(body)))
        lengths = self._lengths.unpack_from(body)
        ends = [self._lengths.size]
        for length in lengths:
            ends.append(ends[-1] + length)
        if ends[-1] != len(body):
            raise ValueError(f"a body of {ends[-1]} bytes was announced, but it has {len(body)}")
        encoded, *parts = (body[start:end] for start, end in pairwise(ends))
        fields = self._read_fields(orjson.loads(encoded))
        return self._kind(**fields, **dict(zip(self._bytes_names, map(bytes, parts), strict=True)))
