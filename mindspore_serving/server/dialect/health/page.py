"""What `GET /healthz/live` and `GET /healthz/ready` are answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from mindspore_serving.errors import Failure
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.error_text import encode_failure, hidden
from mindspore_serving.server.service.readiness import ServableHealth, ServerHealth, WorkerHealth
from mindspore_serving.server.transport.description import (
    TEXT_SCHEMA,
    Content,
    DescribedServable,
    Description,
    Operation,
    error_schema,
    object_schema,
)
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route

LIVE_PATH: Final = "/healthz/live"
READY_PATH: Final = "/healthz/ready"
_VERBS: Final = ("GET", "HEAD")
_WRONG_VERB: Final = "health checks only support GET and HEAD"
_HEADERS: Final = (("Cache-Control", "no-store"),)
_SUMMARIES: Final = (
    (LIVE_PATH, "Say that the server lives", (200,)),
    (READY_PATH, "Say whether all that is to be served is ready", (200, 503)),
)
_ALIVE = HttpReply(200, b'{"status":"alive"}', headers=_HEADERS)


class HealthPages:
    """Answers health checks over HTTP. Anybody may ask; only clients that are authenticated read details.

    Args:
        catalog: What is asked.
    """

    name = "health"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.routes: Sequence[Route] = tuple(
            Route(_VERBS, path, handler, Right.NONE, wrong_verb=_WRONG_VERB, probe=True)
            for path, handler in ((LIVE_PATH, self.live), (READY_PATH, self.ready))
        )

    async def live(self, request: HttpRequest) -> HttpReply:
        """Say that the event loop turns, which is all that being alive means."""
        return _ALIVE

    async def ready(self, request: HttpRequest) -> HttpReply:
        """Say whether all that is to be served is."""
        health = self._catalog.health()
        document = _document(health) if request.authenticated else _status(health.reason)
        return HttpReply(200 if health.ready else 503, orjson.dumps(document), headers=_HEADERS)

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to what is no health check."""
        return HttpReply(failure.status, encode_failure(failure))

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """What is answered.

        Args:
            servables: Not asked for.
        """
        status = Content(object_schema({"status": TEXT_SCHEMA}))
        operations = [
            Operation(verb, path, summary, gives=dict.fromkeys(statuses, [status] if verb == "GET" else []))
            for path, summary, statuses in _SUMMARIES
            for verb in _VERBS
        ]
        return Description(operations, error_schema("error_msg"))


def _document(health: ServerHealth) -> dict[str, Any]:
    return {
        **_status(health.reason),
        "servables": {servable.label: _of_servable(servable) for servable in health.servables},
    }


def _of_servable(servable: ServableHealth) -> dict[str, Any]:
    return {**_status(servable.reason), "workers": [_of_worker(worker) for worker in servable.workers]}


def _of_worker(worker: WorkerHealth) -> dict[str, Any]:
    document: dict[str, Any] = {"place": worker.place, "status": worker.status}
    if worker.reason:
        document["reason"] = hidden(worker.reason)
    if worker.silent_s is not None:
        document["heartbeat_age_s"] = round(worker.silent_s, 3)
    return document


def _status(reason: str) -> dict[str, str]:
    return {"status": "not ready", "reason": hidden(reason)} if reason else {"status": "ready"}
