"""Owner of the worker processes: starts them, watches them, starts them again, ends them.

Everything here runs on the event loop. `supervised_worker` has the life of a worker.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, Failure, StartUpError, StatusCode
from mindspore_serving.rows import FailedRows, Reply
from mindspore_serving.server.channel.memory import IdleSlots
from mindspore_serving.server.channel.messages import (
    Alive,
    Exiting,
    HeldModels,
    Message,
    ModelCall,
    ModelReply,
    Register,
    Result,
    StartFailed,
    Stop,
    WantModels,
)
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.readiness import WorkerHealth
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.host.forked_child import no_forks
from mindspore_serving.server.host.settings import (
    START_TIMEOUT_VARIABLE,
    memory_idle_s,
    start_timeout_s,
    worker_timeout_s,
)
from mindspore_serving.server.host.waiting import wait_for_event
from mindspore_serving.server.supervision.process_log import LOG_DIRECTORY, ProcessLogs
from mindspore_serving.server.supervision.restart_policy import GIVEN_UP_S, WINDOW_S, RestartPolicy
from mindspore_serving.server.supervision.stage_limit import OverdueCall, StageLimit
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker, WorkerStatus
from mindspore_serving.server.supervision.worker_link import WorkerLink, open_link
from mindspore_serving.server.supervision.worker_process import WorkerProcess, start_timeout_of
from mindspore_serving.server.supervision.working_directory import WorkingDirectory
from mindspore_serving.signature import CALL_PREFIX, ModelInfo

STOP_GRACE_S = 5.0
HURRIED_GRACE_S = 1.0
"""The same after a second signal, which need not be meant so: some programs pass on a Ctrl+C that all have had already.
Workers that are idle end in order within it."""
_START_POLL_S = 0.05
_WATCH_POLL_S = 1.0
_REAP_POLL_S = 0.02
_PROGRESS_EVERY_S = 15.0


class Supervisor:
    """All workers of this server.

    Args:
        dispatcher: Where copies that are ready serve.
        on_all_gone: Called once when no worker is left that serves, starts or will be started again.
    """

    def __init__(self, dispatcher: Dispatcher, on_all_gone: Callable[[], None]) -> None:
        self._dispatcher = dispatcher
        self._directory: WorkingDirectory | None = None
        self._logs = ProcessLogs(self._log_folder, log.rotation(), self._on_logs_moved)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_all_gone = on_all_gone
        self._workers: list[SupervisedWorker] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._policies: dict[tuple[str, int], RestartPolicy] = {}
        self._hurried = False
        self._planned = 0
        self._said_ready = 0
        self._told_all_gone = False
        self._most_missed = worker_timeout_s() / _WATCH_POLL_S
        self._memory_idle_s = memory_idle_s()
        self._start_timeout_s = start_timeout_s()

    def __repr__(self) -> str:
        return f"<Supervisor {self._workers}>"

    @property
    def channels(self) -> Sequence[int]:
        """Inodes of main's ends of the channels, also of those that are closed."""
        return [worker.process.channel_number for worker in self._workers if worker.process is not None]

    async def start(self, plans: Sequence[WorkerPlan], say: Callable[[str], None]) -> None:
        """Start all workers at the same time; returns when each is ready.

        Args:
            plans: One per worker.
            say: Takes a line of progress.

        Raises:
            StartUpError: A worker failed to start; the text is the reason that it gave. All are ended then.
        """
        self._loop = asyncio.get_running_loop()
        self._dispatcher.readiness.add(self)
        try:
            self._directory = WorkingDirectory()
        except OSError as cause:
            raise StartUpError(
                f"Serving Error: Master server start failed, the working directory cannot be opened: {cause}"
            ) from cause
        say("Serving: Master server start success, listening on unix:socketpair")
        self._planned = len(plans)
        await self._start_all([plan for plan in plans if not plan.remote_models], say)
        needed = [plan for plan in plans if plan.remote_models and self._is_needed(plan)]
        self._planned = len(self._workers) + len(needed)
        await self._start_all(needed, say)
        self._watchers = [asyncio.create_task(self._watch(worker)) for worker in self._workers]

    async def _start_all(self, plans: Sequence[WorkerPlan], say: Callable[[str], None]) -> None:
        """Start workers at the same time, and wait until each is ready.

        Raises:
            StartUpError: One failed.
        """
        first = len(self._workers)
        workers = [SupervisedWorker(plan, number) for number, plan in enumerate(plans, first)]
        self._workers += workers
        self._dispatcher.readiness.notify()
        for worker in workers:
            await self._spawn(worker)
        limits = [start_timeout_of(plan) for plan in plans]
        limit = None if None in limits else max(filter(None, limits), default=self._start_timeout_s)
        try:
            await asyncio.wait_for(self._all_ready(workers, say), limit)
        except asyncio.TimeoutError as cause:
            late = [worker for worker in workers if worker.status is WorkerStatus.STARTING]
            names = ", ".join(worker.plan.label for worker in late)
            raise StartUpError(
                f"Fail to start workers: {names} not ready after {limit:g} s. If servable_config.py and its models "
                f"take that long to load, set {START_TIMEOUT_VARIABLE} to more seconds{_end_of_log(late)}"
            ) from cause

    def _is_needed(self, plan: WorkerPlan) -> bool:
        """Whether a worker without models of its own would have anything to do."""
        if not self._servable(plan).all_models:
            return True
        if plan.device_id == 0:  # once for all such workers of the servable
            log.warning(
                "There is no need to startup additional worker processes, all stages are models, servable: %s",
                plan.servable_name,
            )
        return False

    async def stop(self) -> None:
        """End all workers; safe to call twice."""
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers = []
        await asyncio.gather(*(self._end(worker) for worker in self._workers))
        self._logs.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.close()
        self._dispatcher.readiness.remove(self)

    def workers_health(self) -> Iterator[WorkerHealth]:
        """All workers; see `HealthSource`."""
        now = time.monotonic()
        return (worker.health(now) for worker in self._workers)

    def awaited(self) -> list[str]:
        """The workers that have not ended, with their process ids; may be asked from any thread."""
        processes = [worker.process for worker in self._workers if worker.process is not None]
        return [f"{one.plan.label} (process {one.pid})" for one in processes if one.exit_status() is None]

    def hurry(self) -> None:
        """Let the stop wait for no worker that is busy; may be called from any thread, and while it stops."""
        self._hurried = True

    def follow_logs(self) -> None:
        """Open logs again that others have moved away, and tell the workers; may be called from any thread."""
        self._logs.follow()

    def _log_folder(self) -> Path | None:
        """Where logs are now; None if the working directory has been removed."""
        directory = None if self._directory is None else self._directory.path()
        return directory / LOG_DIRECTORY if directory is not None else None

    def _on_logs_moved(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell_moved_logs)

    def _tell_moved_logs(self) -> None:
        for worker in self._workers:
            moved = worker.process.log_moved() if worker.process and worker.link else None
            if moved is not None and worker.link is not None:
                worker.link.send(moved)

    def on_message(self, link: WorkerLink, message: Message) -> None:
        """Act on a message of a worker.

        Raises:
            ChannelError: The message does not fit what is known of the worker.
        """
        if isinstance(message, Result):
            worker = self._worker_of(link.worker)
            if worker.copy is not None:
                self._servable(worker.plan).take_result(worker.copy, message)
        elif isinstance(message, ModelCall):
            self._call_model(link, self._worker_of(link.worker), message)
        elif isinstance(message, Alive):
            link.alive_at = time.monotonic()
        elif isinstance(message, Register):
            self._register(link, message)
        elif isinstance(message, WantModels):
            link.send(HeldModels(self._models_for(self._worker_of(message.worker))))
        elif isinstance(message, StartFailed):
            worker = self._worker_of(message.worker)
            worker.failure = message.reason
            worker.changed.set()
        elif isinstance(message, Exiting):
            worker = self._worker_of(link.worker)
            worker.move(WorkerStatus.EXITED)
            self._take_out(worker)
            link.close()
        else:
            raise ChannelError(f"a worker does not send {type(message).__name__}")

    def on_lost(self, link: WorkerLink) -> None:
        """Take the copy of a worker out at once; its watcher does the rest."""
        if link.worker is not None:
            worker = self._workers[link.worker]
            if worker.link is link:
                worker.link = None
                self._take_out(worker)
                worker.changed.set()

    def _models_for(self, worker: SupervisedWorker) -> tuple[ModelInfo, ...]:
        """The models that workers of the same servable and version hold."""
        plan = worker.plan
        return next(
            (
                other.models
                for other in self._workers
                if other.models and other.plan.servable == plan.servable
            ),
            (),
        )

    def _call_model(self, link: WorkerLink, worker: SupervisedWorker, call: ModelCall) -> None:
        """Run instances on a model that other workers hold, and send the outcome back."""
        reply = self._dispatcher.forward(self._servable(worker.plan), call.method, call.groups)
        link.calls.add(reply)

        def answer(reply: asyncio.Future[Reply]) -> None:
            link.calls.discard(reply)
            if reply.cancelled():
                return
            try:
                link.send(ModelReply(call.batch_id, call.slot, 0, tuple(reply.result()), True))
            except Exception as cause:  # whatever it is, the worker waits for an answer
                log.error("Cannot pass results to %s", worker.plan.label, exc_info=True)
                failure = Failure(StatusCode.FAILED, f"The results cannot be passed on: {cause!r}")
                failed = FailedRows(failure, call.count)
                link.send(ModelReply(call.batch_id, call.slot, 0, (failed,), True))

        reply.add_done_callback(answer)

    def _worker_of(self, number: int | None) -> SupervisedWorker:
        if number is None or not 0 <= number < len(self._workers):
            raise ChannelError(f"there is no worker {number}")
        return self._workers[number]

    async def _spawn(self, worker: SupervisedWorker) -> None:
        """Start the process of a worker.

        Raises:
            StartUpError: There is no process.
        """
        assert self._directory is not None
        worker.has_process = False
        worker.started_at = time.monotonic()
        worker.ready_at = None
        worker.blameless = False
        worker.overdue = False
        worker.failure = ""
        worker.changed.clear()
        with no_forks():  # until it is known what a forked child has to let go of
            process = worker.process = WorkerProcess(
                worker.plan, worker.number, self._directory.path(), self._logs
            )
        try:
            worker.channel = await open_link(process.channel, self)
        except OSError as cause:
            process.kill()
            await self._reap(process)
            raise StartUpError(f"Start worker failed: {worker.plan.label}: {cause}") from cause
        worker.has_process = True

    def _register(self, link: WorkerLink, message: Register) -> None:
        worker = self._worker_of(message.worker)
        if worker.process is None or worker.process.pid != message.pid:
            raise ChannelError(f"process {message.pid} is not worker {message.worker}")
        worker.failure = self._servable(worker.plan).conflict(message.methods)
        if worker.failure:
            worker.changed.set()
            raise ChannelError(worker.failure)
        worker.move(WorkerStatus.READY)
        worker.ready_at = time.monotonic()
        link.worker = message.worker
        link.memory = worker.process.memory
        link.alive_at = time.monotonic()
        worker.link = link
        worker.models = message.models
        plan = worker.plan
        slots = plan.settings.slots_per_copy  # of this worker, whose memory has been made for them
        worker.copy = ServableCopy(plan.label, message.methods, link.send, link.memory, slots)
        if link.memory is not None:
            worker.idle_slots = IdleSlots(link.memory, range(plan.first_call_slot), self._memory_idle_s)
        self._servable(plan).add_copy(worker.copy)
        if worker.process.calls is not None:
            limit_s = plan.settings.stage_timeout_ms / 1000
            on_overdue = partial(self._end_overdue, worker)
            worker.limit_stages(StageLimit(worker.process.calls, limit_s, on_overdue))
        worker.returns = False
        self._tell_moved_logs()  # logs may have been moved since it was started
        log.info(
            "Register success: worker address: %s, servable: {name:%s, version:%s, method:%s}",
            worker.process.address,
            worker.plan.servable_name,
            worker.plan.version,
            [method.name for method in message.methods if not method.name.startswith(CALL_PREFIX)],
        )

    def _end_overdue(self, worker: SupervisedWorker, overdue: OverdueCall) -> None:
        """End a worker in which a call takes too long; its watcher starts it again."""
        process, link = worker.process, worker.link
        if process is None or link is None:
            return
        log.error(
            "A call in %s, process %s, has run for %.2f s. The worker is ended, where its threads were is in %s. %s",
            worker.plan.label,
            process.pid,
            overdue.seconds,
            process.log_path,
            overdue.call.text,
        )
        self._take_out(worker, overdue)
        process.end_with_traceback()
        link.close()

    def _take_out(self, worker: SupervisedWorker, overdue: OverdueCall | None = None) -> None:
        worker.limit_stages(None)
        copy, worker.copy = worker.copy, None
        if copy is not None:
            # A copy that is lost while it runs a suspect, or to a call, is not to blame.
            worker.overdue = overdue is not None
            worker.blameless = copy.exclusive or worker.overdue
            # One that works on something, or ever has, may have died of what it was given: another start may help.
            worker.served = worker.served or copy.answered_without_error or not copy.idle
            worker.returns = (
                worker.served
                and worker.status is WorkerStatus.READY
                and worker.plan.agents is None
                and not self._stopping
            )
            left = worker.status is WorkerStatus.EXITED
            self._servable(worker.plan).remove_copy(
                copy, returns=worker.returns, left=left, overdue=overdue.call if overdue else None
            )

    def _servable(self, plan: WorkerPlan) -> RunningServable:
        return self._dispatcher.servable(plan.servable_name, plan.version)

    async def _all_ready(self, workers: Sequence[SupervisedWorker], say: Callable[[str], None]) -> None:
        """Wait until every worker is ready; say so of each, and who is awaited where it takes long."""
        tasks = {asyncio.create_task(self._until_started(worker)): worker for worker in workers}
        pending: set[asyncio.Task[None]] = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=_PROGRESS_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    waiting = [tasks[task].plan.label for task in pending]
                    say(f"Serving: waiting for {len(waiting)} workers, the first is {waiting[0]}")
                for task in done:
                    task.result()
                    self._said_ready += 1
                    say(_ready_line(tasks[task], self._said_ready, self._planned))
        finally:
            for task in tasks:
                task.cancel()
            # Several may have failed, or fail now: one is reported.
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_started(self, worker: SupervisedWorker) -> None:
        """Return once the worker is ready.

        Raises:
            StartUpError: It failed, or died.
        """
        process = worker.process
        assert process is not None
        while worker.status is WorkerStatus.STARTING:
            if worker.failure:
                worker.move(WorkerStatus.FAILED)
                raise StartUpError(
                    f"Fail to start workers: {worker.plan.failure(worker.failure)}, more in {process.log_path}"
                )
            if process.exit_status() is not None and not worker.changed.is_set():
                # What it wrote last may still be on its way through the socket.
                await asyncio.sleep(_START_POLL_S)
                if not worker.changed.is_set():
                    process.kill_group()
                    self._release(worker, process)
                    worker.last_end, worker.last_lines = process.how_it_ended(), process.last_log_lines()
                    worker.move(WorkerStatus.DEAD if worker.restarts else WorkerStatus.FAILED)
                    raise StartUpError(
                        f"Fail to start workers because of death of one worker, {worker.plan.label}, "
                        f"{worker.last_end}, last lines of {process.log_path}:\n{worker.last_lines}"
                    )
            await wait_for_event(worker.changed, _START_POLL_S)

    async def _watch(self, worker: SupervisedWorker) -> None:
        """Follow one worker until it is not started again."""
        while not self._stopping:
            if worker.status is WorkerStatus.READY:
                worker.changed.clear()
                await self._until_ended(worker)
            elif worker.status is WorkerStatus.DEAD:
                await self._revive(worker)
            elif worker.status is WorkerStatus.FAILED and worker.plan.agents is None:
                await self._try_after_a_while(worker)
            else:
                return
            if worker.status in (WorkerStatus.FAILED, WorkerStatus.EXITED) and not self._stopping:
                self._note_gone(worker)

    def _note_gone(self, worker: SupervisedWorker) -> None:
        """Let nobody wait for a worker, and tell if it was the last."""
        if worker.returns:
            worker.returns = False
            self._servable(worker.plan).give_up_copy(worker.plan.label)
        owners = [w for w in self._workers if not w.plan.remote_models]
        alive = any(
            w.status in (WorkerStatus.STARTING, WorkerStatus.READY, WorkerStatus.DEAD) for w in owners
        )
        if not alive and not self._told_all_gone:
            self._told_all_gone = True
            self._on_all_gone()

    async def _until_ended(self, worker: SupervisedWorker) -> None:
        """Return once the process is gone; a worker that closed its channel but lives is killed."""
        process = worker.process
        assert process is not None
        ended = False
        missed = 0
        killed = ""
        while worker.link is not None and not ended:
            # What it wrote last, that it ends on purpose for example, may still be on its way: wait once more.
            ended = process.exit_status() is not None
            missed = 0 if worker.link.heard else missed + 1
            worker.link.heard = False
            if missed > self._most_missed:
                log.error("Recv Pong Time Out from %s, %s is killed", process.address, worker.plan.label)
                process.kill()
                killed = f"showed no sign of life for {self._most_missed * _WATCH_POLL_S:g} s and was killed"
                break
            worker.look_at_memory()
            await wait_for_event(worker.changed, _WATCH_POLL_S)
            worker.changed.clear()
        if worker.overdue:
            killed = "was ended over a call that took too long"
        if await self._reap(process) and not killed:
            killed = f"closed its channel, did not end within {STOP_GRACE_S:g} s and was killed"
        self._take_out(worker)
        worker.link = None
        self._release(worker, process)
        worker.last_end, worker.last_lines = killed or process.how_it_ended(), process.last_log_lines()
        if worker.status is not WorkerStatus.READY:
            log.warning("Worker of %s %s", worker.plan.label, worker.last_end)
            return
        worker.move(WorkerStatus.DEAD)
        label, log_path = worker.plan.label, process.log_path
        log.warning(
            "Worker of %s %s, last lines of %s:\n%s", label, worker.last_end, log_path, worker.last_lines
        )

    async def _revive(self, worker: SupervisedWorker) -> None:
        """Start a dead worker again where that makes sense; it is ready or failed then, or still dead."""
        label = worker.plan.label
        if worker.plan.agents is not None:
            log.error("%s died, and its agents with it; it is not started again", label)
            worker.move(WorkerStatus.FAILED)
            return
        policy = self._policy_of(worker)
        if worker.has_process:
            self._count_end(worker, policy)
        if not worker.served:
            log.error("%s died before it served anything; it is not started again", label)
            worker.move(WorkerStatus.FAILED)
            return
        await self._pause(worker, policy)
        if policy.given_up:
            log.error("%s is not started again: too many workers of its servable have died", label)
            worker.move(WorkerStatus.FAILED)
            return
        await self._try_again(worker)

    async def _try_after_a_while(self, worker: SupervisedWorker) -> None:
        """Try to start a worker again that was given up, if another one serves; it is ready or failed then."""
        await asyncio.sleep(GIVEN_UP_S)
        if any(other.copy is not None for other in self._same_servable(worker)):
            await self._try_again(worker)
            if worker.status is WorkerStatus.DEAD:
                worker.move(WorkerStatus.FAILED)

    async def _try_again(self, worker: SupervisedWorker) -> None:
        """Start a worker again; it is ready, failed or dead then."""
        label = worker.plan.label
        worker.move(WorkerStatus.STARTING)
        worker.restarts += 1
        try:
            await self._spawn(worker)
            await asyncio.wait_for(self._until_started(worker), self._start_timeout_s)
        except asyncio.TimeoutError:
            worker.give_up()
            if worker.status is WorkerStatus.FAILED and worker.process is not None:
                worker.process.kill()
                worker.last_end = f"was not ready after {self._start_timeout_s:.0f} s"
                log.error("%s cannot be started again: it %s", label, worker.last_end)
        except StartUpError as error:
            self._not_back(worker, error)
        else:
            log.warning("%s was started again", label)
            return
        if worker.status is WorkerStatus.FAILED and worker.process is not None:
            await self._reap(worker.process)
            self._release(worker, worker.process)

    def _same_servable(self, worker: SupervisedWorker) -> list[SupervisedWorker]:
        return [other for other in self._workers if other.plan.servable == worker.plan.servable]

    def _policy_of(self, worker: SupervisedWorker) -> RestartPolicy:
        workers = len(self._same_servable(worker))
        return self._policies.setdefault(worker.plan.servable, RestartPolicy(workers))

    def _count_end(self, worker: SupervisedWorker, policy: RestartPolicy) -> None:
        """Tell the policy of a worker's servable that it has died."""
        plan = worker.plan
        now = time.monotonic()
        served_s = 0.0 if worker.ready_at is None else now - worker.ready_at
        what = f"{plan.place} {worker.last_end}"
        excuses = not worker.overdue
        if policy.ended(worker.number, now, served_s, what, blameless=worker.blameless, excuses=excuses):
            log.error(
                "%s workers of servable %s version %s have died within %.0f s, none of them is started again: %s",
                len(policy.ends),
                plan.servable_name,
                plan.version,
                WINDOW_S,
                "; ".join(policy.ends),
            )
            for other in self._same_servable(worker):  # those that wait to be started again
                if other.status is WorkerStatus.DEAD:
                    other.changed.set()

    async def _pause(self, worker: SupervisedWorker, policy: RestartPolicy) -> None:
        """Wait until the worker is to be started again, or not any more."""
        due = time.monotonic() + policy.delay_s(worker.number)
        while not policy.given_up and (rest_s := due - time.monotonic()) > 0:
            worker.changed.clear()
            await wait_for_event(worker.changed, rest_s)

    def _not_back(self, worker: SupervisedWorker, error: StartUpError) -> None:
        """Act on a restart that failed: a worker which said why is given up, any other is tried again."""
        if not worker.has_process:
            policy = self._policy_of(worker)
            policy.could_not_start(worker.number)
            worker.last_end, worker.last_lines = f"could not be started: {error.__cause__ or error}", ""
            worker.move(WorkerStatus.DEAD)
            delay_s = policy.delay_s(worker.number)
            log.warning(
                "%s could not be started, which is tried again in %g s: %s", worker.plan.label, delay_s, error
            )
        elif worker.status is WorkerStatus.DEAD:
            log.warning("%s has not come back: %s", worker.plan.label, error)
        else:
            worker.last_end = f"cannot be started again: {worker.failure}"
            log.error("%s cannot be started again: %s", worker.plan.label, error)

    async def _end(self, worker: SupervisedWorker) -> None:
        worker.limit_stages(None)
        process = worker.process
        if process is None:
            return
        if worker.link is not None:
            worker.link.send(Stop())
        else:
            process.signal(signal.SIGTERM)
        await self._reap(process)
        self._release(worker, process)

    def _release(self, worker: SupervisedWorker, process: WorkerProcess) -> None:
        """Let go of what a process that is gone leaves here; safe to call twice."""
        if worker.channel is not None:  # a process that user code has forked may still hold the other end
            worker.channel.close()
        process.release()

    async def _reap(self, process: WorkerProcess) -> bool:
        """Wait for the end of a process, and bring it about after the grace time.

        Returns:
            Whether it had to be brought about.
        """
        begun = time.monotonic()
        killed = False
        while process.exit_status() is None:
            if time.monotonic() > begun + (HURRIED_GRACE_S if self._hurried else STOP_GRACE_S):
                process.kill()
                killed = True
            await asyncio.sleep(_REAP_POLL_S)
        process.kill_group()
        return killed


def _ready_line(worker: SupervisedWorker, ready: int, total: int) -> str:
    plan = worker.plan
    seconds = time.monotonic() - worker.started_at
    return (
        f"Serving: Worker ready, servable: {plan.servable_name}, version: {plan.version}, {plan.place} "
        f"({plan.device_type}), {seconds:.2f} s, {ready} of {total}"
    )


def _end_of_log(workers: Sequence[SupervisedWorker]) -> str:
    """The end of the log of the first of these, for error texts."""
    process = workers[0].process if workers else None
    return f", last lines of {process.log_path}:\n{process.last_log_lines()}" if process else ""
