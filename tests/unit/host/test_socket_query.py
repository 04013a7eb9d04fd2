"""The kernel is asked about one socket."""

from __future__ import annotations

import os
import socket

import pytest

from mindspore_serving.server.host.socket_query import FoundSocket, ask_for_socket

ESTABLISHED = 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_the_owner_of_each_end_of_a_connection(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
        listener.accept()[0] as accepted,
    ):
        for one, other in ((client, accepted), (accepted, client)):
            found = ask_for_socket(one.getsockname()[:2], other.getsockname()[:2])
            assert found == FoundSocket(ESTABLISHED, os.geteuid())


def test_a_client_of_ipv6_that_reaches_an_address_of_ipv4() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_INET6) as client,
    ):
        client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        with listener.accept()[0] as accepted:
            own, peer = accepted.getsockname(), accepted.getpeername()
            assert ask_for_socket(peer, own) == FoundSocket(ESTABLISHED, os.geteuid())


def test_no_such_socket() -> None:
    assert ask_for_socket(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
