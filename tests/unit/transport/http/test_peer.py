"""Whose process a client of HTTP is."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from mindspore_serving.server.transport.http.peer import ForeignConnection, is_own_user
from mindspore_serving.server.transport.http_routes import HttpRequest


class Transport:
    """A transport over a socket."""

    def __init__(self, link: socket.socket | None, **info: Any) -> None:
        self._info: dict[str, Any] = {"socket": link, **info}

    def get_extra_info(self, name: str) -> Any:
        return self._info.get(name)


def told(transport: Transport | None) -> bool:
    asked = cast("asyncio.BaseTransport | None", transport)
    request = HttpRequest("GET", "/", {}, connection=ForeignConnection(asked))
    assert request.peer_is_own_user() is is_own_user(asked)
    return request.peer_is_own_user()


def test_a_client_over_the_loopback_interface() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as link,
    ):
        assert told(Transport(link, sockname=link.getsockname(), peername=link.getpeername()))
        assert not told(Transport(link, sockname=link.getsockname(), peername=("127.0.0.1", 1)))


def test_a_client_over_a_unix_socket() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert told(Transport(one, sockname="", peername=""))
    assert not told(Transport(one, sockname="", peername=""))


@pytest.mark.parametrize(
    "transport", [None, Transport(None), Transport(None, sockname=("10.0.0.1", 1), peername=("10.0.0.2", 2))]
)
def test_others_are_not_taken_for_this_user(transport: Transport | None) -> None:
    assert not told(transport)


def test_a_page_in_a_browser_of_this_user_is_a_stranger() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        connection = ForeignConnection(cast("asyncio.BaseTransport", Transport(one)))
        for headers, expected in (
            ({}, True),
            ({"origin": "https://example.org"}, False),
            ({"origin": "null"}, False),
        ):
            assert HttpRequest("POST", "/", headers, connection=connection).peer_is_own_user() is expected


def test_a_request_without_connection_is_nobodys() -> None:
    assert not HttpRequest("GET", "/", {}).peer_is_own_user()
