"""What a browser gets at `/`: what this is, and where to look. Everybody else gets there what they always did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Final

from mindspore_serving import __version__
from mindspore_serving.errors import Failure, VerbNotAllowed
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.openapi.html import link, page_of
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.transport.description import (
    OK,
    TEXT_SCHEMA,
    Content,
    DescribedServable,
    Description,
    Operation,
    error_schema,
)
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.routes import Dialect

PATH: Final = "/"
_LINKS: Final = (
    ("/console", "servables, charts, and a form for each method"),
    ("/docs", "all that can be asked, with types and examples"),
    ("/openapi.json", "the same for tools"),
    ("/status", "versions, queues, recent times"),
    ("/metrics", "counters for Prometheus"),
    ("/healthz/ready", "whether all is ready"),
    ("/v2", "the Open Inference Protocol"),
    ("/v1/models", "the models, by the V1 protocol"),
)
"""Pages, and what one sees there; those that are not served are left out."""
_MOST_NAMES: Final = 50
_HTML: Final = "text/html"


class FrontPage:
    """Greets browsers.

    Args:
        catalog: Tells what there is.
        others: Who answers everything else at `/`: whoever answers what is nobody's.
        dialects: Gives all that answers at the listener.
        right: What a browser must be allowed to do. The names of servables are for those who are authenticated.
    """

    name = "front page"
    grpc_methods: Sequence[GrpcMethod] = ()

    def __init__(
        self,
        catalog: Catalog,
        others: Dialect,
        dialects: Callable[[], Sequence[Dialect]],
        right: Right = Right.VIEW,
    ) -> None:
        self._catalog = catalog
        self._others = others
        self._dialects = dialects
        left = [replace(route, pattern=PATH) for route in others.routes if route.pattern == ""]
        self._wrong_verb = next((route.wrong_verb for route in left if route.wrong_verb), "")
        self.routes: Sequence[Route] = (
            *left,
            Route(("GET",), PATH, self.greet, right, wrong_verb=self._wrong_verb, unlisted=True),
        )

    async def greet(self, request: HttpRequest) -> HttpReply:
        """Say what this is.

        Raises:
            VerbNotAllowed: The client is no browser.
        """
        if _HTML not in request.headers.get("accept", ""):
            raise VerbNotAllowed(self._wrong_verb or "/ is a page for browsers, which accept text/html")
        served = {route.pattern for dialect in self._dialects() for route in dialect.routes}
        links = "\n".join(
            f"<li>{link(path.removeprefix('/'), path)}: {escape(text)}</li>"
            for path, text in _LINKS
            if path in served
        )
        known = f"Version {escape(__version__)}, {self._names()}." if request.authenticated else ""
        return page_of("MindSpore Serving", f"<p>{known}</p>\n<ul>\n{links}\n</ul>")

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed: as others give it."""
        return self._others.refuse(failure, request)

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """What is answered to browsers.

        Args:
            servables: Not asked for.
        """
        page = Content(TEXT_SCHEMA, _HTML)
        return Description(
            [Operation("GET", PATH, "Greet a browser, which accepts text/html", gives={OK: [page]})],
            error_schema("error_msg"),
            unlisted=frozenset((PATH,)),
        )

    def _names(self) -> str:
        """The servables, as HTML."""
        names = [servable.name for servable in self._catalog.servables()]
        if not names:
            return "without servables yet"
        shown = ", ".join(f"<b>{escape(name)}</b>" for name in names[:_MOST_NAMES])
        more = len(names) - _MOST_NAMES
        return f"serving {shown}" + (f" and {more} more" if more > 0 else "")
