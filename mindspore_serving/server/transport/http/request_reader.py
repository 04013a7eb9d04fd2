"""The reading side of a connection: from the bytes that arrive to the request that is answered next.

aiohttp's parser reads the bytes. By itself it reads up to 32 requests ahead, and loses those that stand in one packet
before bytes that are no HTTP. So it is told to stop behind each request, and reads on when that is answered. What has
arrived meanwhile waits, and once that is more than a little, the connection is not read.

What arrives has limits that aiohttp does not know: of bytes that bring neither a head nor a body, and of the memory of
all bodies that are not complete. ADR 41 has the table.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError, HttpRequestParser, HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader

from mindspore_serving.server.transport.http.answering import BUSY
from mindspore_serving.server.transport.http.faults import (
    Fault,
    Refused,
    fault_of_error,
    head_too_large,
    too_large,
)
from mindspore_serving.server.transport.http.gateway import Gateway
from mindspore_serving.server.transport.http.life import ANSWERING, IDLE, RECEIVING, Life
from mindspore_serving.server.transport.http.reply_heads import CONTINUE

if TYPE_CHECKING:
    from aiohttp.base_protocol import BaseProtocol

_MOST_HELD_BYTES = 1 << 16
_READ_AHEAD_BYTES = 1 << 16
"""Bytes of a body that may wait for who reads it."""


class RequestReader:
    """Reads the requests of one connection, one at a time.

    Args:
        connection: Whose; bodies pause and resume its reading.
        link: Its transport.
        gateway: What all connections share.
        loop: On which it runs.
        life: Of the connection.

    Attributes:
        parser: Of aiohttp; None once the connection is gone.
        arrived: Head and body of the request that is to be answered next; None where there is none yet.
        fault: Why nothing more is read, which the client is still to be told; None for nothing to tell.
        target: What the request asks that cannot be read, as far as that is known; else "".
        receiving: The body of which more is to come; None where the last one is complete.
        held: Bytes that cannot be read before the request in flight is answered.
        holds_much: There are so many of these that the connection is not read any more.
        offered: The request in flight offers another protocol, which nobody has accepted.
    """

    __slots__ = (
        "_counted_bytes",
        "_fruitless_bytes",
        "_gateway",
        "_life",
        "_link",
        "_loop",
        "_most_fruitless",
        "arrived",
        "fault",
        "held",
        "holds_much",
        "offered",
        "parser",
        "receiving",
        "target",
    )

    def __init__(
        self,
        connection: BaseProtocol,
        link: asyncio.Transport,
        gateway: Gateway,
        loop: asyncio.AbstractEventLoop,
        life: Life,
    ) -> None:
        limits = gateway.limits
        self.parser: HttpRequestParser | None = HttpRequestParser(
            connection,
            loop,
            _READ_AHEAD_BYTES,
            max_line_size=limits.head_bytes,
            max_field_size=limits.head_bytes,
            max_headers=limits.headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=1,
        )
        self._link = link
        self._gateway = gateway
        self._loop = loop
        self._life = life
        self.arrived: tuple[RawRequestMessage, StreamReader] | None = None
        self.fault: Fault | None = None
        self.target = ""
        self.receiving: StreamReader | None = None
        self.held = b""
        self.holds_much = False
        self.offered = False
        self._counted_bytes = 0  # of `receiving`, among all bodies that are not complete
        self._fruitless_bytes = 0  # since the last end of a head, and the last byte of a body
        self._most_fruitless = limits.head_bytes

    def __repr__(self) -> str:
        return f"<RequestReader {len(self.held)} bytes held, {self._counted_bytes} bytes of a body>"

    def receive(self, data: bytes) -> bool:
        """Take bytes of the client.

        Args:
            data: May be none, where only the parser has some.

        Returns:
            Whether there is something to answer.
        """
        life = self._life
        if life.phase is ANSWERING and self.receiving is None:
            return self._hold(data)
        fruitless = self._fruitless_bytes + len(data)
        if fruitless < self._most_fruitless:  # nearly always
            self._fruitless_bytes = fruitless
            news = self._parse(data)
        else:
            news = self._parse_pieces(data)
        if life.phase is IDLE and data.strip(b"\r\n"):
            life.begin(RECEIVING, self._gateway.now())
        return news

    def read_on(self) -> None:
        """Read what stands behind the request that was answered."""
        parser = self.parser
        assert parser is not None  # as long as the connection is there
        parser.message_consumed()
        if self.offered:
            self.decline_offer()
        if self.held:
            held, self.held = self.held, b""
            self.receive(held)
        else:  # what stood in one packet with the request is the parser's
            self._parse(b"")

    def note_unread(self, message: RawRequestMessage) -> None:
        """Find out whether the client has sent more than the request that is its last.

        Args:
            message: The head of that.
        """
        parser = self.parser
        assert parser is not None
        parser.message_consumed()
        if message.should_close and not self._life.has_unread:
            try:
                parser.feed_data(b"")
            except HttpProcessingError:
                self._life.has_unread = True

    def refuse(self, fault: Fault) -> None:
        """Refuse what is being read, and read nothing more.

        Args:
            fault: Why.
        """
        self._life.refuse_more()
        self._life.phase = ANSWERING
        body = self.forget_body()
        if body is not None:
            # For who reads it, who may have been woken up for a piece, and would miss it now.
            self._loop.call_soon(body.set_exception, Refused(fault))
        else:
            self.fault = fault

    def forget_body(self) -> StreamReader | None:
        """Stop counting the body that is being received; gives it."""
        self._gateway.unfinished.change(-self._counted_bytes)
        self._counted_bytes = 0
        body, self.receiving = self.receiving, None
        return body

    def decline_offer(self) -> None:
        """Go on with HTTP behind a request that offers another protocol.

        The parser has come to an end with such a request. It gives the bytes behind it to who has accepted.
        """
        parser = self.parser
        assert parser is not None
        self.offered = False
        parser.set_upgraded(True)
        _, _, rest = parser.feed_data(b"")
        parser.set_upgraded(False)
        self.held = rest + self.held

    def close(self) -> None:
        """Let go of everything: the connection is gone."""
        self.held = b""
        self.forget_body()
        self.parser = None  # which knows the connection

    def _parse(self, data: bytes) -> bool:
        """Give bytes to the parser; whether there is something to answer."""
        parser = self.parser
        assert parser is not None
        try:
            messages, _, _ = parser.feed_data(data)
        except HttpProcessingError as error:
            if self._fruitless_bytes <= len(data):  # it begins with a head
                self.target = _target_in(data)
            self.refuse(fault_of_error(error, self._gateway.limits))
            return True
        if messages:
            self.arrived = messages[0]
            self._fruitless_bytes = 0
            body = messages[0][1]
            if body.is_eof():
                self._life.phase = ANSWERING
            else:
                self.receiving = body
                if self._life.phase is IDLE:
                    self._life.begin(RECEIVING, self._gateway.now())
        if self.receiving is not None:
            self._watch_body(self.receiving)
        return self.arrived is not None or self.fault is not None

    def _parse_pieces(self, data: bytes) -> bool:
        """The same in pieces, as what brings neither a head nor a body may not go on for ever."""
        news, most, rest = False, self._most_fruitless, data
        while rest and not self._life.finishing:
            if self._life.phase is ANSWERING:  # the request is complete
                self._hold(rest)
                break
            room = most - self._fruitless_bytes
            piece, rest = rest[:room], rest[room:]
            self._fruitless_bytes += len(piece)
            news = self._parse(piece) or news
            if self._fruitless_bytes >= most and not self._life.finishing:
                self.refuse(head_too_large(self._gateway.limits))
                news = True
        return news

    def _watch_body(self, body: StreamReader) -> None:
        """Count what came of a body of which more is to come; refuse it if it is too large, or there is no room."""
        if body.is_eof():
            self.forget_body()
            self._life.phase = ANSWERING
            self._fruitless_bytes = 0
            return
        size = body.total_bytes
        more, self._counted_bytes = size - self._counted_bytes, size
        if more:
            self._fruitless_bytes = 0
        unfinished, most = self._gateway.unfinished, self._gateway.limits.body_bytes
        if not unfinished.change(more):
            self.refuse(Fault(BUSY, unfinished.refusal))
        elif size > most:
            self.refuse(too_large(most))

    def _hold(self, data: bytes) -> bool:
        """Keep what cannot be read yet; nothing is to be answered for it."""
        if data:
            self.held += data
            if len(self.held) > _MOST_HELD_BYTES and not self.holds_much:
                self.holds_much = True
                self._link.pause_reading()
        return False


def _target_in(data: bytes) -> str:
    """The target of a request that cannot be read, which says whose words its refusal is in; "" for none."""
    words = data[: data.find(b"\n") + 1].split()
    return words[1].decode(errors="replace") if len(words) == 3 else ""


def whole_body(body: StreamReader) -> bytes:
    """A body that is complete, and that nobody has begun to read."""
    if body.total_bytes and len(body._buffer) == 1:  # nearly always
        return body._buffer[0]  # to read it takes six calls
    return body.read_nowait()


async def arriving_body(
    message: RawRequestMessage, body: StreamReader, most_bytes: int, link: asyncio.Transport
) -> bytes:
    """A body of which more is to come.

    Args:
        message: The head of its request.
        body: It.
        most_bytes: Largest body.
        link: Where a client is told to go on that waits for that.

    Raises:
        Refused: It is too large, does not arrive, or there is no room for it.
    """
    if (
        message.version == HttpVersion11
        and not body.total_bytes
        and message.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
    ):
        link.write(CONTINUE)
    pieces: list[bytes] = []
    size = 0
    while not body.at_eof():
        pieces.append(await body.readany())
        size += len(pieces[-1])
        if size > most_bytes:
            raise Refused(too_large(most_bytes))
    return b"".join(pieces)
