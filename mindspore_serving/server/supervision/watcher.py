"""Follows one worker from when it is ready: notices its end, and starts it again where that makes sense.

What makes sense is decided by `worker_life.next_step`; here is what has to be waited for and done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.host.waiting import wait_for_event, within
from mindspore_serving.server.supervision.child import Child
from mindspore_serving.server.supervision.reaper import STOP_GRACE_S, Reaper
from mindspore_serving.server.supervision.restart_policy import WINDOW_S
from mindspore_serving.server.supervision.starting import until_started
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.worker_end import EndCause, WorkerEnd
from mindspore_serving.server.supervision.worker_life import (
    Done,
    GiveUp,
    NextStep,
    StartAgain,
    TryAgain,
    WorkerState,
    next_step,
)
from mindspore_serving.server.supervision.worker_process import start_timeout_of
from mindspore_serving.server.supervision.workers import Workers

_LOOK_EVERY_S = 1.0


class Watcher:
    """Follows one worker.

    Args:
        worker: The worker, which has been ready.
        workers: It and all others.
        spawn: Starts a process for it; raises StartUpError if there is none then.
        reaper: Waits for the end of its process.
        on_gone: Called whenever nobody is to wait for the worker any more.
        worker_timeout_s: Seconds without a sign of life after which it is taken for hung.
        start_timeout_s: Seconds after which it should be ready again.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        worker: SupervisedWorker,
        workers: Workers,
        spawn: Callable[[SupervisedWorker], Awaitable[None]],
        reaper: Reaper,
        on_gone: Callable[[SupervisedWorker], None],
        worker_timeout_s: float,
        start_timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._worker = worker
        self._workers = workers
        self._spawn = spawn
        self._reaper = reaper
        self._on_gone = on_gone
        self._most_missed = worker_timeout_s / _LOOK_EVERY_S
        self._start_timeout_s = start_timeout_s
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Watcher of {self._worker!r}>"

    async def run(self) -> None:
        """Follow the worker until it is not started again."""
        worker = self._worker
        await self._until_ended()
        while not isinstance(step := self._next_step(), Done):
            if isinstance(step, GiveUp):
                log.error("%s %s", worker.plan.label, step.why)
                worker.move(WorkerState.FAILED)
                self._on_gone(worker)
            elif await self._is_time(step):
                if await self._start_again(step):
                    await self._until_ended()
                elif worker.state is WorkerState.FAILED:
                    self._on_gone(worker)
        self._on_gone(worker)

    def _next_step(self) -> NextStep:
        worker = self._worker
        assert worker.end is not None
        policy = self._workers.policy_of(worker)
        return next_step(
            worker.state, worker.end, policy, worker.number, self._clock(), may_return=worker.may_return
        )

    async def _is_time(self, step: StartAgain | TryAgain) -> bool:
        """Wait for the time of a step; returns whether it is to be taken then."""
        worker = self._worker
        if isinstance(step, TryAgain):
            await asyncio.sleep(step.at - self._clock())
            return any(other.copy is not None for other in self._workers.of_servable(worker.plan.servable))
        worker.changed.clear()
        await wait_for_event(worker.changed, step.at - self._clock())
        return self._clock() >= step.at  # or its servable was given up meanwhile

    async def _until_ended(self) -> None:
        """Return once the process is gone; one that has closed its channel but lives is killed."""
        worker, child = self._worker, self._worker.child
        assert child is not None
        await self._until_lost()
        was_killed = await self._reaper.reap(child)
        worker.lose(EndCause.DIED)
        worker.release()
        text = self._how_it_ended(child, was_killed)
        end = worker.end = worker.end_by(EndCause.DIED, text, child.last_log_lines())
        self._workers.note_restart(worker, text)
        if worker.state is WorkerState.EXITED:
            log.warning("Worker of %s %s", worker.plan.label, text)
            return
        worker.move(WorkerState.DEAD)
        log.warning(
            "Worker of %s %s, last lines of %s:\n%s", worker.plan.label, text, child.log_path, end.last_lines
        )
        self._count_end(end)

    async def _until_lost(self) -> None:
        """Return once the worker has said that it ends, its connection or its process has ended, or it hangs."""
        worker, child = self._worker, self._worker.child
        assert child is not None
        missed = 0
        ended = False
        while worker.state is WorkerState.READY and not ended:
            # What it wrote last, that it ends on purpose for example, may still be on its way: wait once more.
            ended = child.exit_status() is not None
            missed = 0 if worker.has_been_heard() else missed + 1
            if (
                missed > self._most_missed
            ):  # looks are counted, not seconds: main may have been suspended (ADR 11)
                log.error("Recv Pong Time Out from %s, %s is killed", child.address, worker.plan.label)
                worker.lose(EndCause.HUNG)
                child.kill()
                return
            worker.look_at_memory()
            worker.changed.clear()
            await wait_for_event(worker.changed, _LOOK_EVERY_S)

    def _how_it_ended(self, child: Child, was_killed: bool) -> str:
        lost_over = self._worker.lost_over
        if lost_over is EndCause.OVERDUE_CALL:
            return "was ended over a call that took too long"
        if lost_over is EndCause.HUNG:
            return f"showed no sign of life for {self._most_missed * _LOOK_EVERY_S:g} s and was killed"
        if was_killed:
            return f"closed its channel, did not end within {STOP_GRACE_S:g} s and was killed"
        return child.how_it_ended()

    def _count_end(self, end: WorkerEnd) -> None:
        """Tell the policy of the worker's servable that it has died (ADR 19)."""
        worker = self._worker
        if not worker.may_return:
            return
        policy = self._workers.policy_of(worker)
        # A call that takes too long excuses no end before it: its instances did not cause that.
        excuses = end.cause is not EndCause.OVERDUE_CALL
        what = f"{worker.plan.place} {end.text}"
        if policy.ended(worker.number, end.at, end.ready_s, what, blameless=end.blameless, excuses=excuses):
            log.error(
                "%s workers of servable %s version %s have died within %.0f s, none of them is started again: %s",
                len(policy.ends),
                worker.plan.servable_name,
                worker.plan.version,
                WINDOW_S,
                "; ".join(policy.ends),
            )
            for other in self._workers.of_servable(worker.plan.servable):
                if other.state is WorkerState.DEAD:  # it waits to be started again
                    other.changed.set()

    async def _start_again(self, step: StartAgain | TryAgain) -> bool:
        """Start the worker again; returns whether it has become ready. It is dead or failed otherwise."""
        worker = self._worker
        worker.move(WorkerState.STARTING)
        worker.restarts += 1
        try:
            await self._spawn(worker)
        except StartUpError as error:
            self._note_no_process(error, step)
            return False
        limit_s = start_timeout_of(worker.plan, self._start_timeout_s)
        try:
            await within(limit_s, until_started(worker))
        except asyncio.TimeoutError:
            if worker.state is WorkerState.STARTING:
                await self._note_late(limit_s)
                return False
        except StartUpError as error:
            await self._note_failed_start(error, step)
            return False
        log.warning("%s was started again", worker.plan.label)
        return True

    def _note_no_process(self, error: StartUpError, step: StartAgain | TryAgain) -> None:
        """Act on a start that has not even brought about a process: the system is short of something (ADR 19)."""
        worker = self._worker
        worker.end = worker.end_by(EndCause.NO_PROCESS, f"could not be started: {error.__cause__ or error}")
        self._workers.note_restart(worker, worker.end.text)
        if isinstance(step, TryAgain):
            worker.move(WorkerState.FAILED)
        else:
            self._workers.policy_of(worker).could_not_start(worker.number)
            worker.move(WorkerState.DEAD)
        following = self._next_step()
        if isinstance(following, StartAgain | TryAgain):
            seconds = following.at - worker.end.at
            log.warning(
                "%s could not be started, which is tried again in %g s: %s", worker.plan.label, seconds, error
            )

    async def _note_late(self, limit_s: float | None) -> None:
        worker, child = self._worker, self._worker.child
        assert child is not None
        worker.end = worker.end_by(EndCause.START_TIMEOUT, f"was not ready after {limit_s:.0f} s")
        self._workers.note_restart(worker, worker.end.text)
        worker.move(WorkerState.FAILED)
        child.kill()
        log.error("%s cannot be started again: it %s", worker.plan.label, worker.end.text)
        await self._reaper.reap(child)
        worker.release()

    async def _note_failed_start(self, error: StartUpError, step: StartAgain | TryAgain) -> None:
        """Act on a worker that said why it cannot start, or died without a word."""
        worker, child, end = self._worker, self._worker.child, self._worker.end
        assert child is not None and end is not None
        self._workers.note_restart(worker, end.text or str(error))
        if end.cause is EndCause.START_FAILED:
            log.error("%s cannot be started again: %s", worker.plan.label, error)
            await self._reaper.reap(child)
            worker.release()
            return
        log.warning("%s has not come back: %s", worker.plan.label, error)
        if isinstance(step, TryAgain):  # such a try counts nowhere
            worker.move(WorkerState.FAILED)
        else:
            self._count_end(end)
