"""One connection of HTTP/1.1: aiohttp reads its requests, here are their order, their limits and how it ends.

aiohttp's `RequestHandler` answers requests for routes of the user's own. Three things it does not do as we have to:

- It knows no limit of the time in which a request arrives, of the memory of all bodies, nor of replies that are not
  taken. These are kept in `data_received`, `check` and around each write.
- It makes two tasks, a request and a response of each request. Requests for the routes of dialects need none of these:
  they are answered in the one task of the connection, and a reply is one write of a head that is ready and a body.
- It reads up to 32 requests ahead, and loses those that stand in one packet before bytes that are no HTTP. So the
  parser is told to stop behind each request, and reads on when that is answered. What has arrived meanwhile waits, and
  once that is more than a little, the connection is not read.

A connection that ends with a refusal is not closed at once: its client may still be sending, and would lose the reply.
What it sends is thrown away until it stops, or a limit has passed.

A client that ends its sending side is taken to be gone, and its request is abandoned: the network does not tell whether
it still waits for the reply, and hardly any does. ADR 41 has the table of all limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http import (
    HttpProcessingError,
    HttpRequestParser,
    HttpVersion10,
    HttpVersion11,
    RawRequestMessage,
    StreamWriter,
)
from aiohttp.streams import StreamReader

from mindspore_serving import log
from mindspore_serving.server.access.guard import KEY_FIELDS, Door, Guard
from mindspore_serving.server.transport.http.answering import BUSY, TIMED_OUT, UNAUTHORIZED, Answering, Found
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.http.faults import (
    Fault,
    Refused,
    fault_of_error,
    fault_of_length,
    fault_of_version,
    head_too_large,
    too_large,
)
from mindspore_serving.server.transport.http.header_fields import HeaderFields
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.reply_heads import CLOSED, CONTINUE, KEPT, KEPT_1_0, ReplyHeads
from mindspore_serving.server.transport.http.responses import LEFT_TO_DIALECTS, response_of
from mindspore_serving.server.transport.routes import HttpReply, HttpRequest
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

_MOST_HELD_BYTES = 1 << 16
_READ_AHEAD_BYTES = 1 << 16
"""Bytes of a body that may wait for who reads it."""
_LARGE_REPLY_BYTES = 1 << 16
"""Bytes of a reply up to which it is one write."""
_PIECE_BYTES = 1 << 19
_BUFFERED_BYTES = 1 << 16
"""Bytes that a transport may hold while it takes more; that of TLS would hold much more."""
_NOTHING = memoryview(b"")
_FIELDS_OF_CLIENTS = (*(name.decode() for name in KEY_FIELDS), "content-length", "transfer-encoding")


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()
    """The first byte of a request."""
    RECEIVING = auto()
    """The rest of a request."""
    ANSWERING = auto()
    """Who answers, or the client to take its reply."""
    LINGERING = auto()
    """The client to stop sending; the last reply is written."""
    CLOSING = auto()
    """The last bytes to leave."""
    CLOSED = auto()


# To look up a member of an enum takes ten times as long.
_IDLE, _RECEIVING, _ANSWERING, _LINGERING, _CLOSING, _CLOSED = Phase


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the connections of one server share.

    Attributes:
        answering: Answers what dialects have routes for, and refuses.
        find: Who answers a verb and a target; None where that is a route of the user's own.
        limits: What a client may take.
        heads: Of replies.
        now: A monotonic clock, in seconds.
        opened: Called with each connection once it is open.
        closed: Called with it when it is no more.
        untaken: The replies that clients have not taken, of all connections.
        unfinished: The bodies that all connections are receiving.
        guard: Decides who may ask; None where everybody may.
        cors: Which pages may ask; None where none may.
    """

    answering: Answering
    find: Callable[[str, str], Found | None]
    limits: HttpLimits
    heads: ReplyHeads
    now: Callable[[], float]
    opened: Callable[[HttpConnection], None]
    closed: Callable[[HttpConnection], None]
    untaken: UntakenReplies
    unfinished: UnfinishedBodies
    guard: Guard | None = None
    cors: Cors | None = None


class HttpConnection(web.RequestHandler):
    """One connection.

    Args:
        server: Of aiohttp; makes requests for routes of the user's own, and calls their handlers.
        gateway: What all connections share.
        loop: On which it runs.
    """

    __slots__ = (
        "_body",
        "_counted",
        "_door",
        "_ended",
        "_fault",
        "_gateway",
        "_held",
        "_holding_off",
        "_left",
        "_link",
        "_next",
        "_offered",
        "_peer",
        "_phase",
        "_silent",
        "_since",
        "_stopping",
        "_unread",
        "_unsent",
        "_used",
    )

    def __init__(self, server: web.Server, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, keepalive_timeout=0, tcp_keepalive=False, access_log=None)  # type: ignore[arg-type]
        limits = gateway.limits
        self._parser = HttpRequestParser(
            self,
            loop,
            _READ_AHEAD_BYTES,
            max_line_size=limits.head_bytes,
            max_field_size=limits.head_bytes,
            max_headers=limits.headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=1,
        )
        self._gateway = gateway
        self._door: Door | None = None
        self._link: asyncio.Transport
        self._peer = "?"
        self._phase = _IDLE
        self._since = gateway.now()
        self._next: tuple[RawRequestMessage, StreamReader] | None = None
        self._fault: Fault | None = None
        self._body: StreamReader | None = None  # of which more is to come
        self._counted = 0
        self._silent = 0
        self._held = b""
        self._holding_off = False
        self._unsent = _NOTHING
        self._left = 0
        self._offered = False
        self._ended = False
        self._unread = False
        self._stopping = False
        self._used = False

    def __repr__(self) -> str:
        return f"<HttpConnection {self._peer} {self._phase.name}>"

    # --- What the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        link = self._link = cast("asyncio.Transport", transport)
        link.set_write_buffer_limits(_BUFFERED_BYTES)
        peer = link.get_extra_info("peername")
        # An IPv4 client of a socket for all addresses.
        self._peer = str(peer[0]).removeprefix("::ffff:") if peer else "?"
        guard = self._gateway.guard
        self._door = None if guard is None else guard.door(link, self._open_to_all)
        super().connection_made(link)
        self._gateway.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Abandon the request in flight."""
        self._phase = _CLOSED
        self._ended = True
        self._held = b""
        self._unsent = _NOTHING
        self._forget_body()
        self._gateway.untaken.forget(self)
        super().connection_lost(exc)  # cancels `start`: the server is told so
        self._gateway.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client; aiohttp calls this without any where it goes on reading."""
        if self._upgraded:  # to WebSocket, by a handler of the user's own
            super().data_received(data)
        elif self._ended:
            self._unread = self._unread or bool(data)
        elif self._phase is _ANSWERING and self._body is None:
            self._hold(data)
        else:
            self._read(data)

    def eof_received(self) -> None:
        """Abandon the request in flight, and close once what was answered is written."""
        self._phase = _CLOSING
        self._ended = True
        if self._unsent:  # the transport, which closes by itself, must have all of it
            rest, self._unsent = self._unsent, _NOTHING
            self._link.write(rest)
        if self._task_handler is not None:
            self._task_handler.cancel()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read the transport again where it was paused; streams ask for that with each piece that they give."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    # --- What the server calls ---

    def check(self, now: float) -> None:
        """End this connection if what it waits for has not come in time.

        Args:
            now: Time of the clock.
        """
        phase, waited, limits = self._phase, now - self._since, self._gateway.limits
        if phase is _IDLE:
            if waited > limits.idle_s:
                self._close_link()
        elif phase is _RECEIVING:
            if waited > limits.receive_s and not self._reading_paused:
                text = f"http message was not received within {limits.receive_s:.0f} s"
                self._refuse(Fault(TIMED_OUT, text))
        elif phase is _LINGERING:
            if waited > limits.linger_s:
                self._close_link()
        elif phase is _CLOSING or self._paused:
            self._check_flow(now)

    @property
    def owes_reply(self) -> bool:
        """Whether a reply is awaited, or has not left yet."""
        return self._phase is _ANSWERING or self._bytes_left > 0

    @property
    def _bytes_left(self) -> int:
        """Bytes of replies that have not left."""
        return self._link.get_write_buffer_size() + len(self._unsent)

    def drain(self) -> None:
        """Answer the request that is in flight, arriving or comes next, and no further one; close one that is idle.

        A connection without any request so far is not idle: its client has opened it to send one.
        """
        self._stopping = True
        if self._used and self._phase is _IDLE:
            self._close_link()

    def stop(self) -> None:
        """Answer the request that is in flight or arriving, and no further one."""
        self._stopping = True
        if self._phase is _IDLE:
            self._close_link()

    def reject(self, text: str) -> None:
        """Say that there is no room for this connection, which has not sent anything, and close it.

        Args:
            text: Why.
        """
        self._refuse(Fault(BUSY, text))

    def abort(self) -> None:
        """End at once."""
        self._phase = _CLOSING
        self._ended = True
        self._link.abort()

    # --- Reading ---

    def _read(self, data: bytes) -> None:
        """Give bytes to the parser, in pieces where what brings neither a head nor a body may not go on for ever."""
        most = self._gateway.limits.head_bytes
        if len(data) < most - self._silent:
            self._silent += len(data)
            self._parse(data)
        else:
            rest = data
            while rest and not self._ended:
                if self._phase is _ANSWERING:  # the request is complete
                    self._hold(rest)
                    break
                piece, rest = rest[: most - self._silent], rest[most - self._silent :]
                self._silent += len(piece)
                self._parse(piece)
                if self._silent >= most and not self._ended:
                    self._refuse(head_too_large(self._gateway.limits))
        if self._phase is _IDLE and data.strip(b"\r\n"):
            self._phase = _RECEIVING
            self._since = self._gateway.now()

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None  # as long as the connection is there
        try:
            messages, _, _ = parser.feed_data(data)
        except HttpProcessingError as error:
            self._refuse(fault_of_error(error, self._gateway.limits))
            return
        if messages:
            self._next = messages[0]
            body = messages[0][1]
            self._silent = 0
            if not body.is_eof():
                self._body = body
                if self._phase is _IDLE:
                    self._phase = _RECEIVING
                    self._since = self._gateway.now()
            else:
                self._phase = _ANSWERING
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if self._body is not None:
            self._watch_body(self._body)

    def _watch_body(self, body: StreamReader) -> None:
        """Count what came of a body of which more is to come; refuse it if it is too large, or there is no room."""
        if body.is_eof():
            self._forget_body()
            self._phase = _ANSWERING
            self._silent = 0
            return
        size = body.total_bytes
        more, self._counted = size - self._counted, size
        if more:
            self._silent = 0
        unfinished = self._gateway.unfinished
        if not unfinished.change(more):
            self._refuse(Fault(BUSY, unfinished.refusal))
        elif size > self._gateway.limits.body_bytes:
            self._refuse(too_large(self._gateway.limits.body_bytes))

    def _forget_body(self) -> StreamReader | None:
        """Stop counting the body that is being received; gives it."""
        self._gateway.unfinished.change(-self._counted)
        self._counted = 0
        body, self._body = self._body, None
        return body

    def _hold(self, data: bytes) -> None:
        """Keep what cannot be read yet."""
        if not data:
            return
        self._held += data
        if len(self._held) > _MOST_HELD_BYTES and not self._holding_off:
            self._holding_off = True
            self._link.pause_reading()

    def _take_more(self) -> None:
        """Read the client again where what it has sent had to wait."""
        if self._holding_off or self._reading_paused:
            self._holding_off = self._reading_paused = False
            self._link.resume_reading()

    def _read_on(self, message: RawRequestMessage) -> None:
        """Read what stands behind the request that was answered."""
        self._used = True
        if self._parser is None:  # the connection is gone
            return
        self._parser.message_consumed()
        if self._ended:
            self._note_unread(message)
            return
        if self._offered:
            self._decline_offer()
        self._phase = _IDLE
        self._since = self._gateway.now()
        self._take_more()
        if self._held:
            held, self._held = self._held, b""
            self._read(held)
        else:  # what stood in one packet with the request is the parser's
            self._parse(b"")
        if self._stopping and self._phase is _IDLE:  # the reply was begun before that
            self._close_link()

    def _note_unread(self, message: RawRequestMessage) -> None:
        """Find out whether the client has sent more than the request that was to be its last."""
        if message.should_close and not self._unread:
            assert self._parser is not None
            try:
                self._parser.feed_data(b"")
            except HttpProcessingError:
                self._unread = True

    def _decline_offer(self) -> None:
        """Go on with HTTP behind a request that offers another protocol.

        The parser has come to an end with such a request. It gives the bytes behind it to who has accepted.
        """
        assert self._parser is not None
        self._offered = False
        self._parser.set_upgraded(True)
        _, _, rest = self._parser.feed_data(b"")
        self._parser.set_upgraded(False)
        self._held = rest + self._held

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _refuse(self, fault: Fault) -> None:
        """Refuse what is being read, and read nothing more."""
        self._ended = self._unread = True
        self._phase = _ANSWERING
        body = self._forget_body()
        if body is not None:
            # For who reads it, who may have been woken up for a piece, and would miss it now.
            self._loop.call_soon(body.set_exception, Refused(fault))
        else:
            self._fault = fault
            self._wake()

    # --- Requests and replies ---

    async def start(self) -> None:
        """Answer what was read, one after the other, until nothing more will be."""
        try:
            while True:
                if self._next is not None:
                    (message, body), self._next = self._next, None
                    await self._answer(message, body)
                    self._read_on(message)
                    del message, body  # an idle connection keeps nothing of its last request
                elif self._fault is not None:
                    fault, self._fault = self._fault, None
                    await self._say(fault, HttpRequest("", "", {}, self._peer))
                elif self._ended:
                    break
                else:
                    self._waiter = self._loop.create_future()
                    try:
                        await self._waiter
                    finally:
                        self._waiter = None
        except asyncio.CancelledError:
            if self._phase not in (_CLOSING, _CLOSED):  # somebody has cancelled what was awaited
                self.abort()
            raise
        except Exception as error:  # whatever goes wrong here, the server and its other connections go on
            log.error("A connection of REST has failed: %r", error, exc_info=True)
            self.abort()
        else:
            self._end()

    async def _answer(self, message: RawRequestMessage, body: StreamReader) -> None:
        """Answer a request of which the head was read."""
        self._offered = message.upgrade
        gateway = self._gateway
        verb, target, headers = message.method, message.path, message.headers
        if verb == hdrs.METH_CONNECT:  # there is no way to go on behind it
            self._ended = self._unread = True
        found = gateway.find(verb, target)
        request = HttpRequest(verb, target, HeaderFields(headers), self._peer)
        fault = None if message.version is HttpVersion11 else fault_of_version(message)
        if fault is None and gateway.cors is not None and gateway.cors.is_preflight(request):
            self._ended = self._unread = self._ended or not body.is_eof()
            await self._reply(gateway.cors.preflight(request, found and found.allow), request, message)
            return
        if fault is None and self._door is not None:
            fault = self._fault_of_client(self._door, request)
        most_bytes = gateway.limits.body_bytes
        if found is not None and found.route is not None and found.route.most_bytes is not None:
            most_bytes = found.route.most_bytes
        complete = body.is_eof()
        if fault is None and (not complete or not body.total_bytes or hdrs.TRANSFER_ENCODING in headers):
            fault = fault_of_length(message, most_bytes)
        if fault is not None:
            await self._say(fault, request)
        elif found is None and not await self._left_to_dialects(message, body):
            return
        else:
            found = found or gateway.answering.find(verb, target)
            try:
                if body.is_eof():
                    request.body = body.read_nowait()
                    if len(request.body) > most_bytes:
                        raise Refused(too_large(most_bytes))
                else:
                    request.body = await self._read_body(message, body, most_bytes)
            except Refused as refused:
                await self._say(refused.fault, request)
            else:
                await self._reply(await gateway.answering.answer(found, request, self), request, message)

    def _fault_of_client(self, door: Door, request: HttpRequest) -> Fault | None:
        """Why a client may not ask; None where it may."""
        fields = {
            name.encode(): value.encode("latin-1")
            for name in _FIELDS_OF_CLIENTS
            if (value := request.headers.get(name)) is not None
        }
        if door.admits(fields):
            return None
        if door.admits_stranger(request.verb.encode(), request.target.encode(), fields):
            request.authenticated = False
            return None
        return Fault(UNAUTHORIZED, door.refusal)

    def _open_to_all(self, verb: bytes, target: bytes) -> bool:
        return self._gateway.answering.find(verb.decode(), target.decode()).is_open

    async def _read_body(self, message: RawRequestMessage, body: StreamReader, most_bytes: int) -> bytes:
        """A body of which more is to come.

        Raises:
            Refused: It is too large, does not arrive, or there is no room for it.
        """
        if (
            message.version == HttpVersion11
            and not body.total_bytes
            and message.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        ):
            self._link.write(CONTINUE)
        pieces: list[bytes] = []
        size = 0
        while not body.at_eof():
            pieces.append(await body.readany())
            size += len(pieces[-1])
            if size > most_bytes:
                raise Refused(too_large(most_bytes))
        return b"".join(pieces)

    async def _say(self, fault: Fault, request: HttpRequest) -> None:
        """Refuse a request, and read nothing more."""
        self._ended = self._unread = True
        self._phase = _ANSWERING
        self._forget_body()
        await self._reply(self._gateway.answering.refuse(fault.status, fault.text, request), request)

    async def _reply(
        self, reply: HttpReply, request: HttpRequest, message: RawRequestMessage | None = None
    ) -> None:
        """Write a reply, and wait until the client takes more.

        Args:
            reply: It.
            request: What was asked.
            message: The head of the request; None for a refusal, which ends the connection.
        """
        gateway = self._gateway
        if gateway.cors is not None and not gateway.cors.is_preflight(request):
            reply = reply._replace(
                headers=(*reply.headers, *gateway.cors.headers(request.headers.get("origin")))
            )
        if message is None or message.should_close or self._stopping or self._ended:
            connection = CLOSED
            self._ended = True
        else:
            connection = KEPT_1_0 if message.version == HttpVersion10 else KEPT
        head = gateway.heads.head(reply, connection)
        body = b"" if request.verb == "HEAD" else reply.body
        if len(body) >= _LARGE_REPLY_BYTES:
            await self._write_large(head, body)
            return
        self._link.write(head + body)
        if self._paused:
            size = len(head) + len(body)
            gateway.untaken.add(self, size)
            await self._until_taken()
            gateway.untaken.taken(self, size)

    async def _write_large(self, head: bytes, body: bytes) -> None:
        """Give the transport a large reply piece by piece, as its client takes it.

        What has not left counts with the other replies that clients have not taken. A piece has left once the transport
        takes more.
        """
        untaken = self._gateway.untaken
        view = memoryview(body)
        piece, self._unsent = view[:_PIECE_BYTES], view[_PIECE_BYTES:]
        untaken.add(self, len(head) + len(body))
        self._link.writelines((head, piece))  # no copy
        passed = len(head) + len(piece)
        while True:
            if self._paused:
                await self._until_taken()
            untaken.taken(self, passed)
            if not self._unsent:
                break
            # An empty view would keep all of the reply.
            piece, self._unsent = self._unsent[:_PIECE_BYTES], self._unsent[_PIECE_BYTES:] or _NOTHING
            passed = len(piece)
            self._link.write(piece)

    async def _until_taken(self) -> None:
        """Wait until the client has taken so much that the transport takes more."""
        self._left = 0
        self._since = self._gateway.now()
        await self._drain_helper()

    # --- Routes of the user's own ---

    async def _left_to_dialects(self, message: RawRequestMessage, body: StreamReader) -> bool:
        """Let the application answer a request; whether it has found that a dialect is to do that."""
        assert self._request_factory is not None  # as long as the connection is there
        assert self._request_handler is not None
        if self._offered and message.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
            self._offer_further(body)
        writer = StreamWriter(self, self._loop)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        request = self._request_factory(message, body, self, writer, task)
        try:
            response, is_lost = await self._handle_request(request, None, self._request_handler)
        except ConnectionError:  # what was begun cannot be ended
            self.abort()
            return False
        if response is LEFT_TO_DIALECTS:
            return True
        if is_lost:
            self.abort()
        elif not response.keep_alive or not body.is_eof():
            self._ended = True
            self._unread = self._unread or not body.is_eof()
        if self._paused:
            await self._until_taken()
        return False

    def _offer_further(self, body: StreamReader) -> None:
        """Let a handler accept what a client offers."""
        if body.is_eof():
            self._decline_offer()
            self._upgraded = True
            self._message_tail, self._held = self._held, b""
        else:
            self._ended = True

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the response of a handler of the user's own."""
        if self._upgraded and self._payload_parser is None:  # the handler has declined
            self._upgraded = False
            self._held, self._message_tail = self._message_tail, b""
        if resp is LEFT_TO_DIALECTS:
            return resp, False
        if not resp.prepared:
            if self._stopping:
                resp.force_close()
            if self._gateway.cors is not None:
                resp.headers.extend(self._gateway.cors.headers(request.headers.get("Origin")))
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to a request whose handler has failed, or was refused the rest of its body."""
        if not isinstance(exc, Refused):
            return super().handle_error(request, status, exc, message)
        asked = HttpRequest(request.method, request.raw_path, HeaderFields(request.headers), self._peer)
        response = response_of(self._gateway.answering.refuse(*exc.fault, asked))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what has gone wrong in a handler of the user's own."""
        log.error(*args, exc_info=kw.get("exc_info", True))

    # --- The end ---

    def _end(self) -> None:
        """Close once the client has got the last reply."""
        if self._phase in (_CLOSING, _CLOSED):
            return
        if not (self._unread or self._held):
            self._close_link()
            return
        self._phase = _LINGERING
        self._since = self._gateway.now()
        self._held = b""
        self._take_more()
        if self._link.can_write_eof():
            self._link.write_eof()

    def _close_link(self) -> None:
        self._phase = _CLOSING
        self._ended = True
        self._since = self._gateway.now()
        self._link.close()
        if self._waiter is not None:
            self._waiter.cancel()

    def _check_flow(self, now: float) -> None:
        """End a connection whose client takes nothing of what is written to it."""
        left = self._bytes_left
        if left != self._left:
            self._left = left
            self._since = now
        elif now - self._since > self._gateway.limits.idle_s:
            self.abort()
