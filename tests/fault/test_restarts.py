"""What keeps workers from being started again, and what does not."""

from __future__ import annotations

import http.client
import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.gate import Gate
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import kill, wait_until

CONFIG = """

import time
from pathlib import Path

from mindspore_serving.server import register

HOME = Path(__file__).parent
while (HOME / "slow").exists():
    time.sleep(0.02)


def at_gate(x):
    pass_gate()
    return os.getpid()


@register.register_method(output_names=["y"])
def whose(x):
    return register.add_stage(lambda x: os.getpid(), x, outputs_count=1)


@register.register_method(output_names=["y"])
def wait(x):
    return register.add_stage(at_gate, x, outputs_count=1)
"""
EAGER = """\
from mindspore_serving.server.supervision import restart_policy
restart_policy.FIRST_DELAY_S = 0.2
"""
"""Servers start workers again sooner: after 0.2 s instead of a second."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with Gate(tmp_path_factory.mktemp("gate") / "gate") as gate:
        yield gate


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Path:
    """Folder of the servables, which is not where servers run."""
    folder = tmp_path_factory.mktemp("servables")
    add_servable(folder, "one", gate.source + CONFIG, ())
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server") / "works here"
    folder.mkdir()
    environment = {"SERVING_SUSPECT_WAIT_S": "0.3"}
    configs = [f'"{home}", "one", (0, 1)']
    with serving(folder, configs, environment=environment, settings=EAGER) as server:
        yield server


def pids(server: RunningServer, count: int = 1) -> set[int]:
    """Which workers answer so many instances."""
    with Client(server.grpc, "one", "whose") as client:
        reply = client.infer([number(i) for i in range(count)], timeout=30)
    assert isinstance(reply, list), reply
    return {int(row["y"]) for row in reply}


def number(value: int) -> dict[str, Any]:
    return {"x": np.array(value, np.int64)}


def serve_from_all(server: RunningServer) -> list[int]:
    """Let both workers answer something, so that they are started again; returns their process ids."""
    seen: set[int] = set()
    wait_until(lambda: seen.update(pids(server, 40)) or len(seen) == 2, "both workers answer")
    return sorted(seen)


def wait_for_line(server: RunningServer, text: str) -> str:
    """Wait for a line that the server has not printed before; forgets those up to it."""
    line = server.wait_for_line(text, 30)
    del server.lines[: server.lines.index(line) + 1]
    return line


def kill_one(server: RunningServer, pid: int) -> None:
    server.read_output()
    server.lines.clear()
    kill(pid)


def test_what_a_dead_worker_held_does_not_wait_for_its_restart(
    server: RunningServer, home: Path, gate: Gate
) -> None:
    serve_from_all(server)
    (home / "one" / "slow").touch()
    with Client(server.grpc, "one", "wait") as client:
        call = client.infer_async(number(1))
        held = gate.hold()
        kill_one(server, held.pid)
        again = gate.hold()
        assert again.pid != held.pid
        again.release()
        assert [int(row["y"]) for row in call.result()] == [again.pid]
    assert pids(server, 40) == {again.pid}  # which has served others all the while
    (home / "one" / "slow").unlink()
    wait_for_line(server, "was started again")


def test_a_working_directory_that_is_renamed_and_one_that_is_removed(server: RunningServer) -> None:
    moved = server.folder.with_name("works there")
    server.folder.rename(moved)
    first, _ = serve_from_all(server)
    kill_one(server, first)
    wait_for_line(server, "was started again")
    workers = serve_from_all(server)
    assert {Path(f"/proc/{pid}/cwd").readlink() for pid in workers} == {moved}
    assert {Path(f"/proc/{pid}/fd/1").readlink().parent for pid in workers} == {moved / "serving_logs"}
    shutil.rmtree(moved)
    kill_one(server, workers[0])
    line = wait_for_line(server, "goes on there, the log cannot be opened again")
    assert line.endswith("the working directory has been removed")
    wait_for_line(server, "was started again")
    serve_from_all(server)


def ready(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    """Status and document of the readiness of a server, over a connection that stays open."""
    connection.request("GET", "/healthz/ready")
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_a_shortage_is_no_death(tmp_path: Path, home: Path) -> None:
    with (
        serving(tmp_path, [f'"{home}", "one", 0'], settings=EAGER) as server,
        closing(http.client.HTTPConnection(server.rest, timeout=20)) as connection,
    ):
        assert ready(connection)[0] == 200
        [worker] = pids(server)
        pid = server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        few = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) // 2
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, before[1]))
        kill(worker)
        for seconds in (0.4, 0.8):
            line = wait_for_line(server, "could not be started, which is tried again in")
            assert f"tried again in {seconds} s" in line
            assert "Too many open files" in line
        status, document = ready(connection)
        assert (status, "could not be started: [Errno 24] Too many open files" in json.dumps(document)) == (
            503,
            True,
        )
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        wait_for_line(server, "was started again")
        assert ready(connection)[0] == 200
        assert pids(server) == set(server.workers())
