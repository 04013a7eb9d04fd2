"""What is counted of requests and batches: every request once, every batch in full."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from mindspore_serving.errors import Failure, QueueFull, StatusCode
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.channel.messages import Result
from mindspore_serving.server.dispatch.copy import SentBatch
from mindspore_serving.server.dispatch.counting import (
    Relayed,
    count_lost,
    count_run,
    count_sent,
)
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.method_counter import MethodCounter
from mindspore_serving.server.dispatch.method_statistics import Duration, MethodStatistics
from mindspore_serving.server.dispatch.request import Piece, Request, pieces_of
from mindspore_serving.server.service.statistics import Statistics
from mindspore_serving.signature import MethodSignature, call_method_name
from tests.support.rows import numbered
from tests.unit.dispatch.dispatching import METHOD, Worker, pumped, submit

FAILED = Failure(StatusCode.FAILED, "no")
S, MS = 10**9, 10**6


class Counted:
    """Batches by hand, which are counted in one place."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.counter = MethodCounter()
        self._loop = loop

    def request(self, admitted: float, *blocks: Rows) -> list[Piece]:
        """The pieces of a request."""
        request = Request(blocks or [numbered(1)], self._loop.create_future(), self.counter)
        request.admitted = admitted
        return pieces_of(request, admitted)

    def sent(self, taken: float, *pieces: Piece) -> SentBatch:
        """A batch that has left the queue, and was written a millisecond later."""
        batch = SentBatch(METHOD, 0, pieces, taken, taken + 0.001)
        count_sent(batch)
        return batch

    def compute(self) -> list[Duration]:
        counted = self.statistics
        return [counted.compute_input, counted.compute_infer, counted.compute_output]

    @property
    def statistics(self) -> MethodStatistics:
        return self.counter.snapshot()

    def ran(self, batch: SentBatch, done: float, wait_us: int = 0, run_us: int = 0) -> None:
        batch.done = done
        count_run(batch, Result(0, 0, 0, (), True, wait_us, run_us))


@pytest.fixture
def counted(loop: asyncio.AbstractEventLoop) -> Counted:
    return Counted(loop)


@pytest.mark.parametrize(
    ("wait_us", "run_us", "parts_ms"),
    [
        (20_000, 300_000, [21, 300, 679]),
        (0, 0, [1, 0, 999]),
        (999_000, 0, [1000, 0, 0]),
        (999_001, 0, [1000, 0, 0]),
        (20_000, 979_000, [21, 979, 0]),
        (20_000, 990_000, [10, 990, 0]),
        (2**32 - 1, 2**32 - 1, [0, 1000, 0]),
    ],
)
def test_the_time_of_a_batch_has_three_parts_whatever_its_worker_says(
    counted: Counted, wait_us: int, run_us: int, parts_ms: list[int]
) -> None:
    batch = counted.sent(8.0, *counted.request(7.5))
    counted.ran(batch, 9.0, wait_us, run_us)
    assert [(part.count, round(part.ns, -3)) for part in counted.compute()] == [
        (1, ms * MS) for ms in parts_ms
    ]
    assert counted.statistics.queue == Duration(1, S // 2)
    times = counted.statistics.batches[1]
    assert [times.compute_input, times.compute_infer, times.compute_output] == counted.compute()


def test_each_request_of_a_batch_is_charged_with_all_of_it(counted: Counted) -> None:
    two_blocks = counted.request(1.0, numbered(2), numbered(3))
    batch = counted.sent(4.0, *counted.request(2.0), *two_blocks, *counted.request(4.0))
    counted.ran(batch, 5.0, run_us=500_000)
    assert counted.statistics.queue == Duration(3, 5 * S)
    assert [part.count for part in counted.compute()] == [3, 3, 3]
    assert round(sum(part.ns for part in counted.compute()), -3) == 3 * S
    assert counted.statistics.compute_infer.ns == 3 * S // 2
    assert [*counted.statistics.batches] == [7]
    assert counted.statistics.batches[7].compute_infer == Duration(1, S // 2)
    assert counted.statistics.executions == 1


def test_a_request_that_is_split_waits_until_its_first_batch_and_is_charged_with_all(
    counted: Counted,
) -> None:
    [piece] = counted.request(1.0, numbered(6))
    first = counted.sent(2.0, piece.part(0, 4))
    second = counted.sent(3.0, piece.part(4, 6), *counted.request(3.0))
    counted.ran(second, 4.0, run_us=250_000)
    counted.ran(first, 4.0, run_us=500_000)
    assert counted.statistics.queue == Duration(2, S)
    assert counted.statistics.compute_infer == Duration(2, S // 2 + 2 * S // 4)
    assert [part.count for part in counted.compute()] == [2, 2, 2]
    assert (counted.statistics.executions, sorted(counted.statistics.batches)) == (2, [3, 4])


def test_a_request_whose_worker_was_lost_counts_once(counted: Counted) -> None:
    [piece] = counted.request(1.0)
    count_lost(counted.sent(2.0, piece), 4.0)
    assert (counted.statistics.executions, counted.statistics.batches) == (0, {})
    counted.ran(counted.sent(5.0, piece), 6.0, run_us=500_000)
    assert counted.statistics.queue == Duration(1, S)
    assert counted.statistics.compute_infer == Duration(1, 2 * S + S // 2)
    assert [part.count for part in counted.compute()] == [1, 1, 1]
    assert (counted.statistics.executions, [*counted.statistics.batches]) == (1, [1])


def test_who_asks_for_it_learns_how_long_its_instances_took(counted: Counted) -> None:
    first, second = counted.request(1.0), counted.request(1.5)
    for piece in (*first, *second):
        piece.request.relayed = Relayed()
    counted.ran(counted.sent(2.0, *first, *second), 3.0, wait_us=249_000, run_us=500_000)
    relayed = [piece.request.relayed for piece in (*first, *second)]
    assert [(one.wait_s, one.run_s) for one in relayed if one] == [
        pytest.approx((1.25, 0.5)),
        pytest.approx((0.75, 0.5)),
    ]


# ---- through the dispatcher


def of(dispatcher: Dispatcher, method: str = "m", version: int = 1) -> MethodStatistics:
    return Statistics(dispatcher).of("s", version, method)


def outcomes(dispatcher: Dispatcher) -> tuple[int, int]:
    counted = of(dispatcher)
    return counted.success.count, counted.fail.count


async def answered(worker: Worker, future: asyncio.Future[Reply]) -> None:
    """Let a worker answer all that waits, and let what hangs on the request's end happen."""
    await pumped()
    worker.answer_all()
    await future
    await pumped()


async def test_every_request_instance_and_batch_is_counted_once(dispatcher: Dispatcher) -> None:
    workers = [Worker(dispatcher, label=f"s:1 {i}") for i in range(2)]
    chance = random.Random(7)
    counts = [chance.choice([1, 1, 1, 2, 5, 30, 1100]) for _ in range(200)]
    begin_ms = int(time.time() * 1000)
    futures, batches = [], 0
    for count in counts:
        futures.append(submit(dispatcher, count))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        for worker in workers:
            while worker.batches and chance.random() < 0.5:
                worker.answer(worker.batches.pop(chance.randrange(len(worker.batches))))
                batches += 1
    while not all(future.done() for future in futures):
        await pumped()
        for worker in workers:
            batches += len(worker.batches)
            worker.answer_all()
    await pumped()
    counted = of(dispatcher)
    assert (counted.success.count, counted.fail.count) == (len(counts), 0)
    assert counted.queue.count == counted.compute_infer.count == len(counts)
    assert counted.instances == sum(counts)
    assert counted.executions == batches
    by_size = {size: times.compute_output.count for size, times in counted.batches.items()}
    assert sum(size * number for size, number in by_size.items()) == sum(counts)
    assert sum(by_size.values()) == batches
    assert [*by_size] == sorted(by_size)
    assert max(by_size) <= 512
    parts = [counted.compute_input, counted.compute_infer, counted.compute_output]
    assert {part.count for part in parts} == {len(counts)}
    assert sum(part.ns for part in parts) > 0
    assert begin_ms <= counted.last_request_ms <= int(time.time() * 1000)


async def test_what_a_request_waits_and_takes_is_not_more_than_its_whole_time(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 3)
    await answered(worker, future)
    counted = of(dispatcher)
    parts = [counted.queue, counted.compute_input, counted.compute_infer, counted.compute_output]
    assert [part.count for part in parts] == [1, 1, 1, 1]
    assert 0 < sum(part.ns for part in parts) <= counted.success.ns


async def test_a_request_of_which_an_instance_has_no_result_has_failed(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 3)
    await pumped()
    worker.answer(worker.batches.pop(), groups=(numbered(1), FailedRows(FAILED, 1), numbered(1)))
    await future
    await pumped()
    assert outcomes(dispatcher) == (0, 1)
    assert (of(dispatcher).instances, of(dispatcher).executions) == (2, 1)


async def give_up(dispatcher: Dispatcher, future: asyncio.Future[Reply]) -> None:
    future.cancel()


async def run_out_of_time(dispatcher: Dispatcher, future: asyncio.Future[Reply]) -> None:
    await future


async def stop(dispatcher: Dispatcher, future: asyncio.Future[Reply]) -> None:
    dispatcher.fail_waiting()


@pytest.mark.parametrize("end", [give_up, run_out_of_time, stop])
@pytest.mark.parametrize("sent", [False, True])
async def test_what_was_admitted_and_has_no_answer_of_a_worker_has_failed(
    dispatcher: Dispatcher,
    end: Callable[[Dispatcher, asyncio.Future[Reply]], asyncio.Future[None]],
    sent: bool,
) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 3, timeout_s=0.0 if end is run_out_of_time else None)
    if sent:
        worker.servable.hurry()
        await pumped()
    await end(dispatcher, future)
    await pumped()
    assert outcomes(dispatcher) == (0, 1)
    assert of(dispatcher).instances == 0


async def test_what_is_refused_counts_nowhere(dispatcher: Dispatcher, limits: Callable[..., None]) -> None:
    limits(requests=1)
    Worker(dispatcher)
    submit(dispatcher, 1)
    with pytest.raises(QueueFull):
        submit(dispatcher, 1)
    dispatcher.fail_waiting()
    await pumped()
    assert outcomes(dispatcher) == (0, 1)


async def test_results_of_a_lost_worker_count_and_the_rest_counts_when_it_has_run(
    dispatcher: Dispatcher,
) -> None:
    lost = Worker(dispatcher)
    future = submit(dispatcher, 3)
    await pumped()
    lost.answer(lost.batches.pop(), groups=(numbered(2),), final=False)
    other = Worker(dispatcher)
    lost.die()
    await answered(other, future)
    counted = of(dispatcher)
    assert outcomes(dispatcher) == (1, 0)
    assert (counted.queue.count, counted.compute_infer.count) == (1, 1)
    assert (counted.instances, counted.executions, [*counted.batches]) == (3, 1, [1])


async def test_what_was_counted_outlives_workers_and_belongs_to_the_version(dispatcher: Dispatcher) -> None:
    for version in (1, 1, 2):
        worker = Worker(dispatcher, version=version)
        future = submit(dispatcher, 1)
        await answered(worker, future)
        if version == 1:
            worker.die()
    assert [of(dispatcher, version=version).success.count for version in (1, 2)] == [2, 1]


async def test_a_method_may_be_another_one_and_counts_on(dispatcher: Dispatcher) -> None:
    Worker(dispatcher).die()
    submitted_to = Worker(dispatcher, methods=[MethodSignature("m", ("y",), 8)])
    future = submit(dispatcher, 1)
    await answered(submitted_to, future)
    assert outcomes(dispatcher) == (1, 0)


@pytest.mark.parametrize(
    ("servable", "version", "method"), [("other", 1, "m"), ("s", 2, "m"), ("s", 1, "other")]
)
async def test_nothing_is_counted_and_nothing_kept_of_what_is_not_there(
    dispatcher: Dispatcher, servable: str, version: int, method: str
) -> None:
    Worker(dispatcher)
    before = repr(dispatcher)
    assert dispatcher.statistics(servable, version, method) == MethodStatistics()
    assert repr(dispatcher) == before


async def test_calls_of_models_are_counted_and_not_shown(dispatcher: Dispatcher) -> None:
    name = call_method_name("m.mindir", 0)
    worker = Worker(dispatcher, methods=[METHOD, MethodSignature(name, ("x0",), 8)])
    future = dispatcher.relay(worker.servable, name, [numbered(2)]).future
    await answered(worker, future)
    counted = worker.servable.counters[name].snapshot()
    assert (counted.success.count, counted.instances, [*counted.batches]) == (1, 2, [2])
    assert of(dispatcher, name) == of(dispatcher) == MethodStatistics()


async def test_what_was_read_counts_no_more(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    read = []
    for _ in range(2):
        future = submit(dispatcher, 1)
        await answered(worker, future)
        read.append(of(dispatcher))
    assert [counted.success.count for counted in read] == [1, 2]
    assert [counted.batches[1].compute_infer.count for counted in read] == [1, 2]
    assert [counted.queue.count for counted in read] == [1, 2]
