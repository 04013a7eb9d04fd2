"""Start scripts and stage functions that fork or run other programs while the server serves."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import raw_connection
from tests.support.serving import add_servable, free_port, running_script
from tests.support.traffic import Traffic
from tests.support.watch import kill, leftovers, lives, wait_until_gone

pytestmark = pytest.mark.both_grpc_servers

CONFIG = """\
import multiprocessing
import os
import time

import numpy as np

from mindspore_serving.server import register


def twice(x):
    return x * 2


def sleep(x):
    time.sleep(1000)


def in_pool(x):
    forks = multiprocessing.get_context("fork")
    with forks.Pool(2) as pool:
        doubled = pool.map(twice, [int(x)])[0]
    stuck = forks.Process(target=sleep, args=(x,))
    stuck.start()
    stuck.terminate()
    stuck.join()
    return np.array([doubled, stuck.exitcode])


def method(name, function):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


method("twice", twice)
method("in_pool", in_pool)
"""

SCRIPT = """\
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time

from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "forks", (0, 1)))
server.start_grpc_server({grpc!r})
server.start_restful_server({rest!r})
forks = multiprocessing.get_context("fork")


def work(number):
    return sum(range(number))


def wait():
    time.sleep(1000)


def leave():
    sys.exit(3)


def child(target):
    process = forks.Process(target=target)
    process.start()
    return process


print("up", flush=True)
for turn in range(5):
    with forks.Pool(2) as pool:
        assert pool.map(work, [10] * 20) == [45] * 20
    leaves, stuck = child(leave), child(wait)
    leaves.join()
    stuck.terminate()
    stuck.join()
    assert (leaves.exitcode, stuck.exitcode) == (3, -15), (leaves.exitcode, stuck.exitcode)
    assert subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True).stdout == b"42\\n"
    pid = os.fork()
    if pid == 0:
        server.stop()
        sys.exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
print("forked", flush=True)
stays = child(wait)
print("child", stays.pid, flush=True)
if {again}:
    server.stop()
    stays.terminate()
    stays.join()
    alone = child(lambda: (server.start_restful_server({rest!r}), server.stop()))
    alone.join()
    print("alone", alone.exitcode, flush=True)
"""


def double(client: Client, number: int) -> Any:
    reply = client.infer([{"x": np.array(number + i, np.int64)} for i in range(3)], timeout=30)
    good = isinstance(reply, list) and [row.get("y") for row in reply] == [2 * (number + i) for i in range(3)]
    return None if good else reply


def start(folder: Path, again: bool) -> tuple[Path, str, str]:
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    add_servable(folder, "forks", CONFIG, ())
    script = folder / "start.py"
    script.write_text(SCRIPT.format(grpc=grpc, rest=rest, again=again))
    return script, grpc, rest


def listens(address: str) -> bool:
    """Whether some process listens on a port of this machine."""
    port = int(address.rpartition(":")[2])
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(line[1].rpartition(":")[2], 16) == port and line[3] == "0A" for line in lines)


def test_forks_and_programs_of_a_script_harm_nobody(tmp_path: Path) -> None:
    script, grpc, rest = start(tmp_path, again=False)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running, ExitStack() as stack:
        running.wait_for_line("up")
        workers = running.workers()
        idle = stack.enter_context(raw_connection(rest))
        with Traffic(grpc, "forks", "twice", double) as traffic:
            running.wait_for_line("forked")
            traffic.wait_for(20)
        assert traffic.wrong == []
        assert running.workers() == workers
        child = int(running.wait_for_line("child").split()[1])
        # A child that outlives the server holds none of its ports.
        kill(running.process.pid)
        wait_until_gone(*workers)
        assert lives(child)
        assert idle.recv(1) == b""
        assert not listens(grpc)
        assert not listens(rest)
        assert leftovers(running) == []
        kill(child)


def test_a_forked_child_may_have_a_server_of_its_own(tmp_path: Path) -> None:
    script, *_ = start(tmp_path, again=True)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("alone 0")
        assert running.wait() == 0
        assert leftovers(running) == []


def test_forks_of_a_stage_function_end_when_they_are_told(tmp_path: Path) -> None:
    script, grpc, _ = start(tmp_path, again=False)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("up")
        workers = running.workers()
        with Client(grpc, "forks", "in_pool") as client:
            [row] = client.infer({"x": np.array(4, np.int64)}, timeout=30)
        assert row["y"].tolist() == [8, -signal.SIGTERM]
        assert running.workers() == workers
