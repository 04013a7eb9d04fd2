"""Stage functions that fork: what a child does is its own affair, and no child ever becomes a second worker."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from mindspore_serving.client import Client
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

CONFIG = """\
import concurrent.futures
import multiprocessing
import os
import sys
import threading

import numpy as np

from mindspore_serving.server import register

model = register.declare_model("model0.mindir", "MindIR", with_batch_dim=False)
FORKS = multiprocessing.get_context("fork")
CHILDREN = {
    "returns": lambda: None,
    "raises": lambda: 1 / 0,
    "exits": lambda: sys.exit(),
    "exits 5": lambda: sys.exit(5),
    "exits with words": lambda: sys.exit("words"),
    "leaves": lambda: os._exit(6),
    "interrupts": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "odd": lambda: (_ for _ in ()).throw(BaseException("odd")),
    "forks": lambda: os.fork(),
    "calls the model": lambda: model.call(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)),
    "calls a method": lambda: echo_method.run(np.int64(1)),
}
seen = open("seen", "w")


def fork(what):
    seen.write(f"{what}{chr(10)}")
    child = os.fork()
    if child == 0:
        CHILDREN[what]()
        return "a child"
    return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def fork_in_batch(instances):
    return [fork(what) for (what,) in instances]


def fork_in_generator(instances):
    for (what,) in instances:
        yield fork(what)


def fork_in_thread(what):
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(os.fork())) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    assert 0 not in pids
    return " ".join(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) for pid in pids)


def double(x):
    return 2 * x


def pools(what):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=FORKS) as pool:
        numbers = list(pool.map(double, range(4)))
    with FORKS.Pool(2) as pool:
        numbers += pool.map(double, range(4))
    return str(numbers)


def show(what):
    print(what, "\\u00e9\\u4e2d", flush=True)
    print(what, "\\u00e9\\u4e2d", file=sys.stderr)
    return str(os.getpid())


def method(name, function, **options):
    def one_stage(what):
        return register.add_stage(function, what, outputs_count=1, **options)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


for name, function, options in (
    ("fork", fork, {}),
    ("fork_in_batch", fork_in_batch, {"batch_size": 4}),
    ("fork_in_generator", fork_in_generator, {"batch_size": 4}),
    ("fork_in_thread", fork_in_thread, {}),
    ("pools", pools, {}),
    ("show", show, {}),
):
    method(name, function, **options)


@register.register_method(output_names=["y"])
def echo(x):
    return x


echo_method = register.PipelineServable("forks", "echo")


@register.register_pipeline(output_names=["y"])
def fork_in_pipeline(what):
    return fork(str(what))


child = os.fork()
if child:
    at_import = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert at_import == 0, at_import
"""

# What becomes of each child, as its parent sees it.
ENDS = {
    "returns": "0",
    "raises": "1",
    "exits": "0",
    "exits 5": "5",
    "exits with words": "1",
    "leaves": "6",
    "interrupts": "1",
    "odd": "1",
    "forks": "0",
    "calls the model": "0",
    "calls a method": "1",
}
_asked: list[str] = []
"""What functions were asked to fork."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One worker, whose output takes ASCII only. Its calls are limited, and so written down for the main process."""
    folder = tmp_path_factory.mktemp("forks")
    add_servable(folder, "forks", CONFIG, ["1/model0.mindir"])
    with serving(
        folder,
        ['".", "forks", device_ids=0, stage_timeout_ms=60000'],
        environment={"PYTHONIOENCODING": "ascii"},
    ) as server:
        yield server
        [worker] = server.workers()
        assert ask(server, "show", "the same") == [str(worker)]
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "Register success" not in server.output.partition("Serving RESTful server start")[2]
        # Children have written nothing of what their parent held back.
        assert (folder / "seen").read_text().splitlines() == _asked


def ask(server: RunningServer, method: str, *values: str) -> list[Any]:
    with Client(server.grpc, "forks", method) as client:
        replies = client.infer([{"what": value} for value in values], timeout=30)
    assert isinstance(replies, list), replies
    return [reply.get("y", reply) for reply in replies]


@pytest.mark.parametrize("method", ["fork", "fork_in_batch", "fork_in_generator", "fork_in_pipeline"])
def test_a_child_ends_and_is_no_worker(server: RunningServer, method: str) -> None:
    [worker] = server.workers()
    _asked.extend(ENDS)
    assert dict(zip(ENDS, ask(server, method, *ENDS), strict=True)) == ENDS
    wait_until(lambda: server.workers() == [worker], "no child is left")


def test_threads_and_pools_of_processes_work(server: RunningServer) -> None:
    workers = server.workers()
    assert ask(server, "fork_in_thread", "") == ["0 0 0"]
    assert ask(server, "pools", "") == [str([0, 2, 4, 6] * 2)]
    wait_until(lambda: server.workers() == workers, "no child is left")


def test_what_cannot_be_encoded_is_printed_escaped(server: RunningServer) -> None:
    [worker] = ask(server, "show", "printed")
    assert int(worker) in server.workers()
    log = server.worker_logs()
    assert log.count("printed \\xe9\\u4e2d") == 2


def test_the_stub_backend_announces_itself(server: RunningServer) -> None:
    note = "SERVING_BACKEND=stub: no model is run"
    assert server.read_output().count(note) == 1
    assert server.worker_logs().count(note) == 1
