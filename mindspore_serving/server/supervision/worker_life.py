"""The life of a worker: its states, and what follows each of its ends.

Pure: no clock, no process, no loop. `watcher` does what `next_step` says.

    STARTING -> READY      it registered
    STARTING -> FAILED     it reported why it cannot start, was not ready in time, or died when it was started first
    STARTING -> DEAD       it died without a word when it was started again, or there was not even a process
    READY -> EXITED        it said that it ends: a signal, or Stop
    READY -> LOST          its connection has ended, or it is being ended; its process may still live
    LOST -> DEAD           its process is gone
    DEAD -> STARTING       it is started again
    DEAD -> FAILED         it is given up
    FAILED -> STARTING     it is tried again, because another worker of its servable serves

ADR 19 has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from mindspore_serving.server.supervision.restart_policy import GIVEN_UP_S, RestartPolicy
from mindspore_serving.server.supervision.worker_end import EndCause, WorkerEnd


class WorkerState(Enum):
    """Where a worker is in its life; the values are what health checks show."""

    STARTING = "starting"
    READY = "ready"
    EXITED = "exited"
    LOST = "lost"
    DEAD = "dead"
    FAILED = "failed"


ALLOWED_MOVES = {
    WorkerState.STARTING: {WorkerState.READY, WorkerState.FAILED, WorkerState.DEAD},
    WorkerState.READY: {WorkerState.EXITED, WorkerState.LOST},
    WorkerState.EXITED: set(),
    WorkerState.LOST: {WorkerState.DEAD},
    WorkerState.DEAD: {WorkerState.STARTING, WorkerState.FAILED},
    WorkerState.FAILED: {WorkerState.STARTING},
}
OVER = (WorkerState.EXITED, WorkerState.FAILED)
"""States of a worker for which nobody waits: it has gone on purpose, or was given up."""


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Start it again.

    Attributes:
        at: When, in seconds of the clock that `now` is of.
    """

    at: float


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Start it again if another worker of its servable serves then; look once more later if none does.

    Attributes:
        at: When, in seconds of the clock that `now` is of.
    """

    at: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Let nobody wait for it any more.

    Attributes:
        why: What is logged behind its name.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """Watch it no longer."""


NextStep: TypeAlias = StartAgain | TryAgain | GiveUp | Done


def comes_back(end: WorkerEnd, *, may_return: bool) -> bool:
    """Whether a dead worker is started again unless its servable is given up, so that instances may wait for it.

    Args:
        end: What has become of it.
        may_return: Whether workers of its kind are started again.
    """
    return may_return and end.served and end.cause is not EndCause.ON_PURPOSE


def next_step(
    state: WorkerState,
    end: WorkerEnd,
    policy: RestartPolicy,
    number: int,
    now: float,
    *,
    may_return: bool = True,
) -> NextStep:
    """What to do with a worker whose process is gone.

    Args:
        state: EXITED, DEAD or FAILED.
        end: How it has ended last; the policy knows of it.
        policy: That of its servable version.
        number: Its number there.
        now: Monotonic time in seconds.
        may_return: Whether workers of its kind are started again: not one whose agents have died with it.
    """
    if state is WorkerState.EXITED:
        return Done()
    if state is WorkerState.FAILED:
        # Nobody would notice that a file was mended or that the machine has recovered, until the last one dies.
        return TryAgain(now + GIVEN_UP_S) if may_return else Done()
    if not may_return:
        return GiveUp("died, and its agents with it; it is not started again")
    if not comes_back(end, may_return=may_return):
        return GiveUp("died before it served anything; it is not started again")
    if policy.given_up:
        return GiveUp("is not started again: too many workers of its servable have died")
    return StartAgain(end.at + policy.delay_s(number))
