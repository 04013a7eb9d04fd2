"""The HTTP server that listens, and what is common to its connections.

`HttpConnection` is one connection and `Gateway` what all of them share, `Answering` has dialects answer requests,
`DialectApplication` is what aiohttp serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

from aiohttp import web

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.host.heap import give_back_freed_memory
from mindspore_serving.server.host.port_owner import bind_fault
from mindspore_serving.server.host.settings import DEFAULT_WORKER_TIMEOUT_S
from mindspore_serving.server.service.server_statistics import FrontEndStatistics
from mindspore_serving.server.transport.address import QUIET_S, STOP_GRACE_S, parse_socket_address
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.application import DialectApplication
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.http.connection import HttpConnection
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.http.gateway import Gateway
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.listeners import (
    ConnectionFactory,
    Listener,
    bound_sockets,
    listen,
)
from mindspore_serving.server.transport.http.reply_heads import ReplyHeads
from mindspore_serving.server.transport.http.shared_port import SharedPort
from mindspore_serving.server.transport.observers import Observers
from mindspore_serving.server.transport.routes import Dialect
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies, room_for_bodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies, untaken_replies

_NAME = "RESTful server"
_CHECK_PERIOD_S = 1.0
_HOOKS_S = 5.0
"""What `on_shutdown` and `on_cleanup` of the user's own may take."""
_MOST_TOLD = 100
_TOLD_SHARE = 8
"""Connections above the limit, as a share of it, that are told so at a time; others are closed without a word."""


def check_rest_address(address: str, name: str = _NAME) -> None:
    """Check an address of the form `ip:port`.

    Args:
        address: It.
        name: What error texts call the server that is to listen there.

    Raises:
        StartUpError: It has another form.
    """
    if address.startswith("unix:"):
        raise StartUpError(f"Serving Error: {name} does not support binding to unix domain socket")
    parse_socket_address(address, name)


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
        application: With the routes of the user's own; None where there are none.
        cors: Which pages of browsers may ask; None where none may.
        grpc_path: Unix socket of the gRPC server, whose clients may come to this port, too; "" where they may not.
        observers: Who is told of requests; None for nobody.
        name: What error texts call it.

    Attributes:
        address: As above.
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
        application: DialectApplication | None = None,
        cors: Cors | None = None,
        grpc_path: str = "",
        observers: Observers | None = None,
        name: str = _NAME,
    ) -> None:
        self._name = name
        self.address = address
        self._guard = guard
        self._tls = tls
        self._limits = limits
        self._unfinished = unfinished or UnfinishedBodies(room_for_bodies(limits.body_bytes))
        self._untaken = untaken or untaken_replies(limits.body_bytes)
        self._bodies = BodyReader(limits.body_bytes, self._unfinished, silence_s)
        self._answering = Answering(
            dialects, self._bodies, self._untaken, FailureLog(), observers, tls is not None
        )
        self._application = application
        self._cors = cors
        self._grpc_path = grpc_path
        self._shared: SharedPort | None = None
        self._runner: web.AppRunner | None = None
        self._heads = ReplyHeads(time.time())
        self._connections: set[HttpConnection] = set()
        self._surplus: set[HttpConnection] = set()
        self._rejected = 0
        self._crowded = False
        self._no_connections = asyncio.Event()
        self._no_connections.set()
        self._draining = False
        self._listeners: list[Listener] = []
        self._checks: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            StartUpError: The address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        application = self._application or DialectApplication(self._answering, loop)
        application.replace(self._answering)
        if self._cors is not None:
            application.show_to_pages(self._cors)
        # A client that leaves ends its handler.
        runner = self._runner = web.AppRunner(application.application, handler_cancellation=True)
        await runner.setup()
        server = runner.server
        assert server is not None  # since it is set up
        gateway = self._gateway(application, loop)

        def http() -> asyncio.Protocol:
            return HttpConnection(server, gateway, loop)

        factory: ConnectionFactory = http
        if self._grpc_path:
            self._shared = SharedPort(self._grpc_path, factory, self._limits.connections)
            factory = self._shared.connection
        try:
            for listener in bound_sockets(parse_socket_address(self.address, self._name)):
                self._listeners.append(await listen(listener, factory, self._tls))
        except (OSError, OverflowError, UnicodeError) as cause:
            self._close_listeners()
            await self._end_application()
            raise StartUpError(
                f"Serving Error: {self._name} start failed, bind to the socket address {self.address} failed"
                f"{bind_fault(self.address, cause)}"
            ) from cause
        self._check_connections()

    def _gateway(self, application: DialectApplication, loop: asyncio.AbstractEventLoop) -> Gateway:
        return Gateway(
            self._answering,
            application.finder(),
            self._limits,
            self._heads,
            loop.time,
            self._opened,
            self._closed,
            self._untaken,
            self._unfinished,
            self._guard,
            self._cors,
        )

    def statistics(self, kind: str) -> FrontEndStatistics:
        """Its connections.

        Args:
            kind: What it is called there.
        """
        return FrontEndStatistics(kind, self.address, len(self._connections), self._limits.connections)

    @property
    def refused(self) -> dict[str, int]:
        """Requests that were refused before anybody was asked, as of `ServerStatistics.refused`."""
        rejected = 0 if self._guard is None else self._guard.rejected
        return {"unauthorized": rejected, "replies": self._untaken.refused}

    def withdraw(self, dialects: Collection[Dialect]) -> None:
        """Speak some dialects no more; see `Answering.withdraw`. Of the event loop."""
        self._answering.withdraw(dialects)

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
        if self._shared is not None:
            self._shared.close()
        for connection in tuple(self._connections):
            connection.stop()
        await self._end_application()
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

    async def _end_application(self) -> None:
        """Let what the user has added end what goes on, as WebSockets, and clean up what it has opened."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await _run_hooks(runner.shutdown(), "on_shutdown")
            await _run_hooks(runner.app.cleanup(), "on_cleanup")

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _opened(self, connection: HttpConnection) -> None:
        self._connections.add(connection)
        self._no_connections.clear()
        if len(self._connections) - len(self._surplus) > self._limits.connections:
            self._reject(connection)
        elif self._draining:
            connection.drain()

    def _reject(self, connection: HttpConnection) -> None:
        self._rejected += 1
        self._surplus.add(connection)
        most = self._limits.connections
        if len(self._surplus) > max(1, min(_MOST_TOLD, most // _TOLD_SHARE)):
            connection.abort()
        else:
            connection.reject(f"Serving Error: connections count exceeds the limit {most}")

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
        if self._rejected:
            most = self._limits.connections
            log.warning("REST turned away %d connections, the limit is %d", self._rejected, most)
            self._rejected = 0

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


async def _run_hooks(hooks: Coroutine[Any, Any, None], name: str) -> None:
    """Run what the user wants to be run at the end, for as long as it may take."""
    try:
        await asyncio.wait_for(hooks, _HOOKS_S)
    except Exception as error:  # whatever they do, the server ends
        log.error("%s of the REST application failed: %r", name, error, exc_info=True)
