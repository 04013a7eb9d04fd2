"""Workers by number, and what those of one servable version have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from mindspore_serving.server.channel.messages import HeldModels
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.worker_life import WorkerState
from mindspore_serving.server.supervision.workers import Workers
from mindspore_serving.signature import ModelInfo
from tests.support.plans import worker_plan

Adder = Callable[..., SupervisedWorker]


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def add(workers: Workers) -> Iterator[Adder]:
    loop = asyncio.new_event_loop()
    dispatcher = Dispatcher(loop)

    def add(name: str = "one", *, version: int = 1, remote_models: bool = False) -> SupervisedWorker:
        plan = worker_plan(name, version_number=version, remote_models=remote_models)
        servable = dispatcher.servable(name, version)
        worker = SupervisedWorker(plan, workers.new_number(), servable, lambda: 0.0)
        workers.add(worker)
        return worker

    yield add
    loop.close()


def test_numbers_are_never_used_twice(workers: Workers, add: Adder) -> None:
    first, second = add(), add()
    assert workers.get(1) is second
    workers.remove(1)
    workers.remove(1)
    third = add()
    assert [worker.number for worker in workers] == [first.number, third.number] == [0, 2]
    assert workers.get(1) is None


def test_the_last_ends_of_a_servable_version_are_remembered(add: Adder) -> None:
    seconds = iter(range(100))
    workers = Workers(lambda: float(next(seconds)))
    one, other = add("one"), add("other")
    for worker in (one, other):
        workers.add(worker)
    for i in range(12):
        workers.note_restart(one, f"ended with status {i}\nand more of it")
    workers.note_restart(other, "was killed")
    ends = workers.last_restarts
    assert [(end.at, end.reason) for end in ends["one", 1]] == [
        (float(i), f"ended with status {i}") for i in range(2, 12)
    ]
    assert [(end.worker, end.reason) for end in ends["other", 1]] == [
        ("servable other version 1 device0", "was killed")
    ]
    workers.remove(one.number)
    assert list(workers.last_restarts) == [("other", 1)]


def test_workers_may_be_removed_while_they_are_gone_through(workers: Workers, add: Adder) -> None:
    all_of_them = [add(), add(), add()]
    seen = []
    for worker in workers:
        workers.remove(worker.number)
        seen.append(worker)
    assert seen == all_of_them
    assert list(workers) == []


def test_workers_of_a_servable_version_share_a_policy(workers: Workers, add: Adder) -> None:
    one, other, elsewhere = add(), add(), add(version=2)
    assert workers.of_servable(("one", 1)) == [one, other]
    policy = workers.policy_of(one)
    assert workers.policy_of(other) is policy
    assert workers.policy_of(elsewhere) is not policy
    workers.remove(one.number)
    assert workers.policy_of(other) is policy
    workers.remove(other.number)
    assert workers.policy_of(add()) is not policy  # a version that is loaded again begins anew


def test_models_are_those_of_the_same_version(workers: Workers, add: Adder) -> None:
    old, extra, owner = (
        add(version=1),
        add(version=2, remote_models=True),
        add(version=2),
    )
    old.models, owner.models = (ModelInfo("old", ()),), (ModelInfo("new", ()),)
    assert workers.models_for(extra) == HeldModels((ModelInfo("new", ()),))
    assert workers.models_for(add("two")) == HeldModels(())


@pytest.mark.parametrize("state", WorkerState)
@pytest.mark.parametrize("extra", [False, True])
def test_who_is_left(workers: Workers, add: Adder, state: WorkerState, extra: bool) -> None:
    assert not workers.any_left
    add(remote_models=extra).state = state
    assert workers.any_left is (state not in (WorkerState.EXITED, WorkerState.FAILED) and not extra)
