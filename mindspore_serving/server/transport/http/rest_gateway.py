"""The HTTP server that listens, and what is common to its connections.

`HttpConnection` speaks HTTP, `Answering` has dialects answer requests; here is what stands between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Sequence

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.host.heap import give_back_freed_memory
from mindspore_serving.server.host.port_owner import bind_fault
from mindspore_serving.server.host.settings import DEFAULT_WORKER_TIMEOUT_S
from mindspore_serving.server.transport.address import (
    QUIET_S,
    STOP_GRACE_S,
    SocketAddress,
    parse_socket_address,
)
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.http.http_connection import HttpConnection
from mindspore_serving.server.transport.http.http_reader import (
    HttpLimits,
    Refusal,
)
from mindspore_serving.server.transport.http.http_reader import (
    HttpRequest as ReadRequest,
)
from mindspore_serving.server.transport.http.http_reply import HttpReply as WrittenReply
from mindspore_serving.server.transport.http.http_reply import ReplyHeads
from mindspore_serving.server.transport.request_id import ID_FIELD
from mindspore_serving.server.transport.request_timeout import TIMEOUT_FIELD
from mindspore_serving.server.transport.routes import Dialect, HttpReply, HttpRequest
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies, room_for_bodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies, untaken_replies

_TAG = "RESTful server"
_BACKLOG = 1024
_CHECK_PERIOD_S = 1.0
_HANDSHAKE_S = 20.0
_MOST_TOLD = 100
_TOLD_SHARE = 8
"""Connections above the limit, as a share of it, that are told so at a time; others are closed without a word."""


def check_rest_address(address: str) -> None:
    """Check an address of the form `ip:port`.

    Raises:
        StartUpError: It has another form.
    """
    if address.startswith("unix:"):
        raise StartUpError("Serving Error: RESTful server does not support binding to unix domain socket")
    parse_socket_address(address, _TAG)


class RestHandler:
    """Puts the requests of connections as dialects read them, and their replies as connections write them.

    Args:
        answering: Answers them.
    """

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    def answer(self, request: ReadRequest, connection: HttpConnection) -> asyncio.Future[HttpReply]:
        """Answer a request."""
        asked = _asked(request, connection)
        found = self._answering.find(asked.verb, asked.target)
        return asyncio.ensure_future(self._answering.answer(found, asked, connection))

    def finish(
        self, future: asyncio.Future[HttpReply], request: ReadRequest, connection: HttpConnection
    ) -> WrittenReply:
        """The reply to a request."""
        return _written(future.result())

    def open_to_all(self, verb: bytes, target: bytes) -> bool:
        """Whether everybody may ask that, also without a key."""
        return self._answering.find(verb.decode(), target.decode(errors="replace")).is_open

    def refuse(self, refusal: Refusal, connection: HttpConnection) -> WrittenReply:
        """The reply to what is not read as a request."""
        status, text, request = refusal
        return _written(self._answering.refuse(status, text, _asked(request, connection)))


def _asked(request: ReadRequest, connection: HttpConnection) -> HttpRequest:
    headers = {}
    if request.content_type:
        headers["content-type"] = request.content_type.decode("latin-1")
    if request.coding:
        headers["content-encoding"] = request.coding.decode("latin-1")
    if request.timeout_ms is not None:
        headers[TIMEOUT_FIELD] = request.timeout_ms.decode("latin-1")
    if request.given_id:
        headers[ID_FIELD] = request.given_id.decode("latin-1")
    return HttpRequest(
        request.method.decode(errors="replace"),
        request.target.decode(errors="replace"),
        headers,
        connection.peer,
        not request.stranger,
        body=request.body,
    )


def _written(reply: HttpReply) -> WrittenReply:
    status, body, content_type, headers = reply[:4]
    fields, name = b"", b""
    for key, value in headers:
        if key == "X-Request-Id":  # differs from reply to reply, so it is no part of the heads that are kept
            name = value.encode()
        else:
            fields += f"{key}: {value}\r\n".encode()
    return WrittenReply(status, body, fields, name, content_type)


class RestServer:
    """One listening REST server.

    Args:
        dialects: What it speaks.
        address: `ip:port`.
        limits: What clients may take.
        tls: TLS; None for plain HTTP.
        guard: Decides who is let in; None lets everybody in.
        unfinished: Bounds what the bodies come to that are being received; None for a share of the memory.
        untaken: Bounds what the replies come to that clients do not take; None for a share of the memory.
        silence_s: Seconds without a sign of life after which the process that reads large bodies is replaced.
    """

    def __init__(
        self,
        dialects: Sequence[Dialect],
        address: str,
        limits: HttpLimits,
        tls: ssl.SSLContext | None,
        guard: Guard | None = None,
        unfinished: UnfinishedBodies | None = None,
        untaken: UntakenReplies | None = None,
        silence_s: float = DEFAULT_WORKER_TIMEOUT_S,
    ) -> None:
        self.address = address
        self._guard = guard
        self._tls = tls
        self._limits = limits
        self._unfinished = unfinished or UnfinishedBodies(room_for_bodies(limits.body_bytes))
        self._untaken = untaken or untaken_replies(limits.body_bytes)
        self._bodies = BodyReader(limits.body_bytes, self._unfinished, silence_s)
        self._handler = RestHandler(Answering(dialects, self._bodies, self._untaken, FailureLog()))
        self._heads = ReplyHeads(time.time())
        self._connections: set[HttpConnection] = set()
        self._surplus: set[HttpConnection] = set()
        self._turned_away = 0
        self._crowded = False
        self._no_connections = asyncio.Event()
        self._no_connections.set()
        self._draining = False
        self._servers: list[asyncio.AbstractServer] = []
        self._checks: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            StartUpError: The address cannot be bound.
        """
        loop = asyncio.get_running_loop()

        def connection() -> HttpConnection:
            return HttpConnection(
                self._handler,
                self._limits,
                self._heads,
                self._opened,
                self._closed,
                loop.time,
                self._guard,
                self._unfinished,
                self._untaken,
            )

        try:
            for listener in _bound(parse_socket_address(self.address, _TAG)):
                self._servers.append(
                    await loop.create_server(
                        connection,
                        sock=listener,
                        ssl=self._tls,
                        ssl_handshake_timeout=_HANDSHAKE_S if self._tls else None,
                        backlog=_BACKLOG,
                    )
                )
        except (OSError, OverflowError, UnicodeError) as cause:
            self._close_listeners()
            raise StartUpError(
                f"Serving Error: RESTful server start failed, bind to the socket address {self.address} failed"
                f"{bind_fault(self.address, cause)}"
            ) from cause
        self._check_connections()

    def drain(self) -> None:
        """Close idle connections, and each other one with the reply to what is under way on it or comes next."""
        self._draining = True
        for connection in tuple(self._connections):
            connection.drain()

    async def hand_over(self) -> None:
        """Let connections that the system has accepted get their refusal: a socket that is closed cuts them off."""
        await asyncio.sleep(QUIET_S)

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Refuse new requests, let those under way finish shortly, and close. Safe to call twice.

        Args:
            grace_s: How long a reply may take, at least `STOP_GRACE_S`; a later call with less shortens it.
        """
        self._close_listeners()
        self._draining = True
        await self._bodies.stop()
        for connection in tuple(self._connections):
            connection.stop()
        await self._wait_for_no_connections(STOP_GRACE_S)
        for connection in tuple(self._connections):
            if not connection.owes_reply:
                connection.abort()
        await self._wait_for_no_connections(grace_s - STOP_GRACE_S)
        for connection in tuple(self._connections):
            connection.abort()
        await self._wait_for_no_connections(STOP_GRACE_S)
        if self._checks is not None:
            self._checks.cancel()

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _opened(self, connection: HttpConnection) -> None:
        self._connections.add(connection)
        self._no_connections.clear()
        if len(self._connections) - len(self._surplus) > self._limits.connections:
            self._turn_away(connection)
        elif self._draining:
            connection.drain()

    def _turn_away(self, connection: HttpConnection) -> None:
        self._turned_away += 1
        self._surplus.add(connection)
        most = self._limits.connections
        if len(self._surplus) > max(1, min(_MOST_TOLD, most // _TOLD_SHARE)):
            connection.abort()
        else:
            connection.turn_away(f"Serving Error: connections count exceeds the limit {most}")

    def _closed(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        self._surplus.discard(connection)
        if not self._connections:
            self._no_connections.set()

    async def _wait_for_no_connections(self, timeout_s: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._no_connections.wait(), timeout_s)

    def _check_connections(self) -> None:
        """What all connections need once in a while, so that none has a timer of its own."""
        loop = asyncio.get_running_loop()
        self._checks = loop.call_later(_CHECK_PERIOD_S, self._check_connections)
        self._heads.set_time(time.time())
        self._bodies.check()
        now = loop.time()
        for connection in tuple(self._connections):
            connection.check(now)
        self._cut_off_stalled()
        if self._turned_away:
            most = self._limits.connections
            log.warning("REST turned away %d connections, the limit is %d", self._turned_away, most)
            self._turned_away = 0

    def _cut_off_stalled(self) -> None:
        """Close connections whose clients leave too much of their replies for too long."""
        was_crowded, self._crowded = self._crowded, self._untaken.crowded
        if was_crowded and not self._crowded:
            give_back_freed_memory()
        stalled = self._untaken.stalled()
        for connection in stalled:
            assert isinstance(connection, HttpConnection)  # nobody else has added anything
            connection.abort()
        if stalled:
            log.warning("REST closed %d connections whose clients did not take their replies", len(stalled))


def _bound(address: SocketAddress) -> list[socket.socket]:
    """Sockets at all addresses of a host.

    The event loop could look the host up, but in threads of its library, and a forked child of the user's script that
    leaves by `sys.exit` crashes over these.

    Raises:
        OSError, OverflowError, UnicodeError: There is no such host, or an address cannot be bound.
    """
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
