"""How a worker is, as its supervisor reports it to health checks."""

from __future__ import annotations

import pytest

from mindspore_serving.server.channel.messages import Batch
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker, WorkerStatus
from mindspore_serving.server.supervision.worker_process import WorkerPlan


def _take(_: Batch) -> None:
    raise AssertionError("nothing was asked")


PLAN = WorkerPlan(".", "a", 1, "cpu", 0, has_device=True)


def test_a_worker_says_why_it_does_not_serve() -> None:
    one = SupervisedWorker(PLAN, 0)
    said = [one.health(0.0)]
    one.status = WorkerStatus.READY  # its connection has ended; nobody has looked at the process yet
    said.append(one.health(0.0))
    one.status, one.last_end = WorkerStatus.DEAD, "was ended by signal 9\nthe end of its log"
    said.append(one.health(0.0))
    one.status = WorkerStatus.STARTING
    said.append(one.health(0.0))
    one.status = WorkerStatus.FAILED
    said.append(one.health(0.0))
    assert [(health.status, health.reason) for health in said] == [
        ("starting", "starting"),
        ("lost", "no worker: its connection has ended"),
        ("dead", "no worker: was ended by signal 9"),
        ("starting", "no worker: was ended by signal 9"),
        ("failed", "no worker: was ended by signal 9"),
    ]
    assert not any(health.serves for health in said)


@pytest.mark.parametrize("remote", [False, True])
def test_a_worker_whose_models_are_elsewhere_does_not_make_a_servable_ready(remote: bool) -> None:
    extra = SupervisedWorker(WorkerPlan(".", "a", 1, "cpu", 0, has_device=False, remote_models=remote), 0)
    extra.status = WorkerStatus.READY
    extra.copy = ServableCopy("a:1", [], _take)
    health = extra.health(0.0)
    assert (health.place, health.status, health.serves) == ("extra0", "ready", not remote)
    assert health.reason == ("its models are held by other workers" if remote else "")
