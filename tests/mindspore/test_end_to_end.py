"""Real models behind a real server: two servables, two versions, two copies, both interfaces."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, serving

TALLY = """
from mindspore_serving.server import register

model = register.declare_model(model_file="tally.mindir", model_format="MindIR")


@register.register_method(output_names=["z"])
def combine(x, y):
    return register.add_stage(model, x, y, outputs_count=1)
"""

LENET = """
import numpy as np

from mindspore_serving.server import register

dynamic = register.declare_model(model_file="lenet_dynamic.mindir", model_format="MindIR", max_batch_size=16)
fixed = register.declare_model(model_file="lenet_batch_32.mindir", model_format="MindIR")


def widen(image):
    return image.astype(np.float32)


@register.register_method(output_names=["scores"])
def scores(image):
    return register.add_stage(dynamic, image, outputs_count=1)


@register.register_method(
    output_names=["digit", "same"],
    inputs={"image": register.TensorSpec("float64", [1, 32, 32])},
    examples=[{"image": np.zeros((1, 32, 32))}],
)
def classify(image):
    image = register.add_stage(widen, image, outputs_count=1)
    first = register.add_stage(fixed, image, outputs_count=1)
    second = register.add_stage(dynamic, image, outputs_count=1)
    digit = register.add_stage("argmax_cpp", first, outputs_count=1)
    return digit, register.add_stage(lambda a, b: np.allclose(a, b, 1e-3, 1e-4), first, second, outputs_count=1)
"""


KEPT = """
from mindspore_serving.server import register

counter = register.declare_model("counter.mindir", "MindIR")
table = register.declare_model("table.mindir", "MindIR", with_batch_dim=False)


def call_table(x):
    several = table.call([[], []])
    return x + table.call() + several[1][0]


@register.register_method(output_names=["y"])
def count(x):
    return register.add_stage(counter, x, outputs_count=1)


@register.register_method(output_names=["y"])
def get_table():
    return register.add_stage(table, outputs_count=1)


@register.register_method(output_names=["y"])
def add_table(x):
    y = register.add_stage(table, outputs_count=1)
    return register.add_stage(lambda a, b: a + b, x, y, outputs_count=1)


@register.register_method(output_names=["y"])
def called(x):
    return register.add_stage(call_table, x, outputs_count=1)
"""


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served")
    add_servable(folder, "tally", TALLY, files=())
    add_servable(folder, "lenet", LENET, files=())
    add_servable(folder, "kept", KEPT, files=())
    for model, target in (
        ("add_dynamic", "tally/1/tally"),
        ("subtract_dynamic", "tally/2/tally"),
        ("counter_dynamic", "kept/1/counter"),
        ("table", "kept/1/table"),
        ("lenet_dynamic", "lenet/1/lenet_dynamic"),
        ("lenet_batch_32", "lenet/1/lenet_batch_32"),
    ):
        (folder / target).parent.mkdir(exist_ok=True)
        shutil.copy(models / f"{model}.mindir", folder / f"{target}.mindir")
    configs = [
        '".", "tally", version_number=1, device_ids=(0, 1)',
        '".", "tally", version_number=2, device_ids=0',
        '".", "lenet"',
        '".", "kept"',
    ]
    with serving(folder, configs, backend="mindspore") as running:
        yield running


def types_of(server: RunningServer, target: str) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of each input and output of a method."""
    reply = send(server.rest, "GET", f"/model/{target}")
    [method] = json.loads(reply.body)["methods"]
    return {one["name"]: (one["dtype"], one["shape"]) for one in method["inputs"] + method["outputs"]}


@pytest.mark.parametrize(
    ("target", "types"),
    [
        ("tally/version/1:combine", {name: ("float32", [2]) for name in "xyz"}),
        ("lenet:scores", {"image": ("float32", [1, 32, 32]), "scores": ("float32", [10])}),
        (
            "lenet:classify",
            {"image": ("float64", [1, 32, 32]), "digit": ("int64", []), "same": ("bool", [])},
        ),
        ("kept:called", {"x": (None, None), "y": (None, None)}),
    ],
)
def test_types_come_from_files_and_examples(
    server: RunningServer, target: str, types: dict[str, Any]
) -> None:
    assert types_of(server, target) == types


def ask_tally(server: RunningServer, source: random.Random) -> None:
    """One request of 1 to 70 instances to a random version over a random interface; checks the whole reply."""
    count, version = source.randint(1, 70), source.choice([0, 1, 2])
    values = [[float(source.randint(-99, 99)) for _ in range(4)] for _ in range(count)]
    sign = 1 if version == 1 else -1
    expected = [[x0 + sign * y0, x1 + sign * y1] for x0, x1, y0, y1 in values]
    if source.random() < 0.5:
        instances = [{"x": np.float32(v[:2]), "y": np.float32(v[2:])} for v in values]
        with Client(server.grpc, "tally", "combine", version) as client:
            result = client.infer(instances)
        assert [instance["z"].tolist() for instance in result] == expected
    else:
        body = {"instances": [{"x": v[:2], "y": v[2:]} for v in values]}
        path = f"/model/tally/version/{version}:combine" if version else "/model/tally:combine"
        reply = send(server.rest, "POST", path, body)
        assert reply.status == 200
        assert json.loads(reply.body) == {"instances": [{"z": z} for z in expected]}


def ask_lenet(server: RunningServer, images: np.ndarray, scores: np.ndarray, source: random.Random) -> None:
    """One request of 1 to 70 images; compares with the scores that MindSpore gave without a server."""
    chosen = [source.randrange(len(images)) for _ in range(source.randint(1, 70))]
    method, dtype = source.choice([("scores", np.float32), ("classify", np.float64)])
    with Client(server.grpc, "lenet", method) as client:
        result = client.infer([{"image": images[i].astype(dtype)} for i in chosen])
    assert len(result) == len(chosen)
    for i, instance in zip(chosen, result, strict=True):
        if method == "scores":
            np.testing.assert_allclose(instance["scores"], scores[i], rtol=1e-3, atol=1e-4)
        else:
            assert (int(instance["digit"]), bool(instance["same"])) == (int(scores[i].argmax()), True)


def test_a_thousand_mixed_requests_are_all_answered_right(server: RunningServer, models: Path) -> None:
    known = np.load(models / "lenet.npz")
    images, scores = known["images"], known["scores"]

    def ask(seed: int) -> None:
        source = random.Random(seed)
        if source.random() < 0.8:
            ask_tally(server, source)
        else:
            ask_lenet(server, images, scores, source)

    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(ask, range(1000)))
    assert len(answered) == 1000


@pytest.mark.parametrize(
    ("instance", "text"),
    [
        (
            {"x": {"b64": "AQAAAAIAAAA=", "type": "int32", "shape": [2]}, "y": [1, 2]},
            "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32",
        ),
        ({"x": [1.0], "y": [1.0, 2.0]}, "Given model input 0 size 4 not match the size 8 defined in model"),
        ({"x": "text", "y": [1.0, 2.0]}, "Given model input 0 size 0 not match the size 8 defined in model"),
    ],
)
def test_what_does_not_fit_the_model_never_reaches_it(
    server: RunningServer, instance: dict[str, object], text: str
) -> None:
    good = {"x": [1.0, 2.0], "y": [3.0, 4.0]}
    reply = send(server.rest, "POST", "/model/tally/version/1:combine", {"instances": [good, instance, good]})
    first, second, third = json.loads(reply.body)["instances"]
    assert first == third == {"z": [4.0, 6.0]}
    assert text in second["error_msg"]


def test_a_model_that_counts_its_runs_begins_with_the_first_request(server: RunningServer) -> None:
    for run in (1, 2, 3):
        reply = send(server.rest, "POST", "/model/kept:count", {"instances": [{"x": [0.0, 10.0]}]})
        assert json.loads(reply.body) == {"instances": [{"y": [float(run), 10.0 + run]}]}


def test_a_model_without_inputs(server: RunningServer) -> None:
    table = (np.arange(6, dtype=np.float32) + 1).tolist()
    body = {"instances": [{"any": 0}] * 3}
    assert json.loads(send(server.rest, "POST", "/model/kept:get_table", body).body) == {
        "instances": [{"y": table}] * 3
    }
    with Client(server.grpc, "kept", "get_table") as client:
        assert [reply["y"].tolist() for reply in client.infer([{}, {}])] == [table] * 2
    for method, times in (("add_table", 1), ("called", 2)):
        body = {"instances": [{"x": [float(i)] * 6} for i in range(3)]}
        reply = json.loads(send(server.rest, "POST", f"/model/kept:{method}", body).body)
        assert reply == {"instances": [{"y": [times * v + i for v in table]} for i in range(3)]}


def test_a_model_file_that_is_damaged_is_told_at_start(models: Path, tmp_path: Path) -> None:
    add_servable(tmp_path, "tally", TALLY, files=("1/tally.mindir",))
    (tmp_path / "tally/1/tally.mindir").write_bytes((models / "add_dynamic.mindir").read_bytes()[:300])
    with pytest.raises(AssertionError) as caught, serving(tmp_path, ['".", "tally"'], backend="mindspore"):
        pass
    assert (
        "Fail to start workers: {servable:tally, version:1, extra:0, <Raise failed: Load model failed"
        in str(caught.value)
    )
