"""The files of the console, under what a browser runs them, and the logs that it shows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from mindspore_serving.errors import InvalidInput, UnknownTarget
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.page import files
from mindspore_serving.server.console.page.page import LOG_BYTES, ConsolePage
from mindspore_serving.server.service.worker_logs import WorkerLogs
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from tests.unit.console.openapi.described import HOSTILE, catalog_of, method

WORKER = f"servable {HOSTILE} version 1 device0"


class Logs:
    """Has workers whose logs end as given; an error is raised."""

    def __init__(self, ends: Mapping[str, bytes | OSError]) -> None:
        self.ends = ends
        self.asked: list[int] = []

    def log_end(self, worker: str, most_bytes: int) -> bytes | None:
        self.asked.append(most_bytes)
        end = self.ends.get(worker)
        if isinstance(end, OSError):
            raise end
        return end


def page_with(*sources: Logs) -> ConsolePage:
    logs = WorkerLogs()
    for source in sources:
        logs.add(source)
    return ConsolePage(catalog_of(**{HOSTILE: [method(HOSTILE)]}), logs, keys=True, infers=False)


def get(page: ConsolePage, target: str, **headers: str) -> HttpReply:
    """As the transport asks: by the first route that fits, those without names before."""
    path = target.partition("?")[0]
    handlers = {route.pattern: route.handler for route in page.routes}
    handler = handlers.get(path, handlers["/console/{file}"])
    request = HttpRequest("GET", target, headers, parts={"file": path.rpartition("/")[2]})

    async def ask() -> HttpReply:
        return await handler(request)

    return asyncio.run(ask())


def log_of(page: ConsolePage, worker: str) -> Any:
    reply = get(page, f"/console/log?worker={quote(worker)}")
    assert dict(reply.headers) == {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return orjson.loads(reply.body)


def test_everybody_may_load_the_files_and_nobody_else_may_see_data() -> None:
    page = page_with()
    rights = {route.pattern: route.right for route in page.routes}
    assert rights == {
        "/console": Right.NONE,
        "/console/{file}": Right.NONE,
        "/console/methods": Right.VIEW,
        "/console/log": Right.MANAGE,
    }
    assert {route.verbs for route in page.routes} == {("GET", "HEAD")}
    for name in files.FILE_TYPES:
        assert HOSTILE.encode() not in files.content_of(name)


def test_all_files_of_the_folder_are_served_and_no_other() -> None:
    assert {path.name for path in files.FOLDER.iterdir()} == set(files.FILE_TYPES)
    page = page_with()
    for name in ("", "..", "../page.py", "page.py", "index.html", "__init__.py", "console.js/../page.py"):
        with pytest.raises(UnknownTarget):
            asyncio.run(page.file(HttpRequest("GET", "/console/x", {}, parts={"file": name})))


@pytest.mark.parametrize("name", sorted(files.FILE_TYPES))
def test_a_browser_runs_nothing_of_others(name: str) -> None:
    reply = get(page_with(), "/console" if name == files.PAGE else f"/console/{name}")
    headers = dict(reply.headers)
    directives = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert directives == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data: blob:",
    }
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert reply.content_type == files.FILE_TYPES[name]
    assert (reply.status, reply.body) == (200, files.content_of(name))


@pytest.mark.parametrize("name", sorted(files.FILE_TYPES))
def test_files_name_no_other_place_and_build_no_markup(name: str) -> None:
    text = files.content_of(name).decode()
    places = set(re.findall(r"https?://[\w.]+", text))
    assert places <= {"http://www.w3.org", "http://HOST"}  # a name of SVG, and a place to fill in
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text
    )
    assert not re.search(r"<[^>]*\s(on\w+|style)=", text)
    for loaded in re.findall(r"""(?:src|href)="(console/[^"]+)"|from "\./([^"]+)\"""", text):
        assert "".join(loaded).removeprefix("console/") in files.FILE_TYPES


def test_files_are_compressed_for_browsers() -> None:
    reply = get(page_with(), "/console/console.js", **{"accept-encoding": "gzip"})
    assert ("Content-Encoding", "gzip") in reply.headers
    assert len(reply.body) < len(files.content_of("console.js")) / 2


def test_methods_are_told_as_json_of_this_listener() -> None:
    page = page_with()
    reply = get(page, "/console/methods")
    document = orjson.loads(reply.body)
    assert reply.content_type == "application/json"
    assert dict(reply.headers) == {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    [version] = document["versions"]
    assert (version["servable"], version["methods"][0]["name"]) == (HOSTILE, HOSTILE)
    assert (document["asks_for_keys"], document["infers"], document["client"]) == (True, False, "")
    assert orjson.loads(get(page, f"/console/methods?search={quote(HOSTILE)}").body)["versions"] == [version]
    assert orjson.loads(get(page, "/console/methods?search=other").body)["versions"] == []


@pytest.mark.parametrize("path", ["methods", "log"])
def test_a_query_of_very_many_fields_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="more than 16 fields"):
        get(page_with(), f"/console/{path}?" + "a=1&" * 17)


def test_the_log_of_a_worker_is_told_as_lines() -> None:
    first = Logs({"other": b"not this"})
    second = Logs({WORKER: b"one\n<script>alert(1)</script>\n\xff\r\nlast", "empty": b""})
    page = page_with(first, second)
    assert log_of(page, WORKER) == {
        "worker": WORKER,
        "lines": ["one", "<script>alert(1)</script>", "\ufffd", "last"],
        "cut": False,
    }
    assert log_of(page, "empty")["lines"] == []
    assert second.asked == [LOG_BYTES] * 2
    assert LOG_BYTES == 64 << 10


def test_of_a_long_log_whole_lines_of_the_end_are_told() -> None:
    page = page_with(Logs({"a": b"x" * (LOG_BYTES - 10) + b"\nline\nlast", "b": b"y" * LOG_BYTES}))
    assert log_of(page, "a") == {"worker": "a", "lines": ["line", "last"], "cut": True}
    assert log_of(page, "b") == {"worker": "b", "lines": ["y" * LOG_BYTES], "cut": True}


@pytest.mark.parametrize(
    "worker", ["", "../../etc/passwd", "/etc/passwd", "log_a_device0_version1.log", WORKER + " "]
)
def test_what_is_no_worker_has_no_log(worker: str) -> None:
    page = page_with(Logs({WORKER: b"text"}))
    with pytest.raises(UnknownTarget, match="There is no log of worker"):
        log_of(page, worker)


def test_a_log_that_cannot_be_read_is_an_error_without_a_path() -> None:
    page = page_with(Logs({WORKER: OSError(13, "Permission denied", "/home/ann/serving_logs/x.log")}))
    with pytest.raises(UnknownTarget) as raised:
        log_of(page, WORKER)
    assert "Permission denied" in str(raised.value)
    assert "/home" not in str(raised.value)


def test_an_owner_that_is_gone_is_not_asked() -> None:
    logs, source = WorkerLogs(), Logs({"a": b"text"})
    logs.add(source)
    logs.add(source)
    assert logs.end_of("a", 9) == b"text"
    logs.remove(source)
    logs.remove(source)
    assert logs.end_of("a", 9) is None


def test_refusals_are_json() -> None:
    failure = UnknownTarget("nothing there").failure()
    reply = page_with().refuse(failure, HttpRequest("GET", "/console/x", {}))
    assert (reply.status, orjson.loads(reply.body)) == (404, {"error_msg": "nothing there"})
