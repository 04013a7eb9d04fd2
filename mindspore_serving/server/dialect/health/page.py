"""What `GET /healthz/live` and `GET /healthz/ready` are answered."""

from __future__ import annotations

from typing import Any, Final

import orjson

from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.error_text import hidden
from mindspore_serving.server.service.readiness import ServableHealth, ServerHealth, WorkerHealth
from mindspore_serving.server.transport.http.http_reply import HttpReply

LIVE_PATH: Final = "/healthz/live"
READY_PATH: Final = "/healthz/ready"
HEALTH_PATHS: Final = (LIVE_PATH, READY_PATH)
HEALTH_VERBS: Final = (b"GET", b"HEAD")
_FIELDS: Final = b"Cache-Control: no-store\r\n"
_ALIVE = HttpReply(200, b'{"status":"alive"}', _FIELDS)


def health_reply(path: str, catalog: Catalog, *, details: bool) -> HttpReply | None:
    """The reply to a health check; None where the path is of none.

    That this is called at all shows that the event loop turns, which is all that being alive means.

    Args:
        path: Of the request.
        catalog: What is asked.
        details: Whether to tell more than that the server is ready, or is not.
    """
    if path == LIVE_PATH:
        return _ALIVE
    if path != READY_PATH:
        return None
    health = catalog.health()
    document = _document(health) if details else {"status": _status(health.reason)["status"]}
    return HttpReply(200 if health.ready else 503, orjson.dumps(document), _FIELDS)


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
