"""Models of Paddle behind a real server: every transport, its metadata, keys, what starts and what does not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from mindspore_serving.client import Client
from tests.paddle.conftest import Saved
from tests.paddle.saved_models import KEY
from tests.support.http_requests import HttpReply, send
from tests.support.paddle_models import HOUSE, PRICE
from tests.support.serving import RunningServer, add_servable, running_script, serving

ONE = """
from mindspore_serving.server import register

model = register.declare_model("{file}", "Paddle"{options})


@register.register_method(output_names={outputs})
def predict({inputs}):
    return register.add_stage(model, {inputs}, outputs_count={count})
"""
RESTARTED_WITHIN_S = 90

pytestmark = pytest.mark.timeout(300)  # the first test waits for models to be made, and for six workers


def add_model(folder: Path, name: str, program: Path, inputs: str, *outputs: str, options: str = "") -> Path:
    """A servable with a method `predict` of one model; returns the model's program."""
    config = ONE.format(
        file=program.name, options=options, outputs=list(outputs), inputs=inputs, count=len(outputs)
    )
    add_servable(folder, name, config, files=())
    shutil.copytree(program.parent, folder / name / "1")
    return folder / name / "1" / program.name


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, both: dict[str, Saved]) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served")
    for suffix, saved in both.items():
        add_model(folder, f"conv_{suffix}", saved.path("conv"), "image", "scores")
    new = both["json"]
    add_model(folder, "tokens", new.path("tokens"), "ids, scale", "all", "mean")
    add_model(
        folder,
        "pixels",
        new.path("pixels"),
        "image",
        "scores",
        options=', runtime_options={"use_mkldnn": False}',
    )
    add_model(folder, "fixed", new.path("fixed"), "x", "y")
    add_model(folder, "secret", new.path("AES-GCM"), "image", "scores")
    names = ("conv_json", "conv_pdmodel", "tokens", "pixels", "fixed")
    configs = [f'".", "{name}", device_ids=0, device_type="CPU"' for name in names]
    configs.append(f'".", "secret", device_ids=0, device_type="CPU", dec_key={KEY!r}')
    with serving(folder, configs, backend="") as running:
        yield running


def json_of(reply: HttpReply) -> Any:
    return json.loads(reply.body)


def infer(server: RunningServer, name: str, instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A reply for each instance; one alone where all have failed together."""
    with Client(server.grpc, name, "predict") as client:
        replies = client.infer(instances)
    return replies if isinstance(replies, list) else [replies]


@pytest.mark.parametrize("name", ["conv_json", "conv_pdmodel", "secret"])
def test_a_network_over_grpc(server: RunningServer, both: dict[str, Saved], name: str) -> None:
    saved = both["pdmodel" if name == "conv_pdmodel" else "json"]
    replies = infer(server, name, [{"image": image} for image in saved.inputs("conv")["image"]])
    scores = np.stack([reply["scores"] for reply in replies])
    np.testing.assert_allclose(scores, saved.outputs("conv")[0], rtol=1e-4, atol=1e-5)


def test_a_network_over_rest(server: RunningServer, both: dict[str, Saved]) -> None:
    saved = both["json"]
    body = {"instances": [{"image": image.tolist()} for image in saved.inputs("conv")["image"]]}
    reply = json_of(send(server.rest, "POST", "/model/conv_json:predict", body))
    scores = np.float32([one["scores"] for one in reply["instances"]])
    np.testing.assert_allclose(scores, saved.outputs("conv")[0], rtol=1e-4, atol=1e-5)


def test_pixels(server: RunningServer, both: dict[str, Saved]) -> None:
    saved = both["json"]
    replies = infer(server, "pixels", [{"image": image} for image in saved.inputs("pixels")["image"]])
    scores = np.stack([reply["scores"] for reply in replies])
    np.testing.assert_allclose(scores, saved.outputs("pixels")[0], rtol=1e-4, atol=1e-5)


def test_a_network_over_the_open_protocol(server: RunningServer, both: dict[str, Saved]) -> None:
    image = both["json"].inputs("conv")["image"]
    tensor = triton.InferInput("image", image.shape, "FP32").set_data_from_numpy(image)
    with triton.InferenceServerClient(server.grpc) as client:
        scores = client.infer("conv_json", [tensor]).as_numpy("scores")
    np.testing.assert_allclose(scores, both["json"].outputs("conv")[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("conv_json", {"image": ("FP32", [-1, 3, 8, 8])}, {"scores": ("FP32", [-1, 5])}),
        ("conv_pdmodel", {"image": ("FP32", [-1, 3, 8, 8])}, {"scores": ("FP32", [-1, 5])}),
        (
            "tokens",
            {"ids": ("INT64", [-1, -1]), "scale": ("FP32", [-1, -1])},
            {"all": ("FP32", [-1, -1, 4]), "mean": ("FP32", [-1, 4])},
        ),
        ("pixels", {"image": ("UINT8", [-1, 2, 2, 3])}, {"scores": ("FP32", [-1, 2])}),
    ],
)
def test_metadata(server: RunningServer, name: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    found = json_of(send(server.rest, "GET", f"/v2/models/{name}"))
    assert found["platform"] == "paddle_inference"
    for kind, expected in (("inputs", inputs), ("outputs", outputs)):
        assert {one["name"]: (one["datatype"], one["shape"]) for one in found[kind]} == expected


def test_sequences_of_different_lengths_in_one_request(server: RunningServer, both: dict[str, Saved]) -> None:
    ids, scale = both["json"].inputs("tokens").values()
    lengths = (6, 2, 4)
    rows = [{"ids": ids[row, :length], "scale": scale[row, :length]} for row, length in enumerate(lengths)]
    expected = both["json"].outputs("tokens")[0]
    for row, reply in enumerate(infer(server, "tokens", rows)):
        np.testing.assert_allclose(reply["all"], expected[row, : lengths[row]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_fixed_batch_is_filled_up(server: RunningServer, both: dict[str, Saved], count: int) -> None:
    x = np.resize(both["json"].inputs("fixed")["input"], (count, 4))
    replies = infer(server, "fixed", [{"x": row} for row in x])
    expected = np.resize(both["json"].outputs("fixed")[0], (count, 2))
    np.testing.assert_allclose(np.stack([reply["y"] for reply in replies]), expected, rtol=1e-4, atol=1e-5)


def test_a_run_that_fails_is_its_batchs_error(server: RunningServer, both: dict[str, Saved]) -> None:
    ids, scale = both["json"].inputs("tokens").values()
    [failed] = infer(server, "tokens", [{"ids": ids[0], "scale": scale[0, :2]}])
    assert "runtime error occurred: InvalidArgument: " in failed["error"]
    [good] = infer(server, "tokens", [{"ids": ids[0], "scale": scale[0]}])
    np.testing.assert_allclose(good["mean"], both["json"].outputs("tokens")[1][0], rtol=1e-4, atol=1e-5)


def test_logs_are_clean(server: RunningServer) -> None:
    logs = server.worker_logs()
    for noise in ("ccache", "Running IR pass", "ReduceMean", "oneDNN v", "Executor", "OMP:"):
        assert noise not in logs, logs


def test_a_killed_worker_is_replaced(server: RunningServer, both: dict[str, Saved]) -> None:
    instance = {"image": both["json"].inputs("conv")["image"][0]}
    [worker] = [pid for pid in server.workers() if "conv_json" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + RESTARTED_WITHIN_S
    while "scores" not in (reply := infer(server, "conv_json", [instance])[0]):
        assert time.monotonic() < deadline, reply
        time.sleep(0.1)
    assert worker not in server.workers()
    np.testing.assert_allclose(reply["scores"], both["json"].outputs("conv")[0][0], rtol=1e-4, atol=1e-5)


def test_housing(uci_housing: Path, tmp_path: Path) -> None:
    add_model(tmp_path, "housing", uci_housing / "__model__", "x", "price")
    configs = ['".", "housing", device_ids=0, device_type="CPU"']
    with serving(tmp_path, configs, backend="") as running:
        body = {"instances": [{"x": HOUSE}]}
        reply = json_of(send(running.rest, "POST", "/model/housing:predict", body))
        [price] = reply["instances"][0]["price"]
        assert price == pytest.approx(PRICE, rel=1e-6)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert not running.workers()


def test_a_model_that_is_damaged(both: dict[str, Saved], tmp_path: Path) -> None:
    program = add_model(tmp_path, "conv", both["json"].path("conv"), "image", "scores")
    program.write_bytes(program.read_bytes()[:500])
    script = tmp_path / "start_server.py"
    script.write_text(
        "from mindspore_serving import server\n"
        'server.start_servables(server.ServableStartConfig(".", "conv", device_ids=0, device_type="CPU"))\n'
    )
    with running_script(script) as running:
        assert running.wait(RESTARTED_WITHIN_S) != 0
        assert f"Model file '{program}': the file is no program of Paddle" in running.output
