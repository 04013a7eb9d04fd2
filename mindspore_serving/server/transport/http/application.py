"""The application of aiohttp in which dialects answer what no route of the user's own does.

A user may add routes, sub-applications and middlewares to it before the server starts, or mount it into an application
of their own. So dialects have no routes in its router: a route for all paths would stand before those of the user. They
are asked by a middleware, for what the router does not find.

Under our own server this is asked once for a verb and a path. From then on the connection knows that a dialect answers
there, and needs no router, request and response of aiohttp. Middlewares of the user's want to see all requests: where
there are some, all requests take the long way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_urldispatcher import MatchedSubAppResource

from mindspore_serving.server.transport.http.answering import Answering, Found
from mindspore_serving.server.transport.http.connection import HttpConnection
from mindspore_serving.server.transport.http.header_fields import HeaderFields
from mindspore_serving.server.transport.http.responses import LEFT_TO_DIALECTS, response_of
from mindspore_serving.server.transport.http.target import path_of
from mindspore_serving.server.transport.routes import HttpReply, HttpRequest

_MOST_PATHS = 1 << 12
"""Paths of which it is remembered that a dialect answers there."""


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
        self.application = web.Application(middlewares=[self._middleware()], client_max_size=0)

    def __repr__(self) -> str:
        return f"<DialectApplication {len(self.application.router.resources())} routes of the user's own>"

    def replace(self, answering: Answering) -> None:
        """Answer otherwise, from now on.

        Args:
            answering: Who answers.
        """
        self._answering = answering

    def finder(self) -> Callable[[str, str], Found | None]:
        """What tells who answers a verb and a target; None where the application has to be asked.

        To be called once nothing can be added any more.
        """
        resources = self.application.router.resources()
        alone = len(self.application.middlewares) == 1
        # Which sub-application answers a path may depend on the host, which is not looked at here.
        self._remembers = alone and not any(isinstance(each, MatchedSubAppResource) for each in resources)
        return self._answering.find if alone and not len(resources) else self._find

    def _find(self, verb: str, target: str) -> Found | None:
        return self._answering.find(verb, target) if (verb, path_of(target)) in self._known else None

    def _remember(self, verb: str, target: str) -> None:
        if len(self._known) >= _MOST_PATHS:
            self._known.clear()
        self._known.add((verb, path_of(target)))

    def _middleware(self) -> Middleware:
        @web.middleware
        async def dialects(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.match_info.http_exception is None:
                return await handler(request)
            if self._remembers and isinstance(request.protocol, HttpConnection):
                self._remember(request.method, request.raw_path)
                return LEFT_TO_DIALECTS
            return response_of(await self._answer(request))

        return dialects

    async def _answer(self, request: web.Request) -> HttpReply:
        """The reply of a dialect, from the loop on which it runs."""
        target = request.raw_path
        prefix = self._prefix(request)
        if prefix and target.startswith(prefix):
            target = target[len(prefix) :] or "/"
        body = await request.read()
        peer = request.remote or "?"
        asked = HttpRequest(request.method, target, HeaderFields(request.headers), peer, body=body)
        found = self._answering.find(request.method, target)
        answer = self._answering.answer(found, asked, request)
        if asyncio.get_running_loop() is self._loop:
            return await answer
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer, self._loop))

    def _prefix(self, request: web.Request) -> str:
        """Where the application is mounted."""
        apps = request.match_info.apps
        if len(apps) < 2 or apps[-1] is not self.application:
            return ""
        for resource in apps[-2].router.resources():
            place = resource.get_info()
            if place.get("app") is self.application:
                return str(place.get("prefix", ""))
        return ""
