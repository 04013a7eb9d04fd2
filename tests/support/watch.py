"""Looks at processes from outside, with a deadline where no event tells that something has happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.serving import RunningScript

GONE_TIMEOUT_S = 30.0
_POLL_S = 0.02


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = GONE_TIMEOUT_S) -> None:
    """Wait until the condition holds; fails the test if it does not within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s not yet: {what}"
        time.sleep(_POLL_S)


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


def wait_until_gone(*pids: int, timeout_s: float = GONE_TIMEOUT_S) -> None:
    """Wait until none of the processes runs."""
    wait_until(lambda: not any(map(lives, pids)), f"processes {pids} have ended", timeout_s)


def kill(*pids: int) -> None:
    """End processes at once; what has ended already is left out."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def leftovers(running: RunningScript) -> list[str]:
    """What an ended start script has left: its workers."""
    return [f"worker {pid}" for pid in running.workers()]


@contextmanager
def at_a_terminal(script: Path, environment: Mapping[str, str]) -> Any:
    """Run a script as the leader of a process group, as a shell does.

    Yields:
        The running script; what is left of its group is ended on exit.
    """
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=script.parent,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "SERVING_BACKEND": "stub", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    running = RunningScript(process, script.parent)
    try:
        yield running
    finally:
        workers = running.workers()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        kill(*workers)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def press_ctrl_c(running: RunningScript) -> None:
    """What the terminal does: SIGINT to the whole process group."""
    os.killpg(running.process.pid, signal.SIGINT)
