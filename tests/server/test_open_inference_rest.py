"""The Open Inference Protocol over HTTP, with a real server: JSON and raw tensors, typed and untyped methods."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from tests.support.http_requests import HttpReply, send
from tests.support.serving import RunningServer, add_servable, serving

CONFIG = '''\
import json

import numpy as np
from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=True)


def twice(x):
    """Refuses what is negative."""
    if x.min() < 0:
        raise register.InvalidInput("negative")
    return 2 * x


def shout(text):
    return text.upper()


def repeat(x, count):
    return np.repeat(x, int(count))


def tell(x, parameters):
    return json.dumps(parameters, sort_keys=True)


@register.register_method(
    output_names=["y"],
    inputs={"x": register.TensorSpec("float32", [2])},
    outputs={"y": register.TensorSpec("float32", [2])},
)
def double(x):
    """Doubles numbers."""
    return register.add_stage(twice, x, outputs_count=1)


@register.register_method(
    output_names=["text"], inputs={"text": register.Text()}, outputs={"text": register.Text()}
)
def upper(text):
    return register.add_stage(shout, text, outputs_count=1)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["a", "b"])
def both(a, b):
    return a, b


@register.register_method(output_names=["y"], inputs={"count": register.TensorSpec("int32", [])})
def ragged(x, count):
    return register.add_stage(repeat, x, count, outputs_count=1)


@register.register_method(
    output_names=["text"], inputs={"x": register.TensorSpec("int32", []), "parameters": register.Parameters()}
)
def told(x, parameters):
    return register.add_stage(tell, x, parameters, outputs_count=1)
'''
MODEL = "/v2/models/oip"
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("oip")
    add_servable(folder, "oip", CONFIG)
    with serving(folder, ['".", "oip", 0']) as running:
        yield running


def get(server: RunningServer, path: str, status: int = 200) -> Any:
    reply = send(server.rest, "GET", path, None)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
    return json.loads(reply.body)


def post(server: RunningServer, path: str, body: bytes | Mapping[str, Any], **headers: str) -> HttpReply:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return send(server.rest, "POST", path, content, {k.replace("_", "-"): v for k, v in headers.items()})


def answer(server: RunningServer, path: str, body: Mapping[str, Any], status: int = 200) -> Any:
    reply = post(server, path, body)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
    assert LENGTH.lower() not in reply.headers
    return json.loads(reply.body)


def tensor(name: str, array: Any, datatype: str) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}


class Binary:
    """A request with raw tensors."""

    def __init__(self, **fields: Any) -> None:
        self._document = {"inputs": [], "parameters": {"binary_data_output": True}, **fields}
        self._raw = b""

    def add(self, name: str, shape: list[int], datatype: str, raw: bytes) -> Binary:
        parameters = {"binary_data_size": len(raw)}
        self._document["inputs"].append(
            {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters}
        )
        self._raw += raw
        return self

    def ask(self, server: RunningServer, path: str, **headers: str) -> HttpReply:
        head = orjson.dumps(self._document)
        body = head + self._raw
        if headers.get("Content_Encoding") == "gzip":
            body = gzip.compress(body)
        return post(server, path, body, **{LENGTH: str(len(head))}, **headers)

    def answer(self, server: RunningServer, path: str, **headers: str) -> dict[str, tuple[Any, bytes]]:
        """Of each output what the JSON says, and its bytes."""
        reply = self.ask(server, path, **headers)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/octet-stream"), reply.body
        body = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
        length = int(reply.headers[LENGTH.lower()])
        head, rest = json.loads(body[:length]), body[length:]
        outputs = {}
        for output in head["outputs"]:
            size = output["parameters"]["binary_data_size"]
            outputs[output["name"]] = (output, rest[:size])
            rest = rest[size:]
        assert rest == b""
        return outputs


ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_rows_of_json(server: RunningServer) -> None:
    reply = answer(server, f"{MODEL}/infer", {"inputs": [tensor("x", ROWS, "FP32")], "id": "7"})
    assert reply == {
        "model_name": "oip",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [3, 2], "data": (2 * ROWS).ravel().tolist()}],
    }
    nested = {**tensor("x", ROWS, "FP32"), "data": ROWS.tolist()}
    again = answer(server, f"{MODEL}.double/versions/1/infer", {"inputs": [nested]})
    assert again["outputs"] == reply["outputs"]


@pytest.mark.parametrize("coding", [{}, {"Content_Encoding": "gzip"}, {"Accept_Encoding": "gzip"}])
def test_rows_of_raw_tensors(server: RunningServer, coding: dict[str, str]) -> None:
    rows = np.tile(ROWS, (300, 1))
    request = Binary().add("x", [900, 2], "FP32", rows.tobytes())
    output, raw = request.answer(server, f"{MODEL}/infer", **coding)["y"]
    assert output["shape"] == [900, 2]
    np.testing.assert_array_equal(np.frombuffer(raw, np.float32), 2 * rows.ravel())


def test_a_model_with_a_batch_dimension(server: RunningServer) -> None:
    metadata = get(server, f"{MODEL}.add")
    assert metadata["platform"] == "stub_mindir"
    assert metadata["inputs"][0] == {"name": "x1", "datatype": "FP32", "shape": [-1, 2]}
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
    config = get(server, f"{MODEL}.add/config")
    assert config["max_batch_size"] >= 2
    assert config["input"][0] == {"name": "x1", "data_type": "TYPE_FP32", "dims": [2]}
    body = {"inputs": [tensor("x1", ROWS, "FP32"), tensor("x2", ROWS + 1, "FP32")]}
    [output] = answer(server, f"{MODEL}.add/infer", body)["outputs"]
    assert (output["shape"], output["data"]) == ([3, 2], (2 * ROWS + 1).ravel().tolist())


DATATYPES = [
    ("BOOL", np.bool_),
    ("INT8", np.int8),
    ("UINT8", np.uint8),
    ("INT16", np.int16),
    ("UINT16", np.uint16),
    ("INT32", np.int32),
    ("UINT32", np.uint32),
    ("INT64", np.int64),
    ("UINT64", np.uint64),
    ("FP16", np.float16),
    ("FP32", np.float32),
    ("FP64", np.float64),
]


@pytest.mark.parametrize(("datatype", "dtype"), DATATYPES)
def test_each_datatype_of_an_untyped_method(server: RunningServer, datatype: str, dtype: Any) -> None:
    a, b = np.array([[1, 0, 1]], dtype), np.zeros((2, 0), dtype)
    inputs = [tensor("a", a, datatype), tensor("b", b, datatype)]
    first, second = answer(server, f"{MODEL}.both/infer", {"inputs": inputs})["outputs"]
    assert (first["datatype"], first["shape"], first["data"]) == (datatype, [1, 3], [1, 0, 1])
    assert (second["datatype"], second["shape"], second["data"]) == (datatype, [2, 0], [])
    request = Binary().add("a", [1, 3], datatype, a.tobytes()).add("b", [2, 0], datatype, b"")
    outputs = request.answer(server, f"{MODEL}.both/infer")
    assert (outputs["a"][1], outputs["b"][1]) == (a.tobytes(), b"")


def test_bf16_becomes_fp32(server: RunningServer) -> None:
    raw = (ROWS.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    output, found = Binary().add("x", [3, 2], "BF16", raw).answer(server, f"{MODEL}/infer")["y"]
    assert output["datatype"] == "FP32"
    np.testing.assert_array_equal(np.frombuffer(found, np.float32), 2 * ROWS.ravel())


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_strings(server: RunningServer, shape: list[int]) -> None:
    body = {"inputs": [{"name": "text", "shape": shape, "datatype": "BYTES", "data": ["ab", "é"]}]}
    [output] = answer(server, f"{MODEL}.upper/infer", body)["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == ("BYTES", [2], ["AB", "É"])
    raw = b"\2\0\0\0ab\2\0\0\0" + "é".encode()
    output, found = Binary().add("text", shape, "BYTES", raw).answer(server, f"{MODEL}.upper/infer")["text"]
    assert found == b"\2\0\0\0AB\2\0\0\0" + "É".encode()


def test_a_body_without_json(server: RunningServer) -> None:
    reply = post(server, f"{MODEL}/infer", ROWS[1].tobytes(), **{LENGTH: "0"})
    assert reply.status == 200
    length = int(reply.headers[LENGTH.lower()])
    assert reply.body[length:] == (2 * ROWS[1]).tobytes()


def test_rows_that_become_of_different_shapes(server: RunningServer) -> None:
    body = {
        "inputs": [
            tensor("x", np.array([1, 2], np.int32), "INT32"),
            tensor("count", np.array([1, 2], np.int32), "INT32"),
        ]
    }
    error = answer(server, f"{MODEL}.ragged/infer", body, 400)["error"]
    assert "Output 'y' is INT32 [1] in row 0, but INT32 [2] in row 1" in error


def test_rows_that_fail(server: RunningServer) -> None:
    rows = ROWS.copy()
    rows[1] = -1
    error = answer(server, f"{MODEL}/infer", {"inputs": [tensor("x", rows, "FP32")]}, 400)
    assert error == {"error": "1 of 3 rows failed, the first one is row 1: negative"}
    error = answer(server, f"{MODEL}/infer", {"inputs": [tensor("x", -1 - ROWS, "FP32")]}, 400)
    assert error == {"error": "negative"}


def test_classes_and_parameters(server: RunningServer) -> None:
    body = {
        "inputs": [tensor("x", ROWS, "FP32")],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
        "parameters": {"priority": 1, "timeout": 10_000_000},
    }
    [output] = answer(server, f"{MODEL}/infer", body)["outputs"]
    assert output["data"] == ["2.000000:1", "6.000000:1", "10.000000:1"]
    body = {
        "inputs": [tensor("x", np.array([1], np.int32), "INT32")],
        "parameters": {"k": 5, "method": "told"},
    }
    [output] = answer(server, f"{MODEL}/infer", body)["outputs"]
    assert json.loads(output["data"][0]) == {"k": 5}
    reply = post(server, f"{MODEL}.told/generate", {"x": 1, "k": "v"})
    assert json.loads(json.loads(reply.body)["text"]) == {"k": "v"}


def test_no_rows(server: RunningServer) -> None:
    body = {"inputs": [tensor("x", ROWS[:0], "FP32")]}
    [output] = answer(server, f"{MODEL}/infer", body)["outputs"]
    assert output == {"name": "y", "datatype": "FP32", "shape": [0, 2], "data": []}


def test_a_large_body_of_json(server: RunningServer) -> None:
    rows = np.arange(200_000, dtype=np.float32).reshape(-1, 2)
    reply = answer(server, f"{MODEL}/infer", {"inputs": [tensor("x", rows, "FP32")]})
    [output] = reply["outputs"]
    assert output["shape"] == [100_000, 2]
    assert output["data"] == (2 * rows).ravel().tolist()


def test_large_raw_tensors(server: RunningServer) -> None:
    rows = np.ones((1, 3_000_000), np.float32)
    request = Binary().add("a", [1, 3_000_000], "FP32", rows.tobytes()).add("b", [1], "INT8", b"\1")
    assert request.answer(server, f"{MODEL}.both/infer")["a"][1] == rows.tobytes()


def test_one_event(server: RunningServer) -> None:
    reply = post(server, f"{MODEL}/infer_stream", {"inputs": [tensor("x", ROWS, "FP32")]})
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.body.startswith(b'data: {"model_name":"oip"')
    assert reply.body.endswith(b"\n\n")


def test_statistics_count_requests(server: RunningServer) -> None:
    def counted() -> Any:
        [entry] = get(server, f"{MODEL}.upper/versions/1/stats")["model_stats"]
        return entry

    before = counted()
    body = {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}]}
    answer(server, f"{MODEL}.upper/infer", body)
    after = counted()
    assert after["inference_count"] == before["inference_count"] + 2
    assert after["execution_count"] > before["execution_count"]
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    assert after["last_inference"] > 1_600_000_000_000
    assert after["batch_stats"]


def test_what_there_is(server: RunningServer) -> None:
    assert get(server, "/v2/health/live") == {"live": True}
    assert get(server, "/v2/health/ready") == {"live": True, "ready": True}
    assert get(server, f"{MODEL}/ready") == {"name": "oip", "ready": True}
    names = ["oip", *(f"oip.{name}" for name in ("double", "upper", "add", "both", "ragged", "told"))]
    listing = get(server, "/v2/models")
    assert listing["models"] == names
    assert listing["methods"][0]["description"] == "Doubles numbers."
    index = json.loads(post(server, "/v2/repository/index", b"").body)
    assert [entry["name"] for entry in index] == names
    assert [entry["name"] for entry in get(server, "/v2/models/stats")["model_stats"]] == names[1:]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v2/models/no/infer", {}, 404, "There is no model 'no'"),
        (f"{MODEL}/infer", {}, 400, "inputs should be a list"),
        (f"{MODEL}/infer", {"inputs": []}, 400, "Input 'x' is missing, inputs are x"),
        (f"{MODEL}/infer", {"inputs": [tensor("x", ROWS, "FP64")]}, 400, "datatype FP64, expected FP32"),
        (f"{MODEL}/infer", {"inputs": [tensor("x", ROWS.T, "FP32")]}, 400, "shape [2, 3], expected [-1, 2]"),
        (f"{MODEL}/nothing", {}, 404, f"There is nothing at {MODEL}/nothing"),
        ("/v2/repository/models/oip/load", {}, 501, "not offered by this server"),
    ],
)
def test_errors(server: RunningServer, path: str, body: Mapping[str, Any], status: int, text: str) -> None:
    error = answer(server, path, body, status)
    assert set(error) == {"error"}
    assert text in error["error"]


def test_a_connection_is_kept_after_errors(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.rest, timeout=20)
    for body in (b"{", b"{}", orjson.dumps({"inputs": [tensor("x", ROWS, "FP32")]})):
        connection.request("POST", f"{MODEL}/infer", body)
        reply = connection.getresponse()
        reply.read()
        assert reply.getheader("Connection") is None
    assert reply.status == 200
    connection.close()
