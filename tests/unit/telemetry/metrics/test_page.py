"""How scrapes are answered: in which form, one after the other, and those that are abandoned."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS

from mindspore_serving.errors import UnknownTarget
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.service.readiness import ServerHealth
from mindspore_serving.server.service.server_statistics import ServerStatistics
from mindspore_serving.server.telemetry.metrics import page as page_module
from mindspore_serving.server.telemetry.metrics.page import MetricsPage, form_for
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from tests.unit.telemetry.metrics.made import server, version

TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Service:
    """Counts how often it is asked; is its own catalog and statistics."""

    asked: int = 0
    catalog: Any = field(init=False)
    statistics: Any = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = self.statistics = self

    def server(self) -> ServerStatistics:
        self.asked += 1
        return server(version())

    def health(self) -> ServerHealth:
        return ServerHealth("", ())


def request(**headers: str) -> HttpRequest:
    return HttpRequest("GET", "/metrics", {name.replace("_", "-"): value for name, value in headers.items()})


def ask(**headers: str) -> HttpReply:
    async def asked() -> HttpReply:
        return await MetricsPage(Service()).show(request(**headers))  # type: ignore[arg-type]

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5", OPENMETRICS),
        ("text/html, Application/OpenMetrics-Text ; version=9 ", OPENMETRICS),
        ("application/openmetrics-texts,;;,=,\0", TEXT),
    ],
)
def test_the_form_is_the_one_that_is_accepted(accept: str, form: str) -> None:
    assert form_for(accept) == form


def test_a_scrape_is_not_kept_anywhere() -> None:
    reply = ask()
    assert (reply.status, reply.content_type, reply.headers) == (200, TEXT, (("Cache-Control", "no-store"),))
    assert b"serving_ready 0.0\n" in reply.body  # as health says
    assert not reply.body.endswith(b"# EOF\n")
    assert ask(accept=OPENMETRICS).body.endswith(b"# EOF\n")


def test_a_scrape_is_compressed_where_that_is_asked_for() -> None:
    reply = ask(accept_encoding="gzip")
    assert dict(reply.headers)["Content-Encoding"] == "gzip"
    assert b"serving_ready 0.0\n" in zlib.decompress(reply.body, zlib.MAX_WBITS | 16)


def test_scrapes_that_wait_share_one_snapshot_also_if_they_are_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service()

    async def scene() -> None:
        started, go_on = asyncio.Event(), asyncio.Event()

        async def slow(function: Any) -> bytes:
            started.set()
            await go_on.wait()
            return bytes(function())

        monkeypatch.setattr(page_module, "in_thread", slow)
        page = MetricsPage(service)  # type: ignore[arg-type]
        first = asyncio.create_task(page.show(request()))
        await started.wait()
        others = [asyncio.create_task(page.show(request())) for _ in range(100)]
        other_form = asyncio.create_task(page.show(request(accept=OPENMETRICS)))
        await asyncio.sleep(0)
        for abandoned in (first, *others[:99]):
            abandoned.cancel()
        await asyncio.sleep(0)
        assert service.asked == 1  # the first one is still being written
        go_on.set()
        replies = await asyncio.gather(others[99], other_form)
        assert [reply.status for reply in replies] == [200, 200]
        assert service.asked == 3

    asyncio.run(scene())


def test_a_scrape_that_fails_does_not_keep_the_next_one_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        page = MetricsPage(Service())  # type: ignore[arg-type]

        async def fail(function: Any) -> bytes:
            raise ValueError("on purpose")

        with monkeypatch.context() as patched, pytest.raises(ValueError, match="on purpose"):
            patched.setattr(page_module, "in_thread", fail)
            await page.show(request())
        assert (await page.show(request())).status == 200

    asyncio.run(scene())


def test_who_sees_metrics_may_view() -> None:
    async def routes() -> Any:
        return MetricsPage(Service()).routes  # type: ignore[arg-type]

    [route] = asyncio.run(routes())
    assert (route.pattern, route.verbs, route.right) == ("/metrics", ("GET", "HEAD"), Right.VIEW)


def test_what_is_no_scrape_is_refused_in_words() -> None:
    async def refused() -> HttpReply:
        page = MetricsPage(Service())  # type: ignore[arg-type]
        return page.refuse(UnknownTarget("why").failure(), request())

    assert asyncio.run(refused()) == HttpReply(404, b'{"error_msg":"why"}')
