"""Replies that are compressed, where clients ask for that."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Final

from mindspore_serving.server.transport.http_routes import HttpReply

_LEAST_BYTES: Final = 1 << 10
"""Smaller replies gain nothing."""
_AT_ONCE: Final = 1 << 17
"""Bytes that are compressed without a turn of others: about a millisecond."""
_LEVEL: Final = 1
_WINDOWS: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_WEIGHT = re.compile(r"\s*q\s*=\s*([0-9.]+)\s*")


async def compressed(reply: HttpReply, accepted: str | None) -> HttpReply:
    """A reply in the coding that its client likes best.

    Args:
        reply: It.
        accepted: Value of `Accept-Encoding`; None where there is none.
    """
    coding = chosen_coding(accepted) if accepted else ""
    if not coding or len(reply.body) < _LEAST_BYTES:
        return reply
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    view = memoryview(reply.body)
    parts = []
    for start in range(0, len(view), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        parts.append(compressor.compress(view[start : start + _AT_ONCE]))
    parts.append(compressor.flush())
    headers = (*reply.headers, ("Content-Encoding", coding), ("Vary", "Accept-Encoding"))
    return reply._replace(body=b"".join(parts), headers=headers)


def chosen_coding(accepted: str) -> str:
    """The coding that a client likes best: `gzip` or `deflate`, "" for none.

    Args:
        accepted: Value of `Accept-Encoding`.
    """
    weights: dict[str, float] = {}
    for item in accepted.lower().split(","):
        name, _, rest = item.partition(";")
        weights[name.strip()] = _weight(rest)
    others = weights.get("*", 0.0)
    best = max(_WINDOWS, key=lambda name: weights.get(name, others))
    return best if weights.get(best, others) > 0 else ""


def _weight(text: str) -> float:
    found = _WEIGHT.fullmatch(text)
    try:
        return float(found[1]) if found else 1.0
    except ValueError:
        return 0.0
