"""When batches are sent, and what becomes of those that cannot be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from mindspore_serving.errors import (
    Failure,
    StatusCode,
)
from mindspore_serving.options import DEFAULT_SLOTS
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.messages import Batch
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.pump import Pump
from mindspore_serving.server.dispatch.queue_policy import MethodQueue
from mindspore_serving.server.dispatch.request import Request, pieces_of
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered, numbers_in
from tests.unit.dispatch.dispatching import METHOD, Worker, pumped, submit


async def test_requests_that_arrive_together_travel_together(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    futures = [submit(dispatcher, 2, 10 * i) for i in range(3)]
    await pumped()
    (batch,) = worker.batches
    worker.answer(batch)
    assert [numbers_in(await future) for future in futures] == [[0, 1], [10, 11], [20, 21]]


async def test_no_more_batches_than_slots(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 8 * (DEFAULT_SLOTS + 2))
    await pumped()
    assert len(worker.batches) == DEFAULT_SLOTS
    assert worker.free_slots() == 0
    for i in range(DEFAULT_SLOTS + 2):
        worker.answer(worker.batches[i])
        await pumped()
    assert numbers_in(await future) == list(range(8 * (DEFAULT_SLOTS + 2)))
    assert worker.free_slots() == DEFAULT_SLOTS


async def test_a_batch_that_is_not_full_waits_as_long_as_it_may(dispatcher: Dispatcher) -> None:
    dispatcher.servable("s", 1).set_delay(0.1)
    sent = asyncio.Event()
    worker = Worker(dispatcher, methods=[replace(METHOD, full=4)], on_batch=sent.set)
    begin = time.monotonic()
    first = submit(dispatcher, 1)
    second = submit(dispatcher, 2, 1)
    await pumped()
    assert worker.batches == []
    await sent.wait()
    assert time.monotonic() - begin >= 0.1
    worker.answer(worker.batches[0])
    assert numbers_in(await first) + numbers_in(await second) == [0, 1, 2]
    full = submit(dispatcher, 4)
    await pumped()
    worker.answer(worker.batches[1])
    assert numbers_in(await full) == [0, 1, 2, 3]


async def test_instances_that_cannot_be_written_are_answered(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)

    def refuse(_: Batch) -> None:
        raise ValueError("no such frame")

    worker.copy._send = refuse
    (group,) = await submit(dispatcher, 1)
    assert group.failure.text == "The instances cannot be passed on: ValueError('no such frame')"


async def test_without_memory_too(dispatcher: Dispatcher) -> None:
    lost, full = Worker(dispatcher), Worker(dispatcher)
    full.servable.remove_copy(full.copy)
    future = submit(dispatcher, 1)
    await pumped()

    def no_memory() -> None:
        raise OSError("no room")

    Worker(dispatcher, on_batch=no_memory)
    lost.die()
    fresh = submit(dispatcher, 1)
    text = "No memory for the instances of this request: no room"
    suffix = ": a worker had this instance, which may have been run"
    assert await future == [FailedRows(Failure(StatusCode.FAILED, text + suffix), 1)]
    assert await fresh == [FailedRows(Failure(StatusCode.FAILED, text, 503), 1)]


async def test_a_suspect_spares_the_last_copy_for_a_while_only(loop: asyncio.AbstractEventLoop) -> None:
    dispatcher = Dispatcher(loop, 0.05)
    lost = Worker(dispatcher)
    future = submit(dispatcher, 1)
    await pumped()
    reached = asyncio.Event()
    last = Worker(dispatcher, label="last", on_batch=reached.set)
    lost.servable.remove_copy(lost.copy, returns=True)
    await pumped()
    assert last.batches == []
    await reached.wait()
    last.answer(last.batches[0])
    assert numbers_in(await future) == [0]


async def test_no_memory_for_a_batch_fails_its_instances_only(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    send = worker.copy._send
    worker.copy._send = _raise_os_error
    (group,) = await submit(dispatcher, 2)
    assert isinstance(group, FailedRows)
    assert "No memory for the instances of this request" in group.failure.text
    worker.copy._send = send
    future = submit(dispatcher, 1)
    await pumped()
    worker.answer(worker.batches[0])
    assert numbers_in(await future) == [0]


def _raise_os_error(_: Batch) -> None:
    raise OSError("full")


async def test_in_a_drain_no_batch_waits_for_more(dispatcher: Dispatcher) -> None:
    dispatcher.servable("s", 1).set_delay(60)
    sent = asyncio.Event()
    worker = Worker(dispatcher, methods=[replace(METHOD, full=4)], on_batch=sent.set)
    submit(dispatcher, 1)
    await pumped()
    assert worker.batches == []
    drained = asyncio.create_task(dispatcher.drain(60))
    await sent.wait()
    worker.answer(worker.batches[0])
    assert await drained


class Timer:
    """A call that was asked for at a later time."""

    def __init__(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop that runs what is due when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Timer] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay_s, callback))
        return self.timers[-1]

    def run(self) -> None:
        """Run everything until nothing is due at once."""
        while self.soon:
            self.soon.pop(0)()

    def delays(self) -> list[int]:
        """Of the timers that are set, in whole seconds."""
        return [round(timer.delay_s) for timer in self.timers if not timer.cancelled]


def test_one_alarm_is_set_for_what_is_due_first(loop: asyncio.AbstractEventLoop) -> None:
    alarms = Loop()
    queues = [MethodQueue(MethodSignature(name, ("x",), 8, full=8), delay_s) for name, delay_s in DELAYS]
    copy = ServableCopy("c", [queue.signature for queue in queues], lambda _: None)
    pump = Pump(queues, [copy], {}, cast("asyncio.AbstractEventLoop", alarms), 0.0)
    pump.delays = True
    set_for: list[list[int]] = []
    for queue in queues:
        queue.put(pieces_of(Request([numbered(1)], loop.create_future()), time.monotonic()))
        pump.schedule()
        alarms.run()
        set_for.append(alarms.delays())
    assert set_for == [[60], [10], [10]]
    assert copy.idle
    queues[1].delay_s = 0.0  # as if it were due
    timer = next(timer for timer in alarms.timers if not timer.cancelled)
    timer.cancel()
    timer.callback()
    alarms.run()
    assert [queue.waiting for queue in queues] == [1, 0, 1]
    assert alarms.delays() == [30]


DELAYS = [("slow", 60.0), ("quick", 10.0), ("other", 30.0)]


def test_what_is_scheduled_often_runs_once() -> None:
    alarms = Loop()
    pump = Pump([], [], {}, cast("asyncio.AbstractEventLoop", alarms), 0.0)
    for _ in range(3):
        pump.schedule()
    assert len(alarms.soon) == 1
    alarms.run()
    pump.schedule()
    assert len(alarms.soon) == 1
