"""Methods that call methods of other servables, through real servers and real worker processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import post, send
from tests.support.serving import RunningServer, add_servable, serving

OUTER = """\
import os

import numpy as np

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)
other = register.PipelineServable("inner", "tenfold")
later = register.PipelineServable("inner", "tenfold", 2)


def plus_one(x):
    return x + 1


def joined(a, b, c):
    return np.concatenate([a, b, c])


def pid(x):
    return np.int64(os.getpid())


def tripled(x):
    return np.repeat(x, 3)


@register.register_method(output_names=["y"])
def chain(x):
    x = register.add_stage(plus_one, x, outputs_count=1)
    x = register.call("inner", "tenfold", x)
    return register.add_stage(plus_one, x, outputs_count=1)


@register.register_method(output_names=["y"])
def straight(x):
    return register.call("inner", "tenfold", x)


@register.register_method(output_names=["y"])
def join(x):
    a = register.call("inner", "tenfold", x)
    b = register.call("outer", "own", x)
    c = register.call("inner", "tenfold", x, version_number=1)
    return register.add_stage(joined, a, b, c, outputs_count=1)


@register.register_method(output_names=["y"])
def own(x):
    return register.add_stage(plus_one, x, outputs_count=1)


@register.register_method(output_names=["newest", "first", "second"])
def versions(x):
    newest = register.call("inner", "pid", x)
    first = register.call("inner", "pid", x, version_number=1)
    second = register.call("inner", "pid", x, version_number=2)
    return newest, first, second


@register.register_method(output_names=["y", "caller", "called"])
def model_and_pids(x):
    y = register.add_stage(model, x, x, outputs_count=1)
    called = register.call("inner", "pid", y)
    caller = register.add_stage(pid, x, outputs_count=1)
    return y, caller, called


@register.register_method(output_names=["a", "b"])
def two_outputs(x):
    return register.call("inner", "split", x, outputs_count=2)


@register.register_method(output_names=["y"])
def typed(x):
    return register.call("inner", "typed", x)


@register.register_method(output_names=["y"])
def given(x):
    x = register.add_stage(plus_one, x, outputs_count=1)
    return register.call("inner", "picky", x)


@register.register_method(output_names=["y"])
def picky(x):
    return register.call("inner", "picky", x)


@register.register_method(output_names=["y"])
def words(text, image):
    return register.call("inner", "words", text, image)


@register.register_method(output_names=["y"], examples=[{"x": np.ones(2, np.float32)}])
def shown(x):
    return register.call("inner", "tenfold", x)


@register.register_method(output_names=["y"])
def with_parameters(x):
    return register.call("inner", "with_parameters", x)


@register.register_pipeline(output_names=["y"])
def loop(x):
    return sum(value for (value,) in other.run([x, x + 1])) + later.run(x)


def in_function(x):
    return other.run(x)


@register.register_method(output_names=["y"])
def waits_in_a_function(x):
    return register.add_stage(in_function, x, outputs_count=1)
"""

INNER = """\
import os

import numpy as np

from mindspore_serving.server import register


def tenfold_of(x):
    if np.any(x == 13):
        raise ValueError("13 is unlucky")
    return x * 10


def pid_of(x):
    return np.int64(os.getpid())


def halves(x):
    return x[: len(x) // 2], x[len(x) // 2 :]


def picked(x):
    raise register.InvalidInput(f"{x.shape} is not nice")


def described(text, image):
    return f"{text} {len(image)}"


def value_of(x, parameters):
    return x + parameters.get("more", 0)


@register.register_method(output_names=["y"])
def tenfold(x):
    return register.add_stage(tenfold_of, x, outputs_count=1)


@register.register_method(output_names=["y"])
def pid(x):
    return register.add_stage(pid_of, x, outputs_count=1)


@register.register_method(output_names=["a", "b"])
def split(x):
    return register.add_stage(halves, x, outputs_count=2)


@register.register_method(output_names=["y"], inputs={"image": register.TensorSpec("int32", [2])})
def typed(image):
    return register.add_stage(tenfold_of, image, outputs_count=1)


@register.register_method(output_names=["y"])
def picky(x):
    return register.add_stage(picked, x, outputs_count=1)


@register.register_method(output_names=["y"])
def words(text, image):
    return register.add_stage(described, text, image, outputs_count=1)


@register.register_method(output_names=["y"], inputs={"parameters": register.Parameters()})
def with_parameters(x, parameters):
    return register.add_stage(value_of, x, parameters, outputs_count=1)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """`outer` with a device and a worker beyond it; two versions of `inner`, of which one has two workers."""
    folder = tmp_path_factory.mktemp("calls")
    add_servable(folder, "outer", OUTER)
    add_servable(folder, "inner", INNER, ())
    configs = [
        '".", "outer", device_ids=0, num_parallel_workers=2',
        '".", "inner", num_parallel_workers=2, version_number=1',
        '".", "inner", num_parallel_workers=1, version_number=2',
    ]
    with serving(folder, configs) as running:
        yield running


def infer(server: RunningServer, method: str, instances: Any, servable: str = "outer") -> Any:
    with Client(server.grpc, servable, method) as client:
        return client.infer(instances, timeout=60)


def vector(*values: float) -> dict[str, Any]:
    return {"x": np.array(values, np.float32)}


def test_a_call_between_functions(server: RunningServer) -> None:
    replies = infer(server, "chain", [vector(i) for i in range(40)])
    assert [reply["y"].tolist() if "y" in reply else "" for reply in replies] == [
        "" if i == 12 else [(i + 1) * 10 + 1] for i in range(40)
    ]
    assert replies[12]["error"] == (
        "Call Method 'inner.tenfold' Failed, method: 'chain', stage index(begin with 1): 2, error msg: Call Function "
        "'inner.tenfold_of' Failed, method: 'tenfold', stage index(begin with 1): 1, error msg: 13 is unlucky"
    )


@pytest.mark.parametrize("size", [1, 100_000])
def test_tensors_of_any_size_go_there_and_back(server: RunningServer, size: int) -> None:
    def ask(value: int) -> bool:
        instances = [{"x": np.full(size + i, value + i, np.float32)} for i in range(3)]
        replies = infer(server, "straight", instances)
        return all(
            np.array_equal(reply["y"], 10 * one["x"]) for reply, one in zip(replies, instances, strict=True)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(20, 60)))


def test_fan_out_and_join(server: RunningServer) -> None:
    replies = infer(server, "join", [vector(2, 3), vector(13, 1), vector(4)])
    assert replies[0]["y"].tolist() == [20, 30, 3, 4, 20, 30]
    assert "stage index(begin with 1): 1, error msg: Call Function" in replies[1]["error"]
    assert replies[2]["y"].tolist() == [40, 5, 40]


def _version_of(pid: int) -> int:
    """The version that a worker runs, as its command line tells."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    found = re.search(r"--version_number=(\d+)", line)
    assert found, line
    return int(found[1])


def test_versions(server: RunningServer) -> None:
    [reply] = infer(server, "versions", [vector(1)])
    assert [_version_of(int(reply[name])) for name in ("newest", "first", "second")] == [2, 1, 2]


def test_calls_beside_models_reach_all_workers_from_all_workers(server: RunningServer) -> None:
    seen: set[tuple[int, int]] = set()

    def ask(value: int) -> None:
        x = np.full((2, 2), value, np.float32)
        [reply] = infer(server, "model_and_pids", [{"x": x}])
        assert np.array_equal(reply["y"], 2 * x)
        seen.add((int(reply["caller"]), int(reply["called"])))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    callers, called = ({pair[i] for pair in seen} for i in (0, 1))
    assert len(callers) == 2
    assert called <= set(server.workers()) - callers


def test_several_outputs(server: RunningServer) -> None:
    [reply] = infer(server, "two_outputs", [vector(1, 2, 3, 4)])
    assert (reply["a"].tolist(), reply["b"].tolist()) == ([1, 2], [3, 4])


def test_text_and_bytes(server: RunningServer) -> None:
    replies = infer(server, "words", [{"text": "a", "image": b"123"}, {"text": "b", "image": b""}])
    assert [reply["y"] for reply in replies] == ["a 3", "b 0"]


def test_what_a_called_method_declares_is_checked(server: RunningServer) -> None:
    good, bad = {"x": np.array([1, 2], np.int32)}, vector(1, 2)
    replies = infer(server, "typed", [good, bad, good])
    assert [reply["y"].tolist() for reply in (replies[0], replies[2])] == [[10, 20]] * 2
    assert replies[1]["error"] == "Input 'x' is float32 of shape [2], expected int32 of shape [2]"


def test_clients_see_the_types_of_called_methods(server: RunningServer) -> None:
    """JSON numbers and rows of tensors mean what they would mean to the called method."""
    metadata = json.loads(send(server.rest, "GET", "/v2/models/outer.typed").body)
    assert metadata["inputs"] == [{"name": "x", "datatype": "INT32", "shape": [-1, 2]}]
    request = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [3, 2], "data": list(range(6))}]}
    [output] = json.loads(post(server.rest, "/v2/models/outer.typed/infer", request).body)["outputs"]
    assert (output["datatype"], output["shape"]) == ("INT32", [3, 2])
    assert output["data"] == [10 * i for i in range(6)]


def test_who_is_at_fault_shows_in_the_status(server: RunningServer) -> None:
    body = {"instances": [{"x": [1.0]}]}
    by_client = post(server.rest, "/model/outer:picky", body)
    assert (by_client.status, by_client.text.count("(1,) is not nice")) == (400, 1)
    by_servable = post(server.rest, "/model/outer:given", body)
    assert by_servable.status == 500
    assert "Call Method 'inner.picky' Failed, method: 'given'" in by_servable.text


def test_parameters_of_requests_are_not_passed_on(server: RunningServer) -> None:
    [reply] = infer(server, "with_parameters", [vector(1)])
    assert reply["y"].tolist() == [1]


def test_a_pipeline_waits_for_other_servables(server: RunningServer) -> None:
    replies = infer(server, "loop", [vector(1), vector(2), vector(12)])
    assert [reply["y"].tolist() for reply in replies[:2]] == [[40], [70]]
    assert "Run failed: method 'inner.tenfold': Call Function" in replies[2]["error"]


def test_a_stage_function_is_told_what_to_write_instead(server: RunningServer) -> None:
    reply = infer(server, "waits_in_a_function", [vector(1)])
    assert "register.call('inner', 'tenfold', ...)" in reply["error"]


def test_an_example_of_a_method_that_calls_does_not_run_but_is_served(server: RunningServer) -> None:
    [reply] = infer(server, "shown", [vector(1, 1)])
    assert reply["y"].tolist() == [10, 10]


def test_nothing_in_the_logs_is_an_error(server: RunningServer) -> None:
    assert "is closed" not in server.read_output()
