"""What a connection does around handlers of the user's own, where they do what they should not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from mindspore_serving.server.transport.http.cors import Cors
from tests.support.http_peer import Peer, close_peers

OFFER = b"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\n"
ASKED = b"POST /later-on HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo"


@pytest.fixture(autouse=True)
def _closed_peers() -> Iterator[None]:
    yield
    close_peers()


async def upload(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def forgetful(_: web.Request) -> Any:
    return None


async def for_all(_: web.Request) -> web.Response:
    return web.Response(body=b"all", headers={"Access-Control-Allow-Origin": "*"})


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"some")
    return response


def with_routes(application: web.Application) -> None:
    application.router.add_post("/upload", upload)
    application.router.add_get("/forgetful", forgetful)
    application.router.add_get("/for-all", for_all)
    application.router.add_get("/stream", stream)


@pytest.mark.parametrize(("path", "reply"), [(b"/upload", b"one"), (b"/model", b"POST /model  one")])
def test_a_body_behind_an_offer_that_comes_in_pieces_is_read(path: bytes, reply: bytes) -> None:
    """`_offer_further` may not end the reading: the rest of the body would never come."""
    peer = Peer(change=with_routes)
    peer.send(b"POST " + path + b" HTTP/1.1\r\n" + OFFER + b"o")
    peer.send(b"ne" + ASKED)
    assert peer.replies == [(200, reply), (200, b"POST /later-on  two")]


def test_a_handler_that_returns_nothing_gets_500() -> None:
    """As aiohttp answers it; the client is not cut off without a word."""
    peer = Peer(change=with_routes)
    peer.send(b"GET /forgetful HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [status for status, _ in peer.replies] == [500]


def test_what_a_handler_says_itself_of_pages_is_not_said_twice() -> None:
    """The application says it where the user has not; `finish_response` has nothing to add."""
    peer = Peer(change=with_routes, cors=Cors(["http://page"]))
    peer.send(b"GET /for-all HTTP/1.1\r\nHost: a\r\nOrigin: http://page\r\n\r\n")
    assert peer.transport.written.count(b"Access-Control-Allow-Origin:") == 1


def test_a_stream_to_a_client_of_http_1_0_ends_with_the_connection() -> None:
    """aiohttp says no `Connection: keep-alive` with it, and there are no chunks that would end."""
    peer = Peer(change=with_routes)
    peer.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert peer.transport.written.endswith(b"\r\n\r\nsome")
    assert peer.transport.closed == "closed"
