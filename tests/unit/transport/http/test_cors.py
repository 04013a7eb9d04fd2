"""Which pages may ask, and what a browser is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.transport.http.cors import Cors
from tests.support.http_peer import Peer, close_peers

PAGE = b"https://page.example"
KEY = "0123456789-this-is-the-key"
ASKED = b"POST /model/a:b HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\nContent-Length: 3\r\n\r\none"
PREFLIGHT = (
    b"OPTIONS /model/a:b HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\nAccess-Control-Request-Method: POST\r\n"
    b"Access-Control-Request-Headers: content-type, x-api-key\r\n\r\n"
)


@pytest.fixture(autouse=True)
def _closed_peers() -> Iterator[None]:
    yield
    close_peers()


def lines_of(peer: Peer) -> dict[bytes, bytes]:
    lines = (line.partition(b": ") for line in peer.heads[-1].splitlines()[1:])
    return {name: value for name, _, value in lines if name.startswith((b"Access", b"Vary", b"Allow"))}


@pytest.mark.parametrize("origins", [["https://page.example"], ["http://other:80", "HTTPS://Page.example"]])
def test_a_page_that_is_listed_sees_replies(origins: list[str]) -> None:
    peer = Peer(cors=Cors(origins))
    peer.send(ASKED % PAGE)
    assert peer.replies == [(200, b"POST /model/a:b  one")]
    assert lines_of(peer) == {
        b"Access-Control-Allow-Origin": PAGE,
        b"Access-Control-Expose-Headers": b"X-Request-Id, X-Serving-Version, Retry-After, Allow",
        b"Vary": b"Origin",
    }


@pytest.mark.parametrize("data", [ASKED % b"https://elsewhere", ASKED.replace(b"Origin: %b\r\n", b"")])
def test_others_are_answered_and_see_nothing(data: bytes) -> None:
    peer = Peer(cors=Cors(["https://page.example"]))
    peer.send(data)
    assert peer.replies == [(200, b"POST /model/a:b  one")]
    assert lines_of(peer) == {b"Vary": b"Origin"}


def test_all_pages() -> None:
    peer = Peer(cors=Cors(["*"]))
    peer.send(ASKED % PAGE)
    assert lines_of(peer)[b"Access-Control-Allow-Origin"] == b"*"
    assert b"Vary" not in lines_of(peer)


def test_without_origins_nothing_is_said() -> None:
    peer = Peer()
    peer.send(ASKED % PAGE)
    assert lines_of(peer) == {}


def test_a_refusal_is_seen_too() -> None:
    peer = Peer(cors=Cors(["*"]))
    peer.send(ASKED.replace(b"3\r\n\r\none", b"9999\r\n\r\n") % PAGE)
    assert peer.refusal[0] == 413
    assert lines_of(peer)[b"Access-Control-Allow-Origin"] == b"*"


def test_a_preflight_needs_no_key_and_is_answered_without_a_dialect() -> None:
    peer = Peer(cors=Cors(["https://page.example"]), guard=Guard(ApiKeys([KEY]), ()))
    peer.send(PREFLIGHT % PAGE)
    assert peer.replies == [(200, b"")]
    assert lines_of(peer) == {
        b"Access-Control-Allow-Origin": PAGE,
        b"Access-Control-Allow-Methods": b"GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS",
        b"Access-Control-Allow-Headers": b"content-type, x-api-key",
        b"Access-Control-Expose-Headers": b"X-Request-Id, X-Serving-Version, Retry-After, Allow",
        b"Access-Control-Max-Age": b"600",
        b"Allow": b"GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS",
        b"Vary": b"Origin",
    }
    peer.send(ASKED % PAGE)
    assert [status for status, _ in peer.replies] == [200, 401]
    assert not peer.asked


def test_a_preflight_of_another_page_allows_nothing() -> None:
    peer = Peer(cors=Cors(["https://page.example"]))
    peer.send(PREFLIGHT % b"https://elsewhere")
    assert peer.replies == [(200, b"")]
    assert lines_of(peer) == {b"Vary": b"Origin"}


@pytest.mark.parametrize("request_", [PREFLIGHT % PAGE, ASKED % PAGE])
def test_routes_of_the_users_own_are_shared_too(request_: bytes) -> None:
    from aiohttp import web

    async def own(_: web.Request) -> web.Response:
        return web.Response(text="own")

    peer = Peer(cors=Cors(["*"]), change=lambda application: application.router.add_post("/model/a:b", own))
    peer.send(request_)
    assert peer.replies[0][0] == 200
    assert lines_of(peer)[b"Access-Control-Allow-Origin"] == b"*"


@pytest.mark.parametrize(
    ("origins", "text"),
    [
        ("*", r"'cors_origins' should be a list of origins, .* but got '\*'"),
        ([], "should be a list of origins"),
        ({"https://a"}, "should be a list of origins"),
        (1, "should be a list of origins"),
        ([1], "should be '\\*' or an origin, .* but got 1"),
        (["page.example"], "but got 'page.example'"),
        (["https://page.example/"], "without a path"),
        (["https://a, https://b"], "without a path"),
        (["https://a\r\nb"], "without a path"),
    ],
)
def test_what_is_no_list_of_origins(origins: Any, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        Cors(origins)
