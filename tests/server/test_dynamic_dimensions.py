"""Sequences of any length, and text, from clients to models: each front end, and workers whose models are elsewhere."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from mindspore_serving.client import Client
from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, serving

CONFIG = """
import numpy as np

from mindspore_serving.server import register

sequence = register.declare_model("sequence.mindir", "MindIR", max_batch_size=8)
alone = register.declare_model("sequence_alone.mindir", "MindIR", max_batch_size=1)
text = register.declare_model("text.mindir", "MindIR")


def spelled(word):
    return np.array([ord(letter) for letter in word], np.float32)


def call_both(word):
    ((capitals,),) = text.call([[word]])
    _, total = sequence.call(spelled(capitals))
    return capitals, total


@register.register_method(["twice", "total"])
def double(x):
    return register.add_stage(sequence, x, outputs_count=2)


@register.register_method(["twice", "total"], inputs={"x": register.TensorSpec("float32", [3])})
def double_three(x):
    return register.add_stage(sequence, x, outputs_count=2)


@register.register_method("total")
def add_letters(word):
    x = register.add_stage(spelled, word, outputs_count=1)
    return register.add_stage(sequence, x, outputs_count=2)[1]


@register.register_method("capitals")
def shout(word):
    return register.add_stage(text, word, outputs_count=1)


@register.register_method(["capitals", "total"])
def both(word):
    return register.add_stage(call_both, word, outputs_count=2)
"""


@pytest.fixture(scope="module", params=["", ", num_parallel_workers=2"], ids=["here", "elsewhere"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A worker with the models, and maybe one without."""
    folder = tmp_path_factory.mktemp("shapes")
    files = ("1/sequence.mindir", "1/sequence_alone.mindir", "1/text.mindir")
    add_servable(folder, "shapes", CONFIG, files)
    with serving(folder, [f'".", "shapes", device_ids=0{request.param}']) as running:
        yield running


def sequences(seed: int, count: int) -> list[Any]:
    source = random.Random(seed)
    return [
        np.array([source.randint(-9, 9) for _ in range(source.randint(1, 6))], np.float32)
        for _ in range(count)
    ]


def test_lengths_in_mixed_order_over_grpc(server: RunningServer) -> None:
    for seed in range(5):
        given = sequences(seed, 150)
        with Client(server.grpc, "shapes", "double") as client:
            replies = client.infer([{"x": x} for x in given])
        assert [reply["twice"].tolist() for reply in replies] == [(x + x).tolist() for x in given]
        assert [float(reply["total"]) for reply in replies] == [x.sum() for x in given]


def test_lengths_in_mixed_order_over_rest(server: RunningServer) -> None:
    given = sequences(9, 40)
    body = {"instances": [{"x": x.tolist()} for x in given]}
    reply = json.loads(send(server.rest, "POST", "/model/shapes:double", body).body)
    assert reply["instances"] == [{"twice": (x + x).tolist(), "total": float(x.sum())} for x in given]


def test_numbers_of_json_are_what_the_model_takes(server: RunningServer) -> None:
    body = {"instances": [{"x": [1, 2, 3]}, {"x": [4]}, {"x": [1.5, 2]}]}
    reply = json.loads(send(server.rest, "POST", "/model/shapes:double", body).body)
    assert [one["total"] for one in reply["instances"]] == [6, 4, 3.5]


def test_instances_that_do_not_fit_fail_alone(server: RunningServer) -> None:
    odd: list[Any] = [np.ones((1, 2), np.float32), np.ones(0, np.float32), np.ones(2, np.int64), "text"]
    good = np.ones(2, np.float32)
    with Client(server.grpc, "shapes", "double") as client:
        replies = client.infer([{"x": x} for one in odd for x in (good, one)])
    assert [float(reply["total"]) for reply in replies[::2]] == [2] * 4
    errors = [reply["error"] for reply in replies[1::2]]
    assert (
        "shape [1, 2] not match the shape [-1] defined in model; input 0 'x' is float32 [1, 2]" in errors[0]
    )
    assert "shape [0] not match the shape [-1] defined in model" in errors[1]
    assert "data type kMSI_Int64 not match the data type kMSI_Float32" in errors[2]
    assert "data type kMSI_String not match the data type kMSI_Float32" in errors[3]


def test_text_goes_to_a_model_and_back(server: RunningServer) -> None:
    words = ["straße", "", "a" * 5000, "naïve"]
    with Client(server.grpc, "shapes", "shout") as client:
        replies = client.infer([{"word": word} for word in words])
    assert [reply["capitals"] for reply in replies] == [word.upper() for word in words]
    body = {"instances": [{"word": word} for word in words]}
    reply = json.loads(send(server.rest, "POST", "/model/shapes:shout", body).body)
    assert reply["instances"] == [{"capitals": word.upper()} for word in words]


def test_what_is_no_text_fails_alone(server: RunningServer) -> None:
    with Client(server.grpc, "shapes", "shout") as client:
        replies = client.infer([{"word": "a"}, {"word": np.float32(1)}, {"word": b"b"}, {"word": "c"}])
    assert [reply.get("capitals") for reply in replies] == ["A", None, None, "C"]
    for reply in replies[1:3]:
        assert "defined in model; input 0 'word' is" in reply["error"]
        assert reply["error"].endswith("expected str")


def test_functions_between_clients_and_models(server: RunningServer) -> None:
    words = ["ab", "c", "ba", "", "abc", "x"]
    with Client(server.grpc, "shapes", "add_letters") as client:
        replies = client.infer([{"word": word} for word in words])
    assert [float(reply.get("total", -1)) for reply in replies] == [195, 99, 195, -1, 294, 120]
    assert "stage 1 of method 'add_letters', expected float32 [-1]" in replies[3]["error"]
    with Client(server.grpc, "shapes", "both") as client:
        replies = client.infer([{"word": word} for word in ("ab", "c", "b")])
    assert [(reply["capitals"], float(reply["total"])) for reply in replies] == [
        ("AB", 131),
        ("C", 67),
        ("B", 66),
    ]


def test_metadata(server: RunningServer) -> None:
    described = json.loads(send(server.rest, "GET", "/model/shapes").body)["methods"]
    shapes = {
        method["name"]: [(one["dtype"], one["shape"]) for one in (*method["inputs"], *method["outputs"])]
        for method in described
    }
    assert shapes["double"] == [("float32", [-1]), ("float32", [-1]), ("float32", [])]
    assert shapes["double_three"] == [("float32", [3]), ("float32", [-1]), ("float32", [])]
    assert shapes["shout"] == [("str", []), ("str", [])]
    open_inference = json.loads(send(server.rest, "GET", "/v2/models/shapes.double").body)
    assert [one["shape"] for one in (*open_inference["inputs"], *open_inference["outputs"])] == [
        [-1, -1],
        [-1, -1],
        [-1],
    ]
    text = json.loads(send(server.rest, "GET", "/v2/models/shapes.shout").body)
    assert [(one["datatype"], one["shape"]) for one in (*text["inputs"], *text["outputs"])] == [
        ("BYTES", [-1]),
        ("BYTES", [-1]),
    ]
    v1 = json.loads(send(server.rest, "GET", "/v1/models/shapes.double/metadata").body)
    signatures = v1["metadata"]["signature_def"]["signature_def"]
    dims = signatures["double"]["inputs"]["x"]["tensor_shape"]["dim"]
    assert [dim["size"] for dim in dims] == ["-1", "-1"]


def test_a_declared_length_is_checked_at_once(server: RunningServer) -> None:
    with Client(server.grpc, "shapes", "double_three") as client:
        three, two = client.infer([{"x": np.ones(n, np.float32)} for n in (3, 2)])
    assert three["twice"].tolist() == [2, 2, 2]
    assert "expected float32 of shape [3]" in two["error"]


@pytest.mark.parametrize("length", [1, 5])
def test_a_request_of_whole_tensors_has_one_length(server: RunningServer, length: int) -> None:
    x = np.arange(3 * length, dtype=np.float32).reshape(3, length)
    with triton.InferenceServerClient(server.grpc) as client:
        tensor = triton.InferInput("x", [3, length], "FP32")
        tensor.set_data_from_numpy(x)
        reply = client.infer("shapes.double", [tensor])
        np.testing.assert_array_equal(reply.as_numpy("twice"), x + x)
        np.testing.assert_array_equal(reply.as_numpy("total"), x.sum(axis=1))
    body = {"inputs": [{"name": "x", "shape": [3, length], "datatype": "FP32", "data": x.tolist()}]}
    outputs = json.loads(send(server.rest, "POST", "/v2/models/shapes.double/infer", body).body)["outputs"]
    assert outputs[0]["data"] == (x + x).ravel().tolist()


def test_text_of_whole_tensors(server: RunningServer) -> None:
    words = ["a", "ß", "xyz"]
    for shape in ([3], [3, 1]):
        body = {"inputs": [{"name": "word", "shape": shape, "datatype": "BYTES", "data": words}]}
        reply = json.loads(send(server.rest, "POST", "/v2/models/shapes.shout/infer", body).body)
        assert reply["outputs"][0]["data"] == ["A", "SS", "XYZ"]


def test_instances_of_v1_may_differ_in_length(server: RunningServer) -> None:
    body = {"instances": [{"x": [1.0, 2.0]}, {"x": [3.0]}]}
    reply = json.loads(send(server.rest, "POST", "/v1/models/shapes.double:predict", body).body)
    assert reply["predictions"] == [{"twice": [2, 4], "total": 3}, {"twice": [6], "total": 3}]
