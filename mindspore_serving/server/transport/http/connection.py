"""One connection of HTTP/1.1: requests are answered in their order, within limits of time, until it ends.

aiohttp's `RequestHandler` answers requests for routes of the user's own (`application_connection.py`). Two things it
does not do as we have to:

- It knows no limit of the time in which a request arrives, of the memory of all bodies, nor of replies that are not
  taken. These are kept by `request_reader.py`, by `reply_writer.py` and in `check`.
- It makes two tasks, a request and a response of each request. Requests for the routes of dialects need none of these:
  they are answered in the one task of the connection, and a reply is one write of a head that is ready and a body.

A connection that ends with a refusal is not closed at once: its client may still be sending, and would lose the reply.
What it sends is thrown away until it stops, or a limit has passed.

A client that ends its sending side is taken to be gone, and its request is abandoned: the network does not tell whether
it still waits for the reply, and hardly any does. ADR 41 has the table of all limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader

from mindspore_serving import log
from mindspore_serving.server.access.guard import KEY_FIELDS, Door
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.transport.http.answering import (
    BUSY,
    FORBIDDEN,
    TIMED_OUT,
    UNAUTHORIZED,
    Found,
)
from mindspore_serving.server.transport.http.application_connection import ApplicationConnection
from mindspore_serving.server.transport.http.faults import (
    Fault,
    Refused,
    fault_of_length,
    fault_of_version,
    too_large,
)
from mindspore_serving.server.transport.http.gateway import Gateway
from mindspore_serving.server.transport.http.header_fields import HeaderFields
from mindspore_serving.server.transport.http.life import (
    ANSWERING,
    CLOSED,
    CLOSING,
    IDLE,
    LINGERING,
    RECEIVING,
)
from mindspore_serving.server.transport.http.peer import is_own_user
from mindspore_serving.server.transport.http.reply_heads import KEPT, KEPT_1_0, LAST
from mindspore_serving.server.transport.http.reply_writer import LARGE_REPLY_BYTES, ReplyWriter
from mindspore_serving.server.transport.http.request_reader import RequestReader, arriving_body, whole_body
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest

_FIELDS_OF_CLIENTS = (*(name.decode() for name in KEY_FIELDS), "content-length", "transfer-encoding")


class HttpConnection(ApplicationConnection):
    """One connection.

    Args:
        server: Of aiohttp; makes requests for routes of the user's own, and calls their handlers.
        gateway: What all connections share.
        loop: On which it runs.
    """

    __slots__ = ("_door", "_is_own_user")

    def __init__(self, server: web.Server, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, gateway, loop)
        self._door: Door | None = None  # decides whether its client may ask; None where everybody may
        self._is_own_user: bool | None = None  # whose process its client is; None before anybody asks

    # --- What the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        gateway = self._gateway
        link = self._link = cast("asyncio.Transport", transport)
        self._writer = ReplyWriter(link, gateway, self._life)
        self._reader = RequestReader(self, link, gateway, self._loop, self._life)
        self._parser = self._reader.parser  # aiohttp pauses it
        peer = link.get_extra_info("peername")
        # An IPv4 client of a socket for all addresses.
        self._peer = str(peer[0]).removeprefix("::ffff:") if peer else "?"
        if gateway.guard is not None:
            self._door = gateway.guard.door(link, self._open_to_all)
        super().connection_made(link)
        gateway.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Abandon the request in flight."""
        self._life.phase = CLOSED
        self._life.finishing = True
        self._reader.close()
        self._writer.close()
        self._gateway.untaken.forget(self)
        super().connection_lost(exc)  # cancels `start`: the server is told so
        self._gateway.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client; aiohttp calls this without any where it goes on reading."""
        if self._upgraded:  # to WebSocket, by a handler of the user's own
            super().data_received(data)
        elif self._life.finishing:
            self._life.has_unread = self._life.has_unread or bool(data)
        elif self._reader.receive(data):
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def eof_received(self) -> None:
        """Abandon the request in flight, and close once what was answered is written."""
        self._life.phase = CLOSING
        self._life.finishing = True
        self._writer.give_all()
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
        phase, waited, limits = self._life.phase, now - self._life.since, self._gateway.limits
        if phase is IDLE:
            if waited > limits.idle_s:
                self._close_link()
        elif phase is RECEIVING:
            if waited > limits.receive_s and not self._reading_paused:
                text = f"http message was not received within {limits.receive_s:.0f} s"
                self._refuse(Fault(TIMED_OUT, text))
        elif phase is LINGERING:
            if waited > limits.linger_s:
                self._close_link()
        elif (phase is CLOSING or self._paused) and not self._writer.makes_progress(now):
            self.abort()

    def peer_is_own_user(self) -> bool:
        """As `HttpRequest.peer_is_own_user`; the system is asked once."""
        if self._is_own_user is None:
            self._is_own_user = is_own_user(self._link)
        return self._is_own_user

    @property
    def owes_reply(self) -> bool:
        """Whether a reply is awaited, or has not left yet."""
        return self._life.phase is ANSWERING or self._writer.bytes_left > 0

    def drain(self) -> None:
        """Answer the request that is in flight, arriving or comes next, and no further one; close one that is idle.

        A connection without any request so far is not idle: its client has opened it to send one.
        """
        self._life.draining = True
        if self._life.has_answered and self._life.phase is IDLE:
            self._close_link()

    def stop(self) -> None:
        """Answer the request that is in flight or arriving, and no further one."""
        self._life.draining = True
        if self._life.phase is IDLE:
            self._close_link()

    def reject(self, text: str) -> None:
        """Say that there is no room for this connection, which has not sent anything, and close it.

        Args:
            text: Why.
        """
        self._refuse(Fault(BUSY, text))

    # --- Requests and replies ---

    async def start(self) -> None:
        """Answer what was read, one after the other, until nothing more will be."""
        reader, life = self._reader, self._life
        try:
            while True:
                if reader.arrived is not None:
                    (message, body), reader.arrived = reader.arrived, None
                    await self._answer(message, body)
                    self._read_on(message)
                    del message, body  # an idle connection keeps nothing of its last request
                elif reader.fault is not None:
                    fault, reader.fault = reader.fault, None
                    await self._say(fault, HttpRequest("", reader.target, {}, self._peer))
                elif life.finishing:
                    break
                else:
                    self._waiter = self._loop.create_future()
                    try:
                        await self._waiter
                    finally:
                        self._waiter = None
        except asyncio.CancelledError:
            if life.phase not in (CLOSING, CLOSED):  # somebody has cancelled what was awaited
                self.abort()
            raise
        except Exception as error:  # whatever goes wrong here, the server and its other connections go on
            log.error("A connection of REST has failed: %r", error, exc_info=True)
            self.abort()
        else:
            self._end()

    def _read_on(self, message: RawRequestMessage) -> None:
        """Read what stands behind the request that was answered."""
        life, reader = self._life, self._reader
        life.has_answered = True
        if life.phase is CLOSED:
            return
        if life.finishing:
            reader.note_unread(message)
            return
        life.phase = IDLE
        life.since = self._gateway.now()
        if reader.holds_much or self._reading_paused:
            self._take_more()
        reader.read_on()
        if life.draining and life.phase is IDLE:  # the reply was begun before that
            self._close_link()

    def _take_more(self) -> None:
        """Read the client again where what it has sent had to wait."""
        self._reader.holds_much = self._reading_paused = False
        self._link.resume_reading()

    async def _answer(self, message: RawRequestMessage, body: StreamReader) -> None:
        """Answer a request of which the head was read."""
        gateway, life = self._gateway, self._life
        verb, target, headers = message.method, message.path, message.headers
        self._reader.offered = message.upgrade
        if verb == hdrs.METH_CONNECT:  # there is no way to go on behind it
            life.refuse_more()
        found = gateway.find(verb, target)
        request = HttpRequest(verb, target, HeaderFields(headers), self._peer, connection=self)
        fault = None if message.version is HttpVersion11 else fault_of_version(message)
        if fault is None and gateway.cors is not None and gateway.cors.is_preflight(request):
            life.finishing = life.has_unread = life.finishing or not body.is_eof()
            reply = gateway.cors.preflight(request, found and found.allow)
            gateway.answering.told(gateway.answering.find(verb, target), request, reply)
            await self._reply(reply, request, message)
            return
        if fault is None and self._door is not None:
            fault = self._fault_of_client(self._door, request, found)
        most_bytes = gateway.limits.body_bytes
        if found is not None and found.route is not None and found.route.most_bytes is not None:
            most_bytes = found.route.most_bytes
        complete = body.is_eof()
        if fault is None and (not complete or not body.total_bytes or hdrs.TRANSFER_ENCODING in headers):
            fault = fault_of_length(message, most_bytes)
        if fault is not None:
            await self._say(fault, request)
            return
        if found is None:
            if not await self._left_to_dialects(message, body):
                return
            found, complete = gateway.answering.find(verb, target), body.is_eof()
        try:
            if complete:
                request.body = whole_body(body)
            else:
                request.body = await arriving_body(message, body, most_bytes, self._link)
            if len(request.body) > most_bytes:
                raise Refused(too_large(most_bytes))
        except Refused as refused:
            await self._say(refused.fault, request)
            return
        except asyncio.CancelledError:
            gateway.answering.left(request)
            raise
        reply = await gateway.answering.answer(found, request, self)
        rest = self._write(reply, request, message)
        if rest is not None:
            await rest

    def _fault_of_client(self, door: Door, request: HttpRequest, found: Found | None) -> Fault | None:
        """Why a client may not ask; None where it may."""
        fields = {
            name.encode(): value.encode("latin-1")
            for name in _FIELDS_OF_CLIENTS
            if (value := request.headers.get(name)) is not None
        }
        identity = door.admit(request.verb.encode(), request.target.encode(), fields)
        if identity is None:
            return Fault(UNAUTHORIZED, door.refusal)
        request.identity = identity
        right = self._right_for(request, found)
        if right in identity.rights:
            return None
        return Fault(FORBIDDEN, identity.refusal(right))

    def _right_for(self, request: HttpRequest, found: Found | None) -> Right:
        """What a client must be allowed to do; nothing, to hear that there is nothing."""
        route = (found or self._gateway.answering.find(request.verb, request.target)).route
        if route is not None:
            return route.right
        return Right.INFER if found is None else Right.NONE  # it may be a route of the user's own

    def _open_to_all(self, verb: bytes, target: bytes) -> bool:
        return self._gateway.answering.find(verb.decode(), target.decode()).is_open

    async def _say(self, fault: Fault, request: HttpRequest) -> None:
        """Refuse a request, and read nothing more."""
        self._life.refuse_more()
        self._life.phase = ANSWERING
        self._reader.forget_body()
        await self._reply(self._gateway.answering.refuse(fault.status, fault.text, request), request)

    async def _reply(
        self, reply: HttpReply, request: HttpRequest, message: RawRequestMessage | None = None
    ) -> None:
        """Write a reply, and wait until the client takes more; as `_write`."""
        rest = self._write(reply, request, message)
        if rest is not None:
            await rest

    def _write(
        self, reply: HttpReply, request: HttpRequest, message: RawRequestMessage | None
    ) -> Awaitable[None] | None:
        """Write a reply.

        Args:
            reply: It.
            request: What was asked.
            message: The head of the request; None for a refusal, which ends the connection.

        Returns:
            What has to be awaited before anything else is written; None where the client takes more.
        """
        gateway, life = self._gateway, self._life
        if gateway.cors is not None and not gateway.cors.is_preflight(request):
            more = gateway.cors.headers(request.headers.get("origin"))
            reply = reply._replace(headers=(*reply.headers, *more))
        if message is None or message.should_close or life.draining or life.finishing:
            connection = LAST
            life.finishing = True
        else:
            connection = KEPT_1_0 if message.version is HttpVersion10 else KEPT
        head = gateway.heads.head(reply, connection)
        body = b"" if request.verb == "HEAD" else reply.body
        if len(body) >= LARGE_REPLY_BYTES:
            return self._writer.write_large(self, head, body)
        self._link.write(head + body)
        return self._writer.small_taken(self, len(head) + len(body)) if self._paused else None

    # --- The end ---

    def _refuse(self, fault: Fault) -> None:
        """Refuse what is being read, and read nothing more."""
        self._reader.refuse(fault)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self) -> None:
        """Close once the client has got the last reply."""
        life, reader = self._life, self._reader
        if life.phase in (CLOSING, CLOSED):
            return
        if not (life.has_unread or reader.held):
            self._close_link()
            return
        life.begin(LINGERING, self._gateway.now())
        reader.held = b""
        if reader.holds_much or self._reading_paused:
            self._take_more()
        if self._link.can_write_eof():
            self._link.write_eof()

    def _close_link(self) -> None:
        self._life.begin(CLOSING, self._gateway.now())
        self._life.finishing = True
        self._link.close()
        if self._waiter is not None:
            self._waiter.cancel()
