"""Models on Lite behind a real server."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.lite import models as made
from tests.lite.models import Models
from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving

SUM = """
from mindspore_serving.server import register

context = register.Context(thread_num=1)
model = register.declare_model(model_file="{file}", model_format="{format}", context=context)


@register.register_method(output_names=["z"])
def add(x, y):
    return register.add_stage(model, x, y, outputs_count=1)
"""

TWO_MODELS = """
from mindspore_serving.server import register

context = register.Context(thread_num=1)
slow = register.declare_model(
    model_file="slow.mindir", model_format="MindIR_Lite", with_batch_dim=False, context=context
)
quick = register.declare_model(model_file="quick.mindir", model_format="MindIR_Lite", context=context)


@register.register_method(output_names=["z"])
def product(x):
    return register.add_stage(slow, x, outputs_count=1)


@register.register_method(output_names=["z"])
def add(x, y):
    return register.add_stage(quick, x, y, outputs_count=1)
"""

SHAPE_OF_A_TUPLE = b"\x05shape\x80\x01\x14\x8a\x01\x07"
"""Where `two_outputs` has a field that Lite takes for granted; what follows is the tag of it."""

WITH_LITE = """
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "sum", device_ids=0), enable_lite=True)
server.start_grpc_server("{grpc}")
print("gRPC listens", flush=True)
"""


def servable(folder: Path, models: Models, file: str, model_format: str) -> None:
    add_servable(folder, "sum", SUM.format(file=file, format=model_format), files=())
    (folder / "sum" / "1").mkdir()
    shutil.copy(models.get(made.add_dynamic, ending=Path(file).suffix), folder / "sum" / "1" / file)


def assert_sums(address: str) -> None:
    with Client(address, "sum", "add") as client:
        for count in (1, 3, 70):
            instances = [{"x": np.float32([i, 1]), "y": np.float32([1, i])} for i in range(count)]
            replies = client.infer(instances)
            assert isinstance(replies, list), replies
            assert [reply["z"].tolist() for reply in replies] == [[i + 1, i + 1] for i in range(count)]


@pytest.mark.parametrize(
    ("file", "model_format", "backend"),
    [
        ("sum.mindir", "MindIR_Lite", "mindspore"),
        ("sum.ms", "MindIR_Opt", "mindspore"),
        ("sum.mindir", "MindIR", "lite"),
    ],
)
def test_model_format_or_backend(
    models: Models, tmp_path: Path, file: str, model_format: str, backend: str
) -> None:
    servable(tmp_path, models, file, model_format)
    with serving(tmp_path, ['".", "sum", device_ids=(0, 1), device_type="CPU"'], backend=backend) as running:
        assert_sums(running.grpc)
        body = {"instances": [{"x": [1.0, 2.0], "y": [3.0, 4.0]}, {"x": [1.0], "y": [3.0]}]}
        reply = send(running.rest, "POST", "/model/sum:add", body)
        first, second = json.loads(reply.body)["instances"]
        assert first == {"z": [4.0, 6.0]}
        assert "Given model input 0 size 4 not match the size 8 defined in model" in json.dumps(second)
        [method] = json.loads(send(running.rest, "GET", "/model/sum:add").body)["methods"]
        tensors = {one["name"]: (one["dtype"], one["shape"]) for one in method["inputs"] + method["outputs"]}
        assert tensors == {name: ("float32", [2]) for name in "xyz"}


def test_enable_lite(models: Models, tmp_path: Path) -> None:
    servable(tmp_path, models, "sum.mindir", "MindIR")
    grpc = f"127.0.0.1:{free_port()}"
    script = tmp_path / "start.py"
    script.write_text(WITH_LITE.format(grpc=grpc))
    with running_script(script, environment={"SERVING_BACKEND": ""}) as running:
        running.wait_for_line("gRPC listens")
        assert_sums(grpc)


def test_the_reason_of_a_failed_start(models: Models, tmp_path: Path) -> None:
    servable(tmp_path, models, "sum.mindir", "MindIR_Lite")
    (tmp_path / "sum" / "1" / "sum.mindir").write_bytes(b"no model at all")
    assert "ParseFromArray failed" in failed_start(tmp_path, {})
    text = failed_start(tmp_path, {"SERVING_LITE_FOLDER": str(tmp_path)})
    assert f"not built, or by another release, expected in {tmp_path}" in text
    assert "build it with: python -m mindspore_serving.lite build (in a source tree: ./build.sh lite)" in text


def test_a_file_that_crashes_lite(models: Models, tmp_path: Path) -> None:
    servable(tmp_path, models, "sum.mindir", "MindIR_Lite")
    content = models.get(made.two_outputs).read_bytes()
    damaged = content.replace(SHAPE_OF_A_TUPLE + b"b", SHAPE_OF_A_TUPLE + b"j", 1)
    assert damaged != content
    (tmp_path / "sum" / "1" / "sum.mindir").write_bytes(damaged)
    text = failed_start(tmp_path, {})
    assert "was ended by signal 11 (SIGSEGV)" in text
    assert "Fatal Python error: Segmentation fault" in text
    failed_start(tmp_path, {"GLOG_v": "1"})
    [log] = (tmp_path / "serving_logs").glob("*.log")
    assert f"Loading model {tmp_path}/sum/1/sum.mindir" in log.read_text(errors="replace")


@pytest.mark.skipif(importlib.util.find_spec("mindspore") is None, reason="MindSpore is not installed")
def test_lite_beside_mindspore_is_refused(models: Models, tmp_path: Path) -> None:
    servable(tmp_path, models, "sum.mindir", "MindIR_Lite")
    config = tmp_path / "sum" / "servable_config.py"
    config.write_text("import mindspore\n" + config.read_text())
    assert "MindSpore is loaded in this process, which excludes MindSpore Lite" in failed_start(tmp_path, {})


@pytest.mark.skipif(importlib.util.find_spec("mindspore") is None, reason="MindSpore is not installed")
def test_mindspore_beside_lite_is_refused(models: Models, tmp_path: Path) -> None:
    servable(tmp_path, models, "sum.mindir", "MindIR_Lite")
    config = tmp_path / "sum" / "servable_config.py"
    config.write_text(config.read_text() + 'register.declare_model("other.mindir", "MindIR")\n')
    shutil.copy(models.get(made.add_dynamic), tmp_path / "sum" / "1" / "other.mindir")
    text = failed_start(tmp_path, {}, enable_lite=False)
    assert "MindSpore Lite is loaded in this process, which excludes MindSpore" in text


def failed_start(folder: Path, environment: dict[str, str], enable_lite: bool = True) -> str:
    """What a start script prints that starts nothing else."""
    script = folder / "start.py"
    start = WITH_LITE.format(grpc="127.0.0.1:0")
    script.write_text(start.replace("enable_lite=True", f"enable_lite={enable_lite}"))
    with running_script(script, environment={"SERVING_BACKEND": "", **environment}) as running:
        assert running.wait(60) != 0
        return running.output


@pytest.fixture
def two_models(models: Models, tmp_path: Path) -> Path:
    add_servable(tmp_path, "two", TWO_MODELS, files=())
    (tmp_path / "two" / "1").mkdir()
    shutil.copy(models.get(made.slow), tmp_path / "two" / "1" / "slow.mindir")
    shutil.copy(models.get(made.add_dynamic), tmp_path / "two" / "1" / "quick.mindir")
    return tmp_path


def test_a_model_runs_while_another_one_of_the_servable_does(two_models: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core: the worker has one thread for models")
    with serving(two_models, ['".", "two", device_ids=0'], backend="mindspore") as running:
        # Where others keep the cores busy, the quick one may not get its turn in time: hardly five times in a row.
        assert any(quick_replies_during_a_slow_one(running) for _ in range(5))


def quick_replies_during_a_slow_one(running: RunningServer) -> int:
    """Replies to requests that were sent and answered while the slow model ran for certain.

    Before and after that its tensors are on the way, which takes far less time.
    """
    x = np.full((made.SQUARE, made.SQUARE), 1 / made.SQUARE, np.float32)

    def multiply() -> tuple[float, object, float]:
        with Client(running.grpc, "two", "product") as client:
            begin = time.monotonic()
            reply = client.infer({"x": x})
            return begin, reply, time.monotonic()

    times = []
    with ThreadPoolExecutor(1) as pool, Client(running.grpc, "two", "add") as client:
        slow = pool.submit(multiply)
        while not slow.done():
            sent = time.monotonic()
            [reply] = client.infer({"x": np.float32([1, 2]), "y": np.float32([3, 4])})
            times.append((sent, time.monotonic()))
            assert reply["z"].tolist() == [4, 6]
        begin, [product], end = slow.result()  # type: ignore[misc]
        np.testing.assert_allclose(product["z"], x, rtol=1e-3)
    first, last = begin + 0.5 * (end - begin), begin + 0.9 * (end - begin)
    return sum(first < sent and answered < last for sent, answered in times)
