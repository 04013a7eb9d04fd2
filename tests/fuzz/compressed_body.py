"""A compressed REST body; the first byte chooses the coding."""

from __future__ import annotations

import gzip
import zlib

from mindspore_serving.errors import InvalidInput, MessageTooLarge, UnsupportedCoding
from mindspore_serving.server.transport.content_coding import decompress_body
from tests.fuzz.oracle import demand, demand_text

LIMIT = 1 << 16
_CODINGS = (b"gzip", b"deflate", b" X-Gzip ", b"identity", b"br")


def one_input(data: bytes) -> None:
    """Decompress a body."""
    coding, body = _CODINGS[data[0] % len(_CODINGS)] if data else b"", data[1:]
    try:
        got = decompress_body(body, coding, LIMIT)
    except UnsupportedCoding as error:
        demand(coding == b"br" and "br" in demand_text(error), "a coding that is known is read", error)
    except MessageTooLarge as error:
        demand(str(LIMIT) in demand_text(error), "the limit is named", error)
    except InvalidInput as error:
        demand_text(error)
        demand(_reference(body, coding) is None, "what the library reads is read", error)
    else:
        demand(coding == b"identity" or len(got) <= LIMIT, "the limit holds", len(got))
        expected = _reference(body, coding)
        demand(expected in (None, got), "it is what the library reads", got, expected)


def _reference(body: bytes, coding: bytes) -> bytes | None:
    """The body, where the library's own functions for the coding read it and no more than this; else None."""
    if coding in (b"", b"identity") or not body:
        return body
    try:
        if coding == b"deflate":
            return zlib.decompress(body) if len(body) < LIMIT // 1100 else None
        expected = gzip.decompress(body) if len(body) < LIMIT // 1100 else None
        # The module gzip passes over zeros behind the last member.
        return expected if body[-1] else None
    except (zlib.error, OSError, EOFError):
        return None
