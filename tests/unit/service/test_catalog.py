"""What there is, and how it is, by what the owners of workers say and what the dispatcher knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from mindspore_serving.server.channel.messages import Batch
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog, VersionInfo, VersionState
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.signature import MethodSignature, call_method_name

METHOD = MethodSignature("m", ("x", "y"), 1, output_names=("sum", "difference"))


class Owner:
    """Owns the workers that it is given."""

    def __init__(self, *workers: WorkerHealth) -> None:
        self.workers = workers

    def workers_health(self) -> Iterable[WorkerHealth]:
        return self.workers


def worker(name: str, version: int = 1, reason: str = "", place: str = "device0") -> WorkerHealth:
    return WorkerHealth(name, version, place, "ready" if not reason else "dead", not reason, reason)


def catalog_of(*workers: WorkerHealth) -> Catalog:
    catalog = Catalog(Dispatcher(asyncio.new_event_loop()))
    catalog.add(Owner(*workers))
    return catalog


def never(_: Batch) -> None:
    raise AssertionError("nothing was asked")


def version_of(catalog: Catalog, name: str, number: int) -> VersionInfo:
    servable = catalog.servable(name)
    assert servable is not None
    version = servable.version(number)
    assert version is not None
    return version


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
    health = catalog_of(*workers).health()
    assert health.reason == reason
    assert health.ready == (not reason)
    assert health.serves("") is (not reason)


def test_all_owners_are_asked_each_time() -> None:
    catalog = catalog_of(worker("a"))
    other = Owner(worker("b", reason="starting"))
    catalog.add(other)
    assert [servable.label for servable in catalog.health().servables] == ["a/1", "b/1"]
    assert not catalog.health().ready
    other.workers = (worker("b"),)
    assert catalog.health().ready
    assert repr(catalog) == "<Catalog ready>"
    catalog.remove(other)
    catalog.remove(other)
    assert [servable.label for servable in catalog.health().servables] == ["a/1"]


def test_servables_have_their_versions_in_order() -> None:
    catalog = catalog_of(worker("b", 10), worker("a", 2), worker("b", 9), worker("a", 2, place="device1"))
    catalog.add(Owner(worker("a")))
    found = [(one.name, [(v.number, len(v.workers)) for v in one.versions]) for one in catalog.servables()]
    assert found == [("a", [(1, 1), (2, 2)]), ("b", [(9, 1), (10, 1)])]
    assert catalog.servable("c") is None


STARTS_AGAIN = WorkerHealth("a", 1, "device0", "starting", False, "no worker: was ended by signal 9")


@pytest.mark.parametrize(
    ("workers", "state", "reason"),
    [
        ([worker("a")], VersionState.READY, ""),
        ([worker("a", reason="no worker: it died"), worker("a", place="device1")], VersionState.READY, ""),
        ([WorkerHealth("a", 1, "device0", "starting", False, "starting")], VersionState.LOADING, "starting"),
        ([STARTS_AGAIN], VersionState.LOADING, STARTS_AGAIN.reason),
        ([worker("a", reason="no worker: it died")], VersionState.UNAVAILABLE, "no worker: it died"),
    ],
    ids=["ready", "one of two", "first start", "again", "lost"],
)
@pytest.mark.parametrize("closing", ["", "draining", "stopping"])
def test_the_state_of_a_version(
    workers: list[WorkerHealth], state: VersionState, reason: str, closing: str
) -> None:
    loop = asyncio.new_event_loop()
    dispatcher = Dispatcher(loop)
    catalog = Catalog(dispatcher)
    catalog.add(Owner(*workers))
    if closing == "draining":
        loop.run_until_complete(dispatcher.drain(60))
    elif closing:
        dispatcher.fail_waiting()
    loop.close()
    expected = (VersionState.UNLOADING, closing) if closing else (state, reason)
    version = version_of(catalog, "a", 1)
    assert (version.state, version.reason, version.workers) == (*expected, tuple(workers))


def test_without_a_number_the_highest_version_that_is_ready_is_meant() -> None:
    lost = "no worker: it died"
    catalog = catalog_of(worker("a"), worker("a", 2), worker("a", 3, lost), worker("b", 1, lost))
    catalog.add(Owner(worker("b", 2, lost)))
    assert [version_of(catalog, name, 0).number for name in "ab"] == [2, 2]
    servable = catalog.servable("a")
    assert servable is not None
    assert servable.version(4) is None


def test_the_methods_of_a_version_are_those_that_clients_may_call() -> None:
    dispatcher = Dispatcher(asyncio.new_event_loop())
    catalog = Catalog(dispatcher)
    catalog.add(Owner(worker("a"), worker("a", 2)))
    hidden = MethodSignature(call_method_name("model", 0), ("x",), 1)
    copy = ServableCopy("a:1", [METHOD, hidden], never)
    servable = dispatcher.servable("a", 1)
    servable.add_copy(copy)
    for _ in range(2):  # also without a worker
        known, unknown = version_of(catalog, "a", 1), version_of(catalog, "a", 2)
        assert (known.methods, unknown.methods) == ((METHOD,), ())
        assert known.method("m") is METHOD
        assert known.method(hidden.name) is None
        servable.remove_copy(copy)
    assert (METHOD.input_names, METHOD.output_names) == (("x", "y"), ("sum", "difference"))
    assert dispatcher.methods("a", 2) == ()
    assert "a:2" not in repr(dispatcher)  # who only asks makes nothing


@pytest.mark.parametrize("closing", ["draining", "stopping"])
def test_nothing_is_ready_while_the_server_closes(closing: str) -> None:
    async def test() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        catalog = Catalog(dispatcher)
        catalog.add(Owner(worker("a")))
        assert catalog.health().ready
        changed = catalog.changed
        if closing == "draining":
            assert await dispatcher.drain(60)
        else:
            dispatcher.fail_waiting()
        assert changed.is_set()
        health = catalog.health()
        assert health.reason == closing
        assert [health.serves(service) for service in ("", "a", "a/1", "b")] == [False, False, False, None]

    asyncio.run(test())


def test_whoever_watches_learns_of_copies_that_come_and_go() -> None:
    async def test() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        catalog = Catalog(dispatcher)
        servable = dispatcher.servable("a", 1)
        copy = ServableCopy("a:1", [METHOD], never)
        for change in (
            lambda: servable.add_copy(copy),
            lambda: servable.remove_copy(copy),
            lambda: catalog.add(Owner()),
            dispatcher.fail_waiting,
        ):
            changed = catalog.changed
            change()
            assert changed.is_set()
            assert not catalog.changed.is_set()

    asyncio.run(test())
