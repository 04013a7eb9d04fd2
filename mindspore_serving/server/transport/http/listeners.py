"""Sockets that listen for HTTP.

With TLS, connections are accepted here and not by the event loop: a client that speaks plain HTTP to the port is told
so in plain HTTP. The first byte of a connection tells the two apart, and is looked at without being taken. The time in
which a client may say nothing is that of its handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from mindspore_serving import log
from mindspore_serving.server.transport.address import SocketAddress

HANDSHAKE_S: Final = 20.0
"""Time for a client to say its first byte, and to do its handshake."""
_BACKLOG = 1024
_MOST_AT_ONCE = 64
"""Connections that are accepted before others have their turn."""
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE_S = 1.0
"""How long nothing is accepted where the system has no room."""
_LEAVE_S = 2.0
"""How long a client that was told that it speaks to the wrong port may go on sending."""
_HANDSHAKE_BYTE = 0x16
_TEXT = b"This port speaks HTTPS only: use https:// in place of http://\n"
_PLAIN_REPLY = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_TEXT), _TEXT)
)
_ANY_HOST = ("0.0.0.0", "::")  # asked for by the user
ConnectionFactory = Callable[[], asyncio.Protocol]


class Listener(Protocol):
    """What listens."""

    def close(self) -> None:
        """Accept no further connection."""


def bound_sockets(address: SocketAddress) -> list[socket.socket]:
    """Sockets at all addresses of a host.

    The event loop could look the host up, but in threads of its library, and a forked child of the user's script that
    leaves by `sys.exit` crashes over these.

    Args:
        address: `0.0.0.0` and `::` both mean all addresses, of IPv4 and of IPv6, as they do for gRPC.

    Raises:
        OSError, OverflowError, UnicodeError: There is no such host, or an address cannot be bound.
    """
    if address.host in _ANY_HOST and (every := _bound_everywhere(address.port)) is not None:
        return [every]
    bound: list[socket.socket] = []
    with contextlib.ExitStack() as on_error:
        for family, kind, protocol, _, place in socket.getaddrinfo(
            *address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            listener = on_error.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(place)
            bound.append(listener)
        on_error.pop_all()
    return bound


def _bound_everywhere(port: int) -> socket.socket | None:
    """A socket at all addresses; None where the system has no IPv6.

    Raises:
        OSError, OverflowError: The port cannot be bound.
    """
    try:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return None
    with contextlib.ExitStack() as on_error:
        on_error.enter_context(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind(("::", port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:  # IPv6 is switched off
                return None
            raise
        on_error.pop_all()
    return listener


async def listen(bound: socket.socket, factory: ConnectionFactory, tls: ssl.SSLContext | None) -> Listener:
    """Accept connections.

    Args:
        bound: Where; it is closed with the listener.
        factory: Makes the protocol of each connection.
        tls: TLS; None for plain HTTP.
    """
    loop = asyncio.get_running_loop()
    if tls is None:
        return await loop.create_server(factory, sock=bound, backlog=_BACKLOG)
    return TlsListener(bound, factory, tls, loop)


class TlsListener:
    """Accepts connections, and tells those that do not speak TLS that they should.

    Args:
        bound: Where.
        factory: Makes the protocol of each connection, once its handshake is done.
        tls: TLS.
        loop: On which it runs.
    """

    def __init__(
        self,
        bound: socket.socket,
        factory: ConnectionFactory,
        tls: ssl.SSLContext,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._socket = bound
        self._factory = factory
        self._tls = tls
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        bound.setblocking(False)
        bound.listen(_BACKLOG)
        self._resume()

    def close(self) -> None:
        """Accept no further connection, and end those that are not through their handshake."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for task in self._tasks:
            task.cancel()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                log.error("REST cannot accept connections: %s", error)
                self._loop.remove_reader(self._socket.fileno())
                self._pause = self._loop.call_later(_PAUSE_S, self._resume)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._begin(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, accepted: socket.socket) -> None:
        """Begin a connection, which is closed unless its client comes through the handshake."""
        until = self._loop.time() + HANDSHAKE_S
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(accepted)
            # Whatever a stranger does wrong is no error of the server.
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._readable(accepted), HANDSHAKE_S)
                first = accepted.recv(1, socket.MSG_PEEK)
                if first and first[0] != _HANDSHAKE_BYTE:
                    await self._tell(accepted)
                elif first:
                    on_failure.pop_all()  # it is the transport's from now on
                    await self._loop.connect_accepted_socket(
                        self._factory,
                        accepted,
                        ssl=self._tls,
                        ssl_handshake_timeout=max(until - self._loop.time(), 0.001),
                    )

    async def _tell(self, accepted: socket.socket) -> None:
        """Answer plain HTTP, and let the client read it before the connection ends."""
        accepted.send(_PLAIN_REPLY)
        accepted.shutdown(socket.SHUT_WR)

        async def until_gone() -> None:
            await self._readable(accepted)
            while accepted.recv(1 << 16):
                await self._readable(accepted)

        await asyncio.wait_for(until_gone(), _LEAVE_S)

    async def _readable(self, accepted: socket.socket) -> None:
        ready = self._loop.create_future()
        number = accepted.fileno()
        self._loop.add_reader(number, _set, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(number)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
