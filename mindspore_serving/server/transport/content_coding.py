"""Compressed request bodies."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from mindspore_serving.errors import InvalidInput, MessageTooLarge, UnsupportedCoding, excerpt

_CODINGS = (b"gzip", b"x-gzip", b"deflate")
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_RAW = -zlib.MAX_WBITS
_PIECE = 1 << 16
"""Bytes that zlib is given at a time: it copies those that it does not use, which belong to the next member."""
_MOST_AT_ONCE = 1 << 20
"""Bytes that may come out at a time: some milliseconds."""
_MOST_MEMBERS = 10_000
"""Members of a body; they cost time, and those that are empty fit into 20 bytes."""


def decompress_body(body: bytes, coding: bytes, limit: int) -> bytes:
    """The body that was meant.

    Args:
        body: As it was sent.
        coding: Value of `Content-Encoding`.
        limit: Largest decompressed body; no more than this is ever held.

    Raises:
        UnsupportedCoding: It is none of gzip, deflate and identity.
        InvalidInput: The body is not what the coding says, or not all of it.
        MessageTooLarge: It is larger once decompressed.
    """
    name = known_coding(coding)
    if not name:
        return body
    try:
        return b"".join(decompressed_parts(body, name, limit))
    except zlib.error as cause:
        raise InvalidInput(f"http message invalid, body is not {name.decode()}: {cause}") from cause


def known_coding(coding: bytes) -> bytes:
    """The name of a coding; b"" for none.

    Args:
        coding: Value of `Content-Encoding`.

    Raises:
        UnsupportedCoding: It is none of gzip, deflate and identity.
    """
    name = coding.strip().lower()
    if name in (b"", b"identity"):
        return b""
    if name not in _CODINGS:
        shown = excerpt(coding.decode("latin-1"))
        raise UnsupportedCoding(
            f"Content-Encoding {shown} is not supported, only gzip, deflate and identity are"
        )
    return name


def decompressed_parts(body: bytes, name: bytes, limit: int) -> Iterator[bytes]:
    """What was compressed, piece by piece, each so small that others need not wait for it.

    Args:
        body: All of it.
        name: From `known_coding`.
        limit: Most bytes that may come out.

    Raises:
        zlib.error: The bytes are not what the name says, or not all of it.
        MessageTooLarge: There are more.
    """
    rest, room, members = memoryview(body), limit, 0
    while rest:  # a gzip body may have several members
        members += 1
        if members > _MOST_MEMBERS:
            raise zlib.error(f"more than {_MOST_MEMBERS} members")
        decompressor = zlib.decompressobj(_window(rest, name))
        piece: bytes | memoryview = b""
        full = False  # zlib may hold more of what it was given
        while not decompressor.eof:
            if not piece and not full:
                if not rest:
                    raise zlib.error("incomplete")
                piece, rest = rest[:_PIECE], rest[_PIECE:]
            most = min(room + 1, _MOST_AT_ONCE)
            part = decompressor.decompress(piece, most)
            piece, full = decompressor.unconsumed_tail, len(part) == most
            room -= len(part)
            if room < 0:
                raise MessageTooLarge(f"http message is bigger than {limit}")
            yield part
        rest = memoryview(body)[len(body) - len(rest) - len(decompressor.unused_data) :]


def _window(body: memoryview, name: bytes) -> int:
    """How zlib shall read this; many clients send `deflate` without the header that it should have."""
    if name == b"deflate" and body[0] & 0xF != 8:
        return _RAW
    return _GZIP_OR_ZLIB
