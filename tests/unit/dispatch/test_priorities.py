"""Which instances of a method go first: a queue of any history takes what a naive model of it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.queue_policy import MOST_OVERTAKEN, MethodQueue, next_batch, work_waits
from mindspore_serving.server.dispatch.request import LEAST_URGENT, Piece, Request, pieces_of
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered, numbers_in
from tests.unit.dispatch.dispatching import Worker, pumped
from tests.unit.dispatch.test_queue_policy import FakeCopy

many = settings(max_examples=100)
_LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def closed_loop() -> Iterator[None]:
    """Close the loop of the futures; it never runs."""
    yield
    _LOOP.close()


class Queue:
    """A queue of requests whose instances are numbered one after the other."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.queue = MethodQueue(MethodSignature("m", ("x",), 8), delay_s)
        self.requests: list[Request] = []
        self.instances = 0

    def put(self, priority: int, arrived: float, count: int = 1) -> Piece:
        request = Request([numbered(count, self.instances)], _LOOP.create_future(), priority=priority)
        self.instances += count
        self.requests.append(request)
        [piece] = pieces_of(request, arrived)
        self.queue.put([piece])
        return piece

    def take(self, most: int) -> list[float]:
        return numbers([*self.queue.take(most)])


def numbers(pieces: list[Piece]) -> list[float]:
    return numbers_in([piece.rows for piece in pieces])


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_the_most_urgent_go_first_and_the_default_last(queue: Queue) -> None:
    for at, priority in enumerate((0, 3, 1, 0, 2, 1)):
        queue.put(priority, float(at))
    assert (queue.queue.waiting, queue.queue.depth) == (6, 6)
    assert repr(queue.queue) == (
        "<MethodQueue m: 6 waiting, 2 of priority 1, 1 of priority 2, 1 of priority 3>"
    )
    assert queue.take(4) == [2, 5, 4, 1]
    assert queue.queue.urgent == {}
    assert queue.take(4) == [0, 3]


def test_who_waits_longest_has_its_turn_after_others_have_overtaken_it(queue: Queue) -> None:
    queue.put(0, 0.0)
    queue.put(0, 1.0)
    for at in range(30):
        queue.put(1, 2.0 + at)
    order = queue.take(32)
    assert [order.index(0), order.index(1)] == [MOST_OVERTAKEN, 2 * MOST_OVERTAKEN + 1]
    assert [number for number in order if number > 1] == [*range(2, 32)]


def test_a_part_that_did_not_fit_stays_before_those_of_its_priority(queue: Queue) -> None:
    queue.put(2, 0.0, 3)
    queue.put(2, 1.0)
    assert queue.take(2) == [0, 1]
    queue.put(1, 2.0)
    assert queue.take(1) == [4]
    assert queue.take(2) == [2, 3]


def test_what_is_put_back_comes_before_those_of_its_priority(queue: Queue) -> None:
    first = [queue.put(priority, 0.0) for priority in (0, 1, 1)]
    assert queue.take(3) == [1, 2, 0]
    queue.put(0, 1.0)
    queue.put(1, 1.0)
    queue.queue.put_back(first)
    assert queue.take(5) == [1, 2, 4, 0, 3]


@pytest.mark.parametrize("priority", [0, 1])
def test_a_delay_is_that_of_whoever_came_first(priority: int) -> None:
    queue = Queue(delay_s=1.0)
    queue.queue.signature = MethodSignature("m", ("x",), 8, full=8)
    queue.put(priority, 10.0)
    queue.put(1 - priority, 10.5)
    assert queue.queue.due == 11.0
    for at in range(6):
        queue.put(priority, 20.0 + at)
    assert queue.queue.due == 0.0


def test_only_urgent_instances_are_work_too(queue: Queue) -> None:
    queue.put(1, 0.0)
    assert work_waits([queue.queue])
    assignment, _ = next_batch([queue.queue], 0, [FakeCopy()])
    assert assignment is not None
    assert numbers(assignment.pieces) == [0]
    assert not work_waits([queue.queue])


def test_suspects_have_no_priority(queue: Queue) -> None:
    pieces = [queue.put(priority, 0.0) for priority in (0, 1)]
    queue.queue.take(2)
    queue.queue.put_suspects(pieces, 1.0)
    assert [queue.queue.take_suspect(), queue.queue.take_suspect()] == pieces


# ---- against a model


def rank(piece: Piece) -> int:
    return piece.request.priority or LEAST_URGENT + 1


@dataclass
class Naive:
    """The rule as it is written: a list of what waits, and how often the oldest was overtaken."""

    waiting: list[Piece] = field(default_factory=list)
    overtaken: int = 0

    def next(self) -> Piece:
        """The next piece; only where some have a priority is anybody overtaken."""
        ranks = sorted({rank(piece) for piece in self.waiting})
        heads = [next(piece for piece in self.waiting if rank(piece) == one) for one in ranks]
        if ranks == [LEAST_URGENT + 1]:
            return heads[0]
        oldest = min(heads, key=lambda piece: (piece.arrived, rank(piece)))
        if oldest is heads[0]:
            self.overtaken = 0
        elif self.overtaken < MOST_OVERTAKEN:
            self.overtaken += 1
        else:
            self.overtaken = 0
            return oldest
        return heads[0]

    def take(self, most: int) -> list[float]:
        """The numbers of up to so many instances."""
        taken: list[float] = []
        while self.waiting and most > 0:
            piece = self.next()
            at = self.waiting.index(piece)
            del self.waiting[at]
            if piece.request.ended:
                continue
            count = min(most, piece.rows.count)
            taken += numbers([piece.part(0, count)])
            most -= count
            if count < piece.rows.count:
                self.waiting.insert(at, piece.part(count, piece.rows.count))
        return taken

    def instances(self) -> int:
        return sum(piece.rows.count for piece in self.waiting)


PRIORITY = some.sampled_from([0, 0, 0, 1, 2, LEAST_URGENT])
STEP = some.one_of(
    some.tuples(some.just("put"), PRIORITY, some.integers(1, 4)),
    some.tuples(some.just("take"), some.integers(1, 12), some.just(0)),
    some.tuples(some.just("put back"), some.integers(1, 4), some.just(0)),
    some.tuples(some.just("end"), some.integers(0, 40), some.just(0)),
    some.tuples(some.just("drop"), some.just(0), some.just(0)),
)


@many
@given(some.lists(STEP, max_size=60))
def test_a_queue_of_any_history_takes_what_the_rule_says(steps: list[tuple[str, int, int]]) -> None:
    real, model = Queue(), Naive()
    last: list[Piece] = []
    for now, (step, value, count) in enumerate(steps):
        if step == "put":
            model.waiting.append(real.put(value, float(now), count))
        elif step == "take":
            last = real.queue.take(value)
            assert numbers(last) == model.take(value)
        elif step == "put back":  # what a copy had that was innocent of its end
            back, last = last[:value], last[value:]
            real.queue.put_back(back)
            model.waiting[:0] = back
        elif step == "end" and value < len(real.requests):
            real.requests[value].future.cancel()
        elif step == "drop":
            real.queue.drop_ended()
            model.waiting = [piece for piece in model.waiting if not piece.request.ended]
        queue = real.queue
        assert queue.waiting == model.instances()
        assert queue.depth == len(model.waiting)
        assert all(queue.urgent.values())
        assert bool(queue.waiting) == work_waits([queue])
        assert {level[0].request.priority for level in queue.urgent.values()} == {*queue.urgent}
    left = [piece for piece in model.waiting if not piece.request.ended]
    cleared = [piece for piece in real.queue.clear() if not piece.request.ended]
    assert sorted(numbers(cleared)) == sorted(numbers(left))
    assert (real.queue.waiting, real.queue.depth, real.queue.urgent) == (0, 0, {})


@many
@given(some.lists(some.tuples(PRIORITY, some.integers(0, 3)), min_size=1, max_size=80))
def test_nobody_waits_for_ever(arrivals: list[tuple[int, int]]) -> None:
    """However many come with a priority, the oldest is overtaken so often and no more."""
    queue = Queue()
    oldest = queue.put(0, 0.0)
    taken: list[Piece] = []
    for now, (priority, more) in enumerate(arrivals, 1):
        for _ in range(more):
            queue.put(priority, float(now))
        taken += queue.queue.take(1)
    at = taken.index(oldest) if oldest in taken else len(taken)
    assert at <= MOST_OVERTAKEN


# ---- through the dispatcher


@pytest.mark.parametrize(
    ("priorities", "order"),
    [
        ((0, 2, 1), [2, 1, 0]),
        ((0, LEAST_URGENT + 1, LEAST_URGENT), [1, 2, 0]),
        ((0, 2**63, 1), [2, 1, 0]),
        ((1, -1, 0), [0, 1, 2]),
    ],
)
async def test_requests_wait_by_their_priority(
    dispatcher: Dispatcher, priorities: tuple[int, ...], order: list[float]
) -> None:
    worker = Worker(dispatcher)
    destination = dispatcher.resolve("s", "m", 0)
    for number, priority in enumerate(priorities):
        dispatcher.admit(destination, [numbered(1, number)], priority=priority)
    await pumped()
    assert numbers_in(worker.batches[0].groups) == order


async def test_a_request_that_was_read_for_long_has_a_priority_too(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    destination = dispatcher.resolve("s", "m", 0)
    dispatcher.admit(destination, [numbered(1)])
    with dispatcher.reading(destination) as admission:
        admission.admit([numbered(1, 1)], priority=1)
    await pumped()
    assert numbers_in(worker.batches[0].groups) == [1, 0]
