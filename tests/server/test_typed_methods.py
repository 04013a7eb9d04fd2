"""Methods that say what they take: over both native front ends, after a restart, and where an example fails."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import post, send
from tests.support.serving import RunningServer, add_servable, running_script, serving
from tests.support.watch import kill, wait_until

CONFIG = """\
import os
import pathlib

import numpy as np

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


def scaled(ids, options):
    return ids * options.get("factor", 2)


def greeting(name, picture):
    return f"{name}: {len(picture)}"


def halved(x):
    with open(pathlib.Path(__file__).with_name("runs"), "a") as runs:
        runs.write(f"{os.getpid()}\\n")
    return x / 2


@register.register_method(
    ["scaled", "greeting"],
    inputs={
        "ids": register.TensorSpec("int64", [-1], "numbers of rows"),
        "options": register.Parameters(),
        "name": register.Text(),
        "picture": register.Image(),
    },
    outputs={"greeting": register.Text()},
    examples=[{"ids": [1, 2], "name": "Ada", "picture": b"\\x89PNG"}],
)
def typed(ids, options, name, picture):
    \"""Scale and greet.\"""
    return register.add_stage(scaled, ids, options, outputs_count=1), register.add_stage(
        greeting, name, picture, outputs_count=1
    )


@register.register_method("y", examples=[{"x1": np.ones((2, 2), np.float32), "x2": [[1, 2], [3, 4]]}])
def add_and_halve(x1, x2):
    y = register.add_stage(model, x1, x2, outputs_count=1)
    return register.add_stage(halved, y, outputs_count=1)


@register.register_method("y")
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)
"""
GOOD = {"ids": [1, 1 << 40], "name": "Bo", "picture": {"b64": "/9g="}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A worker with the model, and one without."""
    folder = tmp_path_factory.mktemp("typed")
    add_servable(folder, "shop", CONFIG)
    with serving(folder, ['".", "shop", device_ids=0, num_parallel_workers=2']) as running:
        yield running


def described(server: RunningServer, target: str = "shop") -> dict[str, Any]:
    reply = send(server.rest, "GET", f"/model/{target}")
    assert reply.status == 200
    return {method["name"]: method for method in json.loads(reply.body)["methods"]}


def test_types_come_from_declarations_models_and_examples(server: RunningServer) -> None:
    methods = described(server)
    assert methods["typed"]["description"] == "Scale and greet."
    assert methods["typed"]["inputs"] == [
        {"name": "ids", "dtype": "int64", "shape": [-1], "description": "numbers of rows"},
        {"name": "name", "dtype": "str", "shape": []},
        {"name": "picture", "dtype": "bytes", "shape": [], "content": "image"},
    ]
    assert methods["typed"]["outputs"] == [
        {"name": "scaled", "dtype": "int64", "shape": [-1]},
        {"name": "greeting", "dtype": "str", "shape": []},
    ]
    matrix = {"dtype": "float32", "shape": [2, 2]}
    assert methods["add_and_halve"]["inputs"] == [{"name": "x1", **matrix}, {"name": "x2", **matrix}]
    assert methods["add_and_halve"]["outputs"] == [{"name": "y", "dtype": "float32", "shape": [-1, -1]}]


@pytest.mark.parametrize("method", ["typed", "add_and_halve"])
def test_the_line_of_curl_works(server: RunningServer, method: str) -> None:
    [description] = described(server, f"shop/version/1:{method}").values()
    line = shlex.split(description["curl"])
    reply = json.loads(subprocess.run([line[0], "-s", *line[1:]], capture_output=True, timeout=30).stdout)
    [instance] = reply["instances"]
    assert list(instance) == sorted(output["name"] for output in description["outputs"])


def test_rest_takes_what_is_declared(server: RunningServer) -> None:
    bad = [
        GOOD | {"ids": [1.5]},
        GOOD | {"ids": [[1]]},
        GOOD | {"name": {"b64": "/9g="}},
        GOOD | {"picture": "text"},
    ]
    reply = post(server.rest, "/model/shop:typed", json.dumps({"instances": [GOOD, *bad, GOOD]}))
    assert reply.status == 200
    good = {"greeting": "Bo: 2", "scaled": [2, 1 << 41]}
    assert json.loads(reply.body)["instances"] == [
        good,
        {"error_msg": "Input 'ids' is float32 of shape [1], expected int64 of shape [-1]"},
        {"error_msg": "Input 'ids' is int64 of shape [1, 1], expected int64 of shape [-1]"},
        {"error_msg": "Input 'name' is bytes, expected text"},
        {"error_msg": "Input 'picture' is text, expected bytes"},
        good,
    ]
    reply = post(server.rest, "/model/shop:typed", json.dumps({"instances": bad[:1]}))
    assert (reply.status, reply.error) == (
        400,
        "Input 'ids' is float32 of shape [1], expected int64 of shape [-1]",
    )
    reply = post(server.rest, "/model/shop:typed", json.dumps({"instances": [GOOD | {"ids": [1 << 70]}]}))
    assert (reply.status, "data out of int64 range: input ids has " in reply.error) == (400, True)


def test_grpc_takes_what_is_declared(server: RunningServer) -> None:
    good = {"ids": np.array([3], np.int64), "name": "Bo", "picture": b"abc"}
    with Client(server.grpc, "shop", "typed") as client:
        results = client.infer([good, good | {"ids": np.array([3], np.int32)}, good | {"name": b"Bo"}, good])
        alone = client.infer(good | {"picture": 1})
    for at in (0, 3):
        assert (results[at]["scaled"].tolist(), results[at]["greeting"]) == ([6], "Bo: 3")
    assert results[1] == {"error": "Input 'ids' is int32 of shape [1], expected int64 of shape [-1]"}
    assert results[2] == {"error": "Input 'name' is bytes, expected text"}
    assert "Input 'picture' is " in alone["error"]


def test_a_worker_that_is_started_again_runs_its_examples_again(server: RunningServer) -> None:
    runs = server.folder / "shop" / "runs"
    body = json.dumps({"instances": [{"x1": [[1, 2], [3, 4]], "x2": [[1, 2], [3, 4]]}]})

    def answers(method: str) -> bool:
        return post(server.rest, f"/model/shop:{method}", body).status == 200

    first = runs.read_text().split()[0]  # the one with the model: the other one runs no examples
    assert answers("add")  # nor models alone; one that has served nothing is not started again
    earlier = set(runs.read_text().split())
    kill(int(first))
    wait_until(lambda: set(runs.read_text().split()) - earlier, "the new one has run the example", 30)
    wait_until(lambda: answers("add"), "it serves", 30)
    assert described(server)["add_and_halve"]["outputs"][0]["dtype"] == "float32"


START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "shop", 0))
print("started")
"""
METHOD = """\
import time

from mindspore_serving.server import register


def stage(x):
    {code}


@register.register_method("y", {options})
def m(x):
    return register.add_stage(stage, x, outputs_count=1)
"""


@pytest.mark.parametrize(
    ("code", "options", "reason"),
    [
        (
            "raise ValueError('no weights')",
            'examples=[{"x": 1}]',
            "Example 1 of method 'm' failed: Call Function 'shop.stage' Failed, method: 'm', stage index(begin with "
            "1): 1, error msg: no weights",
        ),
        (
            "return x + 0.5",
            'examples=[{"x": 1}], outputs={"y": register.TensorSpec("int32")}',
            "Example 1 of method 'm' failed: Output 'y' is float64 of shape [], but is declared as int32",
        ),
        (
            "while True: time.sleep(1)",
            'examples=[{"x": 1}]',
            "shop version 1 device0 not ready after 3 s",
        ),
        (
            "return x",
            'inputs={"x": register.TensorSpec("float23")}',
            "Check failed in method 'm', parameter 'inputs' 'x': dtype is float23, expected one of bool",
        ),
    ],
)
def test_a_start_that_fails(tmp_path: Path, code: str, options: str, reason: str) -> None:
    add_servable(tmp_path, "shop", METHOD.format(code=code, options=options), ())
    script = tmp_path / "start.py"
    script.write_text(START)
    limits = {"SERVING_BACKEND": "stub", "SERVING_START_TIMEOUT_S": "3" if "while" in code else "60"}
    with running_script(script, environment=limits) as running:
        assert running.wait(60) != 0
        assert "started" not in running.lines
        assert reason in running.output
    if "while" in code:
        assert "Example 1 of method 'm' runs" in running.worker_logs()
    if "raise" in code:
        assert "raise ValueError('no weights')" in running.worker_logs()  # where it was
