"""Worker processes beyond the devices: Python stages in parallel, models reached through the main process."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import kill, leftovers, wait_until_gone

INFO = {"GLOG_v": "1"}

CONFIG = """\
import os

import numpy as np

from mindspore_serving.server import register

add = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)
batched = register.declare_model(["tensor_add_2_1.mindir", "tensor_sub_2_1.mindir"], "MindIR")


def pid(x):
    return np.int64(os.getpid()), os.environ.get("SERVING_DEVICE_ID", "none")


def minus_one(x):
    return x - 1


def model_call(x1, x2):
    return add.call(x1, x2)


def both_graphs(instances):
    sums = batched.call(instances)
    differences = batched.call(instances, subgraph=1)
    for (a,), (b,) in zip(sums, differences):
        yield a, b


@register.register_method(output_names=["pid", "device"])
def where(x):
    return register.add_stage(pid, x, outputs_count=2)


@register.register_method(output_names=["y"])
def only_model(x1, x2):
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def around(x1, x2):
    x1 = register.add_stage(minus_one, x1, outputs_count=1)
    y = register.add_stage(add, x1, x2, outputs_count=1)
    return register.add_stage(minus_one, y, outputs_count=1)


@register.register_method(output_names=["y"])
def called(x1, x2):
    return register.add_stage(model_call, x1, x2, outputs_count=1)


@register.register_method(output_names=["sum", "difference"])
def graphs(x1, x2):
    return register.add_stage(both_graphs, x1, x2, outputs_count=2, batch_size=4)
"""
FILES = ["1/tensor_add.mindir", "1/tensor_add_2_1.mindir", "1/tensor_sub_2_1.mindir"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two devices and two workers beyond them."""
    folder = tmp_path_factory.mktemp("extra")
    add_servable(folder, "calls", CONFIG, FILES)
    configs = ['".", "calls", device_ids=(0, 1), num_parallel_workers=4']
    with serving(folder, configs, environment=INFO) as running:
        yield running


def infer(server: RunningServer, method: str, instances: Any) -> Any:
    with Client(server.grpc, "calls", method) as client:
        return client.infer(instances, timeout=30)


def pair(value: float, shape: tuple[int, ...] = (2, 2)) -> dict[str, Any]:
    return {"x1": np.full(shape, value, np.float32), "x2": np.full(shape, 10 * value, np.float32)}


def commands(server: RunningServer) -> list[str]:
    return [
        Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().split()[0]
        for pid in server.workers()
    ]


def test_workers_are_named_by_their_role(server: RunningServer) -> None:
    assert sorted(commands(server)) == ["start_extra_worker.py"] * 2 + ["start_worker.py"] * 2
    logs = sorted(path.name for path in (server.folder / "serving_logs").iterdir())
    assert logs == [
        "log_calls_device0_version1.log",
        "log_calls_device1_version1.log",
        "log_calls_extra0_version1.log",
        "log_calls_extra1_version1.log",
    ]


def test_python_stages_run_in_all_workers(server: RunningServer) -> None:
    seen: dict[int, str] = {}

    def ask(_: int) -> None:
        for reply in infer(server, "where", [{"x": 1}] * 8):
            seen[int(reply["pid"])] = reply["device"]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
    assert set(seen) == set(server.workers())
    assert sorted(seen.values()) == ["0", "1", "none", "none"]


@pytest.mark.parametrize("method", ["only_model", "around", "called"])
def test_models_are_reached_from_every_worker(server: RunningServer, method: str) -> None:
    offset = {"only_model": 0, "around": -2, "called": 0}[method]

    def ask(value: int) -> list[float]:
        return [float(r["y"][0, 0]) for r in infer(server, method, [pair(value + i) for i in range(7)])]

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(40)))
    assert replies == [[11 * (value + i) + offset for i in range(7)] for value in range(40)]


def test_subgraphs_are_reached_from_every_worker(server: RunningServer) -> None:
    def ask(value: int) -> list[tuple[float, float]]:
        replies = infer(server, "graphs", [pair(value + i, (2,)) for i in range(7)])
        return [(float(r["sum"][0]), float(r["difference"][0])) for r in replies]

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(40)))
    assert replies == [[(11 * (v + i), -9 * (v + i)) for i in range(7)] for v in range(40)]


@pytest.mark.parametrize("method", ["around", "called"])
def test_an_instance_that_does_not_fit_fails_alone(server: RunningServer, method: str) -> None:
    good, bad = pair(1), {"x1": np.ones(3, np.float32), "x2": np.ones(3, np.float32)}
    for _ in range(8):
        first, second, third = infer(server, method, [good, bad, good])
        assert "Given model input 0 size 12 not match the size 16 defined in model" in second["error"]
        assert float(first["y"][0, 0]) == float(third["y"][0, 0]) == (9 if method == "around" else 11)


def test_large_tensors_cross_unharmed(tmp_path: Path) -> None:
    config = CONFIG.replace('declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)', "None")
    config = re.sub(
        r"@register[^@]*?def (only_model|around|called)\(.*?outputs_count=1\)\n\n\n", "", config, flags=re.S
    )
    add_servable(tmp_path, "calls", CONFIG, FILES)
    with serving(tmp_path, ['".", "calls", device_ids=0, num_parallel_workers=3']) as running:
        instances = [pair(i) for i in range(5000)]
        for method, offset in (("around", -2), ("called", 0)):
            replies = infer(running, method, instances)
            assert [float(r["y"][1, 1]) for r in replies] == [11 * i + offset for i in range(5000)]


def test_calls_of_other_workers_are_hidden_from_clients(server: RunningServer) -> None:
    reply = infer(server, "@call_tensor_add.mindir_0", [{"x0": pair(1)["x1"], "x1": pair(1)["x1"]}])
    name = "@call_tensor_add.mindir_0"
    assert reply == {"error": f"Request servable(calls) method({name}) , method is not available"}
    assert not any(name in line for line in server.lines)


def test_every_worker_says_that_it_worked(server: RunningServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: infer(server, "around", [pair(1)] * 8), range(40)))
    for log in (server.folder / "serving_logs").iterdir():
        assert "WorkerRequestHandle Time Cost" in log.read_text(), log.name


def test_no_worker_is_added_where_all_stages_are_models(tmp_path: Path) -> None:
    config = (
        CONFIG[: CONFIG.index("def pid")]
        + CONFIG[CONFIG.index('@register.register_method(output_names=["y"])\ndef only_model') :].split(
            "\n\n\n"
        )[0]
        + "\n"
    )
    add_servable(tmp_path, "calls", config, FILES)
    with serving(
        tmp_path, ['".", "calls", device_ids=0, num_parallel_workers=3'], environment={"GLOG_v": "2"}
    ) as running:
        assert commands(running) == ["start_worker.py"]
        text = (
            "There is no need to startup additional worker processes, all stages are models, servable: calls"
        )
        assert text in running.output
        assert float(infer(running, "only_model", [pair(1)])[0]["y"][0, 0]) == 11


def test_without_devices_every_worker_has_models_of_its_own(tmp_path: Path) -> None:
    add_servable(tmp_path, "calls", CONFIG, FILES)
    environment = {"SERVING_ENABLE_CPU_DEVICE": "1"}
    with serving(tmp_path, ['".", "calls", num_parallel_workers=2'], environment=environment) as running:
        assert commands(running) == ["start_extra_worker.py"] * 2
        assert float(infer(running, "around", [pair(1)])[0]["y"][0, 0]) == 9


def test_workers_beyond_the_devices_survive_the_loss_of_the_device_worker(tmp_path: Path) -> None:
    add_servable(tmp_path, "calls", CONFIG, FILES)
    with serving(tmp_path, ['".", "calls", device_ids=0, num_parallel_workers=2']) as running:
        assert float(infer(running, "called", [pair(1)])[0]["y"][0, 0]) == 11
        infer(running, "only_model", [pair(1)])
        [device] = [
            pid
            for pid in running.workers()
            if b"start_worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        with ThreadPoolExecutor(4) as pool:
            replies = pool.map(lambda v: infer(running, "called", [pair(v)]), range(200))
            kill(device)
            values = [float(reply[0]["y"][0, 0]) for reply in replies]
        assert values == [11 * v for v in range(200)]
        assert device not in running.workers()


def test_a_worker_that_leaves_while_it_waits_for_models_loses_nothing(tmp_path: Path) -> None:
    add_servable(tmp_path, "calls", CONFIG, FILES)
    with serving(tmp_path, ['".", "calls", device_ids=0, num_parallel_workers=4']) as running:
        extras = [
            pid
            for pid in running.workers()
            if b"start_extra_worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(extras) == 3
        with ThreadPoolExecutor(16) as pool:
            replies = pool.map(lambda v: infer(running, "called", [pair(v)] * 3), range(600))
            for pid in extras:
                os.kill(pid, signal.SIGTERM)
                wait_until_gone(pid)
            values = [[float(row["y"][0, 0]) for row in reply] for reply in replies]
        assert values == [[11 * v] * 3 for v in range(600)]


def test_the_server_ends_with_its_last_device_worker(tmp_path: Path) -> None:
    add_servable(tmp_path, "calls", CONFIG, FILES)
    with serving(
        tmp_path, ['".", "calls", device_ids=0, num_parallel_workers=2'], environment=INFO
    ) as running:
        [device] = [
            pid
            for pid in running.workers()
            if b"start_worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(device, signal.SIGTERM)
        running.wait(15)
        text = "Serving server begin to exit: all worker processes that occupy devices have exited"
        assert text in running.output
        assert leftovers(running) == []


def test_a_worker_that_hangs_is_replaced_and_no_request_is_lost(tmp_path: Path) -> None:
    add_servable(tmp_path, "calls", CONFIG, FILES)
    environment = {"SERVING_WORKER_TIMEOUT_S": "2"}
    with serving(tmp_path, ['".", "calls", device_ids=(0, 1)'], environment=environment) as running:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: infer(running, "called", [pair(1)] * 4), range(40)))
            stopped = running.workers()[0]
            os.kill(stopped, signal.SIGSTOP)
            replies = list(pool.map(lambda v: infer(running, "called", [pair(v)]), range(60)))
        assert [float(reply[0]["y"][0, 0]) for reply in replies] == [11 * v for v in range(60)]
        wait_until_gone(stopped)
        running.wait_for_line("was started again", 10)
        assert len(running.workers()) == 2
        assert "Recv Pong Time Out from unix:serving_worker_calls_device" in running.output
