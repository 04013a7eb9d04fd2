"""The pages of health checks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from mindspore_serving.errors import VerbNotAllowed
from mindspore_serving.server.access.identity import ANYBODY, STRANGER
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dialect.health.page import HealthPages
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest


class Workers:
    def __init__(self, *workers: WorkerHealth) -> None:
        self._workers = workers

    def workers_health(self) -> Iterable[WorkerHealth]:
        return self._workers


READY = WorkerHealth("add", 1, "device0", "ready", True, silent_s=0.12345)
LOST = WorkerHealth("add", 2, "device1", "starting", False, "cannot read /home/u/add/2/x.mindir")


def ask(path: str, *workers: WorkerHealth, authenticated: bool = True, closing: str = "") -> HttpReply:
    dispatcher = Dispatcher(asyncio.new_event_loop())
    catalog = Catalog(dispatcher)
    if workers:
        catalog.add(Workers(*workers))
    dispatcher.closing = closing
    [route] = [route for route in HealthPages(catalog).routes if route.pattern == path]
    request = HttpRequest("GET", path, {}, identity=ANYBODY if authenticated else STRANGER)

    async def asked() -> HttpReply:
        return await route.handler(request)

    return asyncio.run(asked())


@pytest.mark.parametrize("workers", [(), (READY,), (LOST,)])
def test_who_answers_lives(workers: tuple[WorkerHealth, ...]) -> None:
    reply = ask("/healthz/live", *workers, closing="draining")
    assert (reply.status, reply.body, reply.headers) == (
        200,
        b'{"status":"alive"}',
        (("Cache-Control", "no-store"),),
    )


@pytest.mark.parametrize(
    ("workers", "closing", "status", "reason"),
    [
        ((READY,), "", 200, None),
        ((READY, LOST), "", 503, "1 of 2 servables not ready"),
        ((), "", 503, "no servable is started"),
        ((READY,), "draining", 503, "draining"),
    ],
)
def test_whether_all_is_ready(
    workers: tuple[WorkerHealth, ...], closing: str, status: int, reason: str | None
) -> None:
    expected: dict[str, Any] = (
        {"status": "ready"} if reason is None else {"status": "not ready", "reason": reason}
    )
    for authenticated in (True, False):
        reply = ask("/healthz/ready", *workers, authenticated=authenticated, closing=closing)
        assert (reply.status, reply.failures, reply.headers) == (status, (), (("Cache-Control", "no-store"),))
        document = json.loads(reply.body)
        servables = document.pop("servables", None)
        assert document == expected
        assert (servables is not None) is authenticated  # others read no details


def test_details() -> None:
    document = json.loads(ask("/healthz/ready", READY, LOST).body)
    assert document["servables"] == {
        "add/1": {
            "status": "ready",
            "workers": [{"place": "device0", "status": "ready", "heartbeat_age_s": 0.123}],
        },
        "add/2": {
            "status": "not ready",
            "reason": "cannot read x.mindir",
            "workers": [{"place": "device1", "status": "starting", "reason": "cannot read x.mindir"}],
        },
    }


def test_anybody_may_ask_with_two_verbs() -> None:
    pages = HealthPages(Catalog(Dispatcher(asyncio.new_event_loop())))
    assert [route.pattern for route in pages.routes] == ["/healthz/live", "/healthz/ready"]
    for route in pages.routes:
        assert (route.verbs, route.right, route.probe) == (("GET", "HEAD"), Right.NONE, True)
        failure = VerbNotAllowed(route.wrong_verb).failure()
        reply = pages.refuse(failure, HttpRequest("PUT", route.pattern, {}))
        assert (reply.status, json.loads(reply.body)) == (
            405,
            {"error_msg": "health checks only support GET and HEAD"},
        )
