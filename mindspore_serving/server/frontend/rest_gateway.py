"""The REST interface: POST /model/{servable}[/version/{n}]:{method} on aiohttp.

Serves aiohttp's plain request handler, without routes and middlewares: there is one kind of request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from aiohttp import web

from mindspore_serving import log
from mindspore_serving.errors import (
    Failure,
    InvalidInput,
    MessageTooLarge,
    ServingError,
    StartUpError,
    SystemFailure,
    VerbNotAllowed,
)
from mindspore_serving.server.frontend.address import parse_socket_address
from mindspore_serving.server.frontend.json_codec import (
    encode_failure,
    encode_reply,
    parse_body,
    read_instances,
    select_inputs,
)
from mindspore_serving.server.frontend.rest_url import parse_target
from mindspore_serving.server.master.dispatcher import Dispatcher

_TAG = "RESTful server"
_BACKLOG = 1024
_KEEP_ALIVE_S = 100.0
_BODY_TIMEOUT_S = 100.0
_STOP_GRACE_S = 1.0
_CONTENT_TYPE = "application/json"


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
        dispatcher: Where instances go.
        max_body_bytes: Largest request body.
        always_ok: Say HTTP 200 also for errors.
    """

    def __init__(self, dispatcher: Dispatcher, max_body_bytes: int, always_ok: bool) -> None:
        self._dispatcher = dispatcher
        self._max_body_bytes = max_body_bytes
        self._always_ok = always_ok

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Answer one request; errors of Serving are in the body."""
        try:
            status, body = await self._answer(request)
            return self._response(status, body)
        except ServingError as error:
            return self._failed(error.failure())
        except asyncio.TimeoutError:
            failure = InvalidInput(f"http message was not received within {_BODY_TIMEOUT_S:.0f} s").failure()
            return self._failed(Failure(failure.code, failure.text, 408))
        except web.HTTPException as refused:
            return self._failed(InvalidInput(refused.reason).failure())
        except Exception as error:  # whatever goes wrong here, the client gets an answer
            log.error("REST request failed: %r", error, exc_info=True)
            return self._failed(SystemFailure(f"Predict failed: {error!r}").failure())

    async def _answer(self, request: web.BaseRequest) -> tuple[int, bytes]:
        if request.method != "POST":
            raise VerbNotAllowed("http message only support POST right now")
        document = parse_body(await self._read(request))
        name, method, version = parse_target(request.rel_url.raw_path)
        blocks = read_instances(document)
        route = self._dispatcher.resolve(name, method, version)
        blocks = select_inputs(blocks, name, route.method)
        return encode_reply(await self._dispatcher.submit(route, blocks))

    async def _read(self, request: web.BaseRequest) -> bytes:
        """The body, never more of it in memory than allowed."""
        limit = self._max_body_bytes
        if request.content_length is not None and request.content_length > limit:
            raise MessageTooLarge(f"http message is bigger than {limit}")
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        stream = request.content
        if stream.is_eof():
            body = stream.read_nowait()
        else:
            body = await asyncio.wait_for(self._read_chunks(stream, limit), _BODY_TIMEOUT_S)
        if len(body) > limit:
            raise MessageTooLarge(f"http message is bigger than {limit}")
        return body

    async def _read_chunks(self, stream: Any, limit: int) -> bytes:
        chunks, size = [], 0
        while chunk := await stream.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        return b"".join(chunks)

    def _failed(self, failure: Failure) -> web.Response:
        headers = {"Retry-After": "1"} if failure.status == 429 else None
        return self._response(failure.status, encode_failure(failure), headers)

    def _response(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
        if self._always_ok:
            status = 200
        return web.Response(body=body, status=status, headers=headers, content_type=_CONTENT_TYPE)


class _HttpConnection(web.RequestHandler):
    """A connection on which bytes that are no HTTP request get an error like any other, and one line in the log."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        log.warning("Bad HTTP request from %s: %s", request.remote, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("a reply was begun already")
        failure = InvalidInput(f"http message invalid, {type(exc).__name__}").failure()
        response = web.Response(body=encode_failure(failure), status=status, content_type=_CONTENT_TYPE)
        response.force_close()
        return response


class _HttpServer(web.Server):
    """Makes a `_HttpConnection` of each connection."""

    def __call__(self) -> web.RequestHandler:
        return _HttpConnection(self, loop=self._loop, **self._kwargs)


class RestServer:
    """One listening REST server.

    Args:
        dispatcher: Where instances go.
        address: `ip:port`.
        max_message_bytes: Largest request body.
        tls: TLS; None for plain HTTP.
        always_ok: Say HTTP 200 also for errors.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        address: str,
        max_message_bytes: int,
        tls: ssl.SSLContext | None,
        always_ok: bool,
    ) -> None:
        self.address = address
        self._tls = tls
        self._handler = RestHandler(dispatcher, max_message_bytes, always_ok)
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            StartUpError: The address cannot be bound.
        """
        host, port = parse_socket_address(self.address, _TAG)
        server = _HttpServer(
            self._handler, handler_cancellation=True, keepalive_timeout=_KEEP_ALIVE_S, access_log=None
        )
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_STOP_GRACE_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, ssl_context=self._tls, backlog=_BACKLOG)
            await site.start()
        except (OSError, socket.gaierror, OverflowError, UnicodeError) as cause:
            await runner.cleanup()
            raise StartUpError(
                f"Serving Error: RESTful server start failed, bind to the socket address {self.address} failed"
            ) from cause
        self._runner = runner

    async def stop(self) -> None:
        """Refuse new requests, let those under way finish shortly, and close. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
