"""One worker through all its starts: its process, its connection, its copy in dispatch, and how it has ended last.

The states and what follows an end are in `worker_life`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mindspore_serving import log
from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.memory import IdleSlots
from mindspore_serving.server.channel.messages import Register
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.method_calls import CallTarget
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.service.readiness import STARTING, WorkerHealth
from mindspore_serving.server.service.server_statistics import CopyStatistics
from mindspore_serving.server.supervision.child import Child
from mindspore_serving.server.supervision.stage_limit import OverdueCall, StageLimit
from mindspore_serving.server.supervision.worker_end import EndCause, WorkerEnd
from mindspore_serving.server.supervision.worker_life import ALLOWED_MOVES, WorkerState, comes_back
from mindspore_serving.server.supervision.worker_link import WorkerLink
from mindspore_serving.signature import CALL_PREFIX, CalledMethod, ModelInfo


@dataclass(frozen=True, slots=True)
class _CopyLoss:
    """What is known of an end when the copy is taken out of dispatch, before the process is gone."""

    cause: EndCause
    served: bool
    over_suspect: bool


class SupervisedWorker:
    """One worker through all its starts.

    Args:
        plan: What it loads.
        number: Under which it registers.
        servable: Where its copy serves.
        clock: Monotonic time in seconds.

    Attributes:
        state: Where it is in its life.
        child: Its process, that of its last start once that is gone.
        link: The connection with its process; None once that has ended.
        copy: What takes batches while it is ready.
        models: The models that it holds, or held in its start before.
        calls: What its methods call, likewise.
        call_targets: The same, as of now.
        failure: Why it cannot start, as it reported that.
        conflicts: Whether that is because it has other methods than the workers that serve.
        end: How it has ended last; None before its first end.
        restarts: How often it was started again.
        changed: Set when something has happened that who waits for it must look at.
        started_at: When its last start began.
    """

    def __init__(
        self, plan: WorkerPlan, number: int, servable: RunningServable, clock: Callable[[], float]
    ) -> None:
        self.plan = plan
        self.number = number
        self.servable = servable
        self.state = WorkerState.STARTING
        self.child: Child | None = None
        self.link: WorkerLink | None = None
        self.copy: ServableCopy | None = None
        self.models: tuple[ModelInfo, ...] = ()
        self.calls: tuple[CalledMethod, ...] = ()
        self.call_targets: Sequence[CallTarget] = ()
        self.failure = ""
        self.conflicts = False
        self.end: WorkerEnd | None = None
        self.restarts = 0
        self.changed = asyncio.Event()
        self._clock = clock
        self.started_at = clock()
        self._ready_at: float | None = None
        self._alive_at = 0.0
        self._loss: _CopyLoss | None = None
        self._idle_slots: IdleSlots | None = None
        self._stage_limit: StageLimit | None = None

    def __repr__(self) -> str:
        return f"<SupervisedWorker {self.number} {self.plan.label} {self.state.name}>"

    @property
    def may_return(self) -> bool:
        """Whether workers of its kind are started again: one whose agents end with it is not."""
        return self.plan.agents is None

    @property
    def lost_over(self) -> EndCause | None:
        """Why its copy was taken out of dispatch; None before that."""
        return self._loss.cause if self._loss is not None else None

    def has_been_heard(self) -> bool:
        """Whether anything has arrived from it since this was asked last."""
        link = self.link
        if link is None:
            return False
        heard, link.heard = link.heard, False
        return heard

    def move(self, state: WorkerState) -> None:
        """Change the state.

        Raises:
            ChannelError: The move is not allowed.
        """
        if state not in ALLOWED_MOVES[self.state]:
            raise ChannelError(f"{self!r} cannot become {state.name}")
        self.state = state
        self.changed.set()

    def begin_start(self) -> None:
        """Forget its start before; a process follows."""
        self.started_at = self._clock()
        self._ready_at = None
        self._loss = None
        self.failure = ""
        self.conflicts = False
        self.changed.clear()

    def note_alive(self) -> None:
        """It has said that it lives."""
        self._alive_at = self._clock()

    def refuse(self, reason: str) -> None:
        """Note why it cannot start."""
        self.failure = reason or "it gave no reason"
        self.changed.set()

    def register(self, message: Register, memory_idle_s: float) -> None:
        """Let it take work.

        Args:
            message: What it runs and holds.
            memory_idle_s: Seconds without a batch after which its shared memory goes back to the system.

        Raises:
            ChannelError: It does not fit the other workers of its servable, or is ready already.
        """
        child, link, plan, servable = self.child, self.link, self.plan, self.servable
        if child is None or link is None or child.pid != message.pid:
            raise ChannelError(f"process {message.pid} is not worker {message.worker}")
        conflict = servable.conflict(message.methods)
        if conflict:
            self.conflicts = True
            self.refuse(conflict)
            raise ChannelError(conflict)
        self.move(WorkerState.READY)
        self._ready_at = self._alive_at = self._clock()
        self.models = message.models
        self.calls = message.calls
        slots = plan.settings.slots_per_copy  # of this worker, whose memory has been made for them
        copy = self.copy = ServableCopy(plan.label, message.methods, link.send, child.memory, slots)
        link.give_results_to(copy.take_result)
        if child.memory is not None:
            self._idle_slots = IdleSlots(child.memory, range(plan.first_call_slot), memory_idle_s)
        servable.add_copy(copy)
        if child.calls is not None:
            limit_s = plan.settings.stage_timeout_ms / 1000
            self._stage_limit = StageLimit(child.calls, limit_s, self._end_overdue, self._clock)
            self._stage_limit.start()
        log.info(
            "Register success: worker address: %s, servable: {name:%s, version:%s, method:%s}",
            child.address,
            plan.servable_name,
            plan.version,
            [method.name for method in message.methods if not method.name.startswith(CALL_PREFIX)],
        )

    def lose(self, cause: EndCause, overdue: OverdueCall | None = None) -> None:
        """Take its copy out of dispatch, which gives what it held to others; safe to call twice.

        Args:
            cause: Why; what is known later of a worker that has died is not lost.
            overdue: The call that takes too long, if that is why.
        """
        self.stop_looking()
        copy, self.copy = self.copy, None
        if copy is None:
            return
        if self.state is WorkerState.READY:
            self.move(WorkerState.LOST)
        # One that works on something, or ever has, may have died of what it was given: another start may help (ADR 19).
        served = self._has_served or copy.answered_without_error or not copy.idle
        self._loss = _CopyLoss(cause, served, copy.exclusive)
        returns = comes_back(self.end_by(cause, ""), may_return=self.may_return)
        left = cause is EndCause.ON_PURPOSE
        self.servable.remove_copy(copy, returns=returns, left=left, overdue=overdue.call if overdue else None)

    def end_by(self, cause: EndCause, text: str, last_lines: str = "") -> WorkerEnd:
        """The end of its start as a value.

        Args:
            cause: Why; a cause for which its copy was taken out goes before that.
            text: How, to follow its name.
            last_lines: The end of its log.
        """
        now, loss = self._clock(), self._loss
        return WorkerEnd(
            loss.cause if loss is not None else cause,
            now,
            text,
            last_lines,
            ready_s=0.0 if self._ready_at is None else now - self._ready_at,
            served=self._has_served if loss is None else loss.served,
            over_suspect=loss is not None and loss.over_suspect,
        )

    def release(self) -> None:
        """Let go of what a process that is gone leaves here; safe to call twice."""
        if self.link is not None:  # a process that user code has forked may still hold the other end
            self.link.close()
        if self.child is not None:
            self.child.release()

    def give_up(self) -> None:
        """Let nobody wait for it."""
        self.servable.give_up_copy(self.plan.label)

    def health(self, now: float) -> WorkerHealth:
        """How it is, for health checks.

        Args:
            now: In seconds of supervision's clock.
        """
        plan, state = self.plan, self.state
        if state is WorkerState.READY:
            reason = "its models are held by other workers" if plan.remote_models else ""
        elif state is WorkerState.STARTING and self.end is None:
            reason = STARTING
        elif state is WorkerState.LOST:
            reason = "no worker: its connection has ended"
        else:
            first_line = self.end.text.partition("\n")[0] if self.end is not None else ""
            reason = f"no worker: {first_line or state.value}"
        return WorkerHealth(
            servable=plan.servable_name,
            version=plan.version,
            place=plan.place,
            status=state.value,
            serves=not reason,
            reason=reason,
            silent_s=now - self._alive_at if state is WorkerState.READY else None,
        )

    def statistics(self) -> CopyStatistics:
        """How it is, for who reads statistics; without its memory."""
        plan, copy, child = self.plan, self.copy, self.child
        is_there = child is not None and child.exit_status() is None
        return CopyStatistics(
            worker=plan.label,
            device=plan.device_id if plan.has_device else -1,
            state=self.state.value,
            pid=child.pid if child is not None and is_there else 0,
            slots=plan.settings.slots_per_copy,
            slots_used=0 if copy is None else copy.slots_used,
            restarts=self.restarts,
        )

    def look_at_memory(self) -> None:
        """Give shared memory back where no batch has needed it for a while."""
        if self.copy is not None and self._idle_slots is not None:
            self._idle_slots.look(self.copy.last_served, not self.copy.idle, self._clock())

    def stop_looking(self) -> None:
        """Look for calls that take too long no more; safe to call twice."""
        limit, self._stage_limit = self._stage_limit, None
        if limit is not None:
            limit.stop()

    @property
    def _has_served(self) -> bool:
        return self.end is not None and self.end.served

    def _end_overdue(self, overdue: OverdueCall) -> None:
        """End it over a call that takes too long; its watcher starts it again (ADR 20)."""
        child, link = self.child, self.link
        if child is None or link is None:
            return
        log.error(
            "A call in %s, process %s, has run for %.2f s. The worker is ended, where its threads were is in %s. %s",
            self.plan.label,
            child.pid,
            overdue.seconds,
            child.log_path,
            overdue.call.text,
        )
        self.lose(EndCause.OVERDUE_CALL, overdue)
        child.end_with_traceback()
        link.close()
