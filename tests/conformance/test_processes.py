"""Sections 5.5 and 11.2: who starts, supervises and outlives whom."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.conformance.row import row, stands_for
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import kill, leftovers, wait_until, wait_until_gone

ONES = np.ones((2, 2), np.float32)
LIMIT_S = 30.0
ADD = """\
import os

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


def who(x):
    return os.getpid()


@register.register_method(output_names=["y", "pid"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1), register.add_stage(who, x1, outputs_count=1)
"""
REGISTERED = "Register success: worker address: "


def start(folder: Path, devices: str = "(0, 1)") -> Any:
    add_servable(folder, "add", ADD)
    return serving(folder, [f'".", "add", device_ids={devices}'], environment={"GLOG_v": "1"})


def ask(server: RunningServer, count: int = 1) -> Any:
    with Client(server.grpc, "add", "add") as client:
        return client.infer([{"x1": ONES, "x2": ONES}] * count)


def pids_of(replies: Any) -> set[int]:
    assert isinstance(replies, list), replies
    assert all(reply["y"].max() == 2 for reply in replies)
    return {int(reply["pid"]) for reply in replies}


def registrations(server: RunningServer) -> int:
    """How often the main process has said that a worker is there."""
    server._read(0.01)
    return sum(REGISTERED in line for line in server.lines)


@pytest.mark.parametrize(
    "number",
    [
        row("11.2-kill_9_master", signal.SIGKILL),
        row("11.2-kill_15_master", signal.SIGTERM),
        row("5.5-sigint-main", signal.SIGINT),
    ],
)
def test_workers_end_with_the_main_process(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as running:
        workers = running.workers()
        assert len(workers) == 2
        running.signal(number)
        running.wait(LIMIT_S)
        wait_until_gone(*workers, timeout_s=LIMIT_S)
        assert leftovers(running) == []


@pytest.mark.parametrize(
    "number", [row("11.2-kill_9_worker", signal.SIGKILL), row("11.2-kill_15_worker", signal.SIGTERM)]
)
def test_the_server_ends_with_its_workers(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as running:
        for pid in running.workers():
            os.kill(pid, number)
        running.wait(LIMIT_S)
        assert running.process.poll() is not None
        text = "Serving server begin to exit: all worker processes that occupy devices have exited"
        assert any(line.endswith(f"] {text}") for line in running.lines), running.output
        assert leftovers(running) == []


@stands_for("11.2-restart+5.5-restart+5.5-log-appended")
def test_killed_workers_are_started_again(tmp_path: Path) -> None:
    with start(tmp_path) as running:
        wait_until(lambda: len(pids_of(ask(running, 20))) == 2, "both workers have answered")
        for count in (3, 4):
            victim = min(running.workers())
            kill(victim)
            assert pids_of(ask(running, 20))  # answered by the other one
            wait_until(
                lambda victim=victim: len(pids_of(ask(running, 20)) - {victim}) == 2, "both answer again"
            )
            wait_until(lambda count=count: registrations(running) >= count, f"{count} registrations")
            assert registrations(running) == count
        logs = sorted((tmp_path / "serving_logs").iterdir())
        assert [log.name for log in logs] == ["log_add_device0_version1.log", "log_add_device1_version1.log"]
        assert sum(log.read_text().count("Serving: Start servable success") for log in logs) == 4
        for pid in running.workers():
            os.kill(pid, signal.SIGTERM)
        running.wait(LIMIT_S)
        assert running.process.poll() is not None


@stands_for("5.5-sigint-only-worker+11.3-test_server_client-sigint-worker")
def test_sigint_to_the_only_worker(tmp_path: Path) -> None:
    with start(tmp_path, "0") as running:
        assert ask(running)[0]["y"].max() == 2
        [pid] = running.workers()
        os.kill(pid, signal.SIGINT)
        running.wait(LIMIT_S)
        assert ask(running)["error"].startswith("Grpc Error, (14, 'unavailable'), ")


@stands_for("5.5-sigkill-only-worker+6.3-no-live-worker+11.3-test_server_client-sigkill-after-a-request")
def test_the_only_worker_is_started_again(tmp_path: Path) -> None:
    with start(tmp_path, "0") as running:
        [first] = pids_of(ask(running))
        kill(first)
        replies: list[Any] = []
        wait_until(lambda: replies.append(ask(running)) or isinstance(replies[-1], list), "it answers again")
        error = "Request servable(add) method(add) , servable is not available"
        assert all(reply == {"error": error} for reply in replies[:-1]), replies
        assert pids_of(ask(running)) != {first}


@stands_for("5.5-sigkill-before-any-request+11.3-test_server_client-sigkill-before-any")
def test_a_worker_that_never_served_is_not_started_again(tmp_path: Path) -> None:
    with start(tmp_path, "0") as running:
        kill(*running.workers())
        running.wait(LIMIT_S)
        assert ask(running)["error"].startswith("Grpc Error, (14, 'unavailable'), ")


@stands_for("5.5-exit-message")
def test_a_worker_that_says_goodbye_is_not_started_again(tmp_path: Path) -> None:
    with start(tmp_path) as running:
        wait_until(lambda: len(pids_of(ask(running, 20))) == 2, "both workers have answered")
        leaver, stayer = running.workers()
        os.kill(leaver, signal.SIGTERM)
        wait_until_gone(leaver)
        for _ in range(10):
            assert pids_of(ask(running, 20)) == {stayer}
        assert running.workers() == [stayer]


@stands_for("5.5-socket-files+12.1-14")
def test_files_of_a_server(tmp_path: Path) -> None:
    with start(tmp_path, "0") as running:
        ask(running)
        expected = ["add", "serving_logs", "start_server.py"]
        assert sorted(path.name for path in tmp_path.iterdir()) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == expected
