"""What functions of users return, raise and say: one instance's error, whose text names the fault and who is at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, serving

CONFIG = """\
import numpy as np

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)
strict = register.declare_model("tensor_sub.mindir", "MindIR", with_batch_dim=False, strict_shape=True)


class Raises:
    def __init__(self, where, raised):
        self.where, self.raised = where, raised

    def _do(self, where):
        if where == self.where:
            raise self.raised

    def asnumpy(self):
        self._do("asnumpy")
        return self

    def __array__(self, *_, **__):
        self._do("__array__")
        return np.zeros(2)

    def __len__(self):
        self._do("__len__")
        return 1

    def __iter__(self):
        self._do("__iter__")
        return iter([1])


class WithoutText(Exception):
    def __str__(self):
        raise KeyboardInterrupt


class OwnBytes(bytes):
    def __len__(self):
        raise SystemExit(3)


class OwnText(str):
    def encode(self, *_):
        raise KeyboardInterrupt


class BadAge(register.InvalidInput):
    pass


def raises(error):
    raise error


def masked():
    return np.ma.masked_array([1, 2], [0, 1])


ODD = {
    "32 dimensions": lambda: np.zeros((1,) * 32),
    "asnumpy exit": lambda: Raises("asnumpy", SystemExit(3)),
    "asnumpy interrupt": lambda: Raises("asnumpy", KeyboardInterrupt()),
    "array exit": lambda: Raises("__array__", GeneratorExit()),
    "array error": lambda: Raises("__array__", ValueError("no array today")),
    "masked": masked,
    "two integers": lambda: [[2**63 + 1, -1]],
    "without text": lambda: raises(WithoutText()),
    "memory": lambda: raises(MemoryError()),
    "assert": lambda: raises(AssertionError()),
    "key": lambda: {}["label"],
    "exit": lambda: raises(SystemExit(2)),
    "text": lambda: raises(ValueError("boom")),
    "own bytes": lambda: OwnBytes(b"ab"),
    "own text": lambda: OwnText("ab"),
    "client": lambda: raises(register.InvalidInput("age is below 0, see /etc/passwd")),
    "client's own": lambda: raises(BadAge("age is no number")),
}
WHOLE = {
    "array": lambda count: np.arange(2.0 * count).reshape(count, 2),
    "text": lambda count: "a" * count,
    "more": lambda count: [1] * (count + 1),
    "length": lambda count: type("NoLength", (), {"__len__": lambda _: raises(KeyboardInterrupt())})(),
    "items": lambda count: type("NoItems", (), {"__iter__": lambda _: raises(SystemExit("no items"))})(),
    "client": lambda count: raises(register.InvalidInput("nobody's age")),
}


def one(x):
    return ODD[x]() if x in ODD else x


def generated(instances):
    for x, in instances:
        yield one(x)


def whole(instances):
    which = str(instances[0][0])
    return WHOLE[which](len(instances)) if which in WHOLE else [x for x, in instances]


def method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


method("one", one)
method("generated", generated, 8)
method("whole", whole, 8)


def nothing():
    return 5


@register.register_method(output_names=["y"])
def five():
    return register.add_stage(nothing, outputs_count=1)


@register.register_method(output_names=["y"])
def plus_five(x):
    return register.add_stage(lambda a, b: a + b, x, register.add_stage(nothing, outputs_count=1), outputs_count=1)


run_one = register.PipelineServable("odd", "one")
run_five = register.PipelineServable("odd", "five")


@register.register_pipeline(output_names=["y"])
def piped(x):
    return one(x)


@register.register_pipeline(output_names=["y"])
def piped_method(x):
    return run_one.run(x)


@register.register_pipeline(output_names=["y"])
def six():
    return run_five.run() + 1


@register.register_method(output_names=["y"])
def add(x):
    return register.add_stage(model, x, x, outputs_count=1)


@register.register_method(output_names=["y"])
def subtract(image):
    return register.add_stage(strict, image, image, outputs_count=1)


def as_double(x):
    return x.astype(np.float64)


@register.register_method(output_names=["y"])
def add_doubles(x):
    x = register.add_stage(as_double, x, outputs_count=1)
    return register.add_stage(model, x, x, outputs_count=1)


def called(x):
    return model.call(x, x)


method("call", called)
"""
SQUARE = np.array([[1, 2], [3, 4]], np.float32)
CASES = {
    "32 dimensions": "Get illegal result data with type <class 'numpy.ndarray'>, it has 32 dimensions, expected "
    "at most 31",
    "asnumpy exit": "SystemExit: 3",
    "asnumpy interrupt": "KeyboardInterrupt",
    "array exit": "GeneratorExit",
    "array error": "Get illegal result data",
    "masked": "1 of its 2 values are masked and have no number; give them one with .filled(value)",
    "two integers": "9223372036854775809 becomes 9.223372036854776e+18 beside other numbers",
    "without text": "WithoutText",
    "memory": "error msg: MemoryError",
    "assert": "error msg: AssertionError",
    "key": "error msg: KeyError: 'label'",
    "exit": "error msg: SystemExit: 2",
    "text": "error msg: boom",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("odd")
    files = ("1/tensor_add.mindir", "1/tensor_sub.mindir")
    add_servable(folder, "odd", CONFIG, files)
    (folder / "parallel").symlink_to("odd")
    configs = ['".", "odd", device_ids=0', '".", "parallel", device_ids=1, num_parallel_workers=2']
    with serving(folder, configs) as running:
        workers = sorted(running.workers())
        yield running
        assert sorted(running.workers()) == workers, "a worker has ended"


def rest(server: RunningServer, method: str, *instances: Any, servable: str = "odd") -> tuple[int, Any]:
    """Status and body of a request over REST."""
    reply = send(server.rest, "POST", f"/model/{servable}:{method}", {"instances": instances})
    return reply.status, json.loads(reply.body)


def test_what_the_client_did_wrong_is_a_warning_without_a_traceback(server: RunningServer) -> None:
    # The first test here: the log of the main process leaves out lines when there were many.
    headers = {"x-request-id": "who-is-at-fault"}
    send(server.rest, "POST", "/model/odd:one", {"instances": [{"x": "client's own"}]}, headers)
    send(server.rest, "POST", "/model/odd:one", {"instances": [{"x": "text"}]}, headers)
    server.wait_for_line("error msg: boom")
    lines = server.read_output().splitlines()
    at = next(i for i, line in enumerate(lines) if "age is no number" in line and "who-is-at-fault" in line)
    assert "WARNING" in lines[at]
    assert "Traceback" not in lines[at + 1]


@pytest.mark.parametrize("method", ["one", "generated", "piped"])
@pytest.mark.parametrize("which", CASES)
def test_an_odd_instance_fails_alone(server: RunningServer, method: str, which: str) -> None:
    status, reply = rest(server, method, {"x": "before"}, {"x": which}, {"x": "after"})
    before, odd, after = reply["instances"]
    assert (status, before, after) == (200, {"y": "before"}, {"y": "after"})
    assert odd["error_msg"].startswith("Call ")
    assert CASES[which] in odd["error_msg"]
    assert rest(server, method, {"x": which})[0] == 500


@pytest.mark.parametrize("method", ["one", "generated", "piped"])
def test_methods_of_derived_classes_do_not_matter(server: RunningServer, method: str) -> None:
    assert rest(server, method, {"x": "own bytes"}, {"x": "own text"}) == (
        200,
        {"instances": [{"y": {"b64": "YWI="}}, {"y": "ab"}]},
    )


@pytest.mark.parametrize("method", ["one", "generated", "piped"])
@pytest.mark.parametrize(
    ("which", "text"), [("client", "age is below 0, see /etc/passwd"), ("client's own", "age is no number")]
)
def test_a_function_says_that_the_client_is_at_fault(
    server: RunningServer, method: str, which: str, text: str
) -> None:
    assert rest(server, method, {"x": which}) == (400, {"error_msg": text})
    status, reply = rest(server, method, {"x": "before"}, {"x": which})
    assert (status, reply) == (200, {"instances": [{"y": "before"}, {"error_msg": text}]})
    with Client(server.grpc, "odd", method) as client:
        assert client.infer({"x": which}) == {"error": text}


def test_a_pipeline_is_at_fault_for_what_it_gives_to_a_method(server: RunningServer) -> None:
    status, reply = rest(server, "piped_method", {"x": "client's own"})
    assert (status, reply["error_msg"]) == (
        500,
        "Call Pipeline Failed, pipeline: 'piped_method', error msg: Run failed: age is no number",
    )


@pytest.mark.parametrize(
    ("which", "status", "text"),
    [
        (
            "array",
            500,
            "The result of function 'odd.whole' is one ndarray of shape [2, 2], expected a list or tuple",
        ),
        ("text", 500, "The result of function 'odd.whole' is one str, expected a list or tuple"),
        (
            "more",
            500,
            "The number 3 of instances returned by function 'odd.whole' is not equal to the number 2",
        ),
        ("length", 500, "error msg: KeyboardInterrupt"),
        ("items", 500, "error msg: no items"),
        ("client", 400, "nobody's age"),
    ],
)
def test_a_batch_function_that_gives_no_series_of_results(
    server: RunningServer, which: str, status: int, text: str
) -> None:
    found, reply = rest(server, "whole", {"x": which}, {"x": "other"})
    assert (found, text in reply["error_msg"]) == (status, True), reply
    assert rest(server, "whole", {"x": "other"}) == (200, {"instances": [{"y": "other"}]})


def test_methods_without_inputs(server: RunningServer) -> None:
    for method, y in (("five", 5), ("six", 6)):
        assert rest(server, method, {"any": 1}, {"any": 2}) == (200, {"instances": [{"y": y}] * 2})
        with Client(server.grpc, "odd", method) as client:
            assert [int(reply["y"]) for reply in client.infer([{}, {}, {}])] == [y] * 3
            assert [int(reply["y"]) for reply in client.infer({})] == [y]
    assert rest(server, "plus_five", {"x": 2}) == (200, {"instances": [{"y": 7}]})
    status, reply = rest(server, "five", {})
    assert status == 400
    assert "instance is object type, but no value" in reply["error_msg"]


SIZE = "Given model input 0 size 32 not match the size 16 defined in model; input 0 "
DOUBLE = "is float64 [2, 2]"
CAST = "expected float32 [2, 2]; give {}.astype(np.float32)"


@pytest.mark.parametrize("servable", ["odd", "parallel"])
def test_a_value_that_does_not_fit_the_model_is_told_with_its_remedy(
    server: RunningServer, servable: str
) -> None:
    with Client(server.grpc, servable, "add") as client:
        told = {
            reply["error"]
            for reply in client.infer([{"x": SQUARE.astype(np.float64)}, {"x": SQUARE}] * 8)[::2]
        }
    assert told == {f"{SIZE}'x' {DOUBLE}, {CAST.format('x')}"}
    wide = {"x": [[1.0] * 3] * 2}
    assert rest(server, "add", *[wide] * 8, servable=servable) == (
        400,
        {
            "error_msg": "Given model input 0 size 24 not match the size 16 defined in model; input 0 'x' is float32 "
            "[2, 3], expected float32 [2, 2]"
        },
    )


@pytest.mark.parametrize("servable", ["odd", "parallel"])
def test_a_stage_that_gives_the_model_a_wrong_value_is_at_fault(server: RunningServer, servable: str) -> None:
    instance = {"x": SQUARE.tolist()}
    stage = f"from Function '{servable}.as_double', stage 1 of method 'add_doubles'"
    assert rest(server, "add_doubles", *[instance] * 8, servable=servable) == (
        500,
        {"error_msg": f"{SIZE}'x1' {DOUBLE} {stage}, {CAST.format('x1')}"},
    )
    with Client(server.grpc, servable, "call") as client:
        told = {
            reply["error"]
            for reply in client.infer([{"x": SQUARE.astype(np.float64)}, {"x": SQUARE}] * 8)[::2]
        }
    assert told == {
        f"Call Function '{servable}.called' Failed, method: 'call', stage index(begin with 1): 1, error msg: "
        f"Model(tensor_add.mindir).call() failed: {SIZE}'x1' {DOUBLE}, {CAST.format('x1')}"
    }
    status, _ = rest(server, "call", {"x": [[1.0, 2.0, 3.0]]}, servable=servable)
    assert status == 500


@pytest.mark.parametrize("servable", ["odd", "parallel"])
def test_another_shape_of_the_right_size(server: RunningServer, servable: str) -> None:
    flat = {"x": [1.0, 2.0, 3.0, 4.0]}
    assert rest(server, "add", *[flat] * 8, servable=servable) == (
        200,
        {"instances": [{"y": [[2.0, 4.0], [6.0, 8.0]]}] * 8},
    )
    warned = [line for line in server.worker_logs().splitlines() if "gives model input" in line]
    mine = [line for line in warned if "Method add gives model input 0 'x1' the shape [4]" in line]
    # Once per worker: a device's, and a second servable has one more, which checks before it sends.
    assert 1 <= len(mine) <= 3
    assert not any("@call" in line for line in warned)
    assert rest(server, "subtract", *[{"image": flat["x"]}] * 8, servable=servable) == (
        400,
        {
            "error_msg": "Given model input 0 shape [4] not match the shape [2, 2] defined in model; input 0 'image' "
            "is float32 [4], expected float32 [2, 2]"
        },
    )
    assert rest(server, "subtract", {"image": SQUARE.tolist()}, servable=servable)[0] == 200
