"""Which pages front ends show of the server itself, and who may see them.

A page is a dialect of HTTP: an object with `name`, `routes` and `refuse`. Its routes ask for `Right.VIEW`, unless they
are for everybody anyhow. Who adds a page adds a line to `_MAKERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mindspore_serving.errors import Failure
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.openapi.page import OpenApiPage
from mindspore_serving.server.console.openapi.swagger_ui import folder_of_package
from mindspore_serving.server.console.page.page import ConsolePage
from mindspore_serving.server.console.status.history import StatusHistory
from mindspore_serving.server.console.status.page import StatusPage
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.start.page_choice import PAGES, PageChoice
from mindspore_serving.server.telemetry.metrics.page import MetricsPage
from mindspore_serving.server.transport.description import DescribedServable, Description, SelfDescribing
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.routes import Dialect


@dataclass(frozen=True, slots=True)
class PageNeeds:
    """What pages are made of.

    Attributes:
        service: What they ask.
        dialects: What the front ends answer, and the pages of this one: all are there before the first is asked.
        asks_for_keys: Whether clients of this front end need an API key, or a certificate that is listed.
        history: What was counted a while ago; all front ends have it in common.
        infers: Whether this front end runs methods.
    """

    service: Service
    dialects: Sequence[Dialect]
    asks_for_keys: bool
    history: StatusHistory
    infers: bool


def _openapi(needs: PageNeeds, choice: PageChoice) -> Dialect:
    return OpenApiPage(
        needs.service.catalog,
        lambda: needs.dialects,
        keys=needs.asks_for_keys,
        swagger_folder=folder_of_package(),
    )


def _console(needs: PageNeeds, choice: PageChoice) -> Dialect:
    return ConsolePage(
        needs.service.catalog, needs.service.logs, keys=needs.asks_for_keys, infers=needs.infers
    )


_MAKERS: Final[Mapping[str, Callable[[PageNeeds, PageChoice], Dialect]]] = {
    "console": _console,
    "openapi": _openapi,
    "metrics": lambda needs, choice: MetricsPage(needs.service, choice.metrics_aliases),
    "status": lambda needs, choice: StatusPage(needs.service.catalog, needs.history),
}
"""Makes each page, by its name."""


def pages_of(needs: PageNeeds, choice: PageChoice, elsewhere: Collection[str] = ()) -> Mapping[str, Dialect]:
    """The pages of a front end, by name.

    Args:
        needs: What they are made of.
        choice: Which, and how.
        elsewhere: Names of those that have a listener of their own.
    """
    names = [name for name in PAGES if name not in elsewhere] if choice.names is None else choice.names
    pages: dict[str, Dialect] = {name: _MAKERS[name](needs, choice) for name in names if name in _MAKERS}
    public: dict[str, Dialect] = {
        name: _PublicPage(page) for name, page in pages.items() if name in choice.public
    }
    return pages | public


class _PublicPage:
    """A page that everybody may see. What only some may change stays so.

    Args:
        page: Which.
    """

    grpc_methods: Sequence[GrpcMethod] = ()

    def __init__(self, page: Dialect) -> None:
        self.name = page.name
        self.routes: Sequence[Route] = tuple(
            replace(route, right=Right.NONE) if route.right is Right.VIEW else route for route in page.routes
        )
        self._page = page

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """As the page refuses."""
        return self._page.refuse(failure, request)

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """As the page describes itself; nothing where it does not.

        Args:
            servables: Those to be described.
        """
        return (
            self._page.describe(servables) if isinstance(self._page, SelfDescribing) else Description((), {})
        )
