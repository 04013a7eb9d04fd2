"""Connections of this process, found by the addresses of their clients."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections

LISTENERS = {
    "ipv4": ("127.0.0.1", "ipv4:127.0.0.1:{}", "127.0.0.1"),
    "ipv6": ("::1", "ipv6:%5B::1%5D:{}", "::1"),
    "ipv4 on ipv6": ("::", "ipv4:127.0.0.1:{}", "127.0.0.1"),
}


@pytest.fixture(params=LISTENERS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket, str]]:
    """Both ends of a connection, and its client as gRPC writes it."""
    host, name, target = LISTENERS[request.param]
    with ExitStack() as opened:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = opened.enter_context(
                socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
            )
        except OSError:
            pytest.skip("this machine has no IPv6")
        client = opened.enter_context(socket.create_connection((target, listener.getsockname()[1])))
        server = opened.enter_context(listener.accept()[0])
        yield client, server, name.format(client.getsockname()[1])


def test_what_has_come_and_the_end(pair: tuple[socket.socket, socket.socket, str]) -> None:
    client, server, name = pair
    connections = TcpConnections()
    assert connections.received(name) == 0
    client.sendall(b"a" * 1000)
    assert server.recv(1, socket.MSG_PEEK) == b"a"
    assert connections.received(name) == 1000
    assert connections.close(name)
    assert client.recv(1) == b""
    server.close()
    assert connections.received(name) is None
    assert not connections.close(name)


@pytest.mark.parametrize(
    "name", ["unix:", "unix:/tmp/a", "ipv4:127.0.0.1:1", "ipv4:127.0.0.1", "", "ipv4:a:b"]
)
def test_what_is_no_connection(name: str) -> None:
    assert TcpConnections().received(name) is None
    assert not TcpConnections().close(name)


def test_a_search_rests_after_it() -> None:
    times = iter((0.0, 1.0, 1.0, 10.0, 30.0, 30.0, 30.0))
    connections = TcpConnections(lambda: next(times))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert connections.received("ipv4:127.0.0.1:1") is None  # took a second
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0]:
            name = f"ipv4:127.0.0.1:{client.getsockname()[1]}"
            assert connections.received(name) is None
            assert connections.received(name) == 0
