"""Answers `GET /metrics`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.openmetrics import exposition as openmetrics

from mindspore_serving.errors import Failure
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.host.other_thread import in_thread
from mindspore_serving.server.service.error_text import encode_failure
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.telemetry.metrics.collector import registry_of
from mindspore_serving.server.telemetry.metrics.snapshot import Snapshot
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.reply_coding import compressed

PATH: Final = "/metrics"
_HEADERS: Final = (("Cache-Control", "no-store"),)
_FORMS: Final[Mapping[str, Callable[[CollectorRegistry], bytes]]] = {
    exposition.CONTENT_TYPE_PLAIN_0_0_4: exposition.generate_latest,
    # Else it takes the colons of TensorFlow Serving's names away. No other name of ours is a matter of escaping.
    openmetrics.CONTENT_TYPE_LATEST: partial(openmetrics.generate_latest, escaping=openmetrics.ALLOWUTF8),
}
"""Writes metrics, by the type of what it writes."""
_OPENMETRICS: Final = re.compile(r"\s*application/openmetrics-text\s*(;|$)", re.IGNORECASE)


class MetricsPage:
    """Shows what was counted to those who scrape it.

    A scrape takes a snapshot on the event loop, and a thread writes it. One is written at a time; scrapes that wait for
    that share the next one, so that many of them, also abandoned ones, cost no more than one after the other.

    Args:
        service: What is asked.
        aliases: Alias sets that are shown as well, names of `ALIASES`.
    """

    name = "metrics"
    grpc_methods: Sequence[GrpcMethod] = ()

    def __init__(self, service: Service, aliases: Sequence[str] = ()) -> None:
        self.routes: Sequence[Route] = (Route(("GET", "HEAD"), PATH, self.show, Right.VIEW),)
        self._service = service
        self._aliases = tuple(aliases)
        self._turn = asyncio.Lock()
        self._next: dict[str, asyncio.Task[bytes]] = {}

    async def show(self, request: HttpRequest) -> HttpReply:
        """Show all metrics, as OpenMetrics to who accepts it, else as text of Prometheus."""
        form = form_for(request.headers.get("accept", ""))
        writing = self._next.get(form)
        if writing is None:
            writing = self._next[form] = asyncio.create_task(self._write(form))
        body = await asyncio.shield(writing)
        reply = HttpReply(200, body, form, _HEADERS)
        return await compressed(reply, request.headers.get("accept-encoding"))

    async def _write(self, form: str) -> bytes:
        """Write a snapshot of when it is this one's turn."""
        async with self._turn:
            del self._next[form]
            service = self._service
            snapshot = Snapshot(service.statistics.server(), service.catalog.health().ready)
            return await in_thread(partial(written, snapshot, form, self._aliases))

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to what is no scrape."""
        return HttpReply(failure.status, encode_failure(failure))


def form_for(accept: str) -> str:
    """The content type in which metrics are written.

    Args:
        accept: Header of the scrape.
    """
    asked = any(map(_OPENMETRICS.match, accept.split(",")))
    return openmetrics.CONTENT_TYPE_LATEST if asked else exposition.CONTENT_TYPE_PLAIN_0_0_4


def written(snapshot: Snapshot, form: str, aliases: Sequence[str] = ()) -> bytes:
    """The metrics of a snapshot as text.

    Args:
        snapshot: It.
        form: Content type, of `_FORMS`.
        aliases: Names of `ALIASES`.
    """
    return _FORMS[form](registry_of(snapshot, aliases))
