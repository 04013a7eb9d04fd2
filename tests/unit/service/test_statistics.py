"""The picture of the whole server, made of what its owners say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import pytest

from mindspore_serving import __version__
from mindspore_serving.options import Limits
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host.process_memory import KEPT_S, ProcessMemory, resident_bytes
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.server.service.server_statistics import CopyStatistics, FrontEndStatistics, Restart
from mindspore_serving.server.service.statistics import MOST_RESTARTS, Statistics
from mindspore_serving.signature import MethodSignature, call_method_name
from tests.support.rows import numbered
from tests.unit.dispatch.dispatching import METHOD, Worker


class Owner:
    """Owns a worker of `s` 1, which has ended before."""

    def __init__(self, *ends: float) -> None:
        self._ends = ends

    def workers_health(self) -> Iterable[WorkerHealth]:
        return [WorkerHealth("s", 1, "device0", "ready", True)]

    def copies(self) -> Iterable[tuple[str, int, CopyStatistics]]:
        return [("s", 1, CopyStatistics("w", 0, "ready", pid=7)), ("gone", 1, CopyStatistics("x", 0, "dead"))]

    def last_restarts(self) -> Mapping[tuple[str, int], Sequence[Restart]]:
        return {("s", 1): [Restart(at, "w", "why") for at in self._ends]}


class Ends:
    """Owns a front end that has refused."""

    def front_ends(self) -> Iterable[FrontEndStatistics]:
        return [FrontEndStatistics("rest", "127.0.0.1:1", 2, 3)]

    def refused(self) -> Mapping[str, int]:
        return {"unauthorized": 4, "requests": 1}


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def dispatcher(loop: asyncio.AbstractEventLoop) -> Dispatcher:
    return Dispatcher(loop)


def statistics_of(dispatcher: Dispatcher, *owners: Owner) -> Statistics:
    catalog = Catalog(dispatcher)
    memory = ProcessMemory(read=lambda pids: {pid: 100 + pid for pid in pids})
    statistics = Statistics(dispatcher, catalog, memory)
    for owner in owners:
        catalog.add(owner)
        statistics.add_workers(owner)
        statistics.add_workers(owner)
    return statistics


def test_the_picture_of_a_server(dispatcher: Dispatcher) -> None:
    statistics = statistics_of(dispatcher, Owner(3.0, 5.0), Owner(4.0))
    for _ in range(2):
        statistics.add_front_ends(ENDS)
    worker = Worker(dispatcher, methods=[METHOD, MethodSignature(call_method_name("m", 0), ("x0",), 8)])
    worker.servable.set_limits(Limits(5, 6, 7))
    dispatcher.admit(dispatcher.resolve("s", "m", 0), [numbered(3)])
    dispatcher.refused["unknown_target"] = 2
    worker.servable.counters["m"].refused["requests"] = 8
    shown = statistics.server()
    assert (shown.build, shown.closing, shown.uptime_s >= 0) == (__version__, "", True)
    assert (shown.pending_requests, shown.pending_instances, shown.pending_bytes) == (1, 3, 12)
    assert shown.limits[0] == 10_000
    assert shown.refused == {"unknown_target": 2, "unauthorized": 4, "requests": 9}
    assert shown.front_ends == (FrontEndStatistics("rest", "127.0.0.1:1", 2, 3),)
    assert shown.memory_bytes > 0
    [version] = shown.versions
    assert (version.servable, version.version, version.state) == ("s", 1, "ready")
    assert [copy.memory_bytes for copy in version.copies] == [107, 107]
    assert [end.at for end in version.last_restarts] == [3.0, 4.0, 5.0]
    assert list(version.methods) == ["m"]
    assert (version.pending_requests, version.pending_instances, version.waiting_instances) == (1, 3, 3)
    assert version.limits == (5, 6, 7)
    assert statistics.server().versions[0].methods["m"] is version.methods["m"]


ENDS = Ends()


def test_an_owner_that_is_gone_is_asked_no_more(dispatcher: Dispatcher) -> None:
    owner = Owner()
    statistics = statistics_of(dispatcher, owner)
    Worker(dispatcher)
    for _ in range(2):
        statistics.remove_workers(owner)
    [version] = statistics.server().versions
    assert (version.copies, version.limits) == ((), (0, 0, 0))


def test_a_version_that_has_never_run(dispatcher: Dispatcher) -> None:
    [version] = statistics_of(dispatcher, Owner()).server().versions
    assert (version.methods, version.pending_requests) == ({}, 0)


def test_only_the_last_ends_are_shown(dispatcher: Dispatcher) -> None:
    [version] = statistics_of(dispatcher, Owner(*map(float, range(25)))).server().versions
    assert [end.at for end in version.last_restarts] == [float(at) for at in range(15, 25)]
    assert len(version.last_restarts) == MOST_RESTARTS


def test_memory_is_read_once_a_second_and_for_new_processes() -> None:
    now, asked = [0.0], list[Collection[int]]()

    def read(pids: Collection[int]) -> dict[int, int]:
        asked.append(sorted(pids))
        return dict.fromkeys(pids, len(asked))

    memory = ProcessMemory(lambda: now[0], read)
    assert memory.of([1, 2]) == {1: 1, 2: 1}
    now[0] = KEPT_S * 0.9
    assert memory.of([2]) == {1: 1, 2: 1}
    assert memory.of([2, 3]) == {2: 2, 3: 2}
    now[0] = KEPT_S * 2
    assert memory.of([2, 3])[2] == 3
    assert asked == [[1, 2], [2, 3], [2, 3]]


def test_memory_of_this_process_and_of_none() -> None:
    found = resident_bytes([os.getpid(), 2**22 + 1])
    assert found[os.getpid()] > 1 << 20
    assert found[2**22 + 1] == 0
    assert resident_bytes([]) == {}
