"""Sections 11.1 and 12.1: what the examples of MindSpore Serving do, with the stub's models; and its oddities."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.conformance.row import row, stands_for
from tests.conformance.scripts import outcomes
from tests.support.http_requests import post
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving

A = np.array([[1.1, 2.2], [3.3, 4.4]], np.float32)
B = np.array([[5.5, 6.6], [7.7, 8.8]], np.float32)
ROW = np.array([1, 2], np.float32)

ADD = """\
import numpy as np
from mindspore_serving.server import register


def add_trans_datatype(x1, x2):
    return x1.astype(np.float32), x2.astype(np.float32)


model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    y = register.add_stage(model, x1, x2, outputs_count=1)
    return y


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.add_stage(add_trans_datatype, x1, x2, outputs_count=2)
    y = register.add_stage(model, x1, x2, outputs_count=1)
    return y
"""

ADD_SUB = """\
from mindspore_serving.server import register

add_model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)
sub_model = register.declare_model(model_file="tensor_sub.mindir", model_format="MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add_sub_only_model(x1, x2, x3):
    y = register.add_stage(add_model, x1, x2, outputs_count=1)
    y = register.add_stage(sub_model, y, x3, outputs_count=1)
    return y


def preprocess(x):
    return x + 1


def postprocess(x):
    return x + 1


@register.register_method(output_names=["y"])
def add_sub_complex(x1, x2, x3):
    y = register.add_stage(add_model, x1, x2, outputs_count=1)
    y = register.add_stage(preprocess, y, outputs_count=1)
    y = register.add_stage(sub_model, y, x3, outputs_count=1)
    y = register.add_stage(postprocess, y, outputs_count=1)
    return y
"""

# An image is 2 float32 numbers; the model adds them to a bias.
RESNET = """\
import numpy as np
from mindspore_serving.server import register

LABELS = ["cat", "dog"]
BIAS = np.zeros(2, np.float32)
model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR")


def preprocess_eager(image):
    assert image.dtype == np.uint8 and image.ndim == 1
    return np.frombuffer(image.tobytes(), np.float32), BIAS


def preprocess_batch(instances):
    for (image,) in instances:
        yield preprocess_eager(image)


def postprocess_top1(score):
    return LABELS[int(np.argmax(score))]


def postprocess_top5(score):
    order = np.argsort(-score)
    return ";".join(LABELS[int(i)] for i in order), score[order]


@register.register_method(output_names=["label"])
def classify_top1(image):
    x, bias = register.add_stage(preprocess_eager, image, outputs_count=2)
    score = register.add_stage(model, x, bias, outputs_count=1)
    return register.add_stage(postprocess_top1, score, outputs_count=1)


@register.register_method(output_names=["label"])
def classify_top1_batch(image):
    x, bias = register.add_stage(preprocess_batch, image, outputs_count=2, batch_size=1024)
    score = register.add_stage(model, x, bias, outputs_count=1)
    return register.add_stage(postprocess_top1, score, outputs_count=1)


def call_resnet_model(image):
    x, bias = preprocess_eager(image)
    return postprocess_top1(model.call(x, bias))


@register.register_method(output_names=["label"])
def classify_top1_v2(image):
    return register.add_stage(call_resnet_model, image, outputs_count=1)


def call_resnet_model_batch(instances):
    inputs = [preprocess_eager(image) for (image,) in instances]
    for (score,) in model.call(inputs):
        yield postprocess_top1(score)


@register.register_method(output_names=["label"])
def classify_top1_v3(image):
    return register.add_stage(call_resnet_model_batch, image, outputs_count=1, batch_size=32)


@register.register_method(output_names=["label", "score"])
def classify_top5(image):
    x, bias = register.add_stage(preprocess_eager, image, outputs_count=2)
    score = register.add_stage(model, x, bias, outputs_count=1)
    return register.add_stage(postprocess_top5, score, outputs_count=2)
"""

SUBGRAPHS = """\
from mindspore_serving.server import register

model = register.declare_model(
    model_file=["tensor_add.mindir", "tensor_sub_3_2.mindir"], model_format="MindIR", with_batch_dim=False
)


def process(x, y):
    z1 = model.call(x, y, subgraph=0)
    z2, z3 = model.call(x, y, y, subgraph=1)
    return z1 + z2 + z3


@register.register_method(output_names=["z"])
def predict(x, y):
    return register.add_stage(process, x, y, outputs_count=1)
"""

PIPELINE = """\
from mindspore_serving.server import register

register.declare_servable(
    servable_file=["tensor_add.mindir", "tensor_add_b.mindir", "tensor_sub.mindir"], model_format="MindIR",
    with_batch_dim=False,
)


@register.register_method(output_names=["y"])
def fun1(x1, x2):
    y = register.call_servable(x1, x2, subgraph=0)
    return y


@register.register_method(output_names=["y"])
def fun2(x1, x2):
    y = register.call_servable(x1, x2, subgraph=1)
    return y


@register.register_method(output_names=["y"])
def fun3(x1, x2):
    y = register.call_servable(x1, x2, subgraph=2)
    return y


servable1 = register.PipelineServable(servable_name="pipeline", method="fun1")
servable2 = register.PipelineServable(servable_name="pipeline", method="fun2")
servable3 = register.PipelineServable(servable_name="pipeline", method="fun3")


@register.register_pipeline(output_names=["y1", "y2"])
def predict(x1, x2, x3):
    y1 = servable1.run(x1, x2)
    y2 = servable3.run(servable2.run(x1, x2), x3)
    return y1, y2
"""

ODD = """\
from mindspore_serving.server import register

calls = 0


class LikeTorch:
    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        import numpy
        return numpy.arange(3)


def restarts(instances):
    global calls
    calls += 1
    for (x,) in instances:
        if x == "bad":
            raise ValueError("bad")
        yield calls


def gives_torch(x):
    return LikeTorch()


@register.register_method(output_names=["call"])
def restart(x):
    return register.add_stage(restarts, x, outputs_count=1, batch_size=8)


@register.register_method(output_names=["y"])
def torch(x):
    return register.add_stage(gives_torch, x, outputs_count=1)


@register.register_method(output_names=["y"])
def two_lambdas(x):
    first = register.add_stage(lambda a: a + "1", x, outputs_count=1)
    return register.add_stage(lambda a, b: a + b + "2", first, x, outputs_count=1)
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("examples")
    add_servable(folder, "add", ADD)
    add_servable(folder, "add_sub_pipeline", ADD_SUB, ["1/tensor_add.mindir", "1/tensor_sub.mindir"])
    add_servable(folder, "resnet50", RESNET)
    add_servable(folder, "matmul", SUBGRAPHS, ["1/tensor_add.mindir", "1/tensor_sub_3_2.mindir"])
    files = ["1/tensor_add.mindir", "1/tensor_add_b.mindir", "1/tensor_sub.mindir"]
    add_servable(folder, "pipeline", PIPELINE, files)
    add_servable(folder, "odd", ODD, ())
    configs = [
        'servable_directory=".", servable_name="add", device_ids=(0, 1)',
        'servable_directory=".", servable_name="add_sub_pipeline", device_ids=(2, 3)',
        'servable_directory=".", servable_name="resnet50", device_ids=4, num_parallel_workers=2',
        'servable_directory=".", servable_name="matmul", device_ids=5',
        'servable_directory=".", servable_name="pipeline", device_ids=6',
        'servable_directory=".", servable_name="odd"',
    ]
    with serving(folder, configs) as running:
        yield running


def infer(server: RunningServer, target: str, *instances: dict[str, Any], wait: bool = True) -> Any:
    servable, method = target.split(":")
    with Client(server.grpc, servable, method) as client:
        return client.infer(list(instances)) if wait else client.infer_async(list(instances)).result()


@pytest.mark.parametrize("wait", [row("11.1-tensor_add-grpc", True), row("11.1-tensor_add-async", False)])
def test_add(examples: RunningServer, wait: bool) -> None:
    replies = infer(
        examples, "add:add_common", *({"x1": A * (i + 1), "x2": B * (i + 1)} for i in range(3)), wait=wait
    )
    assert len(replies) == 3
    for i, reply in enumerate(replies):
        assert np.abs(reply["y"] - (A + B) * (i + 1)).max() < 1e-5
    ints = np.ones((2, 2), np.int32)
    [reply] = infer(examples, "add:add_cast", {"x1": ints, "x2": ints}, wait=wait)
    assert reply["y"].tolist() == [[2, 2], [2, 2]]
    assert reply["y"].dtype == np.float32


@stands_for("11.1-tensor_add-rest")
def test_add_over_rest(examples: RunningServer) -> None:
    instances = [{"x1": (A * (i + 1)).tolist(), "x2": (B * (i + 1)).tolist()} for i in range(3)]
    reply = post(examples.rest, "/model/add:add_common", {"instances": instances})
    results = json.loads(reply.text)["instances"]
    assert len(results) == 3
    for i, result in enumerate(results):
        assert np.shape(result["y"]) == (2, 2)
        assert np.abs(np.array(result["y"]) - (A + B) * (i + 1)).max() < 1e-3


@pytest.mark.parametrize(
    ("method", "more"),
    [
        row("11.1-add_sub_pipeline-only-model", "add_sub_only_model", 0),
        row("11.1-add_sub_pipeline-complex", "add_sub_complex", 2),
    ],
)
def test_add_sub(examples: RunningServer, method: str, more: int) -> None:
    [reply] = infer(examples, f"add_sub_pipeline:{method}", {"x1": A, "x2": B, "x3": A})
    assert np.abs(reply["y"] - (B + more)).max() < 1e-5


IMAGES = [np.array(values, np.float32).tobytes() for values in ([2, 1], [1, 2], [5, 0])]
LABELS = ["cat", "dog", "cat"]


@pytest.mark.parametrize(
    "method",
    [
        row("11.1-resnet-classify_top1", "classify_top1"),
        row("11.1-resnet-classify_top1_batch", "classify_top1_batch"),
        row("11.1-resnet-classify_top1_v2", "classify_top1_v2"),
        row("11.1-resnet-classify_top1_v3", "classify_top1_v3"),
    ],
)
@pytest.mark.parametrize("count", [3, 99])
def test_classify(examples: RunningServer, method: str, count: int) -> None:
    instances = [{"image": IMAGES[i % 3]} for i in range(count)]
    expected = [{"label": LABELS[i % 3]} for i in range(count)]
    assert infer(examples, f"resnet50:{method}", *instances) == expected
    assert infer(examples, f"resnet50:{method}", *instances, wait=False) == expected


@stands_for("11.1-resnet-classify_top5")
def test_classify_top5(examples: RunningServer) -> None:
    for reply, label, score in zip(
        infer(examples, "resnet50:classify_top5", *({"image": image} for image in IMAGES)),
        ["cat;dog", "dog;cat", "cat;dog"],
        [[2, 1], [2, 1], [5, 0]],
        strict=True,
    ):
        assert (reply["label"], reply["score"].tolist()) == (label, score)


@stands_for("11.1-resnet-rest-b64+11.1-lenet")
def test_classify_over_rest(examples: RunningServer) -> None:
    body = {"instances": [{"image": {"b64": "AAAAQAAAgD8="}}, {"image": {"b64": "AACAPwAAAEA="}}]}
    reply = post(examples.rest, "/model/resnet50/version/1:classify_top1", body)
    assert (reply.status, reply.text) == (200, '{"instances":[{"label":"cat"},{"label":"dog"}]}')


@stands_for("11.1-matmul_multi_subgraphs+11.3-test_model_call-subgraphs-of-different-arity")
def test_subgraphs(examples: RunningServer) -> None:
    x, y = np.full((2, 2), 5, np.float32), np.full((2, 2), 1, np.float32)
    replies = infer(examples, "matmul:predict", {"x": x, "y": y}, {"x": y, "y": x})
    assert [reply["z"].tolist() for reply in replies] == [[[13, 13]] * 2, [[-11, -11]] * 2]


@stands_for("11.1-pipeline_worker")
def test_pipeline(examples: RunningServer) -> None:
    [reply] = infer(examples, "pipeline:predict", {"x1": A, "x2": B, "x3": A})
    assert np.abs(reply["y1"] - (A + B)).max() < 1e-5
    assert np.abs(reply["y2"] - B).max() < 1e-5


CLIENT = """\
import json, sys, urllib.request
import numpy as np
from mindspore_serving.client import Client

x = np.full((2, 2), int(sys.argv[3]), np.float32)
client = Client(sys.argv[1], "add", "add_common")
for i in range(20):
    replies = client.infer([{"x1": x * i, "x2": x}] * 3)
    assert all((reply["y"] == x * (i + 1)).all() for reply in replies), replies
    body = json.dumps({"instances": [{"x1": (x * i).tolist(), "x2": x.tolist()}]}).encode()
    url = f"http://{sys.argv[2]}/model/add:add_common"
    with urllib.request.urlopen(url, body, timeout=20) as reply:
        assert json.load(reply) == {"instances": [{"y": (x * (i + 1)).tolist()}]}
print("all right")
"""


@stands_for("11.1-client_mul_process")
def test_several_client_processes(examples: RunningServer, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(running_script(script, examples.grpc, examples.rest, str(n)))
            for n in (1, 2, 3)
        ]
        for client in clients:
            assert client.wait(30) == 0, client.output
            assert client.lines == ["all right"]


# --- Oddities ---


@stands_for("12.1-4+5.3-restart-after-an-exception")
def test_a_generator_is_called_again_for_the_rest(examples: RunningServer) -> None:
    good, bad, last = infer(examples, "odd:restart", {"x": "a"}, {"x": "bad"}, {"x": "b"})
    assert bad == {
        "error": "Call Function 'odd.restarts' Failed, method: 'restart', stage index(begin with 1): 1, error msg: bad"
    }
    assert int(last["call"]) > int(good["call"])


@stands_for("5.3-output-torch")
def test_a_torch_tensor_is_converted(examples: RunningServer) -> None:
    [reply] = infer(examples, "odd:torch", {"x": "x"})
    assert reply["y"].tolist() == [0, 1, 2]


@stands_for("5.2-two-lambdas")
def test_functions_of_one_name(examples: RunningServer) -> None:
    assert infer(examples, "odd:two_lambdas", {"x": "x"}) == [{"y": "x1x2"}]


@stands_for("5.1-no-hot-reload")
def test_no_hot_reload(examples: RunningServer) -> None:
    (examples.folder / "add" / "9").mkdir()
    (examples.folder / "add" / "9" / "tensor_add.mindir").touch()
    with Client(examples.grpc, "add", "add_common", 9) as client:
        error = "Request servable(add) method(add_common)  version(9) , servable is not available"
        assert client.infer({"x1": A, "x2": B}) == {"error": error}


@stands_for("12.1-2")
def test_a_start_error_that_stops_the_server_is_logged(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        f"server.start_grpc_server('127.0.0.1:{free_port()}')\n"
        "try:\n    server.start_grpc_server(1)\nexcept RuntimeError:\n    pass\n"
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait() == 0
    text = "Parameter 'address' should be str, but actually <class 'int'>"
    assert any(line.startswith("[ERROR] SERVING(") and line.endswith(text) for line in running.lines)


LITE = "server.start_servables(server.ServableStartConfig('.', '{}', 0), enable_lite=True)"


@stands_for("12.2-enable_lite+4.2-enable_lite")
def test_enable_lite(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD.replace('model_format="MindIR"', 'model_format="MindIR_Lite"'))
    found = outcomes(
        tmp_path, "from mindspore_serving import server", {"call": LITE.format("add")}, last="server.stop()\n"
    )
    assert found == {"call": None}


@stands_for("5.5-enable_lite-subgraphs")
def test_subgraphs_with_lite(tmp_path: Path) -> None:
    add_servable(tmp_path, "matmul", SUBGRAPHS, ["1/tensor_add.mindir", "1/tensor_sub_3_2.mindir"])
    found = outcomes(tmp_path, "from mindspore_serving import server", {"call": LITE.format("matmul")})
    error = found["call"]
    assert error is not None
    assert "Load model from file failed, Multi subgraph is not support when the backend is lite, " in error[1]
