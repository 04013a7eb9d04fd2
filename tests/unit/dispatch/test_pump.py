"""When batches are sent, and what becomes of those that cannot be."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from mindspore_serving.errors import (
    Failure,
    StatusCode,
)
from mindspore_serving.options import DEFAULT_SLOTS
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.messages import Batch
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from tests.support.dispatching import METHOD, Worker, pumped, submit
from tests.support.rows import numbers_in


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
    dispatcher.servable("s", 1).delay_s = 0.1
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
    dispatcher.servable("s", 1).delay_s = 60
    sent = asyncio.Event()
    worker = Worker(dispatcher, methods=[replace(METHOD, full=4)], on_batch=sent.set)
    submit(dispatcher, 1)
    await pumped()
    assert worker.batches == []
    drained = asyncio.create_task(dispatcher.drain(60))
    await sent.wait()
    worker.answer(worker.batches[0])
    assert await drained
