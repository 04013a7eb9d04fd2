"""The REST interface: POST /model/{servable}[/version/{n}]:{method}, and GET /healthz/live and /healthz/ready.

`HttpConnection` speaks HTTP; here is what a request is answered, and the server that listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from typing import TypeVar

from mindspore_serving import log
from mindspore_serving.errors import (
    Failure,
    InvalidInput,
    QueueFull,
    ServingError,
    StartUpError,
    VerbNotAllowed,
)
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.dialect.health.page import HEALTH_PATHS, HEALTH_VERBS, health_reply
from mindspore_serving.server.dialect.native.json_codec import (
    encode_failure,
    encode_reply,
    parse_body,
    read_instances,
    select_inputs,
)
from mindspore_serving.server.dialect.native.rest_url import parse_request_target, path_of
from mindspore_serving.server.dispatch.dispatcher import Route
from mindspore_serving.server.host.heap import give_back_freed_memory
from mindspore_serving.server.host.port_owner import bind_fault
from mindspore_serving.server.host.settings import DEFAULT_WORKER_TIMEOUT_S
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.transport.address import (
    QUIET_S,
    STOP_GRACE_S,
    SocketAddress,
    parse_socket_address,
)
from mindspore_serving.server.transport.failure_log import FailureLog, failures_in, unexpected_failure
from mindspore_serving.server.transport.http.body_reader import BodyReader, small_body
from mindspore_serving.server.transport.http.http_connection import HttpConnection
from mindspore_serving.server.transport.http.http_reader import (
    BUSY,
    TIMED_OUT,
    TOO_LARGE,
    UNAUTHORIZED,
    HttpLimits,
    HttpRequest,
    Refusal,
)
from mindspore_serving.server.transport.http.http_reply import HttpReply, ReplyHeads
from mindspore_serving.server.transport.request_id import request_id, usable_id
from mindspore_serving.server.transport.request_timeout import read_timeout_s
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies, room_for_bodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies, untaken_replies

_TAG = "RESTful server"
_BACKLOG = 1024
_CHECK_PERIOD_S = 1.0
_HANDSHAKE_S = 20.0
_MOST_TOLD = 100
_LARGE_RESULT_BYTES = 1 << 14
"""Bytes of results up to which there is always room for a reply."""
_TOLD_SHARE = 8
"""Connections above the limit, as a share of it, that are told so at a time; others are closed without a word."""
_RETRY_AFTER = b"Retry-After: 1\r\n"
_ALLOW_POST = b"Allow: POST\r\n"
_ALLOW_HEALTH = b"Allow: GET, HEAD\r\n"

_T = TypeVar("_T")


def check_rest_address(address: str) -> None:
    """Check an address of the form `ip:port`.

    Raises:
        StartUpError: It has another form.
    """
    if address.startswith("unix:"):
        raise StartUpError("Serving Error: RESTful server does not support binding to unix domain socket")
    parse_socket_address(address, _TAG)


class RestHandler:
    """Answers REST requests.

    Args:
        service: Where instances go.
        bodies: Reads large bodies.
        untaken: The replies that clients have not taken.
        always_ok: Say HTTP 200 also for errors.
    """

    def __init__(
        self, service: Service, bodies: BodyReader, untaken: UntakenReplies, always_ok: bool
    ) -> None:
        self._dispatcher = service.dispatcher
        self._catalog = service.catalog
        self._bodies = bodies
        self._untaken = untaken
        self._always_ok = always_ok
        self._failures = FailureLog()

    def answer(self, request: HttpRequest, connection: HttpConnection) -> HttpReply | asyncio.Future[Reply]:
        """Queue the instances of a request; errors of Serving and health checks have their reply at once."""
        try:
            return self._submit(request, connection)
        except ServingError as error:
            return self._failed(error.failure(), request, connection)
        except Exception as error:  # whatever goes wrong here, the client gets an answer
            return self._failed(unexpected_failure(error), request, connection)

    def finish(
        self, future: asyncio.Future[Reply], request: HttpRequest, connection: HttpConnection
    ) -> HttpReply:
        """The reply to a request of which the outcome of all instances is known."""
        try:
            reply = future.result()
            if not self._untaken.has_room(connection) and _byte_size(reply) >= _LARGE_RESULT_BYTES:
                raise QueueFull(self._untaken.refusal)
            status, body = encode_reply(reply)
            failures = failures_in(reply)
            name = b""
            if failures:
                name = self._note(failures, sum(group.count for group in reply), request, connection)
            elif request.given_id:
                name = usable_id(request.given_id).encode()
            return HttpReply(200 if self._always_ok else status, body, b"", name)
        except ServingError as error:
            return self._failed(error.failure(), request, connection)
        except Exception as error:  # whatever goes wrong here, the client gets an answer
            return self._failed(unexpected_failure(error), request, connection)

    def refuse(self, refusal: Refusal, connection: HttpConnection) -> HttpReply:
        """The reply to what is not read as a request; `always_ok` is about requests only."""
        status, text, request = refusal
        failure = Failure(InvalidInput.code, text, status)
        if status == UNAUTHORIZED:  # the guard counts these
            name = request_id(request.given_id).encode()
            return HttpReply(status, encode_failure(failure), b"WWW-Authenticate: Bearer\r\n", name)
        if status == BUSY:
            reply = self._failed(Failure(QueueFull.code, text, status), request, connection)
            return reply._replace(status=status, fields=_RETRY_AFTER)
        if status == TOO_LARGE and request.method != b"POST":
            failure = _other_verb(path_of(request.target)).failure()
        reply = self._failed(failure, request, connection)
        return reply if status in (TIMED_OUT, TOO_LARGE) else reply._replace(status=status)

    def _submit(self, request: HttpRequest, connection: HttpConnection) -> HttpReply | asyncio.Future[Reply]:
        if request.method != b"POST":
            return self._answer_other_verb(request)
        if not self._untaken.has_room(connection):
            raise QueueFull(self._untaken.refusal)
        timeout_s = None if request.timeout_ms is None else read_timeout_s(request.timeout_ms)
        try:
            name, called, version = parse_request_target(request.target)
            route = self._dispatcher.resolve(name, called, version)
        except ServingError:  # what else is wrong with a small request is told before that
            body = small_body(request.body, request.coding)
            if body is None:
                raise
            document = parse_body(body)
            parse_request_target(request.target)
            read_instances(document)
            raise
        self._dispatcher.check_room(route)
        body = small_body(request.body, request.coding)
        if body is None:
            return asyncio.ensure_future(self._submit_large(request, route, timeout_s))
        instances = read_instances(parse_body(body), route.method.input_types)
        blocks = select_inputs(instances, name, route.method)
        return self._dispatcher.admit(route, blocks, timeout_s)

    async def _submit_large(self, request: HttpRequest, route: Route, timeout_s: float | None) -> Reply:
        """The outcome of a request whose body is read elsewhere."""
        late = None if timeout_s is None else route.deadline_exceeded(timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self._dispatcher.reading(route) as admission:
            reading = self._bodies.read(request.body, request.coding, route.method.input_types)
            instances = await _result_until(until, late, reading)
            outcome = admission.admit(select_inputs(instances, route.servable.name, route.method))
        return await _result_until(until, late, outcome)

    def _answer_other_verb(self, request: HttpRequest) -> HttpReply:
        """The reply to a health check, which `always_ok` is not about.

        Raises:
            VerbNotAllowed: It is none.
        """
        path = path_of(request.target)
        if request.method in HEALTH_VERBS:
            reply = health_reply(path, self._catalog, details=not request.stranger)
            if reply is not None:
                return reply
        raise _other_verb(path)

    def _failed(self, failure: Failure, request: HttpRequest, connection: HttpConnection) -> HttpReply:
        name = self._note([FailedRows(failure, 1)], 0, request, connection)
        status = 200 if self._always_ok else failure.status
        return HttpReply(status, encode_failure(failure), _fields_of(failure.status, request), name)

    def _note(
        self, failures: Sequence[FailedRows], count: int, request: HttpRequest, connection: HttpConnection
    ) -> bytes:
        """Log a request that failed, and give its id."""
        name = request_id(request.given_id)
        verb = request.method.decode(errors="replace")
        target = f"{verb} {path_of(request.target)}" if verb else "no request"
        self._failures.write(name, connection.peer, target, failures, count)
        return name.encode()


async def _result_until(until: float | None, late: ServingError | None, future: asyncio.Future[_T]) -> _T:
    """The result of a future, which is abandoned if it does not come in time, or the caller is cancelled.

    Args:
        until: Time of `time.monotonic`; None for no limit.
        late: What is raised then.
        future: What is waited for.
    """
    try:
        await asyncio.wait([future], timeout=None if until is None else until - time.monotonic())
        if late is not None and not future.done():
            raise late
        return future.result()
    finally:
        future.cancel()


def _byte_size(reply: Reply) -> int:
    """Bytes of all results."""
    return sum(rows.byte_size for rows in reply if isinstance(rows, Rows))


def _other_verb(path: str) -> VerbNotAllowed:
    if path in HEALTH_PATHS:
        return VerbNotAllowed("health checks only support GET and HEAD")
    return VerbNotAllowed("http message only support POST right now")


def _fields_of(status: int, request: HttpRequest) -> bytes:
    """Header lines that go with an error."""
    if status == QueueFull.http_status:
        return _RETRY_AFTER
    if status == VerbNotAllowed.http_status:
        return _ALLOW_HEALTH if path_of(request.target) in HEALTH_PATHS else _ALLOW_POST
    return b""


class RestServer:
    """One listening REST server.

    Args:
        service: Where instances go.
        address: `ip:port`.
        limits: What clients may take.
        tls: TLS; None for plain HTTP.
        always_ok: Say HTTP 200 also for errors.
        guard: Decides who is let in; None lets everybody in.
        unfinished: Bounds what the bodies come to that are being received; None for a share of the memory.
        untaken: Bounds what the replies come to that clients do not take; None for a share of the memory.
        silence_s: Seconds without a sign of life after which the process that reads large bodies is replaced.
    """

    def __init__(
        self,
        service: Service,
        address: str,
        limits: HttpLimits,
        tls: ssl.SSLContext | None,
        always_ok: bool,
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
        self._handler = RestHandler(service, self._bodies, self._untaken, always_ok)
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
