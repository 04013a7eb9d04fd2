"""The application of aiohttp in which dialects answer what no route of the user's own does.

A user may add routes, sub-applications and middlewares to it before the server starts, or mount it into an application
of their own. aiohttp asks routes in the order in which they were added, and the one for all paths is there first: so it
lets all others go before.

Under our own server this is asked once for a verb and a path. From then on the connection knows that a dialect answers
there, and needs no router, request and response of aiohttp. Middlewares of the user's want to see all requests: where
there are some, all requests take the long way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import (
    DynamicResource,
    MatchedSubAppResource,
    PrefixedSubAppResource,
    UrlMappingMatchInfo,
)
from multidict import CIMultiDict, CIMultiDictProxy

from mindspore_serving.server.access.guard import KEY_FIELDS
from mindspore_serving.server.access.identity import ANYBODY, STRANGER, Identity
from mindspore_serving.server.transport.http.answering import Answering, Found
from mindspore_serving.server.transport.http.connection import HttpConnection
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.http.header_fields import HeaderFields
from mindspore_serving.server.transport.http.peer import ForeignConnection
from mindspore_serving.server.transport.http.responses import LEFT_TO_DIALECTS, response_of
from mindspore_serving.server.transport.http.target import path_of
from mindspore_serving.server.transport.http_routes import ClientConnection, HttpReply, HttpRequest

_MOST_PATHS = 1 << 12
"""Paths of which it is remembered that a dialect answers there."""
_LONGEST_PATH = 1 << 10
"""Characters of such a path: clients choose them, and others take the long way each time."""


_REMAINING = "/{path:(?s:.*)}"
_ITS_END = "/{path}"


class _Remaining(DynamicResource):
    """All paths and verbs for which no other route is.

    Args:
        application: Whose other routes go before.
    """

    def __init__(self, application: web.Application) -> None:
        super().__init__(_REMAINING)
        self._others = application.router

    async def resolve(self, request: web.Request) -> tuple[UrlMappingMatchInfo | None, set[str]]:
        """Who answers a request for which routes with a longer path that does not vary were asked already."""
        for other in self._others.resources():
            # Sub-applications were asked already; at a path of others they would say that there is nothing.
            if other is not self and not isinstance(other, PrefixedSubAppResource):
                match, _ = await other.resolve(request)
                if match is not None:
                    return match, set()
        return await super().resolve(request)

    @property
    def prefix(self) -> str:
        """Where the application is mounted; empty where it is not."""
        return self.canonical.removesuffix(_ITS_END)


class DialectApplication:
    """An application, and the dialects that answer what its routes do not.

    Args:
        answering: Who answers.
        loop: The event loop on which dialects answer; the application may be served on another one.

    Attributes:
        application: To add to; it cannot be changed once it is served or mounted.
    """

    def __init__(self, answering: Answering, loop: asyncio.AbstractEventLoop) -> None:
        self._answering = answering
        self._loop = loop
        self._known: set[tuple[str, str]] = set()
        self._remembers = False
        # Bodies have the limit of the server, or of the application into which this one is mounted.
        self.application = web.Application(client_max_size=0)
        self._remaining = _Remaining(self.application)
        self._remaining.add_route("*", self._handle)
        self.application.router.register_resource(self._remaining)

    def __repr__(self) -> str:
        return f"<DialectApplication {len(self.application.router.resources()) - 1} routes of the user's own>"

    def replace(self, answering: Answering) -> None:
        """Answer otherwise, from now on.

        Args:
            answering: Who answers.
        """
        self._answering = answering

    def show_to_pages(self, cors: Cors) -> None:
        """Say with the responses of the user's own, too, which pages may see them.

        Args:
            cors: Which pages may.
        """

        async def say(request: web.Request, response: web.StreamResponse) -> None:
            for name, value in cors.headers(request.headers.get(hdrs.ORIGIN)):
                if name not in response.headers:  # the user may have said it
                    response.headers[name] = value
                elif name == hdrs.VARY and value not in response.headers.getall(name):
                    response.headers.add(name, value)

        self.application.on_response_prepare.append(say)

    def finder(self) -> Callable[[str, str], Found | None]:
        """What tells who answers a verb and a target; None where the application has to be asked.

        To be called once nothing can be added any more.
        """
        others = [each for each in self.application.router.resources() if each is not self._remaining]
        alone = not self.application.middlewares
        # Which sub-application answers a path may depend on the host, which is not looked at here.
        self._remembers = alone and not any(isinstance(each, MatchedSubAppResource) for each in others)
        return self._answering.find if alone and not others else self._find

    def _find(self, verb: str, target: str) -> Found | None:
        return self._answering.find(verb, target) if (verb, path_of(target)) in self._known else None

    def _remember(self, verb: str, target: str) -> None:
        path = path_of(target)
        if len(path) > _LONGEST_PATH:
            return
        if len(self._known) >= _MOST_PATHS:
            self._known.clear()
        self._known.add((verb, path))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._remembers and isinstance(request.protocol, HttpConnection):
            self._remember(request.method, request.raw_path)
            return LEFT_TO_DIALECTS
        return response_of(await self._answer(request))

    async def _answer(self, request: web.Request) -> HttpReply:
        """The reply of a dialect, from the loop on which it runs."""
        target = request.raw_path
        if not target.startswith("/"):  # it names the host, too
            target = path_of(target)
        target = _below(self._remaining.prefix, target)
        body = await request.read()
        headers = _headers_of(request, body)
        asked = HttpRequest(request.method, target, headers, request.remote or "?", body=body)
        asked.connection = _connection_of(request)
        asked.identity = _identity_of(request, headers)
        answer = self._answering.answer(self._answering.find(request.method, target), asked, self)
        if asyncio.get_running_loop() is self._loop:
            return await answer
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer, self._loop))


def _connection_of(request: web.Request) -> ClientConnection:
    """The connection of a request, which may be one of a server of the user's own."""
    protocol = request.protocol
    return protocol if isinstance(protocol, HttpConnection) else ForeignConnection(request.transport)


def _headers_of(request: web.Request, body: bytes) -> HeaderFields:
    """The headers of a request, as they fit its body: servers of users decompress bodies, ours does not."""
    headers = request.headers
    if body and request.content.total_compressed_bytes is not None:
        headers = CIMultiDictProxy(
            CIMultiDict(
                (name, value) for name, value in headers.items() if name.lower() != "content-encoding"
            )
        )
    return HeaderFields(headers)


def _below(prefix: str, target: str) -> str:
    """What stands in a target behind a prefix, of which clients may encode any character."""
    segments = prefix.count("/")
    return "/" + target.split("/", segments + 1)[-1] if segments else target


def _identity_of(request: web.Request, headers: HeaderFields) -> Identity:
    """Who a client is, where our own server asks for that."""
    door = request.protocol._door if isinstance(request.protocol, HttpConnection) else None
    if door is None:
        return ANYBODY
    shown = ((name, headers.get(name.decode())) for name in KEY_FIELDS)
    fields = {name: value.encode("latin-1") for name, value in shown if value is not None}
    return door.identify(fields) or STRANGER
