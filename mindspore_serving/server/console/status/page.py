"""What `GET /status` is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl

import orjson

from mindspore_serving.errors import Failure, InvalidInput, excerpt
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.status.advice import advice_of
from mindspore_serving.server.console.status.current import MOST_METHODS, Choice, Moment, status_document
from mindspore_serving.server.console.status.document import WINDOWS, StatusDocument
from mindspore_serving.server.console.status.history import StatusHistory
from mindspore_serving.server.host.memory_limit import usable_memory
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.error_text import encode_failure
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route

STATUS_PATH: Final = "/status"
LARGEST_PAGE: Final = 1000
"""Methods with figures that a client may ask for."""
_VERBS: Final = ("GET", "HEAD")
_HEADERS: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
_TRUTHS: Final = {"": True, "1": True, "true": True, "0": False, "false": False}
_MOST_FIELDS: Final = 16


class StatusPage:
    """Says how the server is, and what was counted.

    Args:
        catalog: Says whether it is ready.
        history: Says what was counted.
    """

    name = "status"
    grpc_methods: Sequence[GrpcMethod] = ()

    def __init__(self, catalog: Catalog, history: StatusHistory) -> None:
        self._catalog = catalog
        self._history = history
        self.routes: Sequence[Route] = (Route(_VERBS, STATUS_PATH, self.status, Right.VIEW),)

    async def status(self, request: HttpRequest) -> HttpReply:
        """Say it; with `?explain=1` also what stands out."""
        choice, explained = asked_for(request.target)
        document = await self.document(choice)
        if explained:
            document = replace(document, advice=advice_of(document))
        return HttpReply(200, orjson.dumps(document), headers=_HEADERS)

    async def document(self, choice: Choice) -> StatusDocument:
        """The page as data.

        Args:
            choice: What is wanted on it.
        """
        statistics, reading = await self._history.read()
        earlier = {name: self._history.before(seconds, reading.at) for name, seconds in WINDOWS.items()}
        health = self._catalog.health()
        return status_document(Moment(statistics, reading, earlier, health.reason, usable_memory()), choice)

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to what cannot be answered."""
        return HttpReply(failure.status, encode_failure(failure))


def asked_for(target: str) -> tuple[Choice, bool]:
    """What a request wants on the page, and whether with advice.

    Args:
        target: Of the request, with its query.

    Raises:
        InvalidInput: A value is none that can be.
    """
    query = target.partition("?")[2]
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as cause:
        raise InvalidInput(f"The query has more than {_MOST_FIELDS} fields") from cause
    explained = _TRUTHS.get(fields.get("explain", "0"))
    if explained is None:
        raise InvalidInput(f"explain should be 1 or 0, but got '{excerpt(fields['explain'])}'")
    methods = fields.get("methods", str(MOST_METHODS))
    if not (methods.isascii() and methods.isdigit() and len(methods) < 10 and int(methods) <= LARGEST_PAGE):
        raise InvalidInput(
            f"methods should be a number of methods, at most {LARGEST_PAGE}, but got '{excerpt(methods)}'"
        )
    return Choice(fields.get("servable", ""), int(methods)), explained
