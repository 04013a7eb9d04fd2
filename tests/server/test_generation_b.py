"""Servables that are written for earlier releases: declare_servable, call_* stages, subgraphs, pipelines."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.gate import Gate
from tests.support.http_requests import post
from tests.support.serving import NO_DRAIN, RunningServer, add_servable, running_script, serving

FILES = ("1/tensor_add.mindir", "1/tensor_sub.mindir", "1/tensor_add_3_2.mindir")

CONFIG = '''\
import numpy as np

from mindspore_serving.server import register
from mindspore_serving.server.register.built_in import BuiltInStage, add_built_in_stage

add_built_in_stage(
    BuiltInStage(
        "stub_preprocess_cast_int32_to_fp32_cpp",
        2,
        2,
        lambda x1, x2: (x1.astype(np.float32), x2.astype(np.float32)),
    )
)
add_built_in_stage(
    BuiltInStage("stub_postprocess_cast_fp32_to_int32_cpp", 1, 1, lambda y: y.astype(np.int32))
)

model = register.declare_servable(
    ["tensor_add.mindir", "tensor_sub.mindir", "tensor_add_3_2.mindir"], "MindIR", with_batch_dim=False
)


def cast(x1, x2):
    if (x1 < 0).any():
        raise ValueError("negative")
    return x1.astype(np.float32), x2.astype(np.float32)


def cast_all(instances):
    for x1, x2 in instances:
        yield cast(x1, x2)


def negate(y):
    return -y


def fail_on_ten(y):
    if (y == 10).any():
        raise ValueError("ten")
    return y


def count_all(instances):
    return [(y, len(instances)) for (y,) in instances]


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    y = register.call_servable(x1, x2)
    return y


@register.register_method(output_names=["y"])
def sub_common(x1, x2):
    y = register.call_servable(x1, x2, subgraph=1)
    return y


@register.register_method(output_names=["y", "z"])
def add_three(x1, x2, x3):
    y, z = register.call_servable(x1, x2, x3, subgraph=2)
    return y, z


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.call_preprocess(cast, x1, x2)
    y = register.call_servable(x1, x2)
    y = register.call_postprocess(negate, y)
    return y


@register.register_method(output_names=["y", "count"])
def add_cast_all(x1, x2):
    x1, x2 = register.call_preprocess_pipeline(cast_all, x1, x2)
    y = register.call_servable(x1, x2)
    y, count = register.call_postprocess_pipeline(count_all, y)
    return y, count


@register.register_method(output_names=["y"])
def add_built_in(x1, x2):
    x1, x2 = register.call_preprocess("stub_preprocess_cast_int32_to_fp32_cpp", x1, x2)
    y = register.call_servable(x1, x2)
    y = register.call_postprocess("stub_postprocess_cast_fp32_to_int32_cpp", y)
    return y


@register.register_method(output_names=["y"])
def fail_after(x1, x2):
    y = register.call_servable(x1, x2)
    y = register.call_postprocess(fail_on_ten, y)
    return y


@register.register_method(output_names=["y"])
def shadowed(x1, x2):
    y = register.call_servable(x1, x2)
    return y


@register.register_method(output_names=["y"])
def first(x):
    return x


add = register.PipelineServable(servable_name="older", method="add_common")
sub = register.PipelineServable(servable_name="older", method="sub_common", version_number=1)
three = register.PipelineServable("older", "add_three")
plain = register.PipelineServable("older", "first")


@register.register_pipeline(output_names=["y1", "y2"])
def predict(x1, x2):
    return add.run(x1, x2), sub.run(x1, x2)


@register.register_pipeline(output_names=["y", "steps"])
def add_until(x1, x2, limit):
    """A loop, whose end depends on what the model gives."""
    steps = 0
    while x1.sum() < limit:
        x1 = add.run(x1, x2)
        steps += 1
    return x1, steps


@register.register_pipeline(output_names=["y", "z"])
def predict_three(x1, x2, x3):
    y, z = three.run(x1, x2, x3)
    return y, z


@register.register_pipeline(output_names=["y"])
def shadowed(x1, x2):
    return register.PipelineServable("older", "shadowed").run(x1, x2) * 100


@register.register_pipeline(output_names=["count", "total"])
def several(x):
    replies = plain.run([x * i for i in range(5)])
    assert all(type(reply) is tuple and len(reply) == 1 for reply in replies)
    return len(replies), sum(reply[0] for reply in replies)


@register.register_pipeline(output_names=["y"])
def call_the_model(x):
    return model.call([[x, x], [x, x]], subgraph=1)[1][0] + model.call(x, x)


@register.register_pipeline(output_names=["text", "number", "real", "flag", "data"])
def values(text, number, real, flag, data):
    seen = [plain.run(value) for value in (text, number, real, flag, data)]
    return seen[0] + "!", seen[1] + 1, seen[2] * 2, not seen[3], bytes(seen[4])


@register.register_pipeline(output_names=["y"])
def odd(case, x):
    """What goes wrong in a pipeline, by the number of the case."""
    case = int(case)
    if case == 1:
        return add.run(x)
    if case == 2:
        y, z, w = add.run(x, x)
    if case == 3:
        return x, x
    if case == 4:
        return {"y": x}
    if case == 5:
        raise ValueError("as it pleases")
    if case == 6:
        return add.run(x, None)
    if case == 7:
        return add.run(x, x.astype(np.float64))
    if case == 8:
        return register.PipelineServable("older", "nowhere").run(x)
    if case == 9:
        raise SystemExit("leave")
    return add.run(x, x)
'''

ONES = np.ones((2, 2), np.float32)


def array(*values: float) -> Any:
    return np.array(values, np.float32).reshape(2, 2)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("older")
    add_servable(folder, "older", CONFIG, FILES)
    with serving(folder, ['".", "older", device_ids=0']) as running:
        yield running


def infer(server: RunningServer, method: str, instances: Any, servable: str = "older") -> Any:
    with Client(server.grpc, servable, method) as client:
        return client.infer(instances)


def same(got: Any, expected: Any) -> bool:
    return bool(np.asarray(got).shape == np.asarray(expected).shape and (got == expected).all())


# --- call_* stages, and subgraphs ---


def test_call_servable(older: RunningServer) -> None:
    replies = infer(older, "add_common", [{"x1": ONES * i, "x2": ONES} for i in range(5)])
    assert all(same(reply["y"], ONES * (i + 1)) for i, reply in enumerate(replies))


def test_subgraphs(older: RunningServer) -> None:
    x = {"x1": array(5, 6, 7, 8), "x2": array(1, 2, 3, 4)}
    (added,) = infer(older, "add_common", x)
    (subtracted,) = infer(older, "sub_common", x)
    (both,) = infer(older, "add_three", {**x, "x3": ONES})
    assert same(added["y"], array(6, 8, 10, 12))
    assert same(subtracted["y"], array(4, 4, 4, 4))
    assert same(both["y"], array(7, 9, 11, 13))
    assert same(both["z"], array(8, 10, 12, 14))


def test_subgraphs_at_the_same_time(older: RunningServer) -> None:
    """Instances of several subgraphs wait at once, and each goes through its own."""
    instances = [{"x1": ONES * i, "x2": ONES * 3} for i in range(50)]
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(Client(older.grpc, "older", name)) for name in ("add_common", "sub_common")
        ]
        calls = [client.infer_async(instances) for client in clients * 4]
        replies = [call.result() for call in calls]
    for number, reply in enumerate(replies):
        sign = -1 if number % 2 else 1
        assert [float(row["y"][0, 0]) for row in reply] == [i + 3 * sign for i in range(50)]


def test_preprocess_and_postprocess(older: RunningServer) -> None:
    (reply,) = infer(older, "add_cast", {"x1": np.ones((2, 2), np.int64), "x2": ONES})
    assert same(reply["y"], ONES * -2)


def test_preprocess_and_postprocess_of_batches(older: RunningServer) -> None:
    replies = infer(older, "add_cast_all", [{"x1": np.full((2, 2), i), "x2": ONES} for i in range(4)])
    assert all(same(reply["y"], ONES * (i + 1)) for i, reply in enumerate(replies))
    assert {int(reply["count"]) for reply in replies} == {1}  # the model's batch size


def test_built_in_stages(older: RunningServer) -> None:
    ones = np.ones((2, 2), np.int32)
    (reply,) = infer(older, "add_built_in", {"x1": ones, "x2": ones})
    assert reply["y"].dtype == np.int32
    assert same(reply["y"], ones * 2)


@pytest.mark.parametrize(
    ("method", "bad", "index", "text"),
    [
        ("add_cast", np.full((2, 2), -1.0), 1, "Call Preprocess Failed, method: 'add_cast'"),
        ("add_cast_all", np.full((2, 2), -1.0), 1, "Call Preprocess Failed, method: 'add_cast_all'"),
        ("fail_after", ONES * 9, 2, "Call Postprocess Failed, method: 'fail_after'"),
    ],
)
def test_a_bad_instance_fails_alone(
    older: RunningServer, method: str, bad: Any, index: int, text: str
) -> None:
    replies = infer(older, method, [{"x1": x, "x2": ONES} for x in (ONES, bad, ONES)])
    assert ["error" in reply for reply in replies] == [False, True, False]
    assert f"{text}, stage index(begin with 1): {index}, error msg: " in str(replies[1]["error"])


# --- Pipelines ---


def test_a_pipeline_of_two_methods(older: RunningServer) -> None:
    replies = infer(older, "predict", [{"x1": ONES * i, "x2": ONES} for i in range(3)])
    assert all(same(reply["y1"], ONES * (i + 1)) for i, reply in enumerate(replies))
    assert all(same(reply["y2"], ONES * (i - 1)) for i, reply in enumerate(replies))


def test_a_pipeline_with_a_loop(older: RunningServer) -> None:
    instances = [{"x1": ONES, "x2": ONES, "limit": limit} for limit in (0, 10, 40)]
    replies = infer(older, "add_until", instances)
    assert [(float(reply["y"][0, 0]), int(reply["steps"])) for reply in replies] == [(1, 0), (3, 2), (10, 9)]


def test_a_pipeline_of_a_method_with_two_outputs(older: RunningServer) -> None:
    (reply,) = infer(older, "predict_three", {"x1": ONES, "x2": ONES, "x3": ONES})
    assert same(reply["y"], ONES * 3)
    assert same(reply["z"], ONES * 4)


def test_a_pipeline_wins_over_a_method_of_its_name(older: RunningServer) -> None:
    (reply,) = infer(older, "shadowed", {"x1": ONES, "x2": ONES})
    assert same(reply["y"], ONES * 200)


def test_a_pipeline_that_calls_the_model(older: RunningServer) -> None:
    (reply,) = infer(older, "call_the_model", {"x": ONES})
    assert same(reply["y"], ONES * 2)


def test_run_with_a_list(older: RunningServer) -> None:
    (reply,) = infer(older, "several", {"x": ONES})
    assert int(reply["count"]) == 5
    assert same(reply["total"], ONES * 10)


def test_values_of_all_kinds(older: RunningServer) -> None:
    (reply,) = infer(older, "values", {"text": "a", "number": 3, "real": 2.5, "flag": True, "data": b"xy"})
    assert reply["text"] == "a!"
    assert reply["number"].item() == 4
    assert reply["real"].item() == 5
    assert not reply["flag"]
    assert reply["data"] == b"xy"


def test_a_pipeline_over_rest(older: RunningServer) -> None:
    body = {"instances": [{"x1": ONES.tolist(), "x2": ONES.tolist()}]}
    reply = post(older.rest, "/model/older:predict", body)
    assert json.loads(reply.body) == {"instances": [{"y1": [[2.0, 2.0]] * 2, "y2": [[0.0, 0.0]] * 2}]}


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (1, "Run failed: The inputs count 1 of instance 0 is not equal to the inputs count 2"),
        (2, "not enough values to unpack (expected 3, got 2)"),
        (3, "The outputs number 2 of one instance returned by function 'older.odd'"),
        (4, "Get illegal result data with type <class 'dict'>"),
        (5, "as it pleases"),
        (6, "Run failed: Get illegal result data with type <class 'NoneType'>"),
        (7, "Run failed: Given model input 1 size 32 not match the size 16 defined in model"),
        (8, "Run failed: method 'nowhere' is not registered"),
        (9, "leave"),
    ],
)
def test_a_bad_instance_of_a_pipeline_fails_alone(older: RunningServer, case: int, text: str) -> None:
    workers = older.workers()
    first, second, third = infer(older, "odd", [{"case": c, "x": ONES} for c in (0, case, 0)])
    assert same(first["y"], ONES * 2)
    assert same(third["y"], ONES * 2)
    assert str(second["error"]).startswith("Call Pipeline Failed, pipeline: 'odd', error msg: ")
    assert text in str(second["error"])
    assert older.workers() == workers


def test_a_failed_pipeline_over_rest(older: RunningServer) -> None:
    body = {"instances": [{"case": 5, "x": ONES.tolist()}]}
    reply = post(older.rest, "/model/older:odd", body)
    assert reply.status == 500
    assert "Call Pipeline Failed" in reply.error


def test_a_missing_input_fails_the_request(older: RunningServer) -> None:
    reply = infer(older, "predict", [{"x1": ONES, "x2": ONES}, {"x1": ONES}])
    assert "Cannot find input x2 in instance input" in str(reply["error"])


# --- Pipelines that wait ---

WAITING_CONFIG = """\
from mindspore_serving.server import register

{gate}

register.declare_servable("tensor_add.mindir", "MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add(x1, x2):
    y = register.call_servable(x1, x2)
    return y


def hold(x):
    pass_gate()
    return x


@register.register_method(output_names=["y"])
def held(x):
    y = register.add_stage(hold, x, outputs_count=1)
    return y


@register.register_pipeline(output_names=["y"])
def waits(x):
    pass_gate()
    return register.PipelineServable("waiting", "add").run(x, x)


@register.register_pipeline(output_names=["y"])
def waits_in_run(x):
    return register.PipelineServable("waiting", "held").run(x)


@register.register_pipeline(output_names=["y"])
def other(x):
    return register.PipelineServable("waiting", "add").run(x, x)
"""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with Gate(tmp_path / "gate") as opened:
        yield opened


@pytest.fixture
def waiting(tmp_path: Path, gate: Gate) -> Iterator[RunningServer]:
    add_servable(tmp_path, "waiting", WAITING_CONFIG.format(gate=gate.source))
    with serving(tmp_path, ['".", "waiting", device_ids=0'], settings=NO_DRAIN) as running:
        yield running


def test_a_pipeline_that_waits_holds_up_no_other_method(waiting: RunningServer, gate: Gate) -> None:
    with Client(waiting.grpc, "waiting", "waits") as client:
        calls = [client.infer_async({"x": ONES}) for _ in range(4)]
        held = gate.hold()
        (reply,) = infer(waiting, "add", {"x1": ONES, "x2": ONES}, "waiting")
        assert same(reply["y"], ONES * 2)
        (reply,) = infer(waiting, "other", {"x": ONES}, "waiting")
        assert same(reply["y"], ONES * 2)
        held.release()
        with gate.let_all_pass():
            for call in calls:
                (reply,) = call.result()
                assert same(reply["y"], ONES * 2)


def test_many_pipelines_in_run_at_once(waiting: RunningServer, gate: Gate) -> None:
    with gate.let_all_pass(), contextlib.ExitStack() as stack:
        calls = []
        for name in ("waits", "waits_in_run", "other", "held"):
            client = stack.enter_context(Client(waiting.grpc, "waiting", name))
            calls += [client.infer_async([{"x": ONES * i} for i in range(8)]) for _ in range(3)]
        replies = [call.result() for call in calls]
    assert [sum(float(row["y"][0, 0]) for row in reply) for reply in replies] == [56] * 3 + [28] * 3 + [
        56
    ] * 3 + [28] * 3


@pytest.mark.parametrize("method", ["waits", "waits_in_run"])
def test_a_server_stops_while_a_pipeline_waits(waiting: RunningServer, gate: Gate, method: str) -> None:
    with Client(waiting.grpc, "waiting", method) as client:
        call = client.infer_async({"x": ONES})
        held = gate.hold()
        waiting.signal(15)
        if method == "waits_in_run":
            held.release()
        assert waiting.wait() == 0
        assert not waiting.workers()
        assert call.result() is not None


# --- Configurations that cannot be served ---

BROKEN = """\
from mindspore_serving.server import register

{body}


def cast(x1, x2):
    return x1, x2


@register.register_method(output_names=["y"])
def add(x1, x2):
{method}
"""

START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "broken", device_ids=0))
"""

DECLARE = 'register.declare_servable("tensor_add.mindir", "MindIR")'


@pytest.mark.parametrize(
    ("body", "method", "text"),
    [
        (
            DECLARE,
            "    if x1:\n        pass\n    y = register.call_servable(x1, x2)\n    return y",
            "import broken.servable_config failed, Failed to parse method 'add', complex statements such as conditions "
            "and loops are not supported in register_method when the interface 'call_servable' is used",
        ),
        (
            DECLARE,
            "    y = register.call_servable(x1, x2)\n    y = register.call_servable(x1, x2)\n    return y",
            "Check failed in method 'add', call_servable should not be invoked more than once",
        ),
        (
            "",
            "    y = register.call_servable(x1, x2)\n    return y",
            "There is no model declared, you can use declare_model to declare models.",
        ),
        (
            DECLARE,
            "    y = register.call_servable(x1)\n    return y",
            "The inputs count 1 in register_method not equal to the count 2 defined in model, model info: "
            "tensor_add.mindir, subgraph: 0",
        ),
        (
            'register.declare_servable(["tensor_add.mindir", "tensor_sub.mindir"], "MindIR")',
            "    y, z = register.call_servable(x1, x2, subgraph=1)\n    return y",
            "The outputs count 2 in register_method not equal to the count 1 defined in model, model info: "
            "tensor_add.mindir;tensor_sub.mindir, subgraph: 1",
        ),
        (
            DECLARE,
            "    x1 = register.call_preprocess(undefined, x1)\n    y = register.call_servable(x1, x2)\n    return y",
            "name 'undefined' is not defined",
        ),
    ],
)
def test_a_configuration_that_is_refused(tmp_path: Path, body: str, method: str, text: str) -> None:
    add_servable(tmp_path, "broken", BROKEN.format(body=body, method=method), FILES[:2])
    script = tmp_path / "start.py"
    script.write_text(START)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait() != 0
        assert text in running.output


def test_workers_without_a_device_run_pipelines_too(tmp_path: Path) -> None:
    add_servable(tmp_path, "older", CONFIG, FILES)
    with serving(tmp_path, ['".", "older", device_ids=0, num_parallel_workers=2']) as running:
        replies = infer(running, "predict", [{"x1": ONES * i, "x2": ONES} for i in range(20)])
        assert [float(reply["y1"][0, 0]) for reply in replies] == list(range(1, 21))
        replies = infer(running, "call_the_model", [{"x": ONES * i} for i in range(20)])
        assert [float(reply["y"][0, 0]) for reply in replies] == [2 * i for i in range(20)]


def test_older_names_are_told_in_the_log(older: RunningServer) -> None:
    assert "'declare_servable' is deprecated from version" in older.worker_logs()


def test_pipelines_from_many_clients(older: RunningServer) -> None:
    results: list[list[float]] = []

    def work(number: int) -> None:
        with Client(older.grpc, "older", "predict") as client:
            replies = client.infer([{"x1": ONES * (number + i), "x2": ONES} for i in range(10)])
            results.append([float(reply["y1"][0, 0] - number) for reply in replies])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(1, 11))] * 6
