"""What observers are told of requests of HTTP, and what a reply says of who has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mindspore_serving.errors import Failure, InvalidInput
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.identity import ANYBODY, Identity
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dispatch.client_call import ClientCall, current_call
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.reply_heads import KEPT, ReplyHeads
from mindspore_serving.server.transport.http.responses import response_of
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.observers import EndedCall, Observers
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from tests.support.http_peer import NoBodies

PLENTY = 1 << 30
SERVABLES = {version: SimpleNamespace(version=int(version)) for version in ("7", "8")}


class Shop:
    """A dialect whose requests say what becomes of them."""

    name = "shop"
    grpc_methods = ()

    def __init__(self) -> None:
        self.routes = (
            Route(("POST", "HEAD"), "/shop/{thing}", self.sell),
            Route(("GET",), "/health", self.sell, Right.NONE, probe=True),
        )

    async def sell(self, request: HttpRequest) -> HttpReply:
        call = current_call.get()
        assert call is not None
        for version in request.headers.get("versions", "").split():
            servable = SERVABLES[version]
            destination = cast("Any", SimpleNamespace(servable=servable))
            call.add(cast("Any", SimpleNamespace(count=2, began=0.0, ended_at=0.0)), destination)
        match request.parts.get("thing"):
            case "wrong":
                raise InvalidInput("x is wrong")
            case "partly":
                return HttpReply(
                    200, b"...", failures=[FailedRows(InvalidInput("no").failure(), 1)], instance_count=3
                )
            case "gone":
                raise asyncio.CancelledError
        return HttpReply(200, b"sold")

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(failure.status, failure.text.encode(), "text/plain")


class Recorder:
    """Notes what it is told."""

    def __init__(self, traceparent: str = "") -> None:
        self.began: list[Mapping[str, str]] = []
        self.told: list[EndedCall] = []
        self.traceparent = traceparent

    def begins(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        assert current_call.get() is call
        call.traceparent = self.traceparent
        self.began.append(headers)

    def ended(self, call: EndedCall) -> None:
        self.told.append(call)


class Setting:
    """A dialect with an observer."""

    def __init__(self, *recorders: Recorder) -> None:
        observers = Observers()
        for recorder in recorders:
            observers.add(recorder)
        untaken = UntakenReplies(PLENTY, PLENTY)
        self.answering = Answering([Shop()], NoBodies(), untaken, FailureLog(), observers, True)

    def ask(self, verb: str, target: str, identity: Identity = ANYBODY, **headers: str) -> HttpReply:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest(verb, target, fields, "1.2.3.4", identity, body=b"a body")

        async def asked() -> HttpReply:
            try:
                return await self.answering.answer(self.answering.find(verb, target), request, self)
            finally:
                assert current_call.get() is None

        return asyncio.run(asked())


def shown(ended: EndedCall) -> tuple[Any, ...]:
    return (
        ended.status, ended.bytes_in, ended.bytes_out, ended.instances, ended.failed_instances, ended.error,
    )  # fmt: skip


def told(verb: str, target: str, **headers: str) -> tuple[HttpReply, EndedCall]:
    recorder = Recorder()
    reply = Setting(recorder).ask(verb, target, **headers)
    [ended] = recorder.told
    assert len(recorder.began) == 1
    return reply, ended


def test_an_answered_request() -> None:
    recorder = Recorder("a trace")
    identity = Identity("dashboard", ANYBODY.rights)
    reply = Setting(recorder).ask("POST", "/shop/bread?cheap", identity, versions="7", x_request_id="mine")
    [ended] = recorder.told
    assert shown(ended) == (200, 6, 4, 2, 0, "")
    assert (ended.transport, ended.dialect, ended.target, ended.route) == (
        "http",
        "shop",
        "POST /shop/bread",
        "/shop/{thing}",
    )
    assert (ended.request_id, ended.peer, ended.key_name) == ("mine", "1.2.3.4", "dashboard")
    assert (ended.probe, ended.secure) == (False, True)
    assert ended.call.began <= ended.ended
    assert ended.call.version == 7
    assert recorder.began == [{"versions": "7", "x-request-id": "mine"}]
    assert reply.headers == (("X-Request-Id", "mine"), ("traceparent", "a trace"))


@pytest.mark.parametrize(("versions", "expected"), [("", 0), ("7", 7), ("7 7", 7), ("7 8", 0)])
def test_the_version_that_answered(versions: str, expected: int) -> None:
    """It is said with and without observers, by our own server and in an application of the user's own."""
    for setting in (Setting(), Setting(Recorder())):
        reply = setting.ask("POST", "/shop/bread", versions=versions)
        assert reply.version == expected
        heads = ReplyHeads(0.0)
        for _ in range(2):  # the second one is kept
            head = heads.head(reply, KEPT)
            assert (b"\r\nX-Serving-Version: %d\r\n" % expected in head) == bool(expected)
            assert heads.head(HttpReply(200, b""), KEPT).count(b"X-Serving-Version") == 0
        assert response_of(reply).headers.get("X-Serving-Version", "0") == str(expected)


def test_requests_that_fail() -> None:
    reply, ended = told("POST", "/shop/wrong", versions="7")
    assert shown(ended) == (400, 6, 10, 2, 2, "x is wrong")
    assert ended.request_id == dict(reply.headers)["X-Request-Id"]
    assert reply.version == 7
    reply, ended = told("POST", "/shop/partly", versions="7")
    assert shown(ended) == (200, 6, 3, 3, 1, "no")


def test_a_reply_without_its_body() -> None:
    _, ended = told("HEAD", "/shop/bread")
    assert ended.bytes_out == 0


def test_what_is_nobodys() -> None:
    _, ended = told("GET", "/nothing")
    assert (ended.status, ended.dialect, ended.route, ended.target) == (404, "shop", "", "GET /nothing")
    _, ended = told("PUT", "/shop/bread")
    assert (ended.status, ended.route) == (405, "")
    _, ended = told("OPTIONS", "/shop/bread")
    assert (ended.status, ended.bytes_out) == (200, 0)


def test_probes() -> None:
    _, ended = told("GET", "/health")
    assert ended.probe


def test_a_client_that_has_gone() -> None:
    recorder = Recorder()
    setting = Setting(recorder)
    with pytest.raises(asyncio.CancelledError):
        setting.ask("POST", "/shop/gone", versions="7")
    [ended] = recorder.told
    assert shown(ended) == (499, 6, 0, 2, 2, "The client has gone")
    setting.answering.left(HttpRequest("POST", "/shop/bread", {}))
    assert shown(recorder.told[1]) == (499, 0, 0, 0, 0, "The client has gone")


@pytest.mark.parametrize(
    ("status", "verb"), [(401, "POST"), (413, "POST"), (408, "POST"), (400, ""), (503, "")]
)
def test_what_is_refused_before_it_is_read(status: int, verb: str) -> None:
    recorder = Recorder()
    target = "/shop/bread" if verb else ""
    request = HttpRequest(verb, target, {"x-request-id": "mine"}, "1.2.3.4")
    reply = Setting(recorder).answering.refuse(status, "for a reason", request)
    [ended] = recorder.told
    assert not recorder.began
    assert shown(ended) == (status, 0, len(reply.body), 0, 0, "for a reason")
    assert (ended.target, ended.request_id) == (f"{verb} {target}" if verb else "", "mine")


def test_a_client_without_the_right() -> None:
    recorder = Recorder()
    viewer = Identity("viewer", frozenset((Right.NONE, Right.VIEW)))
    assert Setting(recorder).ask("POST", "/shop/bread", viewer).status == 403
    [ended] = recorder.told
    assert (ended.status, ended.key_name) == (403, "viewer")
    assert ended.error.startswith("Not allowed")
