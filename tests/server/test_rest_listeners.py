"""Where REST listens, and who speaks plain HTTP to a port for HTTPS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from mindspore_serving.server.access.tls import SSLConfig, ssl_context
from mindspore_serving.server.transport.address import SocketAddress
from mindspore_serving.server.transport.http.listeners import TlsListener, bound_sockets, listen
from tests.support.certificates import Authority
from tests.support.serving import add_servable, free_port, serving

ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(lambda x: x, x, outputs_count=1)
"""
needs_ipv6 = pytest.mark.skipif(
    not socket.has_ipv6 or not Path("/proc/net/if_inet6").read_text().strip(), reason="there is no IPv6 here"
)


class Greeter(asyncio.Protocol):
    """Greets who asks for it."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"hello")
        self.transport.close()


async def greet(place: str, port: int, tls: ssl.SSLContext | None = None) -> None:
    reader, writer = await asyncio.open_connection(place, port, ssl=tls)
    await asyncio.sleep(0)  # the server is done with the handshake, too
    writer.write(b"?")
    assert await reader.read() == b"hello"
    writer.close()


def run(scene: Coroutine[Any, Any, None]) -> None:
    loop = uvloop.new_event_loop()
    loop.run_until_complete(asyncio.wait_for(scene, 20))
    loop.close()


@needs_ipv6
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses_are_those_of_ipv4_and_ipv6(host: str) -> None:
    async def scene() -> None:
        port = free_port()
        [bound] = bound_sockets(SocketAddress(host, port))
        listener = await listen(bound, Greeter, None)
        for place in ("127.0.0.1", "::1"):
            await greet(place, port)
        with pytest.raises(OSError, match="in use"):
            bound_sockets(SocketAddress(host, port))
        listener.close()

    run(scene())


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_one_address_is_that_alone(host: str) -> None:
    [bound] = bound_sockets(SocketAddress(host, free_port()))
    with bound:
        assert bound.getsockname()[0] == host


@needs_ipv6
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_grpc_and_rest_mean_the_same_addresses(tmp_path: Path, host: str) -> None:
    add_servable(tmp_path, "one", ECHO)
    rest, grpc = free_port(), free_port()
    settings = f"server.start_restful_server('{host}:{rest}')\nserver.start_restful_server = print\n"
    with serving(tmp_path, ['".", "one", 0'], settings=settings, grpc=f"{host}:{grpc}"):
        for port in (rest, grpc):
            for place in ("127.0.0.1", "::1"):
                with socket.create_connection((place, port), timeout=10):
                    pass


Scene = Callable[[int, ssl.SSLContext, TlsListener], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    """Run a scene with a listener for TLS: its port, a client's context, and itself."""
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    trusting = ssl.create_default_context(cafile=authority.certificate)
    trusting.check_hostname = False

    def played(scene: Scene) -> None:
        async def whole() -> None:
            loop = asyncio.get_running_loop()
            failures: list[Any] = []
            loop.set_exception_handler(lambda _, context: failures.append(context))
            port = free_port()
            [bound] = bound_sockets(SocketAddress("127.0.0.1", port))
            tls = ssl_context(SSLConfig(pair.certificate, pair.private_key))
            listener = await listen(bound, Greeter, tls)
            assert isinstance(listener, TlsListener)
            try:
                await scene(port, trusting, listener)
            finally:
                listener.close()
                listener.close()
            assert failures == []

        run(whole())

    return played


def test_plain_http_gets_a_sentence_and_tls_its_connection(play: Callable[[Scene], None]) -> None:
    async def scene(port: int, tls: ssl.SSLContext, _: TlsListener) -> None:
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"P", b"\0nonsense", b"x" * 100_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            reply = await reader.read()
            assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"\r\nConnection: close\r\n" in reply
            assert reply.endswith(b"This port speaks HTTPS only: use https:// in place of http://\n")
            writer.close()
        await greet("127.0.0.1", port, tls)

    play(scene)


def test_who_says_nothing_or_leaves_disturbs_nobody(play: Callable[[Scene], None]) -> None:
    async def scene(port: int, tls: ssl.SSLContext, _: TlsListener) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        silent[1][1].transport.abort()
        silent[2][1].write(b"\x16\x03")  # begins a handshake
        for _ in range(3):
            await greet("127.0.0.1", port, tls)
        for _, writer in silent:
            writer.close()

    play(scene)


def test_a_listener_that_is_closed_ends_who_is_not_through_its_handshake(
    play: Callable[[Scene], None],
) -> None:
    async def scene(port: int, tls: ssl.SSLContext, listener: TlsListener) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await greet("127.0.0.1", port, tls)  # so the first one was accepted before
        listener.close()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)

    play(scene)


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01"])
def test_a_handshake_has_its_time(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr("mindspore_serving.server.transport.http.listeners.HANDSHAKE_S", 0.2)

    async def scene(port: int, tls: ssl.SSLContext, _: TlsListener) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    play(scene)
