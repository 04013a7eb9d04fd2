"""Owner of the worker processes: starts them, has them watched, and ends them.

Everything here runs on the event loop. Each thought has a module of its own: `worker_life` the states of a worker and
what follows its end, `starting` the wait for those that start, `watcher` ends and restarts, `reaper` the ends that have
to be brought about, `model_calls` the calls of workers without models.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, StartUpError
from mindspore_serving.server.channel.messages import (
    Alive,
    Exiting,
    FromWorker,
    MethodCall,
    ModelCall,
    Register,
    StartFailed,
    Stop,
    WantModels,
)
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.host.forked_child import no_forks
from mindspore_serving.server.host.settings import memory_idle_s, start_timeout_s, worker_timeout_s
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.server.service.server_statistics import CopyStatistics, Restart
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.supervision.called_methods import check_calls, complete_types
from mindspore_serving.server.supervision.child import ChildSource
from mindspore_serving.server.supervision.method_calls import pass_method_call
from mindspore_serving.server.supervision.model_calls import pass_model_call
from mindspore_serving.server.supervision.reaper import Reaper
from mindspore_serving.server.supervision.starting import OtherMethods, Progress, until_all_started
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.watcher import Watcher
from mindspore_serving.server.supervision.worker_end import EndCause
from mindspore_serving.server.supervision.worker_life import WorkerState
from mindspore_serving.server.supervision.worker_link import WorkerLink, open_link
from mindspore_serving.server.supervision.worker_processes import WorkerProcesses
from mindspore_serving.server.supervision.workers import Workers


class Supervisor:
    """All workers of this server.

    Args:
        service: Where copies that are ready serve, and are known.
        on_all_gone: Called once when no worker is left that serves, starts or will be started again.
        children: Starts processes.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        service: Service,
        on_all_gone: Callable[[], None],
        children: ChildSource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dispatcher = service.dispatcher
        self._catalog = service.catalog
        self._statistics = service.statistics
        self._logs = service.logs
        self._on_all_gone: Callable[[], None] | None = on_all_gone
        self._children = children or WorkerProcesses()
        self._clock = clock
        self._workers = Workers()
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._reaper = Reaper(clock)
        self._worker_timeout_s = worker_timeout_s()
        self._start_timeout_s = start_timeout_s()
        self._memory_idle_s = memory_idle_s()

    def __repr__(self) -> str:
        return f"<Supervisor {self._workers}>"

    @property
    def channels(self) -> Sequence[int]:
        """Inodes of main's ends of the channels, also of those that are closed."""
        return [worker.child.channel_number for worker in self._workers if worker.child is not None]

    async def start(self, plans: Sequence[WorkerPlan], say: Callable[[str], None]) -> None:
        """Start all workers at the same time; returns when each is ready.

        Args:
            plans: One per worker.
            say: Takes a line of progress.

        Raises:
            StartUpError: A worker failed to start; the text is the reason that it gave. Or a method calls one that is
                not there, or that calls it in turn. `stop` ends the others.
        """
        loop = asyncio.get_running_loop()

        def on_logs_moved() -> None:
            loop.call_soon_threadsafe(self._report_moved_logs)

        self._catalog.add(self)
        self._statistics.add_workers(self)
        self._logs.add(self)
        self._children.open(on_logs_moved)
        say("Serving: Master server start success, listening on unix:socketpair")
        progress = Progress(say, self._clock, len(plans))
        workers = [self._new_worker(plan) for plan in plans if not plan.remote_models]
        await self._start_all(workers, progress)
        extra = [self._new_worker(plan) for plan in plans if plan.remote_models and self._is_needed(plan)]
        progress.total = len(workers) + len(extra)
        await self._start_all(extra, progress)
        check_calls([*workers, *extra])
        self._watch([*workers, *extra])

    async def add(self, plan: WorkerPlan, say: Callable[[str], None]) -> int:
        """Start one more worker while others serve; returns when it is ready.

        Args:
            plan: What it loads.
            say: Takes a line of progress.

        Returns:
            Its number.

        Raises:
            StartUpError: It failed to start, and is ended.
        """
        worker = self._new_worker(plan)
        try:
            await self._start_all([worker], Progress(say, self._clock, 1))
            check_calls(list(self._workers))
        except BaseException:  # a start that is cancelled leaves no worker either
            await self.remove(worker.number)
            raise
        self._watch([worker])
        return worker.number

    async def replace(
        self, name: str, plans: Sequence[WorkerPlan], say: Callable[[str], None], *, one_at_a_time: bool
    ) -> None:
        """Start the workers of a servable anew, with the files that it has now, and end the earlier ones.

        The earlier ones serve until the new ones are ready, and then finish what they have. Two things need them to end
        before: the new ones have other methods, or a device takes one worker only. Then nobody serves for a while, and
        if the new ones cannot be started, nobody does until this is called again. Methods that only the earlier ones
        had are there no more.

        Args:
            name: Name of the servable.
            plans: Of the new workers, those that hold models first.
            say: Takes a line of progress.
            one_at_a_time: Whether no two of them may have models in memory at a time.

        Raises:
            StartUpError: A new worker cannot be started.
        """
        earlier = [worker.number for worker in self._workers if worker.plan.servable_name == name]
        holders = [plan for plan in plans if not plan.remote_models]
        started: list[int] = []
        try:
            if not one_at_a_time:
                for plan in holders:
                    started.append(await self.add(plan, say))
        except OtherMethods:
            say(f"Serving: servable {name} has other methods now, its workers end before new ones start")
            await self._remove_all(started)
            started = []
        except BaseException:
            await self._remove_all(started)
            raise
        await self._remove_all(earlier)
        for plan in [*holders[len(started) :], *(plan for plan in plans if plan.remote_models)]:
            if not plan.remote_models or self._is_needed(plan):
                await self.add(plan, say)
        for version in {plan.version for plan in plans}:
            self._dispatcher.servable(name, version).withdraw_unserved()
        self._catalog.notify()

    async def _remove_all(self, numbers: Sequence[int]) -> None:
        await asyncio.gather(*(self.remove(number) for number in numbers))

    async def remove(self, number: int) -> None:
        """End a worker for good, and forget it; safe to call twice.

        `on_all_gone` is not called for it.

        Args:
            number: Its number.
        """
        worker = self._workers.get(number)
        if worker is None:
            return
        watcher = self._watchers.pop(number, None)
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await self._end(worker)
        self._workers.remove(number)
        worker.give_up()
        self._catalog.notify()

    async def stop(self) -> None:
        """End all workers; safe to call twice."""
        await asyncio.gather(*(self.remove(worker.number) for worker in self._workers))
        self._children.close()
        self._catalog.remove(self)
        self._statistics.remove_workers(self)
        self._logs.remove(self)

    def workers_health(self) -> Iterator[WorkerHealth]:
        """All workers; see `HealthSource`."""
        now = self._clock()
        return (worker.health(now) for worker in self._workers)

    def copies(self) -> Iterator[tuple[str, int, CopyStatistics]]:
        """All workers; see `WorkerSource`."""
        return ((*worker.plan.servable, worker.statistics()) for worker in self._workers)

    def last_restarts(self) -> Mapping[tuple[str, int], Sequence[Restart]]:
        """The last ends of workers; see `WorkerSource`."""
        return self._workers.last_restarts

    def log_end(self, worker: str, most_bytes: int) -> bytes | None:
        """The end of the log of a worker; see `LogSource`."""
        for one in self._workers:
            if one.plan.label == worker and one.child is not None:
                return one.child.log_end(most_bytes)
        return None

    def awaited(self) -> list[str]:
        """The workers that have not ended, with their process ids; may be asked from any thread."""
        started = [(worker.plan, worker.child) for worker in self._workers if worker.child is not None]
        return [
            f"{plan.label} (process {child.pid})" for plan, child in started if child.exit_status() is None
        ]

    def hurry(self) -> None:
        """Let the stop wait for no worker that is busy; may be called from any thread, and while it stops."""
        self._reaper.hurry()

    def follow_logs(self) -> None:
        """Open logs again that others have moved away, and tell the workers; may be called from any thread."""
        self._children.follow_logs()

    def on_message(self, link: WorkerLink, message: FromWorker) -> None:
        """Act on a control message of a worker.

        Raises:
            ChannelError: The message does not fit what is known of the worker.
        """
        worker = self._worker_of(link)
        if isinstance(message, Register | StartFailed | WantModels) and message.worker != worker.number:
            raise ChannelError(f"worker {worker.number} speaks for worker {message.worker}")
        if isinstance(message, MethodCall):
            pass_method_call(worker, link, message)
        elif isinstance(message, ModelCall):
            pass_model_call(self._dispatcher, worker, link, message)
        elif isinstance(message, Alive):
            worker.note_alive()
        elif isinstance(message, Register):
            worker.call_targets = self._dispatcher.call_targets(worker.servable, message.calls)
            worker.register(message, self._memory_idle_s)
            complete_types(list(self._workers))  # who starts it is told what does not fit
            _report_moved_log(worker)  # it may have been moved since the worker was started
        elif isinstance(message, WantModels):
            link.send(self._workers.models_for(worker))
        elif isinstance(message, StartFailed):
            worker.refuse(message.reason)
        elif isinstance(message, Exiting):
            worker.move(WorkerState.EXITED)
            worker.lose(EndCause.ON_PURPOSE)
            link.close()

    def on_lost(self, link: WorkerLink) -> None:
        """Take the copy of a worker out at once; its watcher does the rest."""
        worker = self._workers.get(link.number)
        if worker is not None and worker.link is link:
            worker.link = None
            worker.lose(EndCause.DIED)
            if worker.state is not WorkerState.STARTING:  # then the end of its process tells
                worker.changed.set()

    def _worker_of(self, link: WorkerLink) -> SupervisedWorker:
        """Whose connection it is.

        Raises:
            ChannelError: Nobody's any more.
        """
        worker = self._workers.get(link.number)
        if worker is None or worker.link is not link:
            raise ChannelError(f"worker {link.number} has another connection, or is gone")
        return worker

    def _new_worker(self, plan: WorkerPlan) -> SupervisedWorker:
        servable = self._dispatcher.servable(plan.servable_name, plan.version)
        worker = SupervisedWorker(plan, self._workers.new_number(), servable, self._clock)
        self._workers.add(worker)
        return worker

    async def _start_all(self, workers: Sequence[SupervisedWorker], progress: Progress) -> None:
        """Start workers at the same time, and wait until each is ready.

        Raises:
            StartUpError: One failed.
        """
        self._catalog.notify()
        for worker in workers:
            await self._spawn(worker)
        if workers:
            await until_all_started(workers, progress, self._start_timeout_s)

    async def _spawn(self, worker: SupervisedWorker) -> None:
        """Start the process of a worker.

        Raises:
            StartUpError: There is no process.
        """
        worker.begin_start()
        with no_forks():  # until it is known what a forked child has to let go of
            child = worker.child = self._children.start(worker.plan, worker.number)
        worker.link = WorkerLink(self, worker.number, child.memory)
        try:
            await open_link(child.channel, worker.link)
        except OSError as cause:
            worker.link = None
            child.kill()
            await self._reaper.reap(child)
            raise StartUpError(f"Start worker failed: {worker.plan.label}: {cause}") from cause

    def _is_needed(self, plan: WorkerPlan) -> bool:
        """Whether a worker without models of its own would have anything to do."""
        if not self._dispatcher.servable(plan.servable_name, plan.version).all_models:
            return True
        if plan.device_id == 0:  # once for all such workers of the servable
            log.warning(
                "There is no need to startup additional worker processes, all stages are models, servable: %s",
                plan.servable_name,
            )
        return False

    def _watch(self, workers: Sequence[SupervisedWorker]) -> None:
        """Follow workers that are ready from now on."""
        for worker in workers:
            watcher = Watcher(
                worker,
                self._workers,
                self._spawn,
                self._reaper,
                self._note_gone,
                self._worker_timeout_s,
                self._start_timeout_s,
                self._clock,
            )
            self._watchers[worker.number] = asyncio.create_task(watcher.run())

    def _note_gone(self, worker: SupervisedWorker) -> None:
        """Let nobody wait for a worker, and tell if it was the last."""
        worker.give_up()
        if not self._workers.any_left and self._on_all_gone is not None:
            on_all_gone, self._on_all_gone = self._on_all_gone, None
            on_all_gone()

    async def _end(self, worker: SupervisedWorker) -> None:
        """Tell a worker to end, and see to it (ADR 28)."""
        worker.stop_looking()
        child = worker.child
        if child is None:
            return
        if worker.state is WorkerState.READY and worker.link is not None:
            worker.link.send(Stop())
        else:
            child.signal(signal.SIGTERM)
        await self._reaper.reap(child)
        worker.lose(EndCause.DIED)
        worker.release()

    def _report_moved_logs(self) -> None:
        for worker in self._workers:
            _report_moved_log(worker)


def _report_moved_log(worker: SupervisedWorker) -> None:
    """Tell a worker where its log is now, if it has been told another file."""
    if worker.state is WorkerState.READY and worker.child is not None and worker.link is not None:
        moved = worker.child.log_moved()
        if moved is not None:
            worker.link.send(moved)
