"""How a worker has ended: as a value, which decides what follows (`worker_life`), and in words."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_CONTROL_GROUP = Path("/proc/self/cgroup")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


class EndCause(Enum):
    """Why a worker has ended, or has not come to life."""

    NO_PROCESS = "no process"  # the system is short of something
    START_FAILED = "start failed"  # it reported why it cannot start
    START_TIMEOUT = "start timeout"  # it was not ready in time, and was killed
    DIED = "died"  # without a word
    HUNG = "hung"  # it showed no sign of life, and was killed
    OVERDUE_CALL = "overdue call"  # a call in it took too long
    ON_PURPOSE = "on purpose"  # it said that it ends: a signal, or Stop


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """The end of one start of a worker.

    Attributes:
        cause: Why.
        at: When it was noticed, in seconds of supervision's clock.
        text: How, to follow the worker's name; the first line is for health checks, the others are for the log.
        last_lines: The end of its log then.
        ready_s: Seconds from when it was ready; 0 for one that never was.
        served: Whether it has ever answered something without error, in this start or one before, or ended at work.
        over_suspect: Whether it ran an instance alone that was with a worker which died before (ADR 7).
    """

    cause: EndCause
    at: float
    text: str
    last_lines: str = ""
    ready_s: float = 0.0
    served: bool = False
    over_suspect: bool = False

    @property
    def blameless(self) -> bool:
        """Whether an instance is to blame for it, not the worker."""
        return self.over_suspect or self.cause is EndCause.OVERDUE_CALL


def ended_by(status: int, oom_kills_before: int | None, oom_kills_now: int | None) -> str:
    """How a process has ended, to follow its name.

    Args:
        status: Its exit code, negative for a signal.
        oom_kills_before: What `oom_kills` gave when it was started.
        oom_kills_now: What it gives after its end.
    """
    if status >= 0:
        return f"ended with exit code {status}"
    text = f"was ended by signal {_name_of(-status)}"
    if -status != signal.SIGKILL:
        return text
    if oom_kills_before is None or oom_kills_now is None:
        return f"{text}; the system may have run out of memory"
    if oom_kills_now > oom_kills_before:
        return (
            f"{text}; the system has run out of memory and killed {oom_kills_now - oom_kills_before} processes of this "
            "control group since it was started"
        )
    return text


def oom_kills(control_group: Path = _CONTROL_GROUP, folder: Path = _CONTROL_GROUPS) -> int | None:
    """How many processes of this process's control group the system has killed for want of memory.

    Args:
        control_group: Where the system tells the control group of this process.
        folder: Where the control groups are mounted.

    Returns:
        None where the system does not tell: without version 2 of control groups, or outside of any.
    """
    paths = [folder / "memory.events"]  # in a container, its own control group may be what is mounted
    with contextlib.suppress(OSError):
        for line in control_group.read_text().splitlines():
            if line.startswith("0::"):
                paths.insert(0, folder / line[len("0::/") :] / "memory.events")
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            counts = dict(line.split() for line in path.read_text().splitlines())
            return int(counts.get("oom_kill", ""))
    return None


def _name_of(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:  # one of the real-time signals between the first and the last
        return str(number)
