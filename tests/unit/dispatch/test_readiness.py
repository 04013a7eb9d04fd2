"""What health checks are told, by what the owners of workers say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from mindspore_serving.server.channel.messages import Batch
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.readiness import Readiness, WorkerHealth
from mindspore_serving.signature import MethodSignature


class Owner:
    """Owns the workers that it is given."""

    def __init__(self, *workers: WorkerHealth) -> None:
        self.workers = workers

    def workers_health(self) -> Iterable[WorkerHealth]:
        return self.workers


def worker(name: str, version: int = 1, reason: str = "", place: str = "device0") -> WorkerHealth:
    return WorkerHealth(name, version, place, "ready" if not reason else "dead", not reason, reason)


def readiness_of(*workers: WorkerHealth) -> Readiness:
    readiness = Readiness()
    readiness.add(Owner(*workers))
    return readiness


@pytest.mark.parametrize(
    ("workers", "reason"),
    [
        ([], "no servable is started"),
        ([worker("a")], ""),
        ([worker("a", reason="starting")], "1 of 1 servables not ready"),
        ([worker("a"), worker("a", reason="starting", place="device1")], ""),
        ([worker("a"), worker("a", 2, "starting")], "1 of 2 servables not ready"),
        (
            [worker("a"), worker("b", reason="starting"), worker("c", reason="no worker: x")],
            "2 of 3 servables not ready",
        ),
    ],
)
def test_a_server_is_ready_once_each_servable_has_a_worker(workers: list[WorkerHealth], reason: str) -> None:
    health = readiness_of(*workers).look()
    assert health.reason == reason
    assert health.ready == (not reason)
    assert health.serves("") is (not reason)


def test_all_owners_are_asked_each_time() -> None:
    readiness = readiness_of(worker("a"))
    other = Owner(worker("b", reason="starting"))
    readiness.add(other)
    assert [servable.label for servable in readiness.look().servables] == ["a/1", "b/1"]
    assert not readiness.look().ready
    other.workers = (worker("b"),)
    assert readiness.look().ready
    readiness.remove(other)
    readiness.remove(other)
    assert [servable.label for servable in readiness.look().servables] == ["a/1"]


def test_services_are_servables_and_their_versions() -> None:
    health = readiness_of(worker("a"), worker("a", 2, "starting"), worker("b", reason="starting")).look()
    services = ("a", "a/1", "a/2", "b", "b/1", "", "c", "a/3", "a/", "/1", "A")
    assert [health.serves(service) for service in services] == [True, True, *[False] * 4, *[None] * 5]


def test_the_worker_from_which_most_is_to_be_hoped_tells_the_reason() -> None:
    lost, starting = worker("a", reason="no worker: was lost"), worker("a", reason="starting")
    assert readiness_of(lost, starting).look().servables[0].reason == "starting"
    assert readiness_of(lost).look().servables[0].reason == "no worker: was lost"
    assert readiness_of(lost, worker("a")).look().servables[0].reason == ""


@pytest.mark.parametrize("closing", ["draining", "stopping"])
def test_nothing_is_ready_while_the_server_closes(closing: str) -> None:
    async def test() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        dispatcher.readiness.add(Owner(worker("a")))
        assert dispatcher.readiness.look().ready
        changed = dispatcher.readiness.changed
        if closing == "draining":
            assert await dispatcher.drain(60)
        else:
            dispatcher.fail_waiting()
        assert changed.is_set()
        health = dispatcher.readiness.look()
        assert health.reason == closing
        assert [health.serves(service) for service in ("", "a", "a/1", "b")] == [False, False, False, None]

    asyncio.run(test())


def test_copies_that_come_and_go_are_told() -> None:
    async def test() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        servable = dispatcher.servable("a", 1)
        copy = ServableCopy("a:1", [MethodSignature("m", ("x",), 1)], _take)
        for change in (
            lambda: servable.add_copy(copy),
            lambda: servable.remove_copy(copy),
            lambda: dispatcher.readiness.add(Owner()),
            dispatcher.fail_waiting,
        ):
            changed = dispatcher.readiness.changed
            change()
            assert changed.is_set()
            assert not dispatcher.readiness.changed.is_set()

    asyncio.run(test())


def _take(_: Batch) -> None:
    raise AssertionError("nothing was asked")
