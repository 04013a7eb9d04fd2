"""Compressed request bodies."""

from __future__ import annotations

import zlib

from mindspore_serving.errors import InvalidInput, MessageTooLarge, UnsupportedCoding

_CODINGS = (b"gzip", b"x-gzip", b"deflate")
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_RAW = -zlib.MAX_WBITS


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
    name = coding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in _CODINGS:
        shown = coding.decode("latin-1")
        raise UnsupportedCoding(
            f"Content-Encoding {shown} is not supported, only gzip, deflate and identity are"
        )
    try:
        return _decompress(body, name, limit)
    except zlib.error as cause:
        raise InvalidInput(f"http message invalid, body is not {name.decode()}: {cause}") from cause


def _decompress(body: bytes, name: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    while body:  # a gzip body may have several members
        decompressor = zlib.decompressobj(_window(body, name))
        part = decompressor.decompress(body, room + 1)
        room -= len(part)
        if room < 0:
            raise MessageTooLarge(f"http message is bigger than {limit}")
        if not decompressor.eof:
            raise zlib.error("incomplete")
        parts.append(part)
        body = decompressor.unused_data
    return b"".join(parts)


def _window(body: bytes, name: bytes) -> int:
    """How zlib shall read this; many clients send `deflate` without the header that it should have."""
    if name == b"deflate" and body[0] & 0xF != 8:
        return _RAW
    return _GZIP_OR_ZLIB
