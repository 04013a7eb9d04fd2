"""The native dialect over HTTP, with a dispatcher that has the outcomes of the test."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from mindspore_serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    ServingError,
    StageError,
)
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.dialect.native.rest import NativeRest
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from mindspore_serving.tensor import DataType
from tests.unit.dialect.native.fake_dispatcher import FakeDispatcher

ECHO = "/model/add:echo"
ONE = b'{"instances":[{"x":1}]}'
MOST_BYTES = 1 << 24
LARGE = b'{"instances":[{"x":[' + b"1," * (1 << 18) + b"1]}]}"


class Bench:
    """The dialect, and what stands around it in a server."""

    def __init__(self, dispatcher: FakeDispatcher, *, always_ok: bool = False) -> None:
        self.dispatcher = dispatcher
        self.unfinished = UnfinishedBodies(MOST_BYTES)
        self.bodies = BodyReader(MOST_BYTES, self.unfinished)
        dialect = NativeRest(cast("Dispatcher", dispatcher), always_ok=always_ok)
        untaken = UntakenReplies(MOST_BYTES, MOST_BYTES)
        self.answering = Answering([dialect], self.bodies, untaken, FailureLog())

    async def answer(self, verb: str, target: str, body: bytes, headers: dict[str, str]) -> HttpReply:
        fields = {name.lower(): value for name, value in headers.items()}
        request = HttpRequest(verb, target, fields, "1.2.3.4", body=body)
        return await self.answering.answer(self.answering.find(verb, target), request, "a connection")

    def run(self, scene: Callable[[], Any]) -> Any:
        async def whole() -> Any:
            try:
                return await asyncio.wait_for(scene(), 30)
            finally:
                await self.bodies.stop()
                await asyncio.sleep(0)
                assert self.unfinished.is_empty

        return asyncio.run(whole())


def ask(
    dispatcher: FakeDispatcher,
    body: bytes = ONE,
    target: str = ECHO,
    verb: str = "POST",
    always_ok: bool = False,
    **headers: str,
) -> tuple[HttpReply, Any]:
    """The reply to a request, and its document."""
    bench = Bench(dispatcher, always_ok=always_ok)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = bench.run(lambda: bench.answer(verb, target, body, named))
    assert reply.content_type == "application/json"
    return reply, json.loads(reply.body)


def has_no_outcome(blocks: list[Rows]) -> None:
    return None


# --- Outcomes ---


def test_instances_are_answered_in_their_order() -> None:
    dispatcher = FakeDispatcher()
    reply, document = ask(dispatcher, b'{"instances":[{"x":1},{"x":[1.5]},{"x":"a"}]}')
    assert (reply.status, reply.headers) == (200, ())
    assert document == {"instances": [{"x": 1}, {"x": [1.5]}, {"x": "a"}]}
    [blocks] = dispatcher.admitted
    assert [block.specs[0].dtype for block in blocks] == [DataType.INT32, DataType.FLOAT32, DataType.STRING]


FAILED = StageError("no good").failure()


@pytest.mark.parametrize(
    ("outcome", "status", "document", "logged"),
    [
        (lambda rows: [FailedRows(FAILED, 2)], 500, {"error_msg": "no good"}, ", 2 of 2 instances: no good"),
        (
            lambda rows: [FailedRows(FAILED, 1), *rows],
            200,
            {"instances": [{"error_msg": "no good"}, {"x": 1}, {"x": 1}]},
            ", 1 of 3 instances: no good",
        ),
        (
            lambda rows: [FailedRows(FAILED, 1), FailedRows(InvalidInput("odd").failure(), 1)],
            500,
            {"instances": [{"error_msg": "no good"}, {"error_msg": "odd"}]},
            ", 2 of 2 instances: no good\n  and odd",
        ),
        (
            lambda rows: [FailedRows(ServableUnavailable("gone").failure(), 2)],
            503,
            {"error_msg": "gone"},
            ", 2 of 2 instances: gone",
        ),
        (
            lambda rows: [FailedRows(DeadlineExceeded("late").failure(), 2)],
            504,
            {"error_msg": "late"},
            ", 2 of 2 instances: late",
        ),
    ],
)
@pytest.mark.parametrize("always_ok", [False, True])
def test_instances_that_failed(
    outcome: Callable[[list[Rows]], Reply],
    status: int,
    document: Any,
    logged: str,
    always_ok: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = b'{"instances":[{"x":1},{"x":1}]}'
    reply, answered = ask(FakeDispatcher(outcome), body, always_ok=always_ok, X_Request_Id="7")
    assert (reply.status, answered) == (200 if always_ok else status, document)
    assert ("Retry-After" in dict(reply.headers)) is (reply.status == 503)
    assert dict(reply.headers)["X-Request-Id"] == "7"
    assert f"POST {ECHO}{logged}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [(QueueFull("full"), 429), (ServableUnavailable("gone"), 503), (ServerStopping(), 503)],
)
@pytest.mark.parametrize("when", ["resolve", "room", "submit"])
@pytest.mark.parametrize("always_ok", [False, True])
def test_requests_that_are_not_taken(error: ServingError, status: int, when: str, always_ok: bool) -> None:
    dispatcher = FakeDispatcher((lambda rows: error) if when == "submit" else has_no_outcome)
    dispatcher.room = error if when == "room" else None
    dispatcher.refusal = error if when == "resolve" else None
    reply, document = ask(dispatcher, always_ok=always_ok)
    assert (reply.status, document) == (200 if always_ok else status, {"error_msg": str(error)})
    headers = dict(reply.headers)
    assert len(headers.pop("X-Request-Id")) == 16
    assert headers == {"Retry-After": "1"}


@pytest.mark.parametrize("always_ok", [False, True])
def test_an_error_of_serving_itself_is_answered(always_ok: bool) -> None:
    def outcome(blocks: list[Rows]) -> Reply:
        raise KeyError("x")

    reply, document = ask(FakeDispatcher(outcome), always_ok=always_ok)
    assert (reply.status, document) == (
        200 if always_ok else 500,
        {"error_msg": "Predict failed: KeyError('x')"},
    )


# --- What is refused ---

NO_MODEL = "please check url, the keyword:[model] must contain."


@pytest.mark.parametrize(
    ("target", "body", "status", "text"),
    [
        ("/", ONE, 400, NO_MODEL),
        ("*", ONE, 400, NO_MODEL),
        ("/v2/models/add", ONE, 400, NO_MODEL),
        ("/model/add:no", ONE, 404, "no add/0:no"),
        ("/model/no:echo", ONE, 404, "no no/0:echo"),
        ("/version/2/model/add%3Aecho", ONE, 404, "no add/2:echo"),
        # What is wrong with a small body is told before what is wrong with its target, but for its instances.
        ("/", b"", 400, "http message invalid"),
        ("/model/add:no", b"{", 400, "Illegal JSON format."),
        ("/", b"{}", 400, NO_MODEL),
        ("/model/add:no", b"{}", 400, "Parser request failed, key 'instances' expects to exist once"),
        ("/model/add:no", LARGE[:-1], 404, "no add/0:no"),
        ("/", LARGE[:-1], 400, NO_MODEL),
        (ECHO, b"{", 400, "Illegal JSON format."),
        (ECHO, b"{}", 400, "Parser request failed, key 'instances' expects to exist once"),
        (ECHO, b'{"instances":[{"y":1}]}', 400, "Cannot find input x in instance input , servable add, method echo"),
        (ECHO, LARGE[:-1], 400, "Illegal JSON format."),
        (ECHO, LARGE.replace(b'"x"', b'"y"'), 400, "Cannot find input x in instance input , servable add"),
    ],
)  # fmt: skip
def test_requests_that_are_wrong(target: str, body: bytes, status: int, text: str) -> None:
    dispatcher = FakeDispatcher()
    reply, document = ask(dispatcher, body, target)
    assert (reply.status, document["error_msg"][: len(text)]) == (status, text)
    assert dispatcher.admitted == []


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "TRACE", "post"])
@pytest.mark.parametrize(("always_ok", "status"), [(False, 405), (True, 200)])
def test_other_verbs(verb: str, always_ok: bool, status: int) -> None:
    reply, document = ask(FakeDispatcher(), verb=verb, always_ok=always_ok)
    assert (reply.status, document) == (status, {"error_msg": "http message only support POST right now"})
    assert dict(reply.headers)["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    ("status", "answered"),
    [(400, 400), (401, 401), (408, 200), (413, 200), (431, 431), (503, 503), (505, 505)],
)
def test_always_ok_is_about_requests(status: int, answered: int) -> None:
    request = HttpRequest("POST", ECHO, {})
    reply = Bench(FakeDispatcher(), always_ok=True).answering.refuse(status, "why", request)
    assert (reply.status, json.loads(reply.body)) == (answered, {"error_msg": "why"})


@pytest.mark.parametrize(
    ("body", "coding", "status", "text"),
    [
        (gzip.compress(ONE, mtime=0), "gzip", 200, None),
        (ONE, "gzip", 400, "http message invalid, body is not gzip: "),
        (ONE, "br", 415, "Content-Encoding br is not supported"),
        (
            gzip.compress(bytes(MOST_BYTES + 1), mtime=0),
            "gzip",
            413,
            f"http message is bigger than {MOST_BYTES}",
        ),
    ],
)
def test_compressed_bodies(body: bytes, coding: str, status: int, text: str | None) -> None:
    reply, document = ask(FakeDispatcher(), body, Content_Encoding=coding)
    assert reply.status == status
    if text is not None:
        assert document["error_msg"].startswith(text)


# --- Deadlines ---


def test_the_time_of_a_request_goes_with_its_instances() -> None:
    dispatcher = FakeDispatcher()
    ask(dispatcher, X_Request_Timeout_Ms="2500")
    ask(dispatcher)
    assert dispatcher.times == [2.5, None]


@pytest.mark.parametrize("body", [ONE, b"", LARGE])
def test_a_time_that_is_none_is_told_first(body: bytes) -> None:
    dispatcher = FakeDispatcher()
    reply, document = ask(dispatcher, body, "/nowhere", X_Request_Timeout_Ms="soon")
    assert (reply.status, document["error_msg"][:28]) == (400, "Header X-Request-Timeout-Ms ")
    assert dispatcher.admitted == []


def test_the_time_of_a_large_body_ends_while_it_is_read_or_answered() -> None:
    late = "Request servable(add) method(echo)  version(1) , deadline of 1000 ms exceeded"
    reply, document = ask(FakeDispatcher(has_no_outcome), LARGE, X_Request_Timeout_Ms="1000")
    assert (reply.status, document) == (504, {"error_msg": late})
    reply, document = ask(FakeDispatcher(), LARGE, X_Request_Timeout_Ms="0.001")
    assert (reply.status, document["error_msg"][-28:]) == (504, "deadline of 0.001 ms exceeded"[-28:])


# --- Large bodies, and clients that leave ---


def test_a_large_body_is_read_elsewhere_and_counts_meanwhile() -> None:
    dispatcher = FakeDispatcher(types={"x": DataType.FLOAT32})
    reply, document = ask(dispatcher, LARGE)
    assert (reply.status, document) == (200, {"instances": [{"x": [1.0] * ((1 << 18) + 1)}]})
    assert (dispatcher.held, dispatcher.most_held) == (0, 1)
    [[block]] = dispatcher.admitted
    assert cast("np.ndarray[Any, Any]", block.columns[0]).dtype == np.float32
    ask(dispatcher, ONE)
    assert dispatcher.most_held == 1


def test_a_body_that_is_admitted_is_answered_though_the_server_drains() -> None:
    dispatcher = FakeDispatcher()
    bench = Bench(dispatcher)

    async def scene() -> HttpReply:
        request = asyncio.create_task(bench.answer("POST", ECHO, LARGE, {}))
        await dispatcher.reading_begun.wait()
        dispatcher.refusal = ServerStopping()
        return await request

    assert bench.run(scene).status == 200


@pytest.mark.parametrize("body", [ONE, LARGE])
def test_a_client_that_leaves_abandons_its_request(body: bytes) -> None:
    dispatcher = FakeDispatcher(has_no_outcome)
    bench = Bench(dispatcher)

    async def scene() -> None:
        request = asyncio.create_task(bench.answer("POST", ECHO, body, {}))
        await dispatcher.submitted.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert dispatcher.futures[0].cancelled()

    bench.run(scene)


def test_a_client_that_leaves_abandons_a_body_that_is_being_read() -> None:
    dispatcher = FakeDispatcher()
    bench = Bench(dispatcher)

    async def scene() -> None:
        request = asyncio.create_task(bench.answer("POST", ECHO, LARGE, {}))
        await dispatcher.reading_begun.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert dispatcher.held == 0
        await asyncio.sleep(0)
        assert bench.unfinished.is_empty

    bench.run(scene)
    assert dispatcher.admitted == []


# --- Bodies that are no JSON; test_body_forms.py has their rules ---

FORM = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'


@pytest.mark.parametrize(
    ("target", "kind", "body", "values"),
    [
        (ECHO, "image/png", b"\xff\0", {"x": {"b64": "/wA="}}),
        (ECHO, "text/plain", "ä".encode(), {"x": "ä"}),
        (ECHO, "multipart/form-data; boundary=b", FORM % (b"x", b"", b"[1.5]") + b"--b--", {"x": [1.5]}),
        (
            "/model/add:add",
            "multipart/form-data; boundary=b",
            FORM % (b"x2", b'; filename="a"', b"1") + FORM % (b"x1", b"", b"1") + b"--b--",
            {"x1": 1, "x2": {"b64": "MQ=="}},
        ),
    ],
)
def test_one_instance_without_json(target: str, kind: str, body: bytes, values: dict[str, Any]) -> None:
    dispatcher = FakeDispatcher()
    for coding, sent in (("", body), ("gzip", gzip.compress(body, mtime=0))):
        reply, document = ask(dispatcher, sent, target, Content_Type=kind, Content_Encoding=coding)
        assert (reply.status, document) == (200, {"instances": [values]})
        [block] = dispatcher.admitted.pop()
        assert [spec.name for spec in block.specs] == list(values)  # as the method has them


def test_bytes_that_are_compressed_and_large_are_read_elsewhere() -> None:
    dispatcher = FakeDispatcher(lambda rows: [FailedRows(FAILED, 1)])
    ask(dispatcher, gzip.compress(bytes(1 << 20), mtime=0), Content_Type="image/png", Content_Encoding="gzip")
    assert dispatcher.most_held == 1
    assert dispatcher.admitted[0][0].columns == ([bytes(1 << 20)],)
    ask(dispatcher, bytes(1 << 20), Content_Type="image/png")
    assert dispatcher.most_held == 1


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=b"])
def test_a_wrong_target_is_told_before_a_body_that_is_no_json(kind: str) -> None:
    reply, document = ask(FakeDispatcher(), b"\xff", "/model/add:no", Content_Type=kind)
    assert (reply.status, document) == (404, {"error_msg": "no add/0:no"})
