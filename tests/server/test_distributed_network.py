"""A distributed servable whose agents are on two machines, as far as the network is concerned."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.namespaces import ENTER, MASTER_IP, WORKER_IP, Network, two_namespaces
from tests.support.distributed_scripts import AGENTS, SERVER, Distributed, distributed_scripts, server_list
from tests.support.serving import running_script
from tests.support.watch import wait_until_gone

GRPC_PORT, REST_PORT, WORKER_PORT, AGENT_PORT = 5500, 1500, 6200, 7000
SILENCE_S = 3
END_S = 20.0

TRAFFIC = """\
import threading

import numpy as np

from mindspore_serving.client import Client

threads = 4
right, wrong, errors, lock = [0], [], [], threading.Lock()


def send(number):
    with Client("127.0.0.1:5500", "sharded", "add") as client:
        while True:
            number += 1
            x = np.full(2, number, np.float32)
            reply = client.infer([{"x1": x, "x2": x * i} for i in range(5)], timeout=60)
            if not isinstance(reply, list) or any("error" in instance for instance in reply):
                with lock:
                    errors.append(reply)
                return
            good = all((instance["y"] == number * (1 + i)).all() for i, instance in enumerate(reply))
            with lock:
                right[0] += good
                wrong.extend([] if good else [reply])
                if right[0] % 100 == 0:
                    print("right", right[0], flush=True)


workers = [threading.Thread(target=send, args=(100 * i,)) for i in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(f"{len(errors)} errors {errors}, {len(wrong)} wrong: {wrong[:3]}", flush=True)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    with two_namespaces() as made:
        yield made


@contextlib.contextmanager
def on_two_machines(folder: Path, network: Network, token: str) -> Iterator[Distributed]:
    """Server and ranks 0 and 1 on one machine, ranks 2 and 3 on the other; all of it may still be starting."""
    environment = {"SERVING_CLUSTER_TOKEN": token, "SERVING_WORKER_TIMEOUT_S": str(SILENCE_S)}
    table = server_list(*[MASTER_IP] * 2, *[WORKER_IP] * 2)
    with distributed_scripts(folder, 4, table=table, **environment) as made:
        made.grpc, made.rest = f"127.0.0.1:{GRPC_PORT}", f"127.0.0.1:{REST_PORT}"
        made.address, made.agent_port = f"{MASTER_IP}:{WORKER_PORT}", AGENT_PORT
        made.start_server(script=ENTER.format(name=network.master) + SERVER, ready="")
        files = ["tensor_add_0.mindir", "tensor_add_1.mindir"]
        for name in (network.master, network.worker):
            made.start_agents(script=ENTER.format(name=name) + AGENTS, files=files, ready="")
        yield made


def test_when_the_cable_is_cut_requests_fail_and_everything_ends(tmp_path: Path, network: Network) -> None:
    with on_two_machines(tmp_path, network, "shared by both machines") as made:
        made.wait_until_up()
        assert "ranks: [2, 3]" in made.starters[1].output
        everything = made.processes()
        assert len(everything) == 8, everything
        script = network.script(tmp_path / "client" / "traffic.py", network.master, TRAFFIC)
        with running_script(script) as traffic:
            traffic.wait_for_line("right 500", 60)
            network.cut()
            assert traffic.wait(SILENCE_S + END_S) == 0
            assert traffic.lines[-1].startswith("4 errors ")
            assert traffic.lines[-1].endswith(", 0 wrong: []")
        wait_until_gone(*everything, timeout_s=SILENCE_S + END_S)
        assert made.server.wait() == 1
        # Each side ends as soon as it misses one of the other side's processes.
        lost = rf"Recv Pong Time Out from {WORKER_IP}:700[01], host address is {made.address}"
        assert re.search(lost, made.server.worker_logs())
        lost = f"Recv Ping Time Out from {made.address}, host address is {WORKER_IP}"
        assert lost in made.log_of(2, 1) + made.log_of(3, 1)
        for starter in made.starters:
            assert starter.wait() == 0


def test_without_a_token_another_machine_cannot_reach_the_worker(tmp_path: Path, network: Network) -> None:
    with on_two_machines(tmp_path, network, "") as made:
        made.server.wait_for_line(
            "the distributed worker listens on 127.0.0.1 instead of 10.201.77.1, and agents of this machine only"
        )
        made.starters[1].wait_for_line(
            f"Distributed worker {made.address}, try 2 of 60: ConnectionRefusedError", 30
        )
