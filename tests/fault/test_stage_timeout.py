"""Calls that do not end, in servables with `stage_timeout_ms`, through real servers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from mindspore_serving.client import Client
from tests.support.gate import Gate
from tests.support.http_requests import post
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.traffic import Traffic
from tests.support.watch import lives, wait_until, wait_until_gone

LIMIT_MS = 400
LATE = f"ran for longer than stage_timeout_ms {LIMIT_MS}"

STAGES = """\
import ctypes
import os
import subprocess
import time

import numpy as np

from mindspore_serving.server import register
from mindspore_serving.server.backend.stub.backend import StubGraph

libc = ctypes.PyDLL(None)  # keeps the interpreter's lock


def for_ever(x):
    if x < 0:
        time.sleep(1000)


def one(x):
    for_ever(x)
    return x * 2


def in_c(x):
    if x < 0:
        libc.sleep(1000)
    return x * 2


def with_child(x):
    if x < 0:
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        with open("child.part", "w") as note:
            note.write(str(child.pid))
        os.rename("child.part", "child")
        child.wait()
    return x * 2


def many(instances):
    for (x,) in instances:
        for_ever(x)
    return [x * 2 for (x,) in instances]


plain_predict = StubGraph.predict


def predict(graph, arrays):
    for_ever(arrays[0].min())
    return plain_predict(graph, arrays)


StubGraph.predict = predict
model = register.declare_model("tensor_add.mindir", "MindIR")


def to_row(x):
    return np.full(2, x, np.float32)


def from_row(row):
    return np.int64(row[0])


def call(x):
    return from_row(model.call(to_row(x), to_row(x)))


def method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


method("one", one)
method("in_c", in_c)
method("with_child", with_child)
method("many", many, 4)
method("call", call)


@register.register_method(output_names=["y"])
def staged(x):
    row = register.add_stage(to_row, x, outputs_count=1)
    row = register.add_stage(model, row, row, outputs_count=1)
    return register.add_stage(from_row, row, outputs_count=1)


@register.register_pipeline(output_names=["y"])
def model_of_pipeline(x):
    return call(x)
"""

HELD = """

def held(x):
    pass_gate()
    return x * 2


method("held", held)
"""


def number(value: int) -> dict[str, Any]:
    return {"x": np.array(value, np.int64)}


def outcomes(replies: Any) -> list[Any]:
    """Value of each instance, or its error text; an error of all is told once."""
    if isinstance(replies, dict):
        replies = [replies]
    return [int(reply["y"]) if "y" in reply else reply["error"] for reply in replies]


def ask(server: RunningServer, method: str, *values: int) -> list[Any]:
    with Client(server.grpc, "stages", method) as client:
        return outcomes(client.infer([number(value) for value in values], timeout=60))


def serves(server: RunningServer) -> bool:
    """Whether a worker takes requests."""
    with Client(server.grpc, "stages", "one") as client:
        return isinstance(client.infer(number(1), timeout=60), list)


def limited(folder: Path, config: str) -> Any:
    add_servable(folder, "stages", STAGES)
    return serving(folder, [f'".", "stages", {config}, stage_timeout_ms={LIMIT_MS}'])


def restarts(server: RunningServer) -> int:
    """How often a worker has been started again so far."""
    while server._read(0.001):
        pass
    return server.output.count("was started again")


def wait_for_restart(server: RunningServer, count: int = 1) -> None:
    wait_until(lambda: restarts(server) >= count, f"{count} workers were started again")


def good(client: Client, number_: int) -> Any:
    values = range(number_ % 1000 + 1, number_ % 1000 + 9)
    replies = client.infer([number(value) for value in values], timeout=60)
    if isinstance(replies, list) and outcomes(replies) == [2 * value for value in values]:
        return None
    return replies


def test_a_function_that_does_not_end_costs_its_instance_alone(tmp_path: Path) -> None:
    with limited(tmp_path, "device_ids=(0, 1)") as server:
        workers = server.workers()
        with Traffic(server.grpc, "stages", "one", good) as traffic:
            traffic.wait_for(20)
            first, failed, last = ask(server, "one", 1, -1, 3)
            traffic.wait_for(20)
            wait_for_restart(server)
            traffic.wait_for(20)
        assert traffic.wrong == []
        assert (first, last) == (2, 6)
        assert failed == (
            f"Call Function 'stages.one' Failed, method: 'one', stage index(begin with 1): 1, error msg: {LATE}"
        )
        assert len(set(workers) & set(server.workers())) == 1
        logs = server.worker_logs()
        assert 'servable_config.py", line' in logs
        assert "in for_ever" in logs
        told = server.wait_for_line("A call in servable stages version 1 device")
        assert "[ERROR]" in told
        assert LATE in told
        reply = post(server.rest, "/model/stages:with_child", {"instances": [{"x": -1}]})
        assert reply.status == 500
        assert LATE in reply.text
        wait_until_gone(int((tmp_path / "child").read_text()))
        wait_until(lambda: "in with_child" in server.worker_logs(), "the traceback is written")


def test_the_only_worker_is_replaced_although_it_had_served_nothing(tmp_path: Path) -> None:
    with limited(tmp_path, "device_ids=0") as server:
        seen: set[int] = set()
        for method, restarts in (("in_c", 1), ("many", 3)):
            workers = server.workers()
            assert seen.isdisjoint(workers)
            seen.update(workers)
            *before, failed, after = ask(server, method, 1, 2, -1, 4)
            assert (before, after) == ([2, 4], 8)
            assert failed.startswith(f"Call Function 'stages.{method}' Failed, method: '{method}'")
            assert failed.endswith(LATE)
            wait_for_restart(server, restarts)
            assert f"in {method}" in server.worker_logs()
        assert ask(server, "one", 5) == [10]


def test_a_model_that_does_not_end_costs_its_instance_alone(tmp_path: Path) -> None:
    with limited(tmp_path, "device_ids=0, num_parallel_workers=2") as server:
        for method in ("staged", "model_of_pipeline", "call"):
            wait_until(lambda: serves(server), "a worker serves")
            before, failed, after = ask(server, method, 1, -2, 3)
            assert (before, after) == (2, 6), method
            assert failed.startswith("Call "), method
            assert failed.endswith(LATE), method


def test_a_slow_call_without_a_limit_or_within_it_is_left_alone(tmp_path: Path) -> None:
    """Nor does it help a worker with a limit that it heeds no signal."""
    with Gate(tmp_path / "gate") as gate:
        for name in ("stages", "free", "long"):
            add_servable(tmp_path, name, (STAGES + gate.source + HELD).replace('"stages"', f'"{name}"'))
        configs = [
            f'".", "stages", 0, stage_timeout_ms={LIMIT_MS}',
            '".", "free", 1',
            '".", "long", 2, stage_timeout_ms=60000',
        ]
        with (
            serving(tmp_path, configs) as server,
            Client(server.grpc, "free", "held") as free,
            Client(server.grpc, "long", "held") as long,
            Client(server.grpc, "stages", "held") as short,
        ):
            calls = [client.infer_async(number(3), timeout=60) for client in (free, long)]
            held = [gate.hold() for _ in calls]
            late = short.infer_async(number(3), timeout=60)
            stopped = gate.hold()
            os.kill(stopped.pid, signal.SIGSTOP)
            assert LATE in outcomes(late.result())[0]
            wait_until_gone(stopped.pid)
            assert all(lives(each.pid) for each in held)
            for each in held:
                each.release()
            assert [outcomes(call.result()) for call in calls] == [[6], [6]]
            wait_for_restart(server)
            assert server.output.count("A call in servable") == 1
