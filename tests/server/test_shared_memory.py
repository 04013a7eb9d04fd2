"""Large tensors through shared memory, and its pages once nobody sends any."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from mindspore_serving.client import Client
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

SIZE = 5 << 20
CALL_SIZE = 5000 * 16
IDLE_AT_ONCE = {"SERVING_MEMORY_IDLE_S": "1"}
IDLE_NEVER = {"SERVING_MEMORY_IDLE_S": "100000"}

CONFIG = """\
import os

import numpy as np

from mindspore_serving.server import register

add = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


def twice(x):
    return 2 * x


def sum_of_many(x):
    rows = [(np.full((2, 2), x + i, np.float32), np.ones((2, 2), np.float32)) for i in range(5000)]
    return np.stack([y for y, in add.call(rows)]), np.int64(os.getpid())


@register.register_method(output_names=["y"])
def double(x):
    return register.add_stage(twice, x, outputs_count=1)


@register.register_method(output_names=["y", "pid"])
def many(x):
    return register.add_stage(sum_of_many, x, outputs_count=2)
"""


def taken(pid: int) -> int:
    """Bytes that the pages of a worker's shared memory take."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            if "memfd:mindspore_serving" in str(descriptor.readlink()):
                return 512 * descriptor.stat().st_blocks
    raise AssertionError(f"process {pid} has no shared memory")


def wait_until_given_back(pid: int) -> None:
    wait_until(lambda: taken(pid) == 0, "the pages are given back")


def double(server: RunningServer, value: int) -> None:
    with Client(server.grpc, "large", "double") as client:
        replies: Any = client.infer({"x": np.full(SIZE, value, np.int8)}, timeout=30)
    np.testing.assert_array_equal(replies[0]["y"], np.full(SIZE, 2 * value, np.int8))


def many(server: RunningServer, value: int) -> int:
    """Let a function call a model; returns the worker in which it ran."""
    with Client(server.grpc, "large", "many") as client:
        replies: Any = client.infer({"x": value}, timeout=30)
    expected = np.arange(value + 1, value + 5001, dtype=np.float32)
    np.testing.assert_array_equal(replies[0]["y"][:, 1, 1], expected)
    return int(replies[0]["pid"])


def test_pages_of_idle_workers_are_given_back(tmp_path: Path) -> None:
    add_servable(tmp_path, "large", CONFIG)
    with serving(tmp_path, ['".", "large", device_ids=0'], environment=IDLE_AT_ONCE) as server:
        [worker] = server.workers()
        assert taken(worker) == 0
        for value in (1, 2):
            double(server, value)
            wait_until_given_back(worker)


def test_pages_are_kept_for_the_next_batch(tmp_path: Path) -> None:
    add_servable(tmp_path, "large", CONFIG)
    with serving(tmp_path, ['".", "large", device_ids=0'], environment=IDLE_NEVER) as server:
        [worker] = server.workers()
        double(server, 1)
        kept = taken(worker)
        assert kept >= 2 * SIZE
        double(server, 2)
        assert taken(worker) == kept


def is_device_worker(pid: int) -> bool:
    return b"start_worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def until_the_extra_worker_runs(server: RunningServer, value: int) -> int:
    """Ask until another worker than the one with the device has run the function; returns that worker."""
    ran: list[int] = []

    def extra_has_run() -> bool:
        ran.append(many(server, value))
        return not is_device_worker(ran[-1])

    wait_until(extra_has_run, "the worker beyond the devices has run the function", 60)
    return ran[-1]


EXTRA = '".", "large", device_ids=0, num_parallel_workers=2'


def test_pages_of_calls_of_models_are_given_back(tmp_path: Path) -> None:
    add_servable(tmp_path, "large", CONFIG)
    with serving(tmp_path, [EXTRA], environment=IDLE_AT_ONCE) as server:
        for value in (1, 2):
            wait_until_given_back(until_the_extra_worker_runs(server, value))


def test_pages_of_calls_are_kept_for_the_next_call(tmp_path: Path) -> None:
    add_servable(tmp_path, "large", CONFIG)
    with serving(tmp_path, [EXTRA], environment=IDLE_NEVER) as server:
        assert taken(until_the_extra_worker_runs(server, 1)) >= 3 * CALL_SIZE
