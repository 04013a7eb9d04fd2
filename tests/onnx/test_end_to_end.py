"""ONNX models behind a real server: every transport, its metadata, what starts and what does not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto

from mindspore_serving.client import Client
from mindspore_serving.tensor import Array
from tests.onnx import models
from tests.support.http_requests import HttpReply, send
from tests.support.serving import RunningServer, add_servable, running_script, serving

ONE = """
from mindspore_serving.server import register

model = register.declare_model("model.onnx", "ONNX"{options})


@register.register_method(output_names={outputs})
def predict({inputs}):
    return register.add_stage(model, {inputs}, outputs_count={count})
"""

TWO_SUBGRAPHS = """
from mindspore_serving.server import register

model = register.declare_model(["add.onnx", "fixed.onnx"], "ONNX", with_batch_dim=False)


def both(x):
    return model.call(x, x, subgraph=0), model.call(x, subgraph=1)


@register.register_method(output_names=["sum", "double"])
def predict(x):
    return register.add_stage(both, x, outputs_count=2)
"""


def add_model(
    folder: Path, name: str, make: Callable[[Path], Path], inputs: str, *outputs: str, options: str = ""
) -> Path:
    """A servable with a method `predict` of one model; returns the model's file."""
    config = ONE.format(options=options, outputs=list(outputs), inputs=inputs, count=len(outputs))
    add_servable(folder, name, config, files=())
    (folder / name / "1").mkdir()
    return make(folder / name / "1" / "model.onnx")


def text(path: Path) -> Path:
    return models.identity(path, TensorProto.STRING, ("n", 1))


def halves(path: Path) -> Path:
    return models.identity(path, TensorProto.FLOAT16)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served")
    add_model(folder, "lenet", models.lenet, "image", "scores")
    add_model(folder, "tokens", models.tokens, "ids, mask", "masked", "sum")
    add_model(folder, "fixed", models.fixed, "x", "y")
    add_model(folder, "text", text, "x", "y")
    add_model(folder, "halves", halves, "x", "y")
    add_model(folder, "classes", models.classifier, "x", "label", "probabilities")
    add_servable(folder, "subgraphs", TWO_SUBGRAPHS, files=())
    (folder / "subgraphs" / "1").mkdir()
    models.add(folder / "subgraphs" / "1" / "add.onnx", columns=3)
    models.fixed(folder / "subgraphs" / "1" / "fixed.onnx")
    names = ("lenet", "tokens", "fixed", "text", "halves", "classes", "subgraphs")
    configs = [f'".", "{name}", device_ids=0, device_type="CPU"' for name in names]
    with serving(folder, configs, backend="") as running:
        yield running


def directly(server: RunningServer, name: str, **arrays: Array) -> list[Any]:
    """What ONNX Runtime gives for a batch."""
    session = onnxruntime.InferenceSession(str(server.folder / name / "1" / "model.onnx"))
    results: list[Any] = session.run(None, arrays)
    return results


def json_of(reply: HttpReply) -> Any:
    return json.loads(reply.body)


def infer(server: RunningServer, name: str, instances: list[dict[str, Any]], method: str = "predict") -> Any:
    with Client(server.grpc, name, method) as client:
        return client.infer(instances)


@pytest.mark.parametrize("count", [1, 5, 70])
def test_a_network_over_grpc(server: RunningServer, count: int) -> None:
    images = np.random.default_rng(count).random((count, 1, 32, 32), np.float32)
    replies = infer(server, "lenet", [{"image": image} for image in images])
    scores = np.stack([reply["scores"] for reply in replies])
    np.testing.assert_allclose(scores, directly(server, "lenet", image=images)[0], rtol=1e-4, atol=1e-5)


def test_a_network_over_rest(server: RunningServer) -> None:
    images = np.random.default_rng(9).random((3, 1, 32, 32), np.float32)
    body = {"instances": [{"image": image.tolist()} for image in images]}
    reply = json_of(send(server.rest, "POST", "/model/lenet:predict", body))
    scores = np.float32([one["scores"] for one in reply["instances"]])
    np.testing.assert_allclose(scores, directly(server, "lenet", image=images)[0], rtol=1e-4, atol=1e-5)


def test_a_network_over_the_open_protocol(server: RunningServer) -> None:
    images = np.random.default_rng(8).random((3, 1, 32, 32), np.float32)
    tensor = triton.InferInput("image", images.shape, "FP32").set_data_from_numpy(images)
    with triton.InferenceServerClient(server.grpc) as client:
        scores = client.infer("lenet", [tensor]).as_numpy("scores")
    np.testing.assert_allclose(scores, directly(server, "lenet", image=images)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("lenet", {"image": ("FP32", [-1, 1, 32, 32])}, {"scores": ("FP32", [-1, 10])}),
        (
            "tokens",
            {"ids": ("INT64", [-1, -1]), "mask": ("FP32", [-1, -1])},
            {"masked": ("FP32", [-1, -1]), "sum": ("FP32", [-1])},
        ),
        ("text", {"x": ("BYTES", [-1])}, {"y": ("BYTES", [-1])}),
        ("halves", {"x": ("FP16", [-1, 2])}, {"y": ("FP16", [-1, 2])}),
        ("classes", {"x": ("FP32", [-1, 2])}, {"label": ("BYTES", [-1]), "probabilities": ("FP32", [-1, 3])}),
    ],
)
def test_metadata(server: RunningServer, name: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    found = json_of(send(server.rest, "GET", f"/v2/models/{name}"))
    assert found["platform"] == "onnxruntime_onnx"
    for kind, expected in (("inputs", inputs), ("outputs", outputs)):
        assert {one["name"]: (one["datatype"], one["shape"]) for one in found[kind]} == expected


def test_sequences_of_different_lengths_in_one_request(server: RunningServer) -> None:
    lengths = [3, 8, 3, 1]
    instances = [{"ids": np.arange(n), "mask": np.full(n, 0.5, np.float32)} for n in lengths]
    for n, reply in zip(lengths, infer(server, "tokens", instances), strict=True):
        assert reply["masked"].tolist() == (np.arange(n) / 2).tolist()
        assert reply["sum"] == n * (n - 1) / 4


def test_a_fixed_batch_is_filled_up(server: RunningServer) -> None:
    instances = [{"x": np.float32([i, 1, 2])} for i in range(6)]
    assert [reply["y"].tolist() for reply in infer(server, "fixed", instances)] == [
        [2 * i, 2, 4] for i in range(6)
    ]


def test_text(server: RunningServer) -> None:
    texts = ["one", "\u8bed\u8a00", ""]
    assert [reply["y"] for reply in infer(server, "text", [{"x": one} for one in texts])] == texts
    reply = json_of(
        send(server.rest, "POST", "/model/text:predict", {"instances": [{"x": one} for one in texts]})
    )
    assert [one["y"] for one in reply["instances"]] == texts


def test_halves(server: RunningServer) -> None:
    [reply] = infer(server, "halves", [{"x": np.float16([0.5, 65504])}])
    assert (reply["y"].dtype, reply["y"].tolist()) == (np.float16, [0.5, 65504])


def test_classes(server: RunningServer) -> None:
    x = np.float32([[1, 2], [3, 1]])
    replies = infer(server, "classes", [{"x": one} for one in x])
    labels, maps = directly(server, "classes", x=x)
    assert [reply["label"] for reply in replies] == labels.tolist()
    for reply, row in zip(replies, maps, strict=True):
        np.testing.assert_allclose(
            reply["probabilities"], [row[one] for one in ("cat", "dog", "fox")], rtol=1e-5
        )


def test_two_subgraphs(server: RunningServer) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    [reply] = infer(server, "subgraphs", [{"x": x}])
    assert reply["sum"].tolist() == reply["double"].tolist() == (2 * x).tolist()


def test_an_instance_that_does_not_fit_fails_alone(server: RunningServer) -> None:
    good, bad = np.ones((1, 32, 32), np.float32), np.ones((1, 31, 32), np.float32)
    replies = infer(server, "lenet", [{"image": one} for one in (good, bad, good)])
    assert "scores" in replies[0]
    assert "scores" in replies[2]
    assert "Given model input 0 size 3968 not match the size 4096" in replies[1]["error"]


def test_a_worker_that_is_killed_is_replaced(server: RunningServer) -> None:
    image = np.ones((1, 32, 32), np.float32)
    [before] = infer(server, "lenet", [{"image": image}])
    [worker] = [pid for pid in server.workers() if "lenet" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 60
    reply = infer(server, "lenet", [{"image": image}])
    while isinstance(reply, dict) or "scores" not in reply[0]:  # no worker is left, or its results are lost
        assert time.monotonic() < deadline, reply
        time.sleep(0.1)
        reply = infer(server, "lenet", [{"image": image}])
    assert reply[0]["scores"].tolist() == before["scores"].tolist()
    assert worker not in server.workers()


START = """
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "add", device_ids=0, device_type="CPU"{key}))
"""


def failed_start(folder: Path, key: str = "", environment: dict[str, str] | None = None) -> str:
    """What a start script prints that starts nothing."""
    script = folder / "start.py"
    script.write_text(START.format(key=key))
    with running_script(script, environment={"SERVING_BACKEND": "", **(environment or {})}) as running:
        assert running.wait(90) != 0
        return running.output


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def mindir(path: Path) -> None:
    path.write_bytes(b"\x0a\x050.1.0\x12\x09MindSpore")


def too_new(path: Path) -> None:
    models.add(path, opset=99)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (half, "the file is damaged or incomplete, it has 60 bytes, expected at least "),
        (mindir, "looks like MindIR: declare it with model_format='MindIR'"),
        (too_new, "the file has opset 99 of ai.onnx"),
    ],
)
def test_files_that_do_not_start(tmp_path: Path, change: Callable[[Path], None], expected: str) -> None:
    change(add_model(tmp_path, "add", models.add, "x, y", "z"))
    output = failed_start(tmp_path)
    assert expected in output
    assert "model.onnx" in output
    assert "servable_config.py" in output


def test_without_the_library(tmp_path: Path) -> None:
    add_model(tmp_path, "add", models.add, "x, y", "z")
    hidden = tmp_path / "hidden" / "onnxruntime"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'onnxruntime'\")\n")
    output = failed_start(tmp_path, environment={"PYTHONPATH": str(hidden.parent)})
    assert "Backend 'onnx' cannot be imported: No module named 'onnxruntime'" in output
    assert "pip install 'mindspore_serving[onnx]'" in output


def test_a_key_for_a_plain_file(tmp_path: Path) -> None:
    add_model(tmp_path, "add", models.add, "x, y", "z")
    output = failed_start(tmp_path, key=', dec_key=b"0123456789abcdef"')
    assert "ONNX models are not encrypted, but dec_key was given; leave it out" in output


def test_options_that_are_wrong(tmp_path: Path) -> None:
    add_model(tmp_path, "add", models.add, "x, y", "z", options=', runtime_options={"optimisation": "all"}')
    assert (
        "runtime_options of ONNX Runtime has the unknown name 'optimisation', expected 'gr"
        in failed_start(tmp_path)
    )


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_copies_share_the_cores(tmp_path: Path) -> None:
    add_model(tmp_path, "lenet", models.lenet, "image", "scores")
    with serving(tmp_path, ['".", "lenet", device_ids=(0, 1), device_type="CPU"'], backend="") as running:
        image = np.ones((1, 32, 32), np.float32)
        assert all("scores" in reply for reply in infer(running, "lenet", [{"image": image}] * 3))
        shares = [os.sched_getaffinity(pid) for pid in running.workers()]
        assert len(shares) == 2
        assert not shares[0] & shares[1]
