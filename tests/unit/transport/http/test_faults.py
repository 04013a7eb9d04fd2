"""What is wrong with the head of a request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mindspore_serving.server.transport.http.limits import HttpLimits
from tests.support.http_peer import Peer, close_peers


@pytest.fixture(autouse=True)
def _closed_peers() -> Iterator[None]:
    yield
    close_peers()


@pytest.mark.parametrize(
    ("length", "body", "reply"),
    [
        (b"0" * 5000 + b"3", b"one", (200, b"POST /x  one")),
        (b"0" * 5000, b"", (200, b"POST /x  ")),
        (b"0" * 5000 + b"9" * 18, b"", (413, b"http message is bigger than")),
    ],
)
def test_a_length_may_begin_with_zeros(length: bytes, body: bytes, reply: tuple[int, bytes]) -> None:
    peer = Peer(HttpLimits(body_bytes=1000))
    peer.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + b"\r\n\r\n")
    peer.send(body)
    [(status, text)] = peer.replies
    assert status == reply[0]
    assert text.startswith(reply[1])
