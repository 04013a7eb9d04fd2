"""Admission: who answers a request, whether there is room for it, and until when."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import pytest

from mindspore_serving.errors import (
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    UnknownTarget,
)
from mindspore_serving.options import DEFAULT_SLOTS, Limits
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered, numbers_in
from tests.unit.dispatch.dispatching import Worker, pumped, submit


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


@pytest.mark.parametrize("version", [0, 1])
async def test_a_servable_whose_workers_start_for_the_first_time_is_unknown(
    dispatcher: Dispatcher, version: int
) -> None:
    dispatcher.servable("s", 1)  # as supervision asks for it before it starts a process
    with pytest.raises(UnknownTarget, match="servable is not available"):
        dispatcher.resolve("s", "m", version)
    Worker(dispatcher).die()
    with pytest.raises(ServableUnavailable, match="servable is not available"):
        dispatcher.resolve("s", "m", version)


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
        counters = (
            [dispatcher._pending] if whose == "server" else [dispatcher._pending, worker.servable.pending]
        )
        assert {(one.requests, one.instances, one.byte_size) for one in counters} == {(0, 0, 0)}


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
    forwarded = [dispatcher.relay(worker.servable, "m", [numbered(3)]).future for _ in range(2)]
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
    other = dispatcher.relay(worker.servable, "m", [numbered(1, 5)]).future
    await pumped()
    for batch in worker.batches:
        worker.answer(batch)
    assert await drained
    assert numbers_in(await first) + numbers_in(await other) == [0, 5]


async def test_a_limit_of_requests_holds_without_an_early_look(
    dispatcher: Dispatcher, limits: Callable[..., None]
) -> None:
    worker = Worker(dispatcher)
    limits(2)
    destination = dispatcher.resolve("s", "m", 0)
    futures = [dispatcher.admit(destination, [numbered(1, i)]) for i in range(2)]
    with pytest.raises(QueueFull, match=exceeded("requests", 2)):
        dispatcher.check_room(destination)
    with pytest.raises(QueueFull, match=exceeded("requests", 2)):
        dispatcher.admit(destination, [numbered(1)])
    with pytest.raises(QueueFull, match=exceeded("requests", 2)), dispatcher.reading(destination):
        pytest.fail("it was admitted")
    await pumped()
    worker.answer_all()
    assert [numbers_in(await future) for future in futures] == [[0], [1]]
    await pumped()
    dispatcher.admit(destination, [numbered(1)])


async def test_a_request_that_its_servable_refuses_counts_nowhere(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    worker.servable.set_limits(Limits(requests=1))
    submit(dispatcher, 1)
    for _ in range(3):
        with pytest.raises(QueueFull, match=exceeded("requests", 1, "s")):
            submit(dispatcher, 1)
    assert dispatcher.requests == 1


async def test_a_route_that_was_found_earlier_is_found_again(dispatcher: Dispatcher) -> None:
    first, other = Worker(dispatcher, version=1), Worker(dispatcher, version=2)
    destination, pinned = dispatcher.resolve("s", "m", 0), dispatcher.resolve("s", "m", 2)
    other.die()
    future = dispatcher.admit(destination, [numbered(1, 5)])  # any version will do, so the lower one has it
    await pumped()
    first.answer_all()
    assert numbers_in(await future) == [5]
    with pytest.raises(ServableUnavailable, match="servable is not available"):
        dispatcher.admit(pinned, [numbered(1)])
    first.die()
    with pytest.raises(ServableUnavailable, match="servable is not available"):
        dispatcher.admit(destination, [numbered(1)])
    await pumped()
    assert dispatcher.requests == 0


async def test_instances_that_were_read_for_other_inputs_are_refused(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    destination = dispatcher.resolve("s", "m", 0)
    with dispatcher.reading(destination) as admission:
        worker.die()
        Worker(dispatcher, methods=[MethodSignature("m", ("y",), 8)])
        for admit in (admission.admit, partial(dispatcher.admit, destination)):
            with pytest.raises(ServableUnavailable, match="servable is not available"):
                admit([numbered(1)])
    assert dispatcher.requests == 0


@pytest.mark.parametrize("closing", ["draining", "stopping"])
async def test_a_route_is_of_no_use_to_a_server_that_ends(dispatcher: Dispatcher, closing: str) -> None:
    Worker(dispatcher)
    destination = dispatcher.resolve("s", "m", 0)
    if closing == "draining":
        assert await dispatcher.drain(60)
    else:
        dispatcher.fail_waiting()
    with pytest.raises(ServerStopping):
        dispatcher.admit(destination, [numbered(1)])
    with pytest.raises(ServerStopping), dispatcher.reading(destination):
        pytest.fail("it was admitted")
    assert dispatcher.requests == 0


async def test_a_request_is_pending_while_it_is_read_and_keeps_its_place(
    dispatcher: Dispatcher, limits: Callable[..., None]
) -> None:
    worker = Worker(dispatcher)
    worker.servable.set_limits(Limits(requests=1))
    limits(1)
    destination = dispatcher.resolve("s", "m", 0)
    with dispatcher.reading(destination) as admission:
        with pytest.raises(QueueFull):
            submit(dispatcher, 1)
        future = admission.admit([numbered(2)])
        assert (dispatcher.requests, counts(worker)) == (1, (1, 2))
    assert (dispatcher.requests, counts(worker)) == (1, (1, 2))
    await pumped()
    worker.answer_all()
    assert numbers_in(await future) == [0, 1]
    await pumped()
    assert (dispatcher.requests, counts(worker)) == (0, (0, 0))


def counts(worker: Worker) -> tuple[int, int]:
    pending = worker.servable.pending
    assert pending is not None
    return pending.requests, pending.instances


@pytest.mark.parametrize("most", [Limits(instances=4), Limits(byte_size=16)])
@pytest.mark.parametrize("whose", ["server", "servable"])
async def test_a_request_that_is_too_large_once_it_is_read_is_refused(
    dispatcher: Dispatcher, limits: Callable[..., None], most: Limits, whose: str
) -> None:
    worker = Worker(dispatcher)
    if whose == "server":
        limits(instances=most.instances, byte_size=most.byte_size)
    else:
        worker.servable.set_limits(most)
    destination = dispatcher.resolve("s", "m", 0)
    with dispatcher.reading(destination) as admission:
        alone = admission.admit([numbered(5)])  # larger than the limit, but the only one
    with dispatcher.reading(destination) as admission:
        with pytest.raises(QueueFull, match="exceeds the limit"):
            admission.admit([numbered(1)])
        assert dispatcher.requests == 1
    await pumped()
    worker.answer_all()
    assert numbers_in(await alone) == [0, 1, 2, 3, 4]
    await pumped()
    assert dispatcher.requests == 0


async def test_a_request_that_is_not_read_to_its_end_is_not_pending_any_more(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    worker.servable.set_limits(Limits(requests=5))
    with (
        pytest.raises(OSError, match="the client is gone"),
        dispatcher.reading(dispatcher.resolve("s", "m", 0)),
    ):
        assert (dispatcher.requests, counts(worker)) == (1, (1, 0))
        raise OSError("the client is gone")
    assert (dispatcher.requests, counts(worker)) == (0, (0, 0))


async def test_a_drain_waits_for_what_is_read_and_for_what_is_written(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    destination = dispatcher.resolve("s", "m", 0)
    with dispatcher.reading(destination) as admission:
        drained = asyncio.create_task(dispatcher.drain(60))
        await pumped()
        assert not drained.done()
        future = admission.admit([numbered(1, 7)])
    await pumped()
    worker.answer_all()
    assert numbers_in(await future) == [7]
    with dispatcher.writing(destination):
        await pumped()
        assert not drained.done()
    assert await drained


async def test_what_is_read_in_a_drain_opens_the_door_to_nothing_new(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    with dispatcher.reading(dispatcher.resolve("s", "m", 0)) as admission:
        drained = asyncio.create_task(dispatcher.drain(60))
        await pumped()
        admission.admit([numbered(1)])
        with pytest.raises(ServerStopping):
            dispatcher.resolve("s", "m", 0)
    await pumped()
    worker.answer_all()
    assert await drained


async def test_a_drain_ends_when_what_is_read_is_refused(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    worker.servable.set_limits(Limits(instances=2))
    blocking = submit(dispatcher, 2)
    with dispatcher.reading(dispatcher.resolve("s", "m", 0)) as admission:
        drained = asyncio.create_task(dispatcher.drain(60))
        await pumped()
        worker.answer_all()
        await blocking
        worker.die()
        with pytest.raises(ServableUnavailable):
            admission.admit([numbered(1)])
    assert await drained


async def test_a_written_reply_is_refused_for_no_limit(
    dispatcher: Dispatcher, limits: Callable[..., None]
) -> None:
    Worker(dispatcher)
    limits(1)
    destination = dispatcher.resolve("s", "m", 0)
    submit(dispatcher, 1)
    with dispatcher.writing(destination):
        assert dispatcher.requests == 2
    assert dispatcher.requests == 1


async def test_a_place_is_kept_whatever_comes_meanwhile(
    dispatcher: Dispatcher, limits: Callable[..., None]
) -> None:
    worker = Worker(dispatcher)
    limits(1)
    worker.servable.set_limits(Limits(requests=1))
    destination = dispatcher.resolve("s", "m", 0)
    with (
        dispatcher.reading(destination) as admission,
        dispatcher.writing(destination),
    ):  # more than the limit together
        future = admission.admit([numbered(1, 3)])
    await pumped()
    worker.answer_all()
    assert numbers_in(await future) == [3]


async def test_a_request_that_is_abandoned_before_it_is_sent_is_not_sent(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    futures = [submit(dispatcher, 1, i) for i in range(3)]
    futures[1].cancel()
    await pumped()
    assert [numbers_in(batch.groups) for batch in worker.batches] == [[0, 2]]


@pytest.mark.parametrize("read", [False, True])
async def test_a_deadline_holds_however_a_request_is_admitted(dispatcher: Dispatcher, read: bool) -> None:
    Worker(dispatcher)
    destination = dispatcher.resolve("s", "m", 0)
    with dispatcher.reading(destination) if read else contextlib.nullcontext() as admission:
        admit = partial(dispatcher.admit, destination) if admission is None else admission.admit
        future = admit([numbered(1)], 0.001)
    [group] = await future
    assert isinstance(group, FailedRows)
    assert group.failure.text.endswith("deadline of 1 ms exceeded")
    await pumped()
    assert dispatcher.requests == 0


async def test_what_changes_is_noted(dispatcher: Dispatcher) -> None:
    noted: list[str] = []
    dispatcher.on_change = lambda: noted.append(dispatcher.closing)
    worker = Worker(dispatcher)
    worker.die()
    assert await dispatcher.drain(60)
    dispatcher.fail_waiting()
    assert list(dict.fromkeys(noted)) == ["", "draining", "stopping"]
