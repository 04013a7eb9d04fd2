"""Which bodies are read at once, on the event loop, and which are large; ADR 27 has the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mindspore_serving.errors import MessageTooLarge
from mindspore_serving.server.transport.content_coding import decompress_body, known_coding

SMALL_BYTES: Final = 1 << 18
"""A body of so many bytes is small, whatever it holds."""
LARGE_BYTES: Final = 1 << 23
"""JSON of more bytes is large, whatever it holds."""
_MANY_VALUES = 1 << 14
_PIECE = 1 << 16


def small_body(body: bytes, coding: str, is_quick: Callable[[bytes], bool]) -> bytes | None:
    """A body as it was meant, unless reading it takes so long that others would notice: some milliseconds.

    Args:
        body: As it was sent.
        coding: Its `Content-Encoding`, "" where there is none.
        is_quick: Whether a body of more than `SMALL_BYTES` is read in less time than that.

    Returns:
        The body; None for a large one. What is compressed and larger than `SMALL_BYTES` is large: to find out more, all
        of it would have to be decompressed.

    Raises:
        UnsupportedCoding: The coding is none of gzip, deflate and identity.
        InvalidInput: The body is not what the coding says, or not all of it.
    """
    if coding and (name := known_coding(coding.encode("latin-1", "replace"))):
        try:
            return decompress_body(body, name, SMALL_BYTES)
        except MessageTooLarge:
            return None
    return body if len(body) <= SMALL_BYTES or is_quick(body) else None


def json_is_quick(body: bytes) -> bool:
    """Whether JSON is read in no more than some milliseconds.

    What takes the time are the values, and there is a comma between any two. A tensor in base64 is one value, which is
    read in less time than it takes to pass it on.
    """
    if len(body) > LARGE_BYTES:
        return False
    commas = 0
    for begin in range(0, len(body), _PIECE):
        commas += body.count(b",", begin, begin + _PIECE)
        if commas > _MANY_VALUES:
            return False
    return True
