"""A connection as aiohttp's application sees it: how a route of the user's own answers a request that was read here.

All that is overridden of aiohttp's `RequestHandler` for this is here; `HttpConnection` has the rest: reading, dialects
and the end.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, RawRequestMessage, StreamWriter
from aiohttp.streams import StreamReader

from mindspore_serving import log
from mindspore_serving.server.transport.http.faults import Refused
from mindspore_serving.server.transport.http.gateway import Gateway
from mindspore_serving.server.transport.http.header_fields import HeaderFields
from mindspore_serving.server.transport.http.life import CLOSING, Life
from mindspore_serving.server.transport.http.reply_writer import ReplyWriter
from mindspore_serving.server.transport.http.request_reader import RequestReader
from mindspore_serving.server.transport.http.responses import LEFT_TO_DIALECTS, response_of
from mindspore_serving.server.transport.http_routes import HttpRequest


class ApplicationConnection(web.RequestHandler):
    """Has the application answer requests of one connection.

    Args:
        server: Of aiohttp; makes requests, and calls their handlers.
        gateway: What all connections share.
        loop: On which it runs.
    """

    __slots__ = ("_gateway", "_life", "_link", "_peer", "_reader", "_writer")

    def __init__(self, server: web.Server, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        # Its timers are off: `HttpConnection.check` has the limits.
        super().__init__(server, loop=loop, keepalive_timeout=0, tcp_keepalive=False, access_log=None)  # type: ignore[arg-type]
        self._gateway = gateway
        self._life = Life(gateway.now())
        self._peer = "?"  # address of the client
        # Since the connection is made:
        self._link: asyncio.Transport
        self._reader: RequestReader
        self._writer: ReplyWriter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._peer} {self._life.phase.name}>"

    def abort(self) -> None:
        """End at once."""
        self._life.phase = CLOSING
        self._life.finishing = True
        self._link.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse | None, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the response of a handler of the user's own."""
        if self._upgraded and self._payload_parser is None:  # the handler has declined
            self._upgraded = False
            self._reader.held, self._message_tail = self._message_tail, b""
        if resp is LEFT_TO_DIALECTS:
            return resp, False
        if self._life.draining and resp is not None and not resp.prepared:
            resp.force_close()
        # A handler may have forgotten to return one: aiohttp answers with 500.
        return await super().finish_response(request, cast("web.StreamResponse", resp), start_time)

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

    async def _left_to_dialects(self, message: RawRequestMessage, body: StreamReader) -> bool:
        """Let the application answer a request; whether it has found that a dialect is to do that."""
        assert self._request_factory is not None  # as long as the connection is there
        assert self._request_handler is not None
        life = self._life
        # With a body, of which more may come, nothing is accepted: what is behind it is HTTP.
        if (
            self._reader.offered
            and body.is_eof()
            and message.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
        ):
            self._offer_further()
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
        elif not response.keep_alive or not body.is_eof() or _ends_by_closing(message, response):
            life.finishing = True
            life.has_unread = life.has_unread or not body.is_eof()
        if self._paused:
            await self._writer.until_taken(self)
        return False

    def _offer_further(self) -> None:
        """Let a handler accept what a client offers."""
        self._reader.decline_offer()
        self._upgraded = True
        self._message_tail, self._reader.held = self._reader.held, b""


def _ends_by_closing(message: RawRequestMessage, response: web.StreamResponse) -> bool:
    """Whether a client of HTTP/1.0, which knows no chunks, can tell the end of a response by nothing else."""
    return message.version == HttpVersion10 and hdrs.CONTENT_LENGTH not in response.headers
