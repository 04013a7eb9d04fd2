"""The start of workers: waiting until each is ready, and what the user reads meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.host.settings import START_TIMEOUT_VARIABLE
from mindspore_serving.server.host.waiting import wait_for_event, within
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.worker_end import EndCause
from mindspore_serving.server.supervision.worker_life import WorkerState
from mindspore_serving.server.supervision.worker_process import start_timeout_of

_POLL_S = 0.05
_PROGRESS_EVERY_S = 15.0


class OtherMethods(StartUpError):
    """A worker has other methods than those of its servable that serve, and so cannot serve beside them."""


class Progress:
    """Reports to who starts the server how far that is.

    Args:
        say: Takes a line.
        clock: Monotonic time in seconds.
        total: How many workers are started in all.

    Attributes:
        total: As given; it may turn out that some are not needed.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float], total: int) -> None:
        self.total = total
        self._ready = 0
        self._say = say
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Progress {self._ready} of {self.total}>"

    def ready(self, worker: SupervisedWorker) -> None:
        """Tell that a worker is ready."""
        self._ready += 1
        plan = worker.plan
        self._say(
            f"Serving: Worker ready, servable: {plan.servable_name}, version: {plan.version}, {plan.place} "
            f"({plan.device_type}), {self._clock() - worker.started_at:.2f} s, {self._ready} of {self.total}"
        )

    def waiting(self, workers: Sequence[SupervisedWorker]) -> None:
        """Tell who is waited for."""
        self._say(f"Serving: waiting for {len(workers)} workers, the first is {workers[0].plan.label}")


async def until_all_started(
    workers: Sequence[SupervisedWorker], progress: Progress, timeout_s: float
) -> None:
    """Wait until every worker is ready.

    Args:
        workers: Those whose processes were started at the same time, at least one.
        progress: Reports each, and who is waited for where it takes long.
        timeout_s: How long each may take, in seconds, beside what its agents may.

    Raises:
        StartUpError: One failed, or is not ready in time.
    """
    limits = [start_timeout_of(worker.plan, timeout_s) for worker in workers]
    known = [limit for limit in limits if limit is not None]
    limit_s = max(known) if len(known) == len(limits) else None
    try:
        await within(limit_s, _until_each_started(workers, progress))
    except asyncio.TimeoutError as cause:
        late = [worker for worker in workers if worker.state is WorkerState.STARTING]
        names = ", ".join(worker.plan.label for worker in late)
        raise StartUpError(
            f"Fail to start workers: {names} not ready after {limit_s:g} s. If servable_config.py and its models "
            f"take that long to load, set {START_TIMEOUT_VARIABLE} to more seconds{_end_of_log(late)}"
        ) from cause


async def _until_each_started(workers: Sequence[SupervisedWorker], progress: Progress) -> None:
    tasks = {asyncio.create_task(until_started(worker)): worker for worker in workers}
    pending: set[asyncio.Task[None]] = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=_PROGRESS_EVERY_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                progress.waiting([worker for task, worker in tasks.items() if task in pending])
            for task in [task for task in tasks if task in done]:  # in the order of the plans
                task.result()
                progress.ready(tasks[task])
    finally:
        for task in tasks:
            task.cancel()
        # Several may have failed, or fail now: one is reported.
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_started(worker: SupervisedWorker) -> None:
    """Return once the worker is ready.

    Raises:
        OtherMethods: It cannot serve beside the others.
        StartUpError: It failed, or died; its state and its end tell more.
    """
    child = worker.child
    assert child is not None
    while worker.state is WorkerState.STARTING:
        if worker.failure:
            again = " again" if worker.restarts else ""
            worker.end = worker.end_by(EndCause.START_FAILED, f"cannot be started{again}: {worker.failure}")
            worker.move(WorkerState.FAILED)
            kind = OtherMethods if worker.conflicts else StartUpError
            raise kind(
                f"Fail to start workers: {worker.plan.failure(worker.failure)}, more in {child.log_path}"
            )
        if child.exit_status() is not None and not worker.changed.is_set():
            # What it wrote last may still be on its way through the socket.
            await asyncio.sleep(_POLL_S)
            if not worker.changed.is_set():
                child.kill_group()
                worker.release()
                end = worker.end_by(EndCause.DIED, child.how_it_ended(), child.last_log_lines())
                worker.end = end
                # It may have lacked memory for a moment. At the first start the user is there to read about it.
                worker.move(WorkerState.DEAD if worker.restarts else WorkerState.FAILED)
                raise StartUpError(
                    f"Fail to start workers because of death of one worker, {worker.plan.label}, "
                    f"{end.text}, last lines of {child.log_path}:\n{end.last_lines}"
                )
        await wait_for_event(worker.changed, _POLL_S)


def _end_of_log(workers: Sequence[SupervisedWorker]) -> str:
    """The end of the log of the first of these, for error texts."""
    child = workers[0].child if workers else None
    return f", last lines of {child.log_path}:\n{child.last_log_lines()}" if child else ""
