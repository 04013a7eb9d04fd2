"""One worker through its starts: its states, and what health checks are told."""

from __future__ import annotations

import asyncio

import pytest

from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.worker_end import EndCause, WorkerEnd
from mindspore_serving.server.supervision.worker_life import ALLOWED_MOVES, WorkerState
from tests.support.plans import worker_plan


def worker_of(plan: WorkerPlan) -> SupervisedWorker:
    loop = asyncio.new_event_loop()
    servable = Dispatcher(loop).servable(*plan.servable)
    loop.close()
    return SupervisedWorker(plan, 0, servable, lambda: 0.0)


@pytest.mark.parametrize("before", WorkerState)
@pytest.mark.parametrize("after", WorkerState)
def test_moves(before: WorkerState, after: WorkerState) -> None:
    worker = worker_of(worker_plan())
    worker.state = before
    if after in ALLOWED_MOVES[before]:
        worker.move(after)
        assert (worker.state, worker.changed.is_set()) == (after, True)
        assert after.name in repr(worker)
    else:
        with pytest.raises(ChannelError, match=f"{before.name}> cannot become {after.name}"):
            worker.move(after)
        assert (worker.state, worker.changed.is_set()) == (before, False)


KILLED = WorkerEnd(EndCause.DIED, 0.0, "was ended by signal 9\nthe end of its log")


@pytest.mark.parametrize(
    ("state", "end", "status", "reason"),
    [
        (WorkerState.STARTING, None, "starting", "starting"),
        (WorkerState.READY, None, "ready", ""),
        (WorkerState.READY, KILLED, "ready", ""),
        (WorkerState.LOST, None, "lost", "no worker: its connection has ended"),
        (WorkerState.LOST, KILLED, "lost", "no worker: its connection has ended"),
        (WorkerState.DEAD, KILLED, "dead", "no worker: was ended by signal 9"),
        (WorkerState.STARTING, KILLED, "starting", "no worker: was ended by signal 9"),
        (WorkerState.FAILED, KILLED, "failed", "no worker: was ended by signal 9"),
        (WorkerState.FAILED, None, "failed", "no worker: failed"),
        (WorkerState.EXITED, None, "exited", "no worker: exited"),
    ],
)
def test_a_worker_tells_why_it_does_not_serve(
    state: WorkerState, end: WorkerEnd | None, status: str, reason: str
) -> None:
    worker = worker_of(worker_plan("a", version_number=3))
    worker.state, worker.end = state, end
    health = worker.health(5.0)
    assert (health.servable, health.version, health.place) == ("a", 3, "device0")
    assert (health.status, health.reason, health.serves) == (status, reason, not reason)
    assert health.silent_s == (5.0 if state is WorkerState.READY else None)


@pytest.mark.parametrize("remote", [False, True])
def test_a_worker_whose_models_are_elsewhere_does_not_make_a_servable_ready(remote: bool) -> None:
    extra = worker_of(worker_plan("a", has_device=False, remote_models=remote))
    extra.state = WorkerState.READY
    health = extra.health(0.0)
    assert (health.place, health.status, health.serves) == ("extra0", "ready", not remote)
    assert health.reason == ("its models are held by other workers" if remote else "")
