"""Which instances form the next batch, and for which copy."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mindspore_serving.errors import Failure, StatusCode
from mindspore_serving.server.dispatch import queue_policy
from mindspore_serving.server.dispatch.queue_policy import MethodQueue, batch_size, next_batch
from mindspore_serving.server.dispatch.request import Piece, Request, pieces_of
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered, numbers_in


@dataclass
class FakeCopy:
    """What the policy sees of a copy."""

    slots: int = 2
    idle: bool = True
    exclusive: bool = False
    last_served: int = 0
    methods: tuple[str, ...] = ("m", "n")
    waits: bool = False

    @property
    def only_waits(self) -> bool:
        return self.idle or self.waits

    def free_slots(self, method: MethodSignature) -> int:
        return self.slots

    def offers(self, method: str) -> bool:
        return method in self.methods


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def request_of(loop):
    def make(count: int, start: int = 0) -> Request:
        return Request([numbered(count, start)], loop.create_future())

    return make


def queue_of(*requests: Request, name: str = "m", limit: int = 8, fill: int = 1) -> MethodQueue:
    queue = MethodQueue(MethodSignature(name, ("x",), limit, fill))
    for request in requests:
        queue.put(pieces_of(request))
    return queue


def numbers(pieces: list[Piece]) -> list[float]:
    return numbers_in([piece.rows for piece in pieces])


def test_small_requests_are_combined_in_order(request_of) -> None:
    queue = queue_of(request_of(2, 0), request_of(3, 10), request_of(1, 20))
    assignment, _ = next_batch([queue], 0, [FakeCopy()])
    assert assignment is not None
    assert numbers(assignment.pieces) == [0, 1, 10, 11, 12, 20]
    assert queue.waiting == 0


def test_a_large_request_is_split_and_its_rest_stays_first(request_of) -> None:
    queue = queue_of(request_of(11), request_of(1, 50))
    first, _ = next_batch([queue], 0, [FakeCopy()])
    second, _ = next_batch([queue], 0, [FakeCopy()])
    assert first is not None and second is not None
    assert numbers(first.pieces) == list(range(8))
    assert numbers(second.pieces) == [8, 9, 10, 50]
    assert [piece.start for piece in second.pieces] == [8, 0]


def test_nothing_is_sent_without_a_free_slot_or_without_instances(request_of) -> None:
    queue = queue_of(request_of(3))
    assert next_batch([queue], 0, [FakeCopy(slots=0)]) == (None, 0)
    assert next_batch([queue], 0, []) == (None, 0)
    assert next_batch([queue_of()], 0, [FakeCopy()]) == (None, 0)
    assert queue.waiting == 3


@pytest.mark.parametrize(
    ("copies", "chosen"),
    [
        ([FakeCopy(slots=1), FakeCopy(slots=2)], 1),
        ([FakeCopy(last_served=5), FakeCopy(last_served=4)], 1),
        ([FakeCopy(slots=2, methods=("n",)), FakeCopy(slots=1)], 1),
    ],
    ids=["most free slots", "served longest ago", "offers the method"],
)
def test_choice_of_the_copy(request_of, copies: list[FakeCopy], chosen: int) -> None:
    assignment, _ = next_batch([queue_of(request_of(1))], 0, copies)
    assert assignment is not None
    assert assignment.copy_index == chosen


def test_instances_of_ended_requests_are_removed_wherever_they_stand(request_of) -> None:
    requests = [request_of(1, 0), request_of(2, 10), request_of(1, 20), request_of(3, 30)]
    queue = queue_of(*requests[:3])
    queue.put_suspects(pieces_of(requests[3]), now=0.0)
    for request in requests[1:]:
        request.give_up(Failure(StatusCode.FAILED, "late"))
    queue.drop_ended()
    assert numbers([*queue.pieces]) == [0]
    assert not queue.suspects
    assert queue.waiting == 1


def test_methods_take_turns(request_of) -> None:
    queues = [queue_of(request_of(20), name="m"), queue_of(request_of(20), name="n")]
    served, turn = [], 0
    for _ in range(4):
        assignment, turn = next_batch(queues, turn, [FakeCopy()])
        assert assignment is not None
        served.append(assignment.queue.signature.name)
    assert served == ["m", "n", "m", "n"]


@pytest.mark.parametrize(
    ("waiting", "idle_copies", "limit", "fill", "expected"),
    [
        (1, 0, 8, 1, 1),
        (20, 0, 8, 1, 8),
        (20, 2, 64, 1, 10),
        (21, 2, 64, 1, 11),
        (20, 2, 64, 32, 32),
        (100, 2, 64, 32, 64),
        (3, 8, 64, 1, 1),
    ],
)
def test_batch_size(waiting: int, idle_copies: int, limit: int, fill: int, expected: int) -> None:
    assert batch_size(fill, limit, waiting, idle_copies) == expected


def test_quick_instances_make_larger_batches() -> None:
    queue = queue_of(limit=64)
    assert queue.largest_batch == 64
    for _ in range(100):
        queue.learn(64, 64 * 20e-6)
    assert 200 <= queue.largest_batch <= 250
    for _ in range(100):
        queue.learn(64, 0.0)
    assert queue.largest_batch == 512
    for _ in range(100):
        queue.learn(64, 64 * 1e-3)
    assert queue.largest_batch == 64


def test_a_method_that_takes_one_instance_goes_on_to(request_of) -> None:
    queue = queue_of(request_of(3), limit=1)
    for _ in range(100):
        queue.learn(1, 1e-6)
    assert queue.largest_batch == 1
    assignment, _ = next_batch([queue], 0, [FakeCopy()])
    assert numbers(assignment.pieces) == [0]


class TestDelay:
    """A batch that is not full waits for more, but no longer than it may."""

    @staticmethod
    def queue(*requests: Request, full: int = 4, arrived: float = 100.0) -> MethodQueue:
        queue = MethodQueue(MethodSignature("m", ("x",), 8, full=full), delay_s=0.5)
        for request in requests:
            queue.put(pieces_of(request, arrived))
        return queue

    def test_it_waits_until_it_is_due(self, request_of) -> None:
        queue = self.queue(request_of(3))
        assert queue.due == 100.5
        assert next_batch([queue], 0, [FakeCopy()], now=100.4)[0] is None
        assignment, _ = next_batch([queue], 0, [FakeCopy()], now=100.5)
        assert numbers(assignment.pieces) == [0, 1, 2]

    def test_a_full_one_goes_at_once(self, request_of) -> None:
        queue = self.queue(request_of(3), request_of(1, 3))
        assignment, _ = next_batch([queue], 0, [FakeCopy()], now=100.0)
        assert numbers(assignment.pieces) == [0, 1, 2, 3]

    def test_nothing_is_gained_where_stages_take_one_instance(self, request_of) -> None:
        queue = self.queue(request_of(1), full=1)
        assert next_batch([queue], 0, [FakeCopy()], now=100.0)[0] is not None

    def test_the_oldest_instance_counts(self, request_of) -> None:
        queue = self.queue(request_of(1))
        queue.put(pieces_of(request_of(1, 1), 100.3))
        assert queue.due == 100.5

    def test_what_was_left_over_keeps_its_time(self, request_of) -> None:
        queue = self.queue(request_of(9))
        next_batch([queue], 0, [FakeCopy()], now=100.1)
        assert (queue.waiting, queue.due) == (1, 100.5)

    def test_other_methods_do_not_wait_for_it(self, request_of) -> None:
        slow, other = self.queue(request_of(1)), queue_of(request_of(1, 7), name="n")
        assignment, _ = next_batch([slow, other], 0, [FakeCopy()], now=100.0)
        assert numbers(assignment.pieces) == [7]

    def test_suspects_do_not_wait(self, request_of) -> None:
        queue = self.queue()
        queue.put_suspects(pieces_of(request_of(1)), now=0.0)
        assert next_batch([queue], 0, [FakeCopy()], now=100.0)[0].exclusive


def test_instances_of_a_gone_client_are_dropped(request_of) -> None:
    gone = request_of(3)
    queue = queue_of(gone, request_of(2, 10))
    gone._future.cancel()
    assignment, _ = next_batch([queue], 0, [FakeCopy()])
    assert assignment is not None
    assert numbers(assignment.pieces) == [10, 11]
    assert queue.waiting == 0


def test_only_instances_of_gone_clients_make_no_batch(request_of) -> None:
    gone = request_of(3)
    queue = queue_of(gone)
    gone._future.cancel()
    assert next_batch([queue], 0, [FakeCopy()])[0] is None
    assert queue.waiting == 0


def suspects_of(request: Request) -> list[Piece]:
    rows = request.groups[0]
    return [Piece(request, i, rows.take(i, i + 1), attempts=1) for i in range(rows.count)]


def test_a_suspect_goes_alone_to_an_idle_copy(request_of) -> None:
    queue = queue_of(request_of(2, 0))
    queue.put_suspects(suspects_of(request_of(2, 10)), now=0.0)
    first, _ = next_batch([queue], 0, [FakeCopy()])
    assert first is not None
    assert (numbers(first.pieces), first.exclusive) == ([10], True)
    busy = FakeCopy(slots=0, idle=False, exclusive=True)
    second, _ = next_batch([queue], 0, [busy, FakeCopy()])
    assert second is not None
    assert (numbers(second.pieces), second.exclusive, second.copy_index) == ([0, 1], False, 1)
    assert next_batch([queue], 0, [busy, FakeCopy()])[0] is None
    assert len(queue.suspects) == 1


def test_a_copy_is_kept_free_for_a_suspect(request_of) -> None:
    queue = queue_of(request_of(2, 0))
    queue.put_suspects(suspects_of(request_of(1, 10)), now=0.0)
    busy = [FakeCopy(slots=1, idle=False), FakeCopy(slots=1, idle=False)]
    assignment, _ = next_batch([queue], 0, busy)
    assert assignment is not None
    assert (numbers(assignment.pieces), assignment.copy_index) == ([0, 1], 1)


@pytest.mark.parametrize(
    ("copies", "now", "runs"),
    [
        ([FakeCopy()], 100.0, False),
        ([FakeCopy()], 101.9, False),
        ([FakeCopy()], 102.0, True),
        ([FakeCopy(idle=False)], 102.0, False),
        ([FakeCopy(), FakeCopy()], 100.0, True),
        ([], 1000.0, False),
    ],
)
def test_the_last_copy_is_spared_suspects_for_a_while_where_another_is_expected(
    request_of, copies: list[FakeCopy], now: float, runs: bool
) -> None:
    queue = queue_of()
    queue.put_suspects(suspects_of(request_of(1, 10)), now=100.0)
    assignment, _ = next_batch([queue], 0, copies, [{"m"}], now, suspect_wait_s=2.0)
    assert (assignment is not None) is runs


def test_others_are_served_while_a_suspect_waits_for_a_copy(request_of) -> None:
    queue = queue_of(request_of(2, 0))
    queue.put_suspects(suspects_of(request_of(1, 10)), now=100.0)
    assignment, _ = next_batch([queue], 0, [FakeCopy()], [{"m"}], 101.0, suspect_wait_s=2.0)
    assert assignment is not None
    assert (numbers(assignment.pieces), assignment.exclusive) == ([0, 1], False)


def test_a_suspect_runs_beside_one_that_waits_for_it(request_of) -> None:
    caller = FakeCopy(slots=0, idle=False, exclusive=True, methods=("m",))
    device = FakeCopy(methods=("m", "@call_a_0"))
    blocked, called = queue_of(name="m"), queue_of(name="@call_a_0")
    blocked.put_suspects(suspects_of(request_of(1, 10)), now=0.0)
    called.put_suspects(suspects_of(request_of(1, 20)), now=0.0)
    assignment, _ = next_batch([blocked, called], 0, [caller, device])
    assert assignment is not None
    assert (assignment.queue, numbers(assignment.pieces), assignment.copy_index) == (called, [20], 1)


def test_a_suspect_runs_beside_what_may_wait_for_it(request_of) -> None:
    queue = queue_of()
    queue.put_suspects(suspects_of(request_of(1, 10)), now=0.0)
    waiting = FakeCopy(idle=False, waits=True)
    assignment, _ = next_batch([queue], 0, [FakeCopy(idle=False), waiting])
    assert assignment is not None
    assert (numbers(assignment.pieces), assignment.copy_index, assignment.exclusive) == ([10], 1, True)


def test_what_was_with_a_lost_worker_and_waits_for_others_has_a_batch_of_its_own(request_of) -> None:
    queue = queue_of(request_of(2, 0))
    queue.put(suspects_of(request_of(2, 10)))
    queue.put(pieces_of(request_of(2, 20)))
    assert [numbers(queue.take(8)) for _ in range(4)] == [[0, 1], [10], [11], [20, 21]]
    assert queue.waiting == 0


def test_copies_that_do_not_run_a_method_say_nothing_about_its_suspects(request_of) -> None:
    queue = queue_of()
    queue.put_suspects(suspects_of(request_of(1, 10)), now=0.0)
    other = FakeCopy(methods=("n",))
    assert next_batch([queue], 0, [other, FakeCopy()], [{"m"}], 1.0, suspect_wait_s=2.0)[0] is None
    assert next_batch([queue], 0, [FakeCopy()], [{"n"}], 1.0, suspect_wait_s=2.0)[0] is not None


def test_a_suspect_whose_client_is_gone_is_dropped(request_of) -> None:
    gone = request_of(1, 10)
    queue = queue_of(request_of(1, 0))
    queue.put_suspects(suspects_of(gone), now=0.0)
    gone._future.cancel()
    assignment, _ = next_batch([queue], 0, [FakeCopy()])
    assert assignment is not None
    assert (numbers(assignment.pieces), assignment.exclusive) == ([0], False)


def test_a_batch_ends_at_its_byte_limit(request_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_policy, "LARGEST_BATCH_BYTES", 12)
    queue = queue_of(request_of(8))
    sizes = []
    while queue.waiting:
        assignment, _ = next_batch([queue], 0, [FakeCopy()])
        assert assignment is not None
        sizes.append(len(numbers(assignment.pieces)))
    assert sizes == [3, 3, 2]
