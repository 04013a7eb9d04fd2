"""What `GET /status` is answered, without HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import types
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from mindspore_serving.errors import InvalidInput, UnknownTarget
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.status import document as documents
from mindspore_serving.server.console.status.current import MOST_METHODS, MOST_VERSIONS, Choice
from mindspore_serving.server.console.status.document import StatusDocument
from mindspore_serving.server.console.status.history import StatusHistory
from mindspore_serving.server.console.status.page import StatusPage, asked_for
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.server_statistics import (
    CopyStatistics,
    FrontEndStatistics,
    Restart,
    ServerStatistics,
)
from mindspore_serving.server.transport.http_routes import HttpRequest
from tests.unit.console.status.figures import HOSTILE, FakeStatistics, counted, version

DOCS = Path(__file__).resolve().parents[4] / "docs" / "status.md"


class Page:
    """The page, and what it tells of."""

    def __init__(self, source: FakeStatistics | None = None) -> None:
        self.source = source or FakeStatistics()
        catalog = Catalog(Dispatcher(asyncio.new_event_loop()))
        self.page = StatusPage(catalog, StatusHistory(self.source, self.source.clock))

    def get(self, query: str = "") -> Any:
        reply = asyncio.run(self.page.status(HttpRequest("GET", f"/status{query}", {})))
        assert reply.status == 200
        assert dict(reply.headers) == {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return json.loads(reply.body)


def test_who_may_see_it() -> None:
    [route] = Page().page.routes
    assert (route.verbs, route.pattern, route.right) == (("GET", "HEAD"), "/status", Right.VIEW)


def test_a_server_that_has_served_nothing() -> None:
    page = Page()
    page.source.now += 3
    said = page.get("?explain=1")
    assert (said["build"], said["uptime_s"], said["ready"]) == ("1.2.3", 3.0, False)
    assert said["reason"] == "no servable is started"
    assert said["versions"] == []
    assert [one["rule"] for one in said["advice"]] == ["not_ready"]
    assert set(said["windows"]) == {"10s", "1m", "5m", "start"}
    assert all(one["seconds"] == 3.0 and one["requests_per_s"] == 0 for one in said["windows"].values())


def test_rates_of_the_last_seconds_and_since_the_start() -> None:
    page = Page()
    for second in range(101):
        page.source.now = page.source.began + second
        page.source.serve(predict=counted(second * second))
        said = page.get()
    windows = said["versions"][0]["methods"][0]["windows"]
    assert windows["10s"]["requests_per_s"] == 190.0
    assert windows["10s"]["seconds"] == 10.0
    assert windows["start"]["requests"] == {"ok": 10_000}
    assert windows["5m"] == windows["start"]  # the server is younger
    assert said["windows"]["10s"]["requests"] == {"ok": 1900}
    assert said["windows"]["10s"]["steps"] == []
    assert said["advice"] is None


def test_what_there_is_now() -> None:
    page = Page()
    copy = CopyStatistics("device0", 0, "ready", 77, 5 << 20, 2, 1, 3)
    restart = Restart(1e9 - 30, "device0", "killed, see /home/someone/secret/worker.log")
    one = replace(
        version({"predict": counted(5)}),
        reason="no file /home/someone/secret/model.mindir",
        copies=(copy,),
        pending_requests=6,
        pending_instances=60,
        waiting_instances=50,
        limits=(10, 0, 0),
        last_restarts=(restart,),
    )
    statistics = ServerStatistics(
        "1.2.3",
        1e9,
        100.0,
        pending_requests=8,
        pending_instances=80,
        pending_bytes=800,
        limits=(16, 0, 1000),
        refused={"bytes": 2, "requests": 0},
        versions=(one,),
        front_ends=(
            FrontEndStatistics("grpc", "unix:/run/user/secret/serving.sock", 5, 10),
            FrontEndStatistics("rest", "127.0.0.1:1500", -1, 10),
        ),
        memory_bytes=7 << 20,
    )
    page.source.server = lambda: statistics  # type: ignore[method-assign]
    said = page.get()
    assert "secret" not in json.dumps(said)
    assert (said["pending_requests"], said["pending_instances"], said["pending_bytes"]) == (8, 80, 800)
    assert said["memory_bytes"] == 12 << 20
    assert said["refused"] == {"bytes": 2}
    limits = {(limit["name"], limit["of"]): limit["share"] for limit in said["limits"]}
    memory = limits.pop(("memory_bytes", "server"))
    assert 0 < memory < 1
    assert limits == {
        ("pending_requests", "server"): 0.5,
        ("pending_bytes", "server"): 0.8,
        ("connections", "grpc unix:serving.sock"): 0.5,
    }
    assert [one["connections"] for one in said["front_ends"]] == [5, None]
    [shown] = said["versions"]
    assert shown["copies"][0] == dataclasses.asdict(
        documents.CopyStatus("device0", 0, "ready", 77, 5 << 20, 2, 1, 3)
    )
    assert (shown["pending_requests"], shown["pending_instances"], shown["waiting_instances"]) == (6, 60, 50)
    assert shown["limits"] == [
        {"name": "pending_requests", "of": "add/1", "used": 6, "most": 10, "share": 0.6}
    ]
    assert shown["last_restarts"] == [
        {"at_unix_s": 1e9 - 30, "ago_s": 130.0, "worker": "device0", "reason": "killed, see worker.log"}
    ]


def test_ten_thousand_methods_make_a_page_that_is_small() -> None:
    page = Page()
    methods = {f"m{place}": counted(place) for place in range(1, 11)}
    page.source.versions = [version(methods, servable=f"s{number:04}") for number in range(1000)]
    page.source.versions[777] = version({}, servable="broken", state="unavailable")  # type: ignore[index]
    page.source.now += 1
    said = page.get("?explain=1")
    assert len(json.dumps(said)) < 1 << 19
    assert len(said["versions"]) == MOST_VERSIONS
    assert said["versions_left_out"] == 1000 - MOST_VERSIONS
    assert "broken" in [one["servable"] for one in said["versions"]]
    shown = [method for one in said["versions"] for method in one["methods"]]
    assert len(shown) == MOST_METHODS
    assert {method["method"] for method in shown} == {"m10"}
    assert sum(one["methods_left_out"] for one in said["versions"]) == 1990 - MOST_METHODS
    assert said["windows"]["start"]["requests"] == {"ok": 999 * 55}


def test_one_servable_and_more_methods() -> None:
    page = Page()
    methods = {f"m{place}": counted(1) for place in range(60)}
    page.source.versions = [version(methods, servable=name) for name in ("a", "b&c", "b&c.d")]
    page.source.now += 1
    said = page.get("?servable=b%26c&methods=70")
    [one] = said["versions"]
    assert (one["servable"], len(one["methods"])) == ("b&c", 60)
    assert [one["servable"] for one in page.get("?servable=none")["versions"]] == []
    assert sum(len(one["methods"]) for one in page.get("?methods=0")["versions"]) == 0


def test_what_was_refused() -> None:
    page = Page()
    refused_only = replace(counted(0), refused={"invalid": 4})
    page.source.refused = {"unauthorized": 2, "invalid": 4}
    page.source.serve(predict=refused_only)
    page.source.now += 5
    said = page.get()
    assert said["windows"]["start"]["refused"] == {"unauthorized": 2, "invalid": 4}
    assert said["versions"][0]["methods"][0]["windows"]["start"]["refused"] == {"invalid": 4}
    page.source.now += 20
    assert page.get()["windows"]["10s"]["refused"] == {}


def test_a_method_that_was_not_followed_has_no_recent_figures() -> None:
    page = Page()
    page.source.now += 1
    page.source.serve(**{f"m{place}": counted(place + 1) for place in range(300)})
    page.get()
    page.source.now += 400
    for _ in range(2):
        said = page.get("?methods=300")
        page.source.now += 20
    windows = {one["method"]: set(one["windows"]) for one in said["versions"][0]["methods"]}
    assert windows["m299"] == {"10s", "1m", "5m", "start"}
    assert windows["m0"] == {"10s", "start"}


def test_names_are_text_whatever_they_are() -> None:
    page = Page()
    page.source.versions = [version({HOSTILE: counted(40)}, servable=HOSTILE)]
    page.source.now += 1
    [one] = page.get("?explain=1")["versions"]
    assert (one["servable"], one["methods"][0]["method"]) == (HOSTILE, HOSTILE)


@pytest.mark.parametrize(
    ("target", "choice", "explained"),
    [
        ("/status", Choice(), False),
        ("/status?explain=1", Choice(), True),
        ("/status?explain", Choice(), True),
        ("/status?explain=false", Choice(), False),
        ("/status?servable=a%20b&methods=7&other=x", Choice("a b", 7), False),
    ],
)
def test_what_a_query_asks_for(target: str, choice: Choice, explained: bool) -> None:
    assert asked_for(target) == (choice, explained)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("explain=perhaps", "explain should be 1 or 0, but got 'perhaps'"),
        ("methods=-1", "methods should be a number"),
        ("methods=1001", "at most 1000, but got '1001'"),
        ("methods=" + "9" * 5000, "methods should be a number"),
        ("methods=%C2%B2", "methods should be a number"),
        ("&".join(f"a{place}=1" for place in range(17)), "more than 16 fields"),
    ],
)
def test_a_query_that_is_wrong(query: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(text)):
        asked_for(f"/status?{query}")


def test_a_refusal_is_json() -> None:
    failure = UnknownTarget("not <here>").failure()
    reply = Page().page.refuse(failure, HttpRequest("POST", "/status", {}))
    assert (reply.status, json.loads(reply.body)) == (failure.status, {"error_msg": "not <here>"})


def fields_of(kind: type) -> set[str]:
    """Names of all fields of a dataclass, and of those that it holds."""
    found = set()
    for name, hint in get_type_hints(kind).items():
        found.add(name)
        for part in parts_of(hint):
            found |= fields_of(part)
    return found


def parts_of(hint: Any) -> set[type]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return {hint}
    inner = get_args(hint) if get_origin(hint) is not None or isinstance(hint, types.UnionType) else ()
    return {part for one in inner for part in parts_of(one)}


def test_the_documentation_has_every_field() -> None:
    rows = set(re.findall(r"^\| `(\w+)`", DOCS.read_text(), re.MULTILINE))
    fields = fields_of(StatusDocument)
    assert len(fields) > 50
    assert fields - rows == set()


def test_names_have_units() -> None:
    numbers = {
        name
        for kind in vars(documents).values()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type)
        for name, hint in get_type_hints(kind).items()
        if hint in (float, float | None)
    }
    assert {name for name in numbers if not re.search(r"_(ms|s|bytes|share)$|^share$|^seconds$", name)} == {
        "mean_batch"
    }
