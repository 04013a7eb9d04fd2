"""The REST interface of TensorFlow Serving and of KServe v1, on a real server, through plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http_requests import HttpReply, raw_connection, read_raw_reply, send
from tests.support.serving import RunningServer, add_servable, serving

CONFIG = """\
import numpy as np

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


def half(x):
    if float(x) < 0:
        raise register.InvalidInput("x is below 0")
    return x / np.float32(2) + np.float32(2)


@register.register_method(
    output_names=["y"],
    inputs={"x": register.TensorSpec("float32", [])},
    outputs={"y": register.TensorSpec("float32", [])},
)
def half_plus_two(x):
    return register.add_stage(half, x, outputs_count=1)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


def turn(image, label):
    return image[::-1], label.upper(), label.encode()


@register.register_method(
    output_names=["picture", "label", "label_bytes"], inputs={"image": register.Image(), "label": register.Text()}
)
def describe(image, label):
    return register.add_stage(turn, image, label, outputs_count=3)


@register.register_method(output_names=["x"])
def echo(x):
    return x


def scaled(x, parameters):
    return x * parameters.get("scale", 1)


@register.register_method(output_names=["y"], inputs={"parameters": register.Parameters()})
def scale(x, parameters):
    return register.add_stage(scaled, x, parameters, outputs_count=1)
"""
ONE = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("v1")
    add_servable(folder, "m", CONFIG, ("1/tensor_add.mindir", "2/tensor_add.mindir"))
    # What the native dialect does of old is none of this dialect's.
    configs = ['".", "m", 0', '".", "m", 1, 1']
    with serving(folder, configs, rest_options="always_ok=True, max_msg_mb_size=8") as running:
        yield running


def ask(server: RunningServer, verb: str, path: str, body: Any = b"") -> tuple[int, Any]:
    """Status and document of a reply."""
    reply = send(server.rest, verb, path, body if isinstance(body, bytes) else json.dumps(body))
    assert reply.headers["content-type"] == "application/json"
    return reply.status, json.loads(reply.body)


PICTURE = {"b64": "AQID"}


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (ONE, {"instances": [1.0, 2, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}),
        (ONE, {"inputs": [1.0]}, {"outputs": [2.5]}),
        (ONE, {"instances": [{"x": 0.2}], "signature_name": "serving_default"}, {"predictions": [2.1]}),
        ("/v1/models/m/versions/1:predict", {"inputs": {"x": [4]}}, {"outputs": [4.0]}),
        (
            "/v1/models/m.add:predict",
            {"inputs": {"x1": [[[1, 2], [3, 4]]], "x2": [[[1, 1], [1, 1]]]}},
            {"outputs": [[[2.0, 3.0], [4.0, 5.0]]]},
        ),
        (
            ONE,
            {"instances": [{"image": PICTURE, "label": "ü"}], "signature_name": "describe"},
            {"predictions": [{"picture": [3, 2, 1], "label": "Ü", "label_bytes": {"b64": "w7w="}}]},
        ),
        (
            "/v1/models/m.echo:predict",
            {"instances": ["a", PICTURE, [1.5, 2], [True], []]},
            {"predictions": ["a", PICTURE, [1.5, 2.0], [True], []]},
        ),
        (
            "/v1/models/m.scale:predict",
            {"instances": [1, 2], "parameters": {"scale": 3}},
            {"predictions": [3, 6]},
        ),
    ],
)
def test_predictions(server: RunningServer, path: str, body: Any, expected: Any) -> None:
    assert ask(server, "POST", path, body) == (200, expected)


def test_numbers_that_are_not_finite_come_and_go(server: RunningServer) -> None:
    reply = send(server.rest, "POST", ONE, b'{"instances": [NaN, Infinity, 1]}')
    assert (reply.status, reply.body) == (200, b'{"predictions":[NaN,Infinity,2.5]}')


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "text"),
    [
        (
            "POST",
            ONE,
            {"instances": [1, -1, 2]},
            400,
            "1 of 3 rows failed, the first one is row 1: x is below 0",
        ),
        ("POST", ONE, {"instances": [[1, 2]]}, 400, "expected float32"),
        ("POST", ONE, {"instances": ["a"]}, 400, "Input 'x' takes float32, but got the string 'a'"),
        (
            "POST",
            ONE,
            {"instances": [1], "signature_name": "no"},
            400,
            "are half_plus_two, add, describe, echo, scale",
        ),
        ("POST", ONE, b"", 400, "JSON Parse error"),
        ("POST", ONE, b'{"instances": ' + b"[" * 4000, 400, "JSON Parse error"),
        ("POST", ONE, b" " * (9 << 20), 413, "http message is bigger than 8388608"),
        ("POST", "/v1/models/n:predict", b"", 404, "There is no model 'n'"),
        ("POST", "/v1/models/m/versions/3:predict", b"", 404, "has no version 3; it has 1, 2"),
        ("POST", "/v1/models/m/labels/stable:predict", b"", 404, "has no label 'stable'"),
        ("POST", "/v1/models/m:explain", b"", 501, ":explain is not supported"),
        ("GET", ONE, b"", 405, "only supports POST"),
        ("GET", "/v1/model/m", b"", 404, "There is nothing at /v1/model/m"),
    ],
)
def test_errors(server: RunningServer, verb: str, path: str, body: Any, status: int, text: str) -> None:
    got, document = ask(server, verb, path, body)
    assert (got, list(document), text in document["error"]) == (status, ["error"], True), document


def test_a_large_request_and_its_error(server: RunningServer) -> None:
    values = [number / 2 for number in range(1 << 17)]
    status, document = ask(server, "POST", "/v1/models/m.echo:predict", {"instances": [values]})
    assert (status, document) == (200, {"predictions": [values]})
    status, document = ask(server, "POST", "/v1/models/m.echo:predict", {"instances": [[*values, "a"]]})
    assert (status, "beside the string 'a'" in document["error"]) == (400, True)


def test_the_models_their_state_and_their_signatures(server: RunningServer) -> None:
    status, document = ask(server, "GET", "/v1/models")
    assert (status, document["models"][0]) == (200, "m")
    ok = {"error_code": "OK", "error_message": ""}
    versions = [{"version": number, "state": "AVAILABLE", "status": ok} for number in ("2", "1")]
    expected = {"name": "m", "ready": True, "model_version_status": versions}
    assert ask(server, "GET", "/v1/models/m") == (200, expected)
    status, document = ask(server, "GET", "/v1/models/m/metadata")
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert (status, document["model_spec"]["version"]) == (200, "2")
    assert signatures["serving_default"] == signatures["half_plus_two"]
    dimension = {"size": "-1", "name": ""}
    assert signatures["half_plus_two"]["inputs"] == {
        "x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [dimension], "unknown_rank": False}, "name": "x"}
    }
    assert signatures["describe"]["inputs"]["label"]["dtype"] == "DT_STRING"
    assert signatures["echo"]["inputs"]["x"]["dtype"] == "DT_INVALID"


def test_a_request_as_a_script_writes_it(server: RunningServer) -> None:
    body = b'{"instances": [1.0]}'
    with raw_connection(server.rest) as connection:
        connection.sendall(
            b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (ONE.encode(), len(body), body)
        )
        reply: HttpReply = read_raw_reply(connection)
    assert (reply.status, reply.body) == (200, b'{"predictions":[2.5]}')
