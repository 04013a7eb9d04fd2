"""One worker through all its starts, as the supervisor knows it.

Its life:

STARTING -> READY       it registered
STARTING -> FAILED      it reported why it cannot start, or died when it was started for the first time
STARTING -> DEAD        it died without a word when it was started again
READY -> EXITED         it said that it ends (a signal, or Stop)
READY -> DEAD           it ended without a word
DEAD -> STARTING        it has ever answered something without error, or died at work: started again after a while
(`restart_policy`)
DEAD -> FAILED          neither, or workers of its servable die too often: starting it again would not help
STARTING -> DEAD        there was not even a process: tried again after a while
FAILED -> STARTING      another worker of its servable serves: tried again every few minutes
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum

from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.memory import IdleSlots
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.readiness import STARTING, WorkerHealth
from mindspore_serving.server.supervision.stage_limit import StageLimit
from mindspore_serving.server.supervision.worker_link import WorkerLink
from mindspore_serving.server.supervision.worker_process import WorkerProcess
from mindspore_serving.signature import ModelInfo


class WorkerStatus(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    EXITED = "exited"
    DEAD = "dead"
    FAILED = "failed"


_ALLOWED = {
    (WorkerStatus.STARTING, WorkerStatus.READY),
    (WorkerStatus.STARTING, WorkerStatus.FAILED),
    (WorkerStatus.STARTING, WorkerStatus.DEAD),
    (WorkerStatus.READY, WorkerStatus.EXITED),
    (WorkerStatus.READY, WorkerStatus.DEAD),
    (WorkerStatus.DEAD, WorkerStatus.STARTING),
    (WorkerStatus.DEAD, WorkerStatus.FAILED),
    (WorkerStatus.FAILED, WorkerStatus.STARTING),
}


class SupervisedWorker:
    """One worker through all its starts.

    Args:
        plan: What it loads.
        number: Under which it registers.

    Attributes:
        channel: The connection with its process, from the start of that on.
        link: The same from when it has registered on.
        has_process: Whether its last start has brought about a process.
        restarts: How often it was started again.
        last_end: How its process ended last, to follow its name; empty before its first end.
        last_lines: The end of its log then.
    """

    def __init__(self, plan: WorkerPlan, number: int) -> None:
        self.plan = plan
        self.number = number
        self.status = WorkerStatus.STARTING
        self.process: WorkerProcess | None = None
        self.has_process = False
        self.channel: WorkerLink | None = None
        self.link: WorkerLink | None = None
        self.copy: ServableCopy | None = None
        self.idle_slots: IdleSlots | None = None
        self.stage_limit: StageLimit | None = None
        self.failure = ""
        self.models: tuple[ModelInfo, ...] = ()
        self.served = False
        self.blameless = False
        self.overdue = False
        self.returns = False
        self.restarts = 0
        self.last_end = ""
        self.last_lines = ""
        self.changed = asyncio.Event()
        self.started_at = time.monotonic()
        self.ready_at: float | None = None

    def __repr__(self) -> str:
        return f"<SupervisedWorker {self.number} {self.plan.label} {self.status.name}>"

    def move(self, status: WorkerStatus) -> None:
        """Change the status.

        Raises:
            ChannelError: The move is not allowed.
        """
        if (self.status, status) not in _ALLOWED:
            raise ChannelError(f"{self!r} cannot become {status.name}")
        self.status = status
        self.changed.set()

    def health(self, now: float) -> WorkerHealth:
        """How it is, for health checks.

        Args:
            now: In seconds of `time.monotonic`.
        """
        plan, link, status = self.plan, self.link, self.status.value
        if self.copy is not None:
            reason = "its models are held by other workers" if plan.remote_models else ""
        elif self.status is WorkerStatus.STARTING and not self.last_end:
            reason = STARTING
        elif self.status is WorkerStatus.READY:
            status, reason = "lost", "no worker: its connection has ended"
        else:
            first_line = self.last_end.partition("\n")[0]  # what follows is for the log
            reason = f"no worker: {first_line or status}"
        return WorkerHealth(
            servable=plan.servable_name,
            version=plan.version,
            place=plan.place,
            status=status,
            serves=not reason,
            reason=reason,
            silent_s=now - link.alive_at if link is not None else None,
        )

    def look_at_memory(self) -> None:
        """Give shared memory back where no batch has needed it for a while."""
        if self.copy is not None and self.idle_slots is not None:
            self.idle_slots.look(self.copy.last_served, not self.copy.idle, time.monotonic())

    def limit_stages(self, limit: StageLimit | None) -> None:
        """Look for calls that take too long, or look no more."""
        if self.stage_limit is not None:
            self.stage_limit.stop()
        self.stage_limit = limit
        if limit is not None:
            limit.start()

    def give_up(self) -> None:
        """Mark a worker that did not become ready as failed."""
        if self.status is WorkerStatus.STARTING:
            self.move(WorkerStatus.FAILED)
