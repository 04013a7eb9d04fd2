"""The dialect over HTTP, with outcomes of the test: paths, forms of requests and replies, and errors."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from mindspore_serving import __version__
from mindspore_serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    QueueFull,
    ServerStopping,
    ServingError,
    StageError,
)
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.access.identity import STRANGER
from mindspore_serving.server.dialect.open_inference.dialect import OpenInferenceDialect
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.dispatch.method_statistics import BatchTimes, Duration, MethodStatistics
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType, TensorSpec
from tests.unit.dialect.open_inference.fake_service import (
    Outcome,
    echo,
    method,
    service_of,
    untyped,
)

FLOATS = TensorType("x", DataType.FLOAT32, (2,))
TEXT = TensorType("t", DataType.STRING, ())
METHODS = {
    ("m", 1): [method(inputs=(FLOATS,), outputs=(TensorType("x", DataType.FLOAT32, (2,)),))],
    ("two", 1): [method("first", inputs=(TEXT,), outputs=(TEXT,)), untyped("second", ["a", "b"], ["a"])],
    ("new", 1): [],
}
INFER = "/v2/models/m/infer"
MOST_BYTES = 1 << 24
TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}
ONE = orjson.dumps({"inputs": [TENSOR]})
RAW = np.array([[1, 2.5]], np.float32).tobytes()
RAW_HEAD = orjson.dumps(
    {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
        "parameters": {"binary_data_output": True},
    }
)
LENGTH = "Inference-Header-Content-Length"


class Bench:
    """The dialect, and what stands around it in a server."""

    def __init__(self, outcome: Outcome = echo, methods: Any = METHODS) -> None:
        self.service, self.dispatcher = service_of(
            methods, outcome, {("new", 1): "starting"} if methods is METHODS else {}
        )
        self.unfinished = UnfinishedBodies(MOST_BYTES)
        self.bodies = BodyReader(MOST_BYTES, self.unfinished)
        dialect = OpenInferenceDialect(self.service, SharedMemoryRegions())
        self.answering = Answering(
            [dialect], self.bodies, UntakenReplies(MOST_BYTES, MOST_BYTES), FailureLog()
        )

    async def answer(self, verb: str, target: str, body: bytes = b"", **headers: str) -> HttpReply:
        fields = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        request = HttpRequest(verb, target, fields, "1.2.3.4", body=body)
        return await self.answering.answer(self.answering.find(verb, target), request, "a connection")

    def run(self, scene: Callable[[], Any]) -> Any:
        async def whole() -> Any:
            try:
                return await asyncio.wait_for(scene(), 30)
            finally:
                await self.bodies.stop()

        return asyncio.run(whole())

    def ask(self, verb: str, target: str, body: bytes = b"", **headers: str) -> HttpReply:
        reply: HttpReply = self.run(lambda: self.answer(verb, target, body, **headers))
        return reply


def post(
    body: bytes = ONE, target: str = INFER, outcome: Outcome = echo, methods: Any = METHODS, **headers: str
) -> HttpReply:
    return Bench(outcome, methods).ask("POST", target, body, **headers)


def get(target: str, methods: Any = METHODS) -> tuple[int, Any]:
    reply = Bench(methods=methods).ask("GET", target)
    assert reply.content_type == "application/json"
    return reply.status, orjson.loads(reply.body)


def document(reply: HttpReply, status: int = 200) -> Any:
    assert (reply.status, reply.content_type) == (status, "application/json")
    return json.loads(reply.body, parse_constant=pytest.fail)


# --- Inference ---


def test_json_is_answered_with_json() -> None:
    reply = post(orjson.dumps({"inputs": [TENSOR], "id": "7", "outputs": [{"name": "x"}]}))
    assert document(reply) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2.5]}],
    }
    assert LENGTH not in dict(reply.headers)


def test_the_version_is_the_one_that_has_answered() -> None:
    answered = document(post(target="/v2/models/m/versions/1/infer"))
    assert (answered["model_name"], answered["model_version"]) == ("m", "1")
    assert "id" not in answered


def parts_of(reply: HttpReply) -> tuple[Any, bytes]:
    """The JSON of a reply with raw tensors, and what stands behind it."""
    assert (reply.status, reply.content_type) == (200, "application/octet-stream")
    length = int(dict(reply.headers)[LENGTH])
    return orjson.loads(reply.body[:length]), reply.body[length:]


@pytest.mark.parametrize("kind", ["", "application/json", "application/octet-stream", "text/plain"])
def test_raw_tensors_are_answered_with_raw_tensors(kind: str) -> None:
    headers = {LENGTH: str(len(RAW_HEAD)), **({"Content_Type": kind} if kind else {})}
    head, raw = parts_of(post(RAW_HEAD + RAW, **headers))
    assert head["outputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    ]
    assert raw == RAW


TWO = [untyped("m", ["p", "q"], ["p", "q"])]


@pytest.mark.parametrize(
    ("by_default", "p", "q", "binary"),
    [
        (None, None, None, []),
        (False, True, None, ["p"]),
        (None, None, True, ["q"]),
        (True, None, None, ["p", "q"]),
        (True, False, None, ["q"]),
        (True, False, False, []),
    ],
)
def test_each_output_is_binary_or_not(
    by_default: bool | None, p: bool | None, q: bool | None, binary: list[str]
) -> None:
    asked = {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "INT8", "data": [value]}
            for name, value in (("p", 1), ("q", 2))
        ],
        "outputs": [
            {"name": name, "parameters": {} if wanted is None else {"binary_data": wanted}}
            for name, wanted in (("p", p), ("q", q))
        ],
        "parameters": {} if by_default is None else {"binary_data_output": by_default},
    }
    reply = post(orjson.dumps(asked), methods=TWO)
    head, raw = parts_of(reply) if binary else (document(reply), b"")
    assert raw == b"".join({"p": b"\1", "q": b"\2"}[name] for name in binary)
    for output in head["outputs"]:
        assert ("data" in output) is (output["name"] not in binary)
        assert output.get("parameters") == ({"binary_data_size": 1} if output["name"] in binary else None)


def answered(column: Any, dtype: DataType, asked: dict[str, Any] | None = None) -> HttpReply:
    """The reply of which an output has these values."""
    spec = TensorSpec("x", dtype, () if isinstance(column, list) else column.shape[1:])
    body = orjson.dumps({"inputs": [TENSOR], **(asked or {})})
    return post(body, outcome=lambda blocks: [Rows((spec,), (column,), len(column))])


def test_numbers_that_json_does_not_have_are_null() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 0.1]], np.float32)
    [output] = document(answered(values, DataType.FLOAT32))["outputs"]
    assert output["data"] == [None, None, None, 0.1]
    _, raw = parts_of(answered(values, DataType.FLOAT32, {"parameters": {"binary_data_output": True}}))
    assert raw == values.tobytes()


@pytest.mark.parametrize("dtype", [DataType.STRING, DataType.BYTES])
def test_strings_are_strings_of_json(dtype: DataType) -> None:
    [output] = document(answered([b"a", "é\0".encode()], dtype))["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == ("BYTES", [2], ["a", "é\0"])


def test_bytes_that_are_no_text_are_no_json() -> None:
    text = document(answered([b"\xff"], DataType.BYTES), 400)["error"]
    assert "Output 'x' holds bytes that are no UTF-8" in text
    assert "binary_data_output of the request" in text
    _, raw = parts_of(answered([b"\xff"], DataType.BYTES, {"parameters": {"binary_data_output": True}}))
    assert raw == b"\1\0\0\0\xff"


def test_outputs_without_elements() -> None:
    for binary in (False, True):
        reply = answered(
            np.zeros((1, 0), np.int8), DataType.INT8, {"parameters": {"binary_data_output": binary}}
        )
        head, raw = parts_of(reply) if binary else (document(reply), b"")
        assert (head["outputs"][0]["shape"], raw) == ([1, 0], b"")
        assert head["outputs"][0].get("data") == (None if binary else [])


def test_a_large_reply_of_json() -> None:
    values = np.arange(100_000, dtype=np.int32).reshape(100, 1000)
    [output] = document(answered(values, DataType.INT32))["outputs"]
    assert output["shape"] == [100, 1000]
    assert output["data"] == values.ravel().tolist()
    texts = [b"text %d" % at for at in range(20_000)]
    [output] = document(answered(texts, DataType.STRING))["outputs"]
    assert output["data"] == [text.decode() for text in texts]


def test_others_have_their_turns_while_a_large_reply_is_written() -> None:
    values = np.zeros((1, 1 << 18), np.int32)
    spec = TensorSpec("x", DataType.INT32, values.shape[1:])
    bench = Bench(lambda blocks: [Rows((spec,), (values,), 1)])

    async def scene() -> int:
        asking = asyncio.ensure_future(bench.answer("POST", INFER, ONE))
        turns = 0
        while not asking.done():
            await asyncio.sleep(0)
            turns += 1
        assert asking.result().status == 200
        return turns

    assert bench.run(scene) >= 16


def test_a_compressed_request_and_reply() -> None:
    body = gzip.compress(RAW_HEAD + RAW)
    head, raw = parts_of(post(body, Content_Encoding="gzip", **{LENGTH: str(len(RAW_HEAD))}))
    assert (head["outputs"][0]["shape"], raw) == ([1, 2], RAW)
    many = np.zeros((1, 4096), np.uint8)
    spec = TensorSpec("x", DataType.UINT8, (4096,))
    reply = post(
        RAW_HEAD + RAW,
        outcome=lambda blocks: [Rows((spec,), (many,), 1)],
        Accept_Encoding="gzip",
        **{LENGTH: str(len(RAW_HEAD))},
    )
    assert dict(reply.headers)["Content-Encoding"] == "gzip"
    head, raw = parts_of(reply._replace(body=gzip.decompress(reply.body)))
    assert raw == many.tobytes()


# --- Bodies without JSON ---


@pytest.mark.parametrize(
    ("called", "body", "shape", "values"),
    [
        (method(inputs=(FLOATS,)), RAW, [1, 2], [1, 2.5]),
        (method(inputs=(TensorType("x", DataType.INT8, (2, -1)),)), b"\1\2\3\4", [1, 2, 2], [1, 2, 3, 4]),
        (method(inputs=(TensorType("x", DataType.INT8, (-1,)),)), b"", [1, 0], []),
        (method(inputs=(FLOATS,), rows=False), RAW, [2], [1, 2.5]),
        (method(inputs=(TensorType("x", DataType.STRING, ()),)), "é".encode(), [1], ["é"]),
        (untyped("m", ["x"], ["x"]), b"\1\2", [1], ["\1\2"]),
    ],
)
def test_a_body_that_is_the_only_input(
    called: MethodSignature, body: bytes, shape: list[int], values: list[Any]
) -> None:
    head, raw = parts_of(post(body, methods=[called], **{LENGTH: "0"}))
    [output] = head["outputs"]
    assert output["shape"] == shape
    if output["datatype"] == "BYTES":
        assert raw == len(body).to_bytes(4, "little") + body
    else:
        assert raw == body


@pytest.mark.parametrize(
    ("called", "body", "text"),
    [
        (untyped("m", ["x", "y"], []), b"", "the only input of a model, but the inputs of 'm' are x, y"),
        (untyped("m", [], []), b"", "the only input of a model, but the inputs of 'm' are none"),
        (
            method(inputs=(TensorType("x", DataType.INT8, (-1, -1)),)),
            b"",
            "at most one size that is not known",
        ),
        (method(inputs=(TensorType("x", DataType.INT8),)), b"", "but input 'x' has any"),
        (method(inputs=(FLOATS,)), b"1234567", "has 7 bytes of data, expected 8"),
        (method(inputs=(TensorType("x", DataType.INT16, (-1,)),)), b"123", "has 3 bytes of data, expected 2"),
        (
            method(inputs=(TensorType("x", DataType.INT16, (0, -1)),)),
            b"123",
            "has 3 bytes of data, expected 0",
        ),
    ],
)
def test_a_body_that_is_not_the_only_input(called: MethodSignature, body: bytes, text: str) -> None:
    assert text in document(post(body, methods=[called], **{LENGTH: "0"}), 400)["error"]


# --- Large bodies ---

WIDE = [
    method(
        inputs=(TensorType("x", DataType.INT32, (-1,)),), outputs=(TensorType("x", DataType.INT32, (-1,)),)
    )
]
NUMBERS = list(range(100_000))
LARGE = orjson.dumps(
    {
        "inputs": [{"name": "x", "shape": [1, len(NUMBERS)], "datatype": "INT32", "data": [NUMBERS]}],
        "id": "7",
        "parameters": {"priority": 2, "binary_data_output": True, "mine": "a"},
    }
)


def test_a_large_body_of_json_is_read_elsewhere() -> None:
    bench = Bench(methods=WIDE)
    head, raw = parts_of(bench.ask("POST", INFER, LARGE, X_Request_Timeout_Ms="20000"))
    assert (head["id"], head["outputs"][0]["shape"]) == ("7", [1, len(NUMBERS)])
    assert np.frombuffer(raw, np.int32).tolist() == NUMBERS
    [(_, timeout_s, priority, parameters)] = bench.dispatcher.admitted
    assert timeout_s is not None
    assert 0 < timeout_s < 20
    assert (priority, parameters) == (2, {"mine": "a"})
    assert (bench.dispatcher.most_held, bench.dispatcher.held) == (1, 0)


def test_a_large_raw_tensor_is_not_read_elsewhere() -> None:
    raw = bytes(2 << 20)
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [1, 1 << 19],
                    "datatype": "INT32",
                    "parameters": {"binary_data_size": len(raw)},
                }
            ]
        }
    )
    bench = Bench(methods=WIDE)
    reply = bench.ask("POST", INFER, head + raw, **{LENGTH: str(len(head))})
    assert reply.status == 200
    assert bench.dispatcher.most_held == 0


def test_a_large_json_in_front_of_raw_tensors_is_read_elsewhere() -> None:
    raw_input = b'{"name":"y","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},'
    head = LARGE.replace(b'"inputs":[', b'"inputs":[' + raw_input)
    types = (TensorType("x", DataType.INT32, (-1,)), TensorType("y", DataType.FLOAT32, (2,)))
    called = method(inputs=types, outputs=(FLOATS,))
    bench = Bench(methods=[called])
    assert bench.ask("POST", INFER, head + RAW, **{LENGTH: str(len(head))}).status == 200
    [([rows], *_)] = bench.dispatcher.admitted
    assert rows.columns[1].tolist() == [[1, 2.5]]  # type: ignore[union-attr]
    assert bench.dispatcher.most_held == 1


@pytest.mark.parametrize(
    ("body", "target", "status", "text"),
    [
        (LARGE[:-1], INFER, 400, "The request is no JSON"),
        (LARGE.replace(b"[[0,", b"[[0.5,"), INFER, 400, "has 0.5 as element 0, which is no INT32"),
        (LARGE, "/v2/models/no/infer", 404, "There is no model 'no'"),
        (LARGE, "/v2/models/m/generate", 400, "The request is too large for generate"),
        (
            gzip.compress(bytes(1 << 19)),
            INFER,
            400,
            "A body without JSON may be compressed only if it is small",
        ),
    ],
)
def test_large_bodies_that_are_wrong(body: bytes, target: str, status: int, text: str) -> None:
    headers = {LENGTH: "0", "Content_Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
    assert text in document(post(body, target, methods=WIDE, **headers), status)["error"]


def test_a_large_body_that_is_late() -> None:
    error = document(post(LARGE, methods=WIDE, X_Request_Timeout_Ms="0.001"), 504)["error"]
    assert "deadline of 0.001 ms exceeded" in error


# --- Errors ---


@pytest.mark.parametrize(
    ("verb", "target", "status", "text"),
    [
        ("POST", "/v2/models/no/infer", 404, "There is no model 'no'"),
        ("POST", "/v2/models/m/versions/2/infer", 404, "Model 'm' has no version 2; it has 1"),
        ("POST", "/v2/models/m/versions/x/infer", 404, "Model 'm' has no version 'x'"),
        ("POST", "/v2/models/new/infer", 503, "Model 'new' version 1 is not ready: starting"),
        ("GET", "/v2/models/new", 503, "Model 'new' version 1 is not ready: starting"),
        ("GET", "/v2/models/no/config", 404, "There is no model 'no'"),
        ("GET", "/v2/models/no/stats", 404, "There is no model 'no'"),
        ("GET", "/v2/models/no/ready", 404, "There is no model 'no'"),
        ("GET", "/v2/models/no/trace/setting", 404, "There is no model 'no'"),
        ("GET", "/v2/nothing", 404, "There is nothing at /v2/nothing"),
        ("POST", "/v2/", 405, "/v2/ only supports GET and HEAD, but got POST"),
        ("POST", "/v2/any", 404, "There is nothing at /v2/any"),
        ("GET", "/v2/models/m/versions/1/2/3", 404, "There is nothing at /v2/models/m/versions/1/2/3"),
        ("GET", "/v2/models//ready", 404, "There is nothing at /v2/models//ready"),
        ("GET", INFER, 405, "/v2/models/m/infer only supports POST, but got GET"),
        ("POST", "/v2", 405, "/v2 only supports GET and HEAD, but got POST"),
        ("DELETE", "/v2/models/m", 405, "/v2/models/m only supports GET and HEAD, but got DELETE"),
        ("GET", "/v2/repository/index", 405, "only supports POST, but got GET"),
        ("POST", "/v2/repository/models/m/load", 501, "load / unload is not offered by this server"),
        ("POST", "/v2/repository/r/models/m/unload", 501, "load / unload is not offered by this server"),
        ("POST", "/v2/trace/setting", 501, "does not change settings at run time"),
        ("POST", "/v2/models/m/trace/setting", 501, "does not change settings at run time"),
        ("POST", "/v2/logging", 501, "does not change settings at run time"),
        ("GET", "/v2/systemsharedmemory/status", 501, "allow_client_shared_memory=True"),
        ("POST", INFER, 400, "The request is no JSON"),
    ],
)
def test_errors_have_a_status_and_a_text(verb: str, target: str, status: int, text: str) -> None:
    reply = Bench().ask(verb, target)
    found = document(reply, status)
    assert set(found) == {"error"}
    assert text in found["error"]
    assert ("Allow" in dict(reply.headers)) is (status == 405)


@pytest.mark.parametrize("status", [400, 401, 408, 413, 431])
def test_what_a_transport_refuses(status: int) -> None:
    for target in (INFER, "/v2/nothing"):
        reply = Bench().answering.refuse(status, "why", HttpRequest("POST", target, {}))
        found = 404 if (status, target) == (413, "/v2/nothing") else status
        assert reply.status == found
        assert set(orjson.loads(reply.body)) == {"error"}


@pytest.mark.parametrize("error", [QueueFull("full"), ServerStopping()])
def test_a_request_that_is_not_taken(error: ServingError) -> None:
    bench = Bench()
    bench.dispatcher.room = error
    reply = bench.ask("POST", INFER, b"{")
    assert document(reply, error.http_status or 503) == {"error": str(error)}
    assert dict(reply.headers)["Retry-After"] == "1"
    assert document(post(outcome=lambda blocks: error), error.http_status or 503) == {"error": str(error)}


@pytest.mark.parametrize("action", ["infer", "infer_stream", "generate", "generate_stream"])
def test_rows_that_failed(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    failed = FailedRows(StageError("at /home/me/model.py").failure(), 1)
    body = b'{"x":[1,2]}' if "generate" in action else ONE
    reply = post(body, f"/v2/models/m/{action}", lambda blocks: [failed])
    assert document(reply, 500) == {"error": "at model.py"}
    assert f"POST /v2/models/m/{action}, 1 of 1 instances: at /home/me/model.py" in capsys.readouterr().err


def test_some_rows_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    tensor = {**TENSOR, "shape": [3, 2], "data": [1, 2, 3, 4, 5, 6]}

    def outcome(blocks: list[Rows]) -> Reply:
        return [blocks[0].take(0, 2), FailedRows(InvalidInput("odd").failure(), 1)]

    reply = post(orjson.dumps({"inputs": [tensor]}), outcome=outcome)
    assert document(reply, 400) == {"error": "1 of 3 rows failed, the first one is row 2: odd"}
    assert ", 1 of 3 instances: odd" in capsys.readouterr().err


def test_a_deadline() -> None:
    late = DeadlineExceeded("late").failure()
    assert document(post(outcome=lambda blocks: [FailedRows(late, 1)]), 504) == {"error": "late"}
    assert "X-Request-Timeout-Ms" in document(post(X_Request_Timeout_Ms="x"), 400)["error"]


# --- Streams and generate ---


def test_one_event_of_tensors() -> None:
    reply = post(target="/v2/models/m/infer_stream")
    assert (reply.status, reply.content_type) == (200, "text/event-stream; charset=utf-8")
    assert reply.body.startswith(b"data: ")
    assert reply.body.endswith(b"\n\n")
    assert orjson.loads(reply.body[6:])["outputs"][0]["data"] == [1, 2.5]


def test_an_event_has_no_raw_tensors() -> None:
    body = orjson.dumps({"inputs": [TENSOR], "outputs": [{"name": "x", "parameters": {"binary_data": True}}]})
    text = document(post(body, "/v2/models/m/infer_stream"), 400)["error"]
    assert "Output 'x' is asked for as binary data, which an event cannot hold" in text


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_generate(version: str) -> None:
    reply = post(b'{"t":"a","id":"7"}', f"/v2/models/two{version}/generate")
    assert document(reply) == {"id": "7", "model_name": "two", "model_version": "1", "t": "a"}
    reply = post(b'{"t":"a"}', f"/v2/models/two.first{version}/generate_stream")
    assert reply.content_type == "text/event-stream; charset=utf-8"
    assert reply.body == b'data: {"model_name":"two.first","model_version":"1","t":"a"}\n\n'


# --- What there is ---


def test_the_server() -> None:
    status, found = get("/v2")
    assert (status, found["name"], found["version"]) == (200, "mindspore_serving", __version__)
    assert get("/v2/") == (status, found)
    assert {"binary_tensor_data", "statistics", "model_configuration"} <= set(found["extensions"])
    assert "system_shared_memory" not in found["extensions"]
    bench = Bench()
    regions = SharedMemoryRegions(allowed=True)
    dialect = OpenInferenceDialect(bench.service, regions)
    route = next(route for route in dialect.routes if route.pattern == "/v2")
    reply = asyncio.run(route.handler(HttpRequest("GET", "/v2", {})))  # type: ignore[arg-type]
    assert "system_shared_memory" in orjson.loads(reply.body)["extensions"]


def test_health() -> None:
    assert get("/v2/health/live") == (200, {"live": True})
    status, found = get("/v2/health/ready")
    assert (status, found["live"], found["ready"]) == (503, True, False)
    assert found["error"]
    served = {key: found for key, found in METHODS.items() if found}
    assert get("/v2/health/ready", served) == (200, {"live": True, "ready": True})


def test_health_may_be_asked_by_anybody() -> None:
    bench = Bench()
    for target, is_open in (
        ("/v2/health/live", True),
        ("/v2/health/ready", True),
        ("/v2/models/m/ready", True),
        ("/v2/models/m/versions/1/ready", True),
        ("/v2", False),
        ("/v2/models", False),
        ("/v2/models/m", False),
        ("/v2/models/stats", False),
    ):
        found = bench.answering.find("GET", target)
        assert (found.is_open, found.route is not None and found.route.probe) == (is_open, is_open), target


def test_a_model_that_is_ready() -> None:
    for target in ("/v2/models/m/ready", "/v2/models/m/versions/1/ready"):
        assert get(target) == (200, {"name": "m", "ready": True})
    status, found = get("/v2/models/new/ready")
    assert (status, found["name"], found["ready"]) == (503, "new", False)
    assert found["error"] == "Model 'new' is not ready"


def test_strangers_are_not_told_which_models_and_versions_there_are() -> None:
    bench = Bench()

    async def scene(target: str) -> HttpReply:
        request = HttpRequest("GET", target, {}, identity=STRANGER)
        return await bench.answering.answer(bench.answering.find("GET", target), request, "a connection")

    for target in ("/v2/models/no/ready", "/v2/models/m/versions/2/ready"):
        reply = asyncio.run(scene(target))
        assert document(reply, 404) == {"error": "There is no such model or version"}


def test_metadata() -> None:
    for target in ("/v2/models/m", "/v2/models/m/versions/1"):
        assert get(target) == (
            200,
            {
                "name": "m",
                "versions": ["1"],
                "platform": "python",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            },
        )
    assert get("/v2/models/two")[1]["inputs"] == [{"name": "t", "datatype": "BYTES", "shape": [-1]}]
    assert get("/v2/models/two.second")[1]["inputs"] == [
        {"name": "a", "datatype": "UNKNOWN", "shape": [-1]},
        {"name": "b", "datatype": "UNKNOWN", "shape": [-1]},
    ]


def shapes(inputs: Sequence[TensorType], rows: bool) -> list[tuple[Any, Any]]:
    """Shapes of metadata and of the configuration."""
    called = [method(inputs=inputs, rows=rows)]
    metadata, config = get("/v2/models/m", called)[1], get("/v2/models/m/config", called)[1]
    return [
        (one["shape"], other["dims"]) for one, other in zip(metadata["inputs"], config["input"], strict=True)
    ]


def test_shapes_of_rows_and_of_one_instance() -> None:
    types = [
        TensorType("a", DataType.INT8, ()),
        TensorType("b", DataType.INT8, (2, -1)),
        TensorType("c", DataType.INT8, (3,), shared=True),
        TensorType("d", DataType.BYTES, ()),
        TensorType("e", DataType.STRING, (), shared=True),
        TensorType("f"),
    ]
    assert shapes(types, True) == [
        ([-1], []),
        ([-1, 2, -1], [2, -1]),
        ([3], [3]),
        ([-1], []),
        ([1], [1]),
        ([-1, -1], [-1]),
    ]
    assert shapes(types, False) == [
        ([], []),
        ([2, -1], [2, -1]),
        ([3], [3]),
        ([1], [1]),
        ([1], [1]),
        ([-1], [-1]),
    ]


def test_the_configuration() -> None:
    _, found = get("/v2/models/m/versions/1/config")
    assert found == {
        "name": "m",
        "platform": "python",
        "backend": "mindspore_serving",
        "version_policy": {"all": {}},
        "max_batch_size": 4,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}],
        "output": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}],
        "instance_group": [{"name": "m", "kind": "KIND_MODEL", "count": 1, "gpus": []}],
        "model_transaction_policy": {"decoupled": False},
        "dynamic_batching": {"preferred_batch_size": []},
    }
    _, found = get("/v2/models/m/config", [method(full=8)])
    assert (found["max_batch_size"], found["dynamic_batching"]) == (8, {"preferred_batch_size": [8]})
    _, found = get("/v2/models/two.second/config")
    assert found["max_batch_size"] == 0
    assert "dynamic_batching" not in found
    assert found["input"][0]["data_type"] == "TYPE_INVALID"
    assert get("/v2/models/two/config")[1]["input"][0]["data_type"] == "TYPE_STRING"


def test_a_model_may_be_called_like_a_path() -> None:
    called = {("stats", 1): [method()], ("a b", 1): [method()], ("x/y", 1): [method()]}
    assert "model_stats" in get("/v2/models/stats", called)[1]
    assert get("/v2/models/stats/ready", called)[1]["name"] == "stats"
    assert get("/v2/models/a%20b", called)[1]["name"] == "a b"
    assert get("/v2/models/x%2Fy", called)[1]["name"] == "x/y"


COUNTED = MethodStatistics(
    Duration(2, 20), Duration(1, 5), Duration(3, 3), Duration(3, 6), Duration(3, 9), Duration(3, 12), 7, 2, 1234,
    {4: BatchTimes(Duration(1, 2), Duration(1, 3), Duration(1, 4)), 1: BatchTimes()},
)  # fmt: skip


def test_statistics() -> None:
    bench = Bench()
    bench.dispatcher.counted["two", 1, "first"] = COUNTED
    never = {"count": 0, "ns": 0}
    [entry] = document(bench.ask("GET", "/v2/models/two/stats"))["model_stats"]
    assert entry == {
        "name": "two",
        "version": "1",
        "last_inference": 1234,
        "inference_count": 7,
        "execution_count": 2,
        "inference_stats": {
            "success": {"count": 2, "ns": 20},
            "fail": {"count": 1, "ns": 5},
            "queue": {"count": 3, "ns": 3},
            "compute_input": {"count": 3, "ns": 6},
            "compute_infer": {"count": 3, "ns": 9},
            "compute_output": {"count": 3, "ns": 12},
            "cache_hit": never,
            "cache_miss": never,
        },
        "response_stats": {},
        "batch_stats": [
            {"batch_size": 1, "compute_input": never, "compute_infer": never, "compute_output": never},
            {
                "batch_size": 4,
                "compute_input": {"count": 1, "ns": 2},
                "compute_infer": {"count": 1, "ns": 3},
                "compute_output": {"count": 1, "ns": 4},
            },
        ],
        "memory_usage": [],
    }


def test_statistics_of_all_models_count_nothing_twice() -> None:
    _, found = get("/v2/models/stats")
    assert [entry["name"] for entry in found["model_stats"]] == ["m", "two.first", "two.second"]
    versions = {("m", 1): [method()], ("m", 2): [method("new")]}
    for target, expected in (("m/stats", ["1", "2"]), ("m/versions/1/stats", ["1"]), ("m.new/stats", ["2"])):
        _, found = get(f"/v2/models/{target}", versions)
        assert [entry["version"] for entry in found["model_stats"]] == expected


def test_the_index() -> None:
    ready = [
        {"name": name, "version": "1", "state": "READY", "reason": ""}
        for name in ("m", "two", "two.first", "two.second")
    ]
    new = {"name": "new", "version": "1", "state": "LOADING", "reason": "starting"}
    for body, expected in (
        (b"", [ready[0], new, *ready[1:]]),
        (b"{}", [ready[0], new, *ready[1:]]),
        (b'{"ready":false}', [ready[0], new, *ready[1:]]),
        (b'{"ready":true}', ready),
    ):
        assert document(post(body, "/v2/repository/index")) == expected
        assert document(post(body, "/v2/repository/any/index")) == expected


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"ready":1}', "ready should be true or false, but is 1"),
        (b'{"ready":' + b"[" * 900 + b"]" * 900 + b"}", "but is a list of 1"),
        (b"[]", "should be a JSON object"),
        (b"{", "is no JSON"),
    ],
)
def test_an_index_that_cannot_be_asked_for(body: bytes, text: str) -> None:
    assert text in document(post(body, "/v2/repository/index"), 400)["error"]


def test_the_list_of_models_and_methods() -> None:
    _, found = get("/v2/models")
    assert found["models"] == ["m", "new", "two", "two.first", "two.second"]
    assert [entry["name"] for entry in found["methods"]] == ["m.add", "two.first", "two.second"]
    assert found["methods"][1] == {
        "name": "two.first",
        "servable": "two",
        "method": "first",
        "version": "1",
        "state": "READY",
        "reason": "",
        "rows": True,
        "inputs": [{"name": "t", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "t", "datatype": "BYTES", "shape": [-1]}],
        "description": "",
    }


def test_settings_can_be_read() -> None:
    for target in ("/v2/trace/setting", "/v2/models/m/trace/setting"):
        assert get(target)[1]["trace_level"] == ["OFF"]
    assert get("/v2/logging")[1]["log_info"] is True
