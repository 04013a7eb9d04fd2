"""Admission: who answers a request, whether there is room for it, and until when."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import asdict

import pytest

from mindspore_serving.errors import (
    QueueFull,
    ServerStopping,
    UnknownTarget,
)
from mindspore_serving.options import DEFAULT_SLOTS, Limits
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from tests.support.dispatching import Worker, pumped, submit
from tests.support.rows import numbered, numbers_in


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (("nosuch", "m", 0), "Request servable(nosuch) method(m) , servable is not available"),
        (("s", "nosuch", 0), "Request servable(s) method(nosuch) , method is not available"),
        (("s", "m", 7), "Request servable(s) method(m)  version(7) , servable is not available"),
    ],
)
def test_unknown_targets(dispatcher: Dispatcher, target: tuple[str, str, int], text: str) -> None:
    Worker(dispatcher)
    with pytest.raises(UnknownTarget) as caught:
        dispatcher.resolve(*target)
    assert str(caught.value) == text
    assert caught.value.failure().status == 404


async def test_version_zero_is_the_highest_that_runs(dispatcher: Dispatcher) -> None:
    Worker(dispatcher, version=1)
    newer = Worker(dispatcher, version=12)
    assert dispatcher.resolve("s", "m", 0).servable.version == 12
    newer.die()
    assert dispatcher.resolve("s", "m", 0).servable.version == 1


def exceeded(what: str, limit: int, servable: str = "") -> str:
    end = f", servable: {servable}" if servable else ""
    return f"Serving Error: enqueued {what} count exceeds the limit {limit}{end}"


LIMITS = [
    ("requests", Limits(requests=3), [1, 1, 1], 1),
    ("instances", Limits(instances=5), [2, 3], 1),
    ("bytes", Limits(byte_size=4 * 5), [2, 3], 1),
    ("instances", Limits(instances=5), [2, 2], 2),
    ("bytes", Limits(byte_size=4 * 5), [2, 2], 2),
]


@pytest.mark.parametrize("whose", ["server", "servable"])
@pytest.mark.parametrize(("what", "most", "taken", "refused"), LIMITS)
async def test_limits_of_what_is_pending(
    dispatcher: Dispatcher,
    limits: Callable[..., None],
    whose: str,
    what: str,
    most: Limits,
    taken: list[int],
    refused: int,
) -> None:
    worker, other = Worker(dispatcher), Worker(dispatcher, "other")
    if whose == "server":
        limits(**{name: value for name, value in asdict(most).items() if value})
    else:
        worker.servable.set_limits(most)
    text = exceeded(what, max(asdict(most).values()), "" if whose == "server" else "s")
    for _ in range(2):
        futures = [submit(dispatcher, count) for count in taken]
        with pytest.raises(QueueFull) as caught:
            submit(dispatcher, refused)
        assert (str(caught.value), caught.value.failure().status) == (text, 429)
        if whose == "server":
            with pytest.raises(QueueFull) as caught:
                submit(dispatcher, refused, servable="other")
            assert str(caught.value) == text
        else:
            futures.append(submit(dispatcher, refused, servable="other"))
        await pumped()
        for each in (worker, other):
            for batch in each.batches:
                each.answer(batch)
            each.batches.clear()
        await asyncio.gather(*futures)
        owed = [dispatcher._pending] if whose == "server" else [dispatcher._pending, worker.servable.pending]
        assert {(one.requests, one.instances, one.byte_size) for one in owed} == {(0, 0, 0)}


@pytest.mark.parametrize("most", [Limits(instances=2), Limits(byte_size=8)])
async def test_a_request_that_is_larger_than_a_limit_is_taken_if_it_is_alone(
    dispatcher: Dispatcher, most: Limits
) -> None:
    worker = Worker(dispatcher)
    worker.servable.set_limits(most)
    future = submit(dispatcher, 3)
    with pytest.raises(QueueFull):
        submit(dispatcher, 1)
    await pumped()
    worker.answer(worker.batches[0])
    assert numbers_in(await future) == [0, 1, 2]


async def test_limits_change_while_requests_wait(dispatcher: Dispatcher, limits: Callable[..., None]) -> None:
    Worker(dispatcher)
    limits(2)
    submit(dispatcher, 1)
    submit(dispatcher, 1)
    limits(3, 4)
    submit(dispatcher, 2)
    limits(9, 4)
    with pytest.raises(QueueFull, match=exceeded("instances", 4)):
        submit(dispatcher, 1)
    limits(1)
    with pytest.raises(QueueFull, match=exceeded("requests", 1)):
        submit(dispatcher, 1)


async def test_what_was_admitted_elsewhere_counts_for_no_limit(
    dispatcher: Dispatcher, limits: Callable[..., None]
) -> None:
    worker = Worker(dispatcher)
    limits(1, 1, 1)
    worker.servable.set_limits(Limits(1, 1, 1))
    future = submit(dispatcher, 1)
    forwarded = [dispatcher.forward(worker.servable, "m", [numbered(3)]) for _ in range(2)]
    await pumped()
    for batch in worker.batches:
        worker.answer(batch)
    await asyncio.gather(future, *forwarded)
    await pumped()
    submit(dispatcher, 1)


async def test_what_abandoned_requests_leave_in_the_queue_is_bounded(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    under_way = submit(dispatcher, 8 * DEFAULT_SLOTS)  # no slot is free from here on
    await pumped()
    waiting = submit(dispatcher, 5, 100)
    queue = worker.servable._queues["m"]
    for count in [1] * 50 + [40] * 10:
        submit(dispatcher, count, 200).cancel()
        await pumped()
        assert queue.waiting <= 5 + 8 * DEFAULT_SLOTS + 5
    assert "<Dispatcher 2 pending" in repr(dispatcher)
    for batch in worker.batches[:]:
        worker.answer(batch)
    await under_way
    while len(worker.batches) == DEFAULT_SLOTS:  # it is kept open: many requests have come of late
        await pumped()
    worker.answer(worker.batches[-1])
    assert numbers_in(await waiting) == [100, 101, 102, 103, 104]


async def test_a_deadline_ends_a_request_and_drops_what_waits(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    before = submit(dispatcher, 8 * DEFAULT_SLOTS)
    await pumped()
    late = submit(dispatcher, 2, 100, timeout_s=0.0025)
    patient = submit(dispatcher, 2, 200, timeout_s=50)
    [group] = await late
    assert isinstance(group, FailedRows)
    text = "Request servable(s) method(m)  version(1) , deadline of 2.5 ms exceeded"
    assert (group.failure.text, group.failure.status, group.count) == (text, 504, 2)
    await pumped()
    assert "<Dispatcher 2 pending" in repr(dispatcher)
    for batch in worker.batches[:]:
        worker.answer(batch)
    await before
    await pumped()
    worker.answer(worker.batches[-1])
    assert numbers_in(await patient) == [200, 201]
    assert 100 not in [x for batch in worker.batches for x in numbers_in(batch.groups)]


async def test_a_deadline_keeps_nothing_of_an_answered_request(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    rows = numbered(1)
    values = weakref.ref(rows.columns[0])
    answered = dispatcher.admit(dispatcher.resolve("s", "m", 0), [rows], timeout_s=50)
    del rows
    await pumped()
    worker.answer(worker.batches.pop(), groups=(numbered(1, 7),))
    assert numbers_in(await answered) == [7]
    await pumped()
    assert values() is None


async def test_an_answer_that_comes_after_the_deadline_is_dropped(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    late = submit(dispatcher, 3, timeout_s=0.002)
    await pumped()
    [batch] = worker.batches
    worker.answer(batch, 0, (batch.groups[0].take(0, 1),), final=False)
    [group] = await late
    assert isinstance(group, FailedRows)
    worker.answer(batch, 1, (batch.groups[0].take(1, 3),))
    assert worker.free_slots() == DEFAULT_SLOTS


async def test_a_drain_refuses_what_is_new_and_waits_for_what_was_admitted(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    futures = [submit(dispatcher, 3, 10 * i) for i in range(2)]
    await pumped()
    drained = asyncio.create_task(dispatcher.drain(60))
    await pumped()
    assert dispatcher.draining
    for name in ("s", "unknown"):
        with pytest.raises(ServerStopping, match="the server is stopping and takes no more requests"):
            dispatcher.resolve(name, "m", 0)
    worker.answer(worker.batches[0])
    assert not drained.done()
    futures[1].cancel()
    for batch in worker.batches[1:]:
        worker.answer(batch)
    assert await drained
    assert numbers_in(await futures[0]) == [0, 1, 2]


async def test_a_drain_without_requests_or_without_time_ends_at_once(dispatcher: Dispatcher) -> None:
    Worker(dispatcher)
    assert await dispatcher.drain(60)
    dispatcher.draining = False
    future = submit(dispatcher, 1)
    assert not await dispatcher.drain(0.01)
    dispatcher.fail_waiting()
    await pumped()
    assert await dispatcher.drain(60)
    assert isinstance((await future)[0], FailedRows)


async def test_a_drain_ends_with_what_is_failed(dispatcher: Dispatcher) -> None:
    Worker(dispatcher)
    submit(dispatcher, 1)
    drained = asyncio.create_task(dispatcher.drain(60))
    await pumped()
    dispatcher.fail_waiting()
    assert await drained


async def test_what_others_have_admitted_is_served_in_a_drain(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    first = submit(dispatcher, 1)
    await pumped()
    drained = asyncio.create_task(dispatcher.drain(60))
    await pumped()
    other = dispatcher.forward(worker.servable, "m", [numbered(1, 5)])
    await pumped()
    for batch in worker.batches:
        worker.answer(batch)
    assert await drained
    assert numbers_in(await first) + numbers_in(await other) == [0, 5]
