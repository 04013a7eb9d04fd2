"""A worker process as its owner ends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mindspore_serving.server.supervision.process_log import ProcessLogs
from mindspore_serving.server.supervision.worker_process import WorkerProcess
from tests.support.plans import worker_plan
from tests.support.watch import wait_until


def test_the_group_of_a_worker_is_ended_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = worker_plan("none", servable_directory=str(tmp_path))
    logs = ProcessLogs(lambda: tmp_path / "logs", (1000, 1), lambda: None)
    process = WorkerProcess(plan, 0, tmp_path, logs)
    process.kill()
    wait_until(lambda: process.exit_status() is not None, "it has ended")
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *group: ended.append(group))
    process.kill_group()
    process.kill_group()  # the number may be another's by now
    assert ended == [(process.pid, signal.SIGKILL)]
    process.release()
    logs.close()
