"""Replies that are compressed."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib

import pytest

from mindspore_serving.server.transport.http_routes import HttpReply
from mindspore_serving.server.transport.reply_coding import chosen_coding, compressed


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("GZIP ; q=0.1", "gzip"),
        ("*", "gzip"),
        ("*;q=0.5, gzip;q=0", "deflate"),
        ("gzip;q=0", ""),
        ("gzip;q=x", "gzip"),
        ("gzip;q=1.2.3", ""),
        ("identity", ""),
        ("br", ""),
        ("", ""),
    ],
)
def test_the_coding_that_a_client_likes_best(accepted: str, coding: str) -> None:
    assert chosen_coding(accepted) == coding


@pytest.mark.parametrize(("coding", "undo"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_reply_is_compressed(coding: str, undo: type[bytes]) -> None:
    body = os.urandom(1000) * 500
    reply = asyncio.run(compressed(HttpReply(200, body, headers=(("A", "b"),)), coding))
    assert undo(reply.body) == body
    assert len(reply.body) < len(body)
    assert reply.headers == (("A", "b"), ("Content-Encoding", coding), ("Vary", "Accept-Encoding"))


@pytest.mark.parametrize(("size", "accepted"), [(1023, "gzip"), (5000, None), (5000, "br")])
def test_a_reply_stays_as_it_is(size: int, accepted: str | None) -> None:
    reply = HttpReply(200, bytes(size))
    assert asyncio.run(compressed(reply, accepted)) is reply
