"""A worker process as its owner starts and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server.channel.memory import REGION_SPAN
from mindspore_serving.server.channel.worker_plan import (
    METHOD_CALL_SLOTS,
    WAITING_SLOTS,
    AgentsPlan,
    WorkerPlan,
    WorkerStart,
    read_start,
    with_key,
)
from mindspore_serving.server.supervision.process_log import ProcessLogs
from mindspore_serving.server.supervision.worker_process import WorkerProcess, start_timeout_of
from tests.support.options import KEY, OPTIONS, other_value, other_values
from tests.support.plans import worker_plan
from tests.support.watch import wait_until

VALUES = {"name" if name == "servable_name" else name: value for name, value in other_values().items()}
START_FD = "--start_fd="


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts a worker; it is ended afterwards."""
    logs = ProcessLogs(lambda: tmp_path / "logs", (1000, 1), lambda: None)
    started: list[WorkerProcess] = []

    def start(plan: WorkerPlan, number: int = 0) -> WorkerProcess:
        process = WorkerProcess(plan, number, tmp_path, logs)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        wait_until(lambda process=process: process.exit_status() is not None, "it has ended")  # type: ignore[misc]
        process.channel.close()
        process.release()
    logs.close()


class Commands:
    """What processes were started with; in their place others run, which read nothing."""

    def __init__(self) -> None:
        self.command: list[str] = []
        self.told: WorkerStart | None = None
        self.plan: WorkerPlan | None = None

    def popen(self, command: list[str], **given: Any) -> subprocess.Popen[bytes]:
        """Take the place of `subprocess.Popen`."""
        self.command = command
        start_fd = int(command[-1].removeprefix(START_FD))
        assert start_fd in given["pass_fds"]
        self.told = read_start(os.dup(start_fd))
        for descriptor in (self.told.channel_fd, self.told.memory_fd, self.told.calls_fd, self.told.key_fd):
            assert descriptor is None or descriptor in given["pass_fds"]
        key_fd = None if self.told.key_fd is None else os.dup(self.told.key_fd)
        self.plan = with_key(replace(self.told, key_fd=key_fd))
        return _popen(["sleep", "60"], **given)


_popen = subprocess.Popen


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(subprocess, "Popen", made.popen)
    return made


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("agents", [None, AgentsPlan("table", "127.0.0.1:1", 2)], ids=["alone", "agents"])
def test_the_process_is_told_each_option(
    start: Callable[..., WorkerProcess], commands: Commands, name: str, agents: AgentsPlan | None
) -> None:
    start(worker_plan(**VALUES, agents=agents), 4)
    assert commands.plan is not None
    assert commands.told is not None
    assert getattr(commands.plan.settings, name) == other_value(name)
    assert (commands.plan.agents, commands.told.number, commands.told.parent) == (agents, 4, os.getpid())


def test_what_it_inherits_follows_from_the_options(
    start: Callable[..., WorkerProcess], commands: Commands
) -> None:
    process = start(worker_plan())
    assert commands.told is not None
    assert process.calls is None
    assert (commands.told.calls_fd, commands.told.key_fd) == (None, None)
    process = start(worker_plan(stage_timeout_ms=5, slots_per_copy=3, dec_key=KEY))
    assert process.calls is not None
    assert commands.told.calls_fd == process.calls.fd
    assert process.memory is not None
    assert os.fstat(process.memory.fd).st_size == 2 * (3 + WAITING_SLOTS + METHOD_CALL_SLOTS) * REGION_SPAN
    assert commands.told.memory_fd == process.memory.fd
    assert commands.told.key_fd is not None


def test_lists_of_processes_show_who_it_is_and_no_key(
    start: Callable[..., WorkerProcess], commands: Commands
) -> None:
    start(worker_plan(**VALUES, device_id=2, has_device=False), 4)
    assert commands.command[2:-1] == [
        "--servable_directory=folder",
        "--servable_name=add",
        "--version_number=3",
        "--device_type=cpu",
        "--device_id=2",
        "--worker=4",
        f"--parent={os.getpid()}",
        "--device_ids_empty",
    ]
    start(worker_plan())
    assert "--device_ids_empty" not in commands.command


def test_a_start_is_awaited_without_limit_only_where_agents_are() -> None:
    waits = [None if wait_s is None else AgentsPlan("table", "a:1", wait_s) for wait_s in (None, 0, 5)]
    assert [start_timeout_of(worker_plan(agents=agents), 7) for agents in waits] == [7, None, 12]


def test_the_group_of_a_worker_is_ended_once(
    start: Callable[..., WorkerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(worker_plan("none", servable_directory=str(tmp_path)))
    process.kill()
    wait_until(lambda: process.exit_status() is not None, "it has ended")
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *group: ended.append(group))
    process.kill_group()
    process.kill_group()  # the number may be another's by now
    assert ended == [(process.pid, signal.SIGKILL)]
