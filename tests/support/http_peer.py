"""A connection of the REST server and all around it: transport, dialect and clock are the test's own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aiohttp import web

from mindspore_serving.errors import Failure
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.application import DialectApplication
from mindspore_serving.server.transport.http.connection import HttpConnection
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.http.gateway import Gateway
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.reply_heads import ReplyHeads
from mindspore_serving.server.transport.routes import HttpReply, HttpRequest, Right, Route
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

LIMITS = HttpLimits(body_bytes=1000, head_bytes=4096, headers=10)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PLENTY = 1 << 40
_VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT")
_TURNS = 12
"""Turns of the loop after which nothing is left to do that does not wait for the test."""
_FAILURES = FailureLog(lambda: 0.0)
"""Soon full: what fails here is seen by other means."""


class Asked(NamedTuple):
    """What a dialect was asked: `given_id` and `timeout_ms` as they were sent."""

    method: bytes
    target: bytes
    coding: bytes
    body: bytes
    timeout_ms: bytes | None
    given_id: bytes


class Transport(asyncio.Transport):
    """What was written, and what else was asked of a transport."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0
        self.buffered = 0
        self.taken = PLENTY
        self.pause = lambda: None
        self.paused = False
        self.most_buffered: int | None = None
        self.ended = False
        self.closed = ""
        self.reading = True
        self.peer = "1.2.3.4"

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (self.peer, 5)}.get(name, default)

    def is_closing(self) -> bool:
        return bool(self.closed)

    def write(self, data: Any) -> None:
        assert not self.closed
        assert not self.ended
        self.written += bytes(data)
        if len(self.written) > self.taken and not self.paused:
            self.paused = True
            self.pause()
        self.writes += 1

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = self.closed or "closed"

    def abort(self) -> None:
        self.closed = "aborted"

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.most_buffered = high

    def get_write_buffer_size(self) -> int:
        return self.buffered


class EchoDialect:
    """Answers `/later` when it is told, anything else at once with verb, target, coding and body."""

    name = "echo"

    def __init__(self) -> None:
        self.routes = (
            Route(_VERBS, "", self.answer),
            Route(("GET", "HEAD"), "/open", self.answer, right=Right.NONE),
        )
        self.asked: list[Asked] = []
        self.refused: list[tuple[Failure, HttpRequest]] = []
        self.futures: list[asyncio.Future[str]] = []

    async def answer(self, request: HttpRequest) -> HttpReply:
        fields = request.headers
        timeout = fields.get("x-request-timeout-ms")
        asked = Asked(
            request.verb.encode(),
            request.target.encode(),
            fields.get("content-encoding", "").encode(),
            request.body,
            None if timeout is None else timeout.rstrip().encode(),
            fields.get("x-request-id", "").encode(),
        )
        self.asked.append(asked)
        if request.target == "/later":
            self.futures.append(asyncio.get_running_loop().create_future())
            return HttpReply(200, (await self.futures[-1]).encode())
        return HttpReply(200, b" ".join(asked[:4]))

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        self.refused.append((failure, request))
        return HttpReply(failure.status, failure.text.encode())


class Peer:
    """A connection and all around it.

    `change` adds to the application what a user may add.
    """

    def __init__(
        self,
        limits: HttpLimits = LIMITS,
        guard: Guard | None = None,
        unfinished: UnfinishedBodies | None = None,
        untaken: UntakenReplies | None = None,
        change: Callable[[web.Application], None] | None = None,
        cors: Cors | None = None,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        _PEERS.append(self)
        self.transport = Transport()
        self.dialect = EchoDialect()
        self.connections: set[HttpConnection] = set()
        self.now = 1000.0
        self.untaken = untaken or UntakenReplies(PLENTY, PLENTY)
        answering = Answering([self.dialect], NoBodies(), self.untaken, _FAILURES)
        application = DialectApplication(answering, self.loop)
        if change is not None:
            change(application.application)
        if cors is not None:
            application.show_to_pages(cors)
        gateway = Gateway(
            answering,
            application.finder(),
            limits,
            ReplyHeads(0.0),
            lambda: self.now,
            self.connections.add,
            self.connections.discard,
            self.untaken,
            unfinished or UnfinishedBodies(PLENTY),
            guard,
            cors,
        )
        self.connection = self.loop.run_until_complete(self._made(gateway, application.application))
        self.settle()

    async def _made(self, gateway: Gateway, application: web.Application) -> HttpConnection:
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        server = runner.server
        assert server is not None
        connection = HttpConnection(server, gateway, self.loop)
        self.transport.pause = connection.pause_writing
        connection.connection_made(self.transport)
        return connection

    def settle(self) -> None:
        """Let what is ready run."""
        if self.loop.is_closed():
            return
        for _ in range(_TURNS):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def send(self, data: bytes) -> None:
        """Bytes of the client arrive; what it does not take in time is lost, as with a socket."""
        self.connection.data_received(data)
        self.settle()

    def complete(self, at: int, text: str) -> None:
        """The dialect is done with its `at`-th later request."""
        self.futures[at].set_result(text)
        self.settle()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.connection.check(self.now)
        self.settle()

    def take(self, most: int = PLENTY) -> None:
        """The client takes all that was written, and will take so many bytes in all."""
        self.transport.taken = most
        self.transport.paused = False
        self.connection.resume_writing()
        self.settle()

    def end_side(self) -> bool | None:
        """The client ends its sending side; gives what the transport is told."""
        kept_open = self.connection.eof_received()
        self.settle()
        return kept_open

    def lose(self) -> None:
        """The connection is no more."""
        self.connection.connection_lost(None)
        self.settle()

    def close(self) -> None:
        """End what runs on the loop."""
        if self.connection in self.connections:
            self.lose()
        self.settle()
        self.loop.close()

    @property
    def asked(self) -> list[Asked]:
        return self.dialect.asked

    @property
    def futures(self) -> list[asyncio.Future[str]]:
        return self.dialect.futures

    @property
    def replies(self) -> list[tuple[int, bytes]]:
        """Status and body of all that was written, but for `100 Continue`."""
        return [(status, body) for status, _, body in self._parsed()]

    @property
    def heads(self) -> list[bytes]:
        return [head for _, head, _ in self._parsed()]

    @property
    def refusal(self) -> tuple[int, bytes]:
        """The last reply, after which the client is given time to read it."""
        assert self.heads[-1].count(b"Connection: close\r\n") == 1
        assert self.transport.ended
        assert not self.transport.closed
        return self.replies[-1]

    @property
    def counted(self) -> int:
        """Bytes of replies that clients have not taken."""
        return int(repr(self.untaken).split()[1])

    def _parsed(self) -> Iterator[tuple[int, bytes, bytes]]:
        rest = self.transport.written.replace(CONTINUE, b"")
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            head += b"\r\n"
            length = re.search(rb"Content-Length: (\d+)\r\n", head)
            assert length is not None
            yield int(head.split()[1]), head, rest[: int(length[1])]
            rest = rest[int(length[1]) :]


_PEERS: list[Peer] = []


def close_peers() -> None:
    """Close those that are left."""
    while _PEERS:
        _PEERS.pop().close()


class NoBodies:
    """Reads no large bodies."""

    def read(self, *_: Any) -> asyncio.Future[Any]:
        raise AssertionError
