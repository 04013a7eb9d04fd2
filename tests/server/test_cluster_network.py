"""A cluster of two machines, as far as the network is concerned: two network namespaces with a cable between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.namespaces import MASTER_IP, WORKER_IP, Network, two_namespaces
from tests.server.test_cluster import ADD, INFO, MASTER, WORKER
from tests.support.serving import add_servable, running_script
from tests.support.watch import kill

GRPC_PORT, MASTER_PORT = 5500, 6100

TRAFFIC = """\
import sys
import threading

import numpy as np

from mindspore_serving.client import Client

requests, threads = 3000, 8
wrong, answered, lock = [], [0], threading.Lock()


def send(first):
    with Client("127.0.0.1:5500", "add", "add_common") as client:
        for number in range(first, requests, threads):
            x = np.full((2, 2), number, np.float32)
            reply = client.infer([{"x1": x, "x2": x * i} for i in range(5)], timeout=60)
            expected = [number * (1 + i) for i in range(5)]
            good = isinstance(reply, list) and [
                float(instance["y"][1, 1]) if "y" in instance else instance for instance in reply
            ] == expected
            with lock:
                answered[0] += 1
                if not good:
                    wrong.append(reply)
                if answered[0] % 500 == 0:
                    print("answered", answered[0], flush=True)


workers = [threading.Thread(target=send, args=(i,)) for i in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(f"{answered[0]} answered, {len(wrong)} wrong: {wrong[:3]}", flush=True)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    """The namespaces; skips where they cannot be made."""
    with two_namespaces() as made:
        yield made


def test_no_reply_is_lost_when_one_of_three_workers_on_another_machine_is_killed(
    tmp_path: Path, network: Network
) -> None:
    environment = {**INFO, "SERVING_CLUSTER_TOKEN": "shared by both machines"}
    with contextlib.ExitStack() as stack:
        script = network.script(tmp_path / "master" / "start.py", network.master, MASTER)
        master = stack.enter_context(
            running_script(script, str(GRPC_PORT), str(MASTER_PORT), MASTER_IP, environment=environment)
        )
        master.wait_for_line("master is up")
        workers = []
        for port in (6201, 6202, 6203):
            folder = tmp_path / f"worker{port}"
            add_servable(folder, "add", ADD)
            body = WORKER.replace("127.0.0.1", WORKER_IP)
            script = network.script(folder / "start.py", network.worker, body)
            arguments = (str(MASTER_PORT), str(port), MASTER_IP)
            workers.append(stack.enter_context(running_script(script, *arguments, environment=environment)))
        for worker in workers:
            worker.wait_for_line("worker is up")
        script = network.script(tmp_path / "client" / "traffic.py", network.master, TRAFFIC)
        traffic = stack.enter_context(running_script(script))
        traffic.wait_for_line("answered 1000", 60)
        kill(workers[0].process.pid)
        assert traffic.wait(120) == 0
        assert traffic.lines[-1] == "3000 answered, 0 wrong: []"
        master.wait_for_line(f"Worker lost, worker address: {WORKER_IP}:6201", 5)


def test_without_a_token_another_machine_cannot_reach_the_master(tmp_path: Path, network: Network) -> None:
    with contextlib.ExitStack() as stack:
        script = network.script(tmp_path / "master" / "start.py", network.master, MASTER)
        master = stack.enter_context(
            running_script(script, str(GRPC_PORT), str(MASTER_PORT), MASTER_IP, environment=INFO)
        )
        master.wait_for_line(f"Master server start success, listening on 127.0.0.1:{MASTER_PORT}")
        folder = tmp_path / "worker"
        add_servable(folder, "add", ADD)
        script = network.script(folder / "start.py", network.worker, WORKER.replace("127.0.0.1", WORKER_IP))
        arguments = (str(MASTER_PORT), "6201", MASTER_IP)
        worker = stack.enter_context(running_script(script, *arguments, environment=INFO))
        worker.wait_for_line(
            f"Register to {MASTER_IP}:{MASTER_PORT} failed, try 2 of 60: ConnectionRefusedError", 30
        )
