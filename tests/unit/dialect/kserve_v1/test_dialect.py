"""What is answered below `/v1`, by the dialect in front of a dispatcher whose worker is the test."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import Failure, InvalidInput, StageError
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.dialect.kserve_v1.dialect import KserveV1Dialect
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType, TensorSpec
from tests.unit.dispatch.dispatching import Worker

MOST_BYTES = 1 << 24
FLOAT = DataType.FLOAT32
ADD = MethodSignature(
    "add",
    ("x", "y"),
    8,
    output_names=("sum",),
    inputs=(TensorType("x", FLOAT, (2, -1)), TensorType("y", FLOAT, (2,), shared=True)),
    outputs=(TensorType("sum", FLOAT, ()),),
)
X, Y = TensorType("x"), TensorType("y")
ECHO = MethodSignature("echo", ("x",), 8, output_names=("x",), inputs=(X,), outputs=(X,))
PAIR = MethodSignature("pair", ("x", "y"), 8, output_names=("x", "y"), inputs=(X, Y), outputs=(X, Y))
PREDICT = "/v1/models/a:predict"
LARGE = b'{"signature_name": "echo", "instances": [' + b"1.5," * (1 << 17) + b"2.5]}"

Answer = Callable[[Rows], tuple[Group, ...]]


def echo(rows: Rows) -> tuple[Group, ...]:
    return (rows,)


class Bench:
    """A server without a network.

    Args:
        methods: Of each version of servable `a`.
        answer: The results of rows.
    """

    def __init__(
        self,
        *methods: tuple[MethodSignature, ...],
        answer: Answer = echo,
        reason: str = "",
        worker: bool = True,
    ) -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        self.service = Service.of(dispatcher)
        self.asked: list[tuple[str, list[Rows]]] = []
        self._answer = answer
        self._reason = reason
        self.answers = True
        self.ended: set[int] = set()
        self.workers = [
            Worker(dispatcher, "a", version, methods=methods, on_batch=self._soon)
            for version, methods in enumerate(methods or ((ECHO,),), start=1)
            if worker
        ]
        self._versions = len(methods or (1,))
        self.service.catalog.add(self)
        unfinished = UnfinishedBodies(MOST_BYTES)
        self.bodies = BodyReader(MOST_BYTES, unfinished)
        untaken = UntakenReplies(MOST_BYTES, MOST_BYTES)
        dialect = KserveV1Dialect(self.service)
        self.answering = Answering([dialect], self.bodies, untaken, FailureLog())

    def workers_health(self) -> list[WorkerHealth]:
        status = "dead" if self._reason else "ready"
        return [
            WorkerHealth("a", 1 + at, "device0", status, not self._reason, self._reason)
            for at in range(self._versions)
            if 1 + at not in self.ended
        ]

    def _soon(self) -> None:
        if self.answers:
            asyncio.get_running_loop().call_soon(self._answer_all)

    def _answer_all(self) -> None:
        for worker in self.workers:
            while worker.batches:
                batch = worker.batches.pop(0)
                self.asked.append((batch.method, list(batch.groups)))
                groups = tuple(group for rows in batch.groups for group in self._answer(rows))
                worker.answer(batch, groups=groups)

    async def ask(self, verb: str, target: str, body: Any = b"", **headers: str) -> HttpReply:
        """The reply to a request."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest(verb, target, fields, "1.2.3.4", body=body)
        return await self.answering.answer(self.answering.find(verb, target), request, "a connection")


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 30))


def asked(
    *methods: tuple[MethodSignature, ...],
    target: str = PREDICT,
    body: Any = b"",
    verb: str = "POST",
    answer: Answer = echo,
    **headers: str,
) -> tuple[int, Any]:
    """Status and document of the reply to one request."""

    async def run() -> tuple[int, Any]:
        bench = Bench(*methods, answer=answer)
        try:
            reply = await bench.ask(verb, target, body, **headers)
            assert reply.content_type == "application/json"
            return reply.status, json.loads(reply.body)
        finally:
            await bench.bodies.stop()

    return asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        (PREDICT, {"instances": [1, 2]}, {"predictions": [1, 2]}),
        (PREDICT, {"inputs": {"x": [1, 2]}}, {"outputs": [1, 2]}),
        (PREDICT, {"instances": [1], "signature_name": "serving_default"}, {"predictions": [1]}),
        (
            PREDICT,
            {"instances": [{"x": 1, "y": "a"}], "signature_name": "pair"},
            {"predictions": [{"x": 1, "y": "a"}]},
        ),
        ("/v1/models/a.pair:predict", {"inputs": {"x": [1], "y": [2]}}, {"outputs": {"x": [1], "y": [2]}}),
        ("/v1/models/a/versions/1:predict", {"instances": ["t"]}, {"predictions": ["t"]}),
        ("/v1/models/a.echo/versions/1:predict", {"instances": ["t"]}, {"predictions": ["t"]}),
        ("/v1/models/a%3Apredict", {"instances": [1]}, {"predictions": [1]}),
        ("/v1/models/a%3apredict", {"instances": [1]}, {"predictions": [1]}),
        ("/v1/models/%61:predict?x=y", {"instances": [1]}, {"predictions": [1]}),
    ],
)
def test_predictions(target: str, body: Any, expected: Any) -> None:
    assert asked((ECHO, PAIR), target=target, body=body) == (200, expected)


def test_the_rows_of_a_request_are_instances_of_the_method() -> None:
    async def scene() -> None:
        bench = Bench(
            (ADD,),
            answer=lambda rows: (
                Rows((TensorSpec("sum", FLOAT, ()),), (rows.columns[0][:, 0, 0],), rows.count),
            ),
        )  # type: ignore[call-overload]
        reply = await bench.ask("POST", PREDICT, {"inputs": {"x": [[[1], [2]], [[3], [4]]], "y": [5, 6]}})
        assert json.loads(reply.body) == {"outputs": [1.0, 3.0]}
        [(method, [rows])] = bench.asked
        assert (method, rows.count) == ("add", 2)
        assert [tuple(spec) for spec in rows.specs] == [("x", FLOAT, (2, 1)), ("y", FLOAT, (2,))]
        np.testing.assert_array_equal(np.asarray(rows.columns[1]), [[5, 6], [5, 6]])

    play(scene)


def test_the_newest_version_answers_unless_another_one_is_asked_for() -> None:
    async def scene() -> None:
        bench = Bench((ECHO,), (PAIR, ECHO))
        pairs = {"instances": [{"x": 1, "y": 2}]}
        assert (await bench.ask("POST", PREDICT, pairs)).status == 200
        assert (await bench.ask("POST", "/v1/models/a/versions/1:predict", pairs)).status == 400
        assert (await bench.ask("POST", "/v1/models/a/versions/1:predict", {"instances": [1]})).status == 200
        bench.ended.add(2)
        bench.workers[1].die()
        assert (await bench.ask("POST", PREDICT, {"instances": [1]})).status == 200
        assert [method for method, _ in bench.asked] == ["pair", "echo", "echo"]

    play(scene)


def test_a_large_body_is_read_elsewhere() -> None:
    async def scene() -> None:
        bench = Bench((PAIR, ECHO))
        try:
            for body, headers in ((LARGE, {}), (gzip.compress(LARGE), {"content_encoding": "gzip"})):
                reply = await bench.ask("POST", PREDICT, body, **headers)
                assert reply.status == 200
                values = json.loads(reply.body)["predictions"]
                assert (len(values), values[-1]) == ((1 << 17) + 1, 2.5)
            assert {method for method, _ in bench.asked} == {"echo"}
            reply = await bench.ask("POST", PREDICT, LARGE.replace(b"2.5]", b'"a"]'))
            assert (reply.status, b"beside the string 'a'" in reply.body) == (400, True)
            bench.answers = False
            reply = await bench.ask("POST", PREDICT, LARGE, x_request_timeout_ms="1")
            assert (reply.status, list(json.loads(reply.body))) == (504, ["error"])
            assert bench.service.dispatcher.requests == 0
        finally:
            await bench.bodies.stop()

    play(scene)


def fail(*failing: int, error: Failure) -> Answer:
    """Rows with these numbers fail."""

    def answer(rows: Rows) -> tuple[Group, ...]:
        return tuple(
            FailedRows(error, 1) if at in failing else rows.take(at, at + 1) for at in range(rows.count)
        )

    return answer


@pytest.mark.parametrize(
    ("failing", "error", "status", "text"),
    [
        (
            (1,),
            InvalidInput("too small").failure(),
            400,
            "1 of 3 rows failed, the first one is row 1: too small",
        ),
        ((1, 2), StageError("broken").failure(), 500, "2 of 3 rows failed, the first one is row 1: broken"),
        ((0, 1, 2), StageError("broken").failure(), 500, "broken"),
        ((0, 1, 2), StageError("at /home/me/model.py").failure(), 500, "at model.py"),
    ],
)
def test_a_row_that_fails_fails_the_request(
    failing: tuple[int, ...], error: Failure, status: int, text: str
) -> None:
    body = {"instances": [1, 2, 3]}
    assert asked((ECHO,), body=body, answer=fail(*failing, error=error)) == (status, {"error": text})


@pytest.mark.parametrize(
    ("verb", "target", "body", "status", "text"),
    [
        ("POST", PREDICT, b"{", 400, "JSON Parse error"),
        (
            "POST",
            PREDICT,
            {"instances": [1], "signature_name": "no"},
            400,
            "the methods of model 'a' are echo, pair",
        ),
        (
            "POST",
            "/v1/models/a.echo:predict",
            {"instances": [1], "signature_name": "pair"},
            400,
            "'a.echo' are echo",
        ),
        (
            "POST",
            "/v1/models/b:predict",
            b"",
            404,
            "There is no model 'b'; GET /v1/models lists those there are",
        ),
        ("POST", "/v1/models/a.no:predict", b"", 404, "has no method 'no'; it has echo, pair"),
        ("POST", "/v1/models/a/versions/7:predict", b"", 404, "Model 'a' has no version 7; it has 1"),
        ("POST", "/v1/models/a/versions/x:predict", b"", 404, "has no version 'x'"),
        ("POST", "/v1/models/a/versions/0:predict", b"", 404, "has no version '0'"),
        (
            "POST",
            "/v1/models/a/labels/canary:predict",
            b"",
            404,
            "has no label 'canary': this server has no labels",
        ),
        ("GET", "/v1/models/a/labels/canary", b"", 404, "has no label 'canary'"),
        ("GET", "/v1/models/a/labels/canary/metadata", b"", 404, "has no label 'canary'"),
        ("POST", "/v1/models/a:classify", b"", 501, ":classify is not supported"),
        ("POST", "/v1/models/a/versions/1:regress", b"", 501, ":regress is not supported"),
        ("POST", "/v1/models/a:explain", b"", 501, ":explain is not supported"),
        ("POST", "/v1/models/a:preddict", b"", 404, "There is nothing at :preddict of a model, use :predict"),
        ("GET", PREDICT, b"", 405, "only supports POST, but got GET"),
        ("PUT", PREDICT, b"", 405, "only supports POST"),
        (
            "POST",
            "/v1/models/a",
            b"",
            405,
            "only supports GET; for predictions send POST to /v1/models/{model}:predict",
        ),
        ("POST", "/v1/models/a/versions/1", b"", 405, "only supports GET; for predictions"),
        ("DELETE", "/v1/models", b"", 405, "only supports GET"),
        ("GET", "/v1/models/b", b"", 404, "There is no model 'b'"),
        ("GET", "/v1/models/a/versions/2", b"", 404, "has no version 2"),
        ("GET", "/v1/models/a/versions/two/metadata", b"", 404, "has no version 'two'"),
        ("GET", "/v1/models/b/metadata", b"", 404, "There is no model 'b'"),
        ("GET", "/v1", b"", 404, "There is nothing at /v1"),
        ("GET", "/v1/", b"", 404, "There is nothing at /v1/"),
        ("POST", "/v1/models/a/b/c:predict", b"", 404, "There is nothing at /v1/models/a/b/c:predict"),
        ("GET", "/v1/models//metadata", b"", 404, "There is nothing at"),
        ("POST", "/v1/chat/completions", b"", 404, "There is nothing at"),
    ],
)
def test_what_is_refused(verb: str, target: str, body: Any, status: int, text: str) -> None:
    got, document = asked((ECHO, PAIR), verb=verb, target=target, body=body)
    assert (got, list(document), text in document["error"]) == (status, ["error"], True), document


def test_a_wrong_time_is_refused() -> None:
    status, document = asked((ECHO,), body={"instances": [1]}, x_request_timeout_ms="soon")
    assert (status, list(document)) == (400, ["error"])


def test_a_request_that_takes_too_long_gets_its_error() -> None:
    async def scene() -> None:
        bench = Bench((ECHO,))
        bench.answers = False
        reply = await bench.ask("POST", PREDICT, {"instances": [1]}, x_request_timeout_ms="10")
        assert reply.status == 504
        assert list(json.loads(reply.body)) == ["error"]

    play(scene)


OK = {"error_code": "OK", "error_message": ""}


def test_the_models_that_there_are_and_how_they_are() -> None:
    async def scene() -> None:
        bench = Bench((ECHO,), (ECHO, PAIR))
        assert json.loads((await bench.ask("GET", "/v1/models")).body) == {
            "models": ["a", "a.echo", "a.pair"]
        }
        reply = await bench.ask("GET", "/v1/models/a")
        versions = [{"version": number, "state": "AVAILABLE", "status": OK} for number in ("2", "1")]
        document = {"name": "a", "ready": True, "model_version_status": versions}
        assert (reply.status, json.loads(reply.body)) == (200, document)
        reply = await bench.ask("GET", "/v1/models/a.pair/versions/2")
        assert json.loads(reply.body) == {
            "name": "a.pair",
            "ready": True,
            "model_version_status": versions[:1],
        }

    play(scene)


def test_a_model_that_is_not_ready() -> None:
    async def scene() -> None:
        bench = Bench((ECHO,), reason="no worker: /opt/lib/x.so is gone", worker=False)
        gone = {"error_code": "UNAVAILABLE", "error_message": "no worker: x.so is gone"}
        reply = await bench.ask("GET", "/v1/models/a")
        document = {
            "name": "a",
            "ready": False,
            "model_version_status": [{"version": "1", "state": "END", "status": gone}],
        }
        assert (reply.status, json.loads(reply.body)) == (503, document)
        for verb, target in (("POST", PREDICT), ("GET", "/v1/models/a/metadata")):
            reply = await bench.ask(verb, target)
            assert (reply.status, b"version 1 is not ready: no worker" in reply.body) == (503, True)
        bench.service.dispatcher.draining = True
        bench.service.dispatcher.closing = "draining"
        reply = await bench.ask("GET", "/v1/models/a")
        assert json.loads(reply.body)["model_version_status"][0]["state"] == "UNLOADING"

    play(scene)


def tensor(name: str, dtype: str, *sizes: str) -> dict[str, Any]:
    shape = {"dim": [{"size": size, "name": ""} for size in sizes], "unknown_rank": not sizes}
    return {"dtype": dtype, "tensor_shape": shape, "name": name}


def test_the_metadata_of_a_model() -> None:
    add = {
        "inputs": {"x": tensor("x", "DT_FLOAT", "-1", "2", "-1"), "y": tensor("y", "DT_FLOAT", "2")},
        "outputs": {"sum": tensor("sum", "DT_FLOAT", "-1")},
        "method_name": "tensorflow/serving/predict",
    }
    echoed = {
        "inputs": {"x": tensor("x", "DT_INVALID")},
        "outputs": {"x": tensor("x", "DT_INVALID")},
        "method_name": "tensorflow/serving/predict",
    }
    for target, name, signatures in (
        ("/v1/models/a/metadata", "a", {"add": add, "echo": echoed, "serving_default": add}),
        ("/v1/models/a/versions/1/metadata", "a", {"add": add, "echo": echoed, "serving_default": add}),
        ("/v1/models/a.echo/metadata", "a.echo", {"echo": echoed, "serving_default": echoed}),
    ):
        status, document = asked((ADD, ECHO), verb="GET", target=target)
        assert (status, document) == (
            200,
            {
                "model_spec": {"name": name, "signature_name": "", "version": "1"},
                "metadata": {"signature_def": {"signature_def": signatures}},
            },
        )
