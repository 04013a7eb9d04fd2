"""What becomes of requests, in which phase they were for how long, and what was refused: all sums agree."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mindspore_serving.errors import (
    DeadlineExceeded,
    Failure,
    InvalidInput,
    ModelError,
    Outcome,
    PipelineError,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    StageError,
    StatusCode,
    SystemFailure,
    UnknownTarget,
)
from mindspore_serving.rows import FailedRows, Group, Reply
from mindspore_serving.server.channel.messages import Result
from mindspore_serving.server.dispatch.client_call import ClientCall, current_call
from mindspore_serving.server.dispatch.copy import SentBatch
from mindspore_serving.server.dispatch.counting import count_answered, count_end, count_run, count_sent
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.failures import no_memory, unavailable, workers_lost
from mindspore_serving.server.dispatch.method_counter import MethodCounter
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics, Phase
from mindspore_serving.server.dispatch.request import MOST_BATCHES, Request, pieces_of
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.support.rows import numbered
from tests.unit.dispatch.dispatching import METHOD, Worker, pumped, submit

SINGLE = MethodSignature("m", ("x",), 1, waits=True)
OF_WORKER = (Phase.QUEUE, Phase.INPUT, Phase.COMPUTE, Phase.OUTPUT)


def of(dispatcher: Dispatcher) -> MethodStatistics:
    return dispatcher.statistics("s", 1, "m")


def failed(error: Exception | Failure, count: int = 1) -> FailedRows:
    failure = error if isinstance(error, Failure) else error.failure()  # type: ignore[attr-defined]
    return FailedRows(failure, count)


@contextmanager
def client_call(began: float | None = None) -> Iterator[ClientCall]:
    """What a transport does around a call."""
    call = ClientCall(time.monotonic() if began is None else began)
    token = current_call.set(call)
    try:
        yield call
    finally:
        current_call.reset(token)


def check_sums(dispatcher: Dispatcher) -> MethodStatistics:
    """Nothing is pending, and whatever was counted in two ways is the same."""
    counter = dispatcher.servable("s", 1).counters["m"]
    assert (counter.pending_requests, counter.pending_instances) == (0, 0)
    counted = of(dispatcher)
    assert sum(counted.requests.values()) == counter.admitted == counted.success.count + counted.fail.count
    assert sum(counted.outcomes.values()) == counter.admitted_instances
    assert counted.requests.get(Outcome.OK, 0) == counted.success.count
    assert counted.phases[Phase.TOTAL].count == counter.admitted
    for phase in OF_WORKER:
        if counter.sent:
            assert counted.phases[phase].count == counter.sent
    for phase, whole in zip(
        OF_WORKER,
        (counted.queue, counted.compute_input, counted.compute_infer, counted.compute_output),
        strict=True,
    ):
        assert whole.count == counter.sent
        if counter.sent:
            assert counted.phases[phase].sum_s == pytest.approx(whole.ns / 1e9, abs=1e-6)
    return counted


# ---- outcomes


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (InvalidInput("no"), Outcome.INVALID),
        (UnknownTarget("no"), Outcome.INVALID),
        (StageError("no"), Outcome.STAGE_FAILED),
        (PipelineError("no"), Outcome.STAGE_FAILED),
        (ModelError("no"), Outcome.MODEL_FAILED),
        (SystemFailure("no"), Outcome.SERVING_FAILED),
        (DeadlineExceeded("no"), Outcome.DEADLINE),
        (ServableUnavailable("no"), Outcome.STOPPED),
        (Failure(StatusCode.FAILED, "no"), Outcome.SERVING_FAILED),
        (no_memory(OSError("no"), reached=False), Outcome.SERVING_FAILED),
        (unavailable("s", "m", 1), Outcome.STOPPED),
        (unavailable("s", "m", 1, reached=True), Outcome.STOPPED),
        (workers_lost("s", "m", 1, 2), Outcome.LOST),
    ],
)
async def test_a_failure_says_what_it_counts_as(
    dispatcher: Dispatcher, failure: Any, outcome: Outcome
) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 3)
    await pumped()
    worker.answer(worker.batches.pop(), groups=(numbered(1), failed(failure), numbered(1)))
    await future
    await pumped()
    counted = check_sums(dispatcher)
    assert counted.requests == {outcome: 1}
    assert counted.outcomes == {Outcome.OK: 2, outcome: 1}


async def test_the_first_instance_without_a_result_says_what_became_of_the_request(
    dispatcher: Dispatcher,
) -> None:
    worker = Worker(dispatcher)
    with client_call() as call:
        future = submit(dispatcher, 3)
    await pumped()
    batch = worker.batches.pop()
    worker.answer(batch, 2, (failed(StageError("last")),), final=False)
    worker.answer(batch, 1, (failed(ModelError("before")),), final=False)
    worker.answer(batch, 0, (numbered(1),))
    await future
    await pumped()
    assert check_sums(dispatcher).requests == {Outcome.MODEL_FAILED: 1}
    [request] = call.requests
    assert (request.outcome, request.failed_instances) == (Outcome.MODEL_FAILED, 2)


@pytest.mark.parametrize("sent", [False, True])
async def test_a_client_that_goes_takes_all_of_its_instances_with_it(
    dispatcher: Dispatcher, sent: bool
) -> None:
    worker = Worker(dispatcher)
    with client_call() as call:
        future = submit(dispatcher, 3)
    if sent:
        await pumped()
        worker.answer(worker.batches[0], groups=(numbered(1),), final=False)
    future.cancel()
    await pumped()
    if sent:
        worker.answer(worker.batches[0], 1, (numbered(2),))
    counted = check_sums(dispatcher)
    assert counted.outcomes == {Outcome.CANCELLED: 3}
    assert counted.cancelled_before_run == (0 if sent else 3)
    [request] = call.requests
    assert (request.outcome, request.failed_instances) == (Outcome.CANCELLED, 3)


async def test_what_waits_when_the_time_is_over_costs_no_work(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[METHOD])
    busy = [submit(dispatcher, 600) for _ in range(8)]
    late = submit(dispatcher, 5, timeout_s=0.0)
    await asyncio.sleep(0.01)
    await late
    while not all(one.done() for one in busy):
        worker.answer_all()
        await pumped()
    counted = check_sums(dispatcher)
    assert counted.requests == {Outcome.OK: 8, Outcome.DEADLINE: 1}
    assert counted.cancelled_before_run == 5


async def test_what_a_worker_has_had_has_cost_work(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[SINGLE])
    future = submit(dispatcher, 1)
    await pumped()
    worker.servable.remove_copy(worker.copy, returns=True)
    future.cancel()
    Worker(dispatcher, methods=[SINGLE])
    await pumped()
    counted = check_sums(dispatcher)
    assert (counted.outcomes, counted.cancelled_before_run) == ({Outcome.CANCELLED: 1}, 0)


async def test_instances_that_are_not_what_is_declared_count_as_invalid(dispatcher: Dispatcher) -> None:
    declared = TensorType("x", DataType.FLOAT64, (), declared=True)
    worker = Worker(dispatcher, methods=[MethodSignature("m", ("x",), 8, inputs=(declared,))])
    wrong = numbered(2)
    with client_call() as call:
        destination = dispatcher.resolve("s", "m", 0)
        future = dispatcher.admit(destination, [wrong])
        assert call.asked is None
    count_answered(call, time.monotonic())
    assert future.done()
    assert (of(dispatcher).refused, of(dispatcher).requests) == ({"invalid": 1}, {})
    assert not worker.batches


# ---- phases


def buckets(counted: MethodStatistics) -> dict[Phase, list[float]]:
    """By phase, the bounds of the buckets that have something in them."""
    return {
        phase: [
            bound for bound, count in zip((*one.bounds, 0.0), one.counts, strict=True) for _ in range(count)
        ]
        for phase, one in counted.phases.items()
    }


class ByHand:
    """A request of which each moment is given: read at 100 s, and taken by a worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, admitted: float, began: float = 0.0) -> None:
        self.counter = MethodCounter("s", 1, "m")
        self.request = Request([numbered(1)], loop.create_future(), self.counter)
        self.request.admitted = admitted
        self.request.began = began
        self.call = ClientCall(began)
        self.call.requests.append(self.request)

    def run(self, taken: float, done: float, wait_us: int = 0, run_us: int = 0) -> None:
        [piece] = pieces_of(self.request)
        batch = SentBatch(METHOD, 0, [piece], taken, taken)
        count_sent(batch)
        piece.settle(numbered(1))
        batch.done = done
        count_run(batch, Result(0, 0, 0, (), True, wait_us, run_us))


async def test_each_phase_of_a_request_falls_into_its_bucket(loop: asyncio.AbstractEventLoop) -> None:
    given = ByHand(loop, admitted=100.003, began=100.0)
    request = given.request
    given.run(taken=100.043, done=101.543, wait_us=400_000, run_us=900_000)
    count_end(request, 101.543)
    assert Phase.TOTAL not in given.counter.snapshot().phases
    count_answered(given.call, 101.5434)
    count_answered(given.call, 200.0)
    counted = given.counter.snapshot()
    assert buckets(counted) == {
        Phase.DECODE: [0.005],
        Phase.QUEUE: [0.05],
        Phase.INPUT: [0.5],
        Phase.COMPUTE: [1.0],
        Phase.OUTPUT: [0.5],
        Phase.ENCODE: [0.0005],
        Phase.TOTAL: [2.0],
    }
    parts = [one.sum_s for phase, one in counted.phases.items() if phase is not Phase.TOTAL]
    assert counted.phases[Phase.TOTAL].sum_s == pytest.approx(sum(parts)) == pytest.approx(1.5434)
    assert (request.queue_s, request.input_s) == pytest.approx((0.04, 0.4))
    assert (request.compute_s, request.output_s) == pytest.approx((0.9, 0.2))
    assert request.ended_at == 101.543
    assert (request.counter.servable, request.counter.version, request.counter.method) == ("s", 1, "m")


async def test_what_takes_longer_than_all_bounds_is_in_the_last_bucket(
    loop: asyncio.AbstractEventLoop,
) -> None:
    given = ByHand(loop, admitted=100.0)
    given.run(taken=100.0, done=1000.0)
    count_end(given.request, 1000.0)
    assert buckets(given.counter.snapshot()) == {
        Phase.QUEUE: [0.0005],
        Phase.INPUT: [0.0005],
        Phase.COMPUTE: [0.0005],
        Phase.OUTPUT: [0.0],
        Phase.TOTAL: [0.0],
    }


async def test_a_bound_belongs_to_its_bucket(loop: asyncio.AbstractEventLoop) -> None:
    given = ByHand(loop, admitted=0.0)
    given.run(taken=0.5, done=1.5)
    count_end(given.request, 2.0)
    phases = buckets(given.counter.snapshot())
    assert (phases[Phase.QUEUE], phases[Phase.OUTPUT], phases[Phase.TOTAL]) == ([0.5], [1.0], [2.0])


async def test_a_request_without_a_call_counts_its_own_time_as_the_total(
    loop: asyncio.AbstractEventLoop,
) -> None:
    given = ByHand(loop, admitted=100.0)
    given.run(taken=100.9, done=100.9)
    count_end(given.request, 100.9)
    count_answered(given.call, 200.0)
    phases = given.counter.snapshot().phases
    assert phases.keys() == {*OF_WORKER, Phase.TOTAL}
    assert phases[Phase.TOTAL].sum_s == pytest.approx(0.9)


async def test_a_failed_request_counts_by_itself_and_has_no_encode(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    with client_call() as call:
        future = submit(dispatcher, 1)
    await pumped()
    worker.answer(worker.batches.pop(), groups=(failed(StageError("no")),))
    await future
    await pumped()
    phases = check_sums(dispatcher).phases
    count_answered(call, time.monotonic())
    assert of(dispatcher).phases == phases
    assert phases[Phase.DECODE].count == 1
    assert Phase.ENCODE not in phases


async def test_a_call_that_is_over_before_its_request_leaves_the_total_to_that(
    dispatcher: Dispatcher,
) -> None:
    worker = Worker(dispatcher)
    with client_call() as call:
        future = submit(dispatcher, 1)
    await pumped()
    count_answered(call, time.monotonic())
    worker.answer_all()
    await future
    await pumped()
    phases = check_sums(dispatcher).phases
    assert (Phase.DECODE in phases, phases[Phase.TOTAL].count) == (False, 1)


async def test_a_request_that_is_answered_before_its_batch_has_ended_counts_when_it_has(
    dispatcher: Dispatcher,
) -> None:
    worker = Worker(dispatcher)
    with client_call() as call:
        first, second = submit(dispatcher, 1), submit(dispatcher, 1)
    await pumped()
    [batch] = worker.batches
    worker.answer(batch, 0, (numbered(1),), final=False)
    await first
    await pumped()
    early = call.requests[0]
    assert (early.ended_at > 0, early.counted, early.batches[0].done) == (True, False, 0.0)
    assert Phase.QUEUE not in of(dispatcher).phases
    worker.answer(batch, 1, (numbered(1),))
    await second
    await pumped()
    count_answered(call, time.monotonic())
    check_sums(dispatcher)
    assert call.requests[0].batches == call.requests[1].batches
    assert early.batches[0].done > 0


async def test_a_request_of_very_many_batches_counts_all_and_remembers_some(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[SINGLE])
    with client_call() as call:
        future = submit(dispatcher, 3 * MOST_BATCHES)
    for _ in range(3 * MOST_BATCHES):
        await pumped()
        [batch] = worker.batches
        worker.batches.clear()
        worker.copy.take_result(Result(batch.batch_id, batch.slot, 0, batch.groups, True, 0, 1))
    await future
    await pumped()
    count_answered(call, time.monotonic())
    [request] = call.requests
    assert len(request.batches) == MOST_BATCHES
    assert all(not batch.pieces for batch in request.batches)
    counted = check_sums(dispatcher)
    assert counted.executions == 3 * MOST_BATCHES
    assert request.compute_s == pytest.approx(3 * MOST_BATCHES * 1e-6, rel=0.5)
    assert request.output_s == pytest.approx(counted.compute_output.ns / 1e9, abs=1e-6)


# ---- steps


def result_of(worker: Worker, steps: tuple[int, ...], rows: int = 0, padding: int = 0) -> None:
    [batch] = worker.batches
    worker.batches.clear()
    worker.copy.take_result(
        Result(batch.batch_id, batch.slot, 0, batch.groups, True, 0, 9, rows, padding, steps)
    )


STEPPED = MethodSignature("m", ("x",), 8, steps=("first", "model"))


async def test_steps_and_rows_are_what_the_worker_says(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[STEPPED])
    with client_call() as call:
        submit(dispatcher, 3)
    await pumped()
    result_of(worker, (5, 70), 8, 5)
    submit(dispatcher, 1)
    await pumped()
    result_of(worker, (2, 0))
    await pumped()
    counted = of(dispatcher)
    assert {name: (one.count, one.ns) for name, one in counted.steps.items()} == {
        "first": (2, 7000),
        "model": (1, 70_000),
    }
    assert (counted.model_rows, counted.padding_rows) == (8, 5)
    [batch] = call.requests[0].batches
    assert (batch.steps, batch.model_rows, batch.padding_rows, batch.copy_label) == ((5, 70), 8, 5, "s:1")
    assert (batch.requests, batch.count) == (1, 3)


@pytest.mark.parametrize(
    ("steps", "rows", "padding", "shown"),
    [
        ((), 0, 9, ({}, 0, 0)),
        ((1,), 2**32 - 1, 2**32 - 1, ({"first": (1, 1000)}, 2**32 - 1, 2**32 - 1)),
        ((1, 2, 3, 4), 3, 9, ({"first": (1, 1000), "model": (1, 2000)}, 3, 3)),
        ((0, 0), 0, 0, ({}, 0, 0)),
    ],
)
async def test_a_worker_may_say_anything_of_its_steps(
    dispatcher: Dispatcher, steps: tuple[int, ...], rows: int, padding: int, shown: Any
) -> None:
    worker = Worker(dispatcher, methods=[STEPPED])
    future = submit(dispatcher, 1)
    await pumped()
    result_of(worker, steps, rows, padding)
    await future
    counted = of(dispatcher)
    by_name = {name: (one.count, one.ns) for name, one in counted.steps.items()}
    assert (by_name, counted.model_rows, counted.padding_rows) == shown


async def test_names_of_steps_have_a_bound(dispatcher: Dispatcher) -> None:
    for start in range(0, 1000, 100):
        names = tuple(f"step {start + i}" for i in range(100))
        worker = Worker(dispatcher, methods=[MethodSignature("m", ("x",), 8, steps=names)])
        future = submit(dispatcher, 1)
        await pumped()
        result_of(worker, (1,) * 100)
        await future
        worker.die()
    assert len(of(dispatcher).steps) == 256


async def test_who_relays_learns_the_part_of_a_request_in_its_batches(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[STEPPED])
    requests = [
        dispatcher.relay(worker.servable, "m", [numbered(count)]) for count in (3, 1)
    ]  # one batch of 4
    await pumped()
    result_of(worker, (8, 2), 8, 4)
    relayed = [one.relayed for one in requests]
    assert [one.numbers[2:] for one in relayed if one] == [(6, 3, (6, 2)), (2, 1, (2, 1))]


# ---- what was refused


def refused(dispatcher: Dispatcher) -> tuple[dict[str, int], dict[str, int]]:
    return dispatcher.refused, of(dispatcher).refused


@pytest.mark.parametrize(
    ("limit", "count"), [({"requests": 1}, 1), ({"instances": 5}, 5), ({"byte_size": 32}, 9)]
)
async def test_the_limit_that_refuses_a_request_counts(
    dispatcher: Dispatcher, limits: Callable[..., None], limit: dict[str, int], count: int
) -> None:
    limits(**limit)
    Worker(dispatcher)
    submit(dispatcher, 1)
    with client_call() as call, pytest.raises(QueueFull):
        submit(dispatcher, count)
    count_answered(call, time.monotonic())
    why = "bytes" if "byte_size" in limit else next(iter(limit))
    assert refused(dispatcher) == ({}, {why: 1})
    assert dispatcher.servable("s", 1).counters["m"].admitted == 1


async def test_an_early_look_that_refuses_counts_once(
    dispatcher: Dispatcher, limits: Callable[..., None]
) -> None:
    limits(requests=1)
    Worker(dispatcher)
    submit(dispatcher, 1)
    destination = dispatcher.resolve("s", "m", 0)
    for refuse in (dispatcher.check_room, lambda where: dispatcher.reading(where).__enter__()):
        with client_call() as call:
            call.asked = destination
            with pytest.raises(QueueFull):
                refuse(destination)
        count_answered(call, time.monotonic())
    assert refused(dispatcher) == ({}, {"requests": 2})


async def test_who_asks_for_what_is_not_there_is_counted(dispatcher: Dispatcher) -> None:
    for name, method in (("other", "m"), ("s", "other")):
        with client_call() as call, pytest.raises(UnknownTarget):
            dispatcher.resolve(name, method, 0)
        count_answered(call, time.monotonic())
    worker = Worker(dispatcher)
    destination = dispatcher.resolve("s", "m", 0)
    worker.die()
    with pytest.raises(ServableUnavailable):
        dispatcher.admit(destination, [numbered(1)])
    Worker(dispatcher)
    await dispatcher.drain(0.0)
    with pytest.raises(ServerStopping):
        dispatcher.admit(destination, [numbered(1)])
    with pytest.raises(ServerStopping), dispatcher.reading(destination):
        raise AssertionError("it is refused before")
    with pytest.raises(ServerStopping):
        dispatcher.resolve("s", "m", 0)
    assert refused(dispatcher) == ({"unknown_target": 2, "stopping": 1}, {"unavailable": 1, "stopping": 2})


async def test_a_body_that_cannot_be_read_counts_as_invalid(dispatcher: Dispatcher) -> None:
    Worker(dispatcher)
    for _ in range(2):
        with client_call() as call:
            destination = dispatcher.resolve("s", "m", 0)
            with pytest.raises(InvalidInput), dispatcher.reading(destination):
                raise InvalidInput("no JSON")
        count_answered(call, time.monotonic())
        count_answered(call, time.monotonic())
    assert refused(dispatcher) == ({}, {"invalid": 2})


# ---- pictures


async def test_the_same_picture_is_given_while_nothing_has_changed(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    seen = [of(dispatcher)]

    def differs() -> bool:
        seen.append(of(dispatcher))
        assert of(dispatcher) is seen[-1]
        return seen[-1] is not seen[-2]

    assert not differs()
    with client_call() as call:
        future = submit(dispatcher, 2)
    assert differs()
    await pumped()
    assert differs()
    [batch] = worker.batches
    worker.answer(batch, 0, (numbered(1),), final=False)
    assert differs()
    worker.answer(batch, 1, (numbered(1),))
    assert differs()
    await future
    await pumped()
    assert differs()
    count_answered(call, time.monotonic())
    assert differs()
    dispatcher.servable("s", 1).counters["m"].refused["invalid"] = 1
    assert differs()


# ---- any history


class History:
    """A dispatcher to which anything happens, and which is left alone at last."""

    def __init__(self, dispatcher: Dispatcher, seed: int) -> None:
        self.dispatcher = dispatcher
        self.chance = random.Random(seed)
        self.workers = [Worker(dispatcher, label=str(i), methods=[STEPPED]) for i in range(2)]
        self.open: list[tuple[ClientCall | None, asyncio.Future[Reply]]] = []

    def submit(self) -> None:
        count = self.chance.choice([1, 1, 1, 2, 7, 40, 1100])
        timeout_s = self.chance.choice([None, None, None, 0.0])
        if self.chance.random() < 0.5:
            with client_call() as call:
                self.open.append((call, submit(self.dispatcher, count, timeout_s=timeout_s)))
        else:
            self.open.append((None, submit(self.dispatcher, count, timeout_s=timeout_s)))

    def cancel(self) -> None:
        self.chance.choice(self.open)[1].cancel()

    def answer(self) -> None:
        worker = self.chance.choice(self.workers)
        if not worker.batches:
            return
        batch = worker.batches.pop(self.chance.randrange(len(worker.batches)))
        at = 0
        while at < batch.count:
            count = self.chance.randint(1, batch.count - at)
            group: Group = numbered(count)
            if self.chance.random() < 0.2:
                kind = self.chance.choice([StageError, ModelError, InvalidInput, SystemFailure])
                group = failed(kind("no"), count)
            worker.answer(batch, at, (group,), final=at + count == batch.count)
            at += count

    def lose(self) -> None:
        at = self.chance.randrange(len(self.workers))
        self.workers[at].die()
        self.workers[at] = Worker(self.dispatcher, label=f"again {at}", methods=[STEPPED])

    async def end(self) -> None:
        for _ in range(3000):
            if all(future.done() for _, future in self.open):
                break
            await pumped()
            for worker in self.workers:
                worker.answer_all()
        await pumped()
        for worker in self.workers:
            worker.answer_all()  # what is nobody's any more
        for call, _ in self.open:
            if call is not None:
                count_answered(call, time.monotonic())


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_all_sums_agree(dispatcher: Dispatcher, seed: int) -> None:
    history = History(dispatcher, seed)
    history.submit()
    happens = [history.submit] * 6 + [history.answer] * 8 + [history.cancel] * 2 + [history.lose]
    for _ in range(150):
        history.chance.choice(happens)()
        if history.chance.random() < 0.5:
            await asyncio.sleep(0)
    if seed % 3 == 0:
        dispatcher.fail_waiting()
    await history.end()
    counted = check_sums(dispatcher)
    assert sum(counted.requests.values()) == len(history.open)
    assert counted.outcomes.get(Outcome.OK, 0) <= counted.instances
    assert sum(one.compute_infer.count for one in counted.batches.values()) == counted.executions
