"""One connection of HTTP/1.1: in which order its requests are answered, what it waits for, and when it ends.

Nothing here knows what a request asks for. A request costs no task, no coroutine and no timer: it is read in
`data_received`, the service gives a reply or a future of one, and the reply is written when the future is done. One
request of a connection is under way at a time. What has arrived behind it waits, and once that is more than a little,
the connection is not read.

A connection that ends with a refusal is not closed at once: its client may still be sending, and would lose the reply.
What it sends is thrown away until it stops, or a limit has passed.

A large reply is given to the transport piece by piece, as its client takes it. What has not left counts with the other
replies that clients have not taken (`UntakenReplies`), but for up to 64 KiB, which the transport buffers of any reply.

A client that ends its sending side is taken to be gone, and its request is abandoned: the network does not tell whether
it still waits for the reply, and hardly any does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol, cast

from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.transport.http.http_reader import (
    BUSY,
    TIMED_OUT,
    HttpLimits,
    HttpReader,
    HttpRequest,
    Refusal,
    Turn,
)
from mindspore_serving.server.transport.http.http_reply import CLOSED, CONTINUE, HttpReply, ReplyHeads
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

_MOST_HELD_BYTES = 1 << 16
_LARGE_REPLY_BYTES = 1 << 16
"""Bytes of a reply up to which it is one write."""
_PIECE_BYTES = 1 << 19
_BUFFERED_BYTES = 1 << 16
"""Bytes that a transport may hold while it takes more; that of TLS would hold much more."""


class HttpService(Protocol):
    """What answers the requests of connections. It never raises."""

    def answer(self, request: HttpRequest, connection: HttpConnection) -> HttpReply | asyncio.Future[Any]:
        """The reply, or a future that `finish` makes the reply of; cancelling it abandons the request."""

    def finish(
        self, future: asyncio.Future[Any], request: HttpRequest, connection: HttpConnection
    ) -> HttpReply:
        """The reply to a request whose future is done and was not cancelled."""

    def refuse(self, refusal: Refusal, connection: HttpConnection) -> HttpReply:
        """The reply to what cannot be read."""

    def open_to_all(self, verb: bytes, target: bytes) -> bool:
        """Whether everybody may ask that, also without a key."""


class _Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()
    """The first byte of a request."""
    RECEIVING = auto()
    """The rest of a request."""
    ANSWERING = auto()
    """The service, or the client to take its reply."""
    LINGERING = auto()
    """The client to stop sending; the last reply is written."""
    CLOSING = auto()
    """The last bytes to leave."""
    CLOSED = auto()


class HttpConnection(asyncio.Protocol):
    """One connection.

    Args:
        service: Answers requests.
        limits: What a client may take.
        heads: Of replies.
        opened: Called with this once it is open.
        closed: Called with this when it is no more.
        now: A monotonic clock, in seconds.
        guard: Decides who is let in; None lets everybody in.
        unfinished: The bodies that all connections are receiving; None sets no limit to them.
        untaken: The replies that clients have not taken, of all connections; None counts none.
    """

    __slots__ = (
        "_closed",
        "_counted",
        "_future",
        "_guard",
        "_heads",
        "_held",
        "_left",
        "_limits",
        "_now",
        "_opened",
        "_passed",
        "_paused",
        "_phase",
        "_reader",
        "_service",
        "_since",
        "_stopping",
        "_transport",
        "_turn",
        "_turns",
        "_unfinished",
        "_unsent",
        "_untaken",
        "_used",
        "_writable",
    )

    def __init__(
        self,
        service: HttpService,
        limits: HttpLimits,
        heads: ReplyHeads,
        opened: Callable[[HttpConnection], None],
        closed: Callable[[HttpConnection], None],
        now: Callable[[], float],
        guard: Guard | None = None,
        unfinished: UnfinishedBodies | None = None,
        untaken: UntakenReplies | None = None,
    ) -> None:
        self._service = service
        self._guard = guard
        self._unfinished = unfinished
        self._counted = 0
        self._untaken = untaken
        self._unsent: bytes | memoryview = b""
        self._passed = 0
        self._limits = limits
        self._heads = heads
        self._opened = opened
        self._closed = closed
        self._now = now
        self._reader = HttpReader(limits)
        self._turns = self._reader.turns
        self._turn: Turn | None = None
        self._future: asyncio.Future[Any] | None = None
        self._held = b""
        self._phase = _Phase.IDLE
        self._since = now()
        self._left = 0
        self._paused = False
        self._writable = True
        self._stopping = False
        self._used = False

    def __repr__(self) -> str:
        return f"<HttpConnection {self.peer} {self._phase.name}>"

    @property
    def peer(self) -> str:
        """Address of the client; `?` where it is not known."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if peer else "?"

    # --- What the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_BUFFERED_BYTES)
        door = None if self._guard is None else self._guard.door(transport, self._service.open_to_all)
        if door is not None:
            self._reader.guard(door)
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Abandon the request under way."""
        self._phase = _Phase.CLOSED
        self._reader.drop()
        self._count_body()
        self._held = self._unsent = b""
        if self._untaken is not None:
            self._untaken.forget(self)
        self._abandon()
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        phase = self._phase
        if phase is _Phase.IDLE or phase is _Phase.RECEIVING:
            self._feed(data)
            self._advance()
        elif phase is _Phase.ANSWERING:
            self._hold(data)

    def eof_received(self) -> None:
        """Abandon the request under way, and close once what was answered is written."""
        self._phase = _Phase.CLOSING
        self._abandon()
        if self._unsent:  # the transport, which closes by itself, must have all of it
            rest, self._unsent = self._unsent, b""
            self._transport.write(rest)

    def pause_writing(self) -> None:
        """The client does not take its reply as fast as it is written: answer nothing more."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._note_taken()
        self._write_unsent()
        if self._writable and self._phase is _Phase.ANSWERING and self._future is None:
            self._advance()

    # --- What the server calls ---

    def check(self, now: float) -> None:
        """End this connection if what it waits for has not come in time.

        Args:
            now: Time of the clock.
        """
        phase, waited = self._phase, now - self._since
        if phase is _Phase.IDLE:
            if waited > self._limits.idle_s:
                self._close()
        elif phase is _Phase.RECEIVING:
            if waited > self._limits.receive_s:
                text = f"http message was not received within {self._limits.receive_s:.0f} s"
                self._refuse(TIMED_OUT, text)
        elif phase is _Phase.LINGERING:
            if waited > self._limits.linger_s:
                self._close()
        elif self._future is None:
            self._check_flow(now)

    @property
    def owes_reply(self) -> bool:
        """Whether a reply is awaited, or has not left yet."""
        return self._future is not None or self._bytes_left > 0

    @property
    def _bytes_left(self) -> int:
        """Bytes of replies that have not left."""
        return self._transport.get_write_buffer_size() + len(self._unsent)

    def drain(self) -> None:
        """Answer the request that is under way, arriving or comes next, and no further one; close one that is idle.

        A connection without any request so far is not idle: its client has opened it to send one.
        """
        self._stopping = True
        if self._used and self._phase is _Phase.IDLE:
            self._close()

    def stop(self) -> None:
        """Answer the request that is under way or arriving, and no further one."""
        self._stopping = True
        if self._phase is _Phase.IDLE:
            self._close()

    def turn_away(self, text: str) -> None:
        """Say that there is no room for this connection, which has not sent anything, and close it.

        Args:
            text: Why.
        """
        self._refuse(BUSY, text)

    def abort(self) -> None:
        """End at once."""
        self._phase = _Phase.CLOSING
        self._transport.abort()

    # --- Requests and replies ---

    def _feed(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._reader.size or self._counted:
            self._count_body()

    def _refuse(self, status: int, text: str) -> None:
        self._reader.end(status, text)
        self._count_body()
        self._advance()

    def _count_body(self) -> None:
        """Count what came of a body that is not complete; refuse it if there is no room for it."""
        unfinished = self._unfinished
        if unfinished is None:
            return
        size = self._reader.size
        more, self._counted = size - self._counted, size
        if not unfinished.change(more):
            self._reader.end(BUSY, unfinished.refusal)
            self._count_body()

    def _advance(self) -> None:
        """Answer what was read, up to the first that has to be waited for."""
        turns = self._turns
        while True:
            while turns:
                if not self._writable:
                    self._phase = _Phase.ANSWERING
                    return
                turn = turns.popleft()
                question = turn.question
                if isinstance(question, Refusal):
                    self._write(turn, self._service.refuse(question, self))
                    continue
                reply = self._service.answer(question, self)
                if not isinstance(reply, HttpReply):
                    self._wait_for(reply, turn)
                    return
                self._write(turn, reply)
            if not self._held or self._reader.ended:
                break
            self._feed_held()
        self._rest()

    def _wait_for(self, future: asyncio.Future[Any], turn: Turn) -> None:
        self._phase = _Phase.ANSWERING
        self._turn = turn
        self._future = future
        future.add_done_callback(self._answered)

    def _abandon(self) -> None:
        future, self._future, self._turn = self._future, None, None
        if future is not None:
            future.remove_done_callback(self._answered)
            future.cancel()

    def _answered(self, future: asyncio.Future[Any]) -> None:
        turn, self._turn = self._turn, None  # which holds the request's body
        if self._phase is not _Phase.ANSWERING or turn is None:  # the connection has ended meanwhile
            return
        self._future = None
        if future.cancelled():
            self.abort()
            return
        request = turn.question
        assert not isinstance(request, Refusal)  # it was answered at once
        self._write(turn, self._service.finish(future, request, self))
        self._advance()

    def _write(self, turn: Turn, reply: HttpReply) -> None:
        connection = turn.connection
        if self._stopping:
            connection = CLOSED
            self._reader.ended = True
            self._turns.clear()
        head = self._heads.head(reply, connection)
        body: bytes | memoryview = reply.body if turn.has_body else b""
        if len(body) < _LARGE_REPLY_BYTES:
            self._transport.write(head + body)
        else:
            if len(body) > _PIECE_BYTES:
                body, self._unsent = memoryview(body)[:_PIECE_BYTES], memoryview(body)[_PIECE_BYTES:]
            self._transport.writelines((head, body))  # no copy
        if not self._writable:
            self._passed = len(head) + len(body)
            self._note_untaken(self._passed)
        if self._unsent:
            self._note_untaken(len(self._unsent))
            self._write_unsent()

    def _write_unsent(self) -> None:
        """Give the transport what it takes of a large reply.

        A piece has left once the transport takes more.
        """
        while self._unsent and self._writable:
            piece = self._unsent[:_PIECE_BYTES]
            # An empty view would keep all of the reply.
            self._unsent = self._unsent[_PIECE_BYTES:] or b""
            self._passed = len(piece)
            self._transport.write(piece)
            self._note_taken()

    def _note_untaken(self, size: int) -> None:
        if self._untaken is not None:
            self._untaken.add(self, size)

    def _note_taken(self) -> None:
        """Count what was passed to the transport as taken, if it takes more."""
        if self._passed and self._writable:
            if self._untaken is not None:
                self._untaken.taken(self, self._passed)
            self._passed = 0

    def _rest(self) -> None:
        """Wait for the client; all that it asked is answered."""
        reader = self._reader
        if reader.ended and not self._unsent:
            self._end()
        elif not self._writable:
            self._phase = _Phase.ANSWERING
            self._since = self._now()
        elif not reader.started:
            self._phase = _Phase.IDLE
            self._used = True
            self._since = self._now()
        else:
            self._receive()

    def _receive(self) -> None:
        if self._phase is not _Phase.RECEIVING:
            self._phase = _Phase.RECEIVING
            self._since = self._now()
        if self._reader.take_continue():
            self._transport.write(CONTINUE)

    # --- Bytes that have to wait ---

    def _hold(self, data: bytes) -> None:
        if self._reader.ended:
            self._reader.unread = True
            return
        self._held += data
        if len(self._held) > _MOST_HELD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _feed_held(self) -> None:
        held, self._held = self._held, b""
        self._resume_reading()
        self._feed(held)

    def _resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    # --- The end ---

    def _end(self) -> None:
        """Close once the client has got the last reply."""
        if not (self._reader.unread or self._held):
            self._close()
            return
        self._phase = _Phase.LINGERING
        self._since = self._now()
        self._held = b""
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _close(self) -> None:
        self._phase = _Phase.CLOSING
        self._since = self._now()
        self._transport.close()

    def _check_flow(self, now: float) -> None:
        """End a connection whose client takes nothing of what is written to it."""
        left = self._bytes_left
        if left != self._left:
            self._left = left
            self._since = now
        elif now - self._since > self._limits.idle_s:
            self.abort()
