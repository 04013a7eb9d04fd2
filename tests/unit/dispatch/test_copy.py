"""The slots of a copy, and results that do not fit what was sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from mindspore_serving.errors import ChannelError
from mindspore_serving.options import DEFAULT_SLOTS
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.channel.worker_plan import WAITING_SLOTS
from mindspore_serving.server.dispatch.copy import CopyStatus, SentBatch, ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.request import Piece, Request, pieces_of
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered, numbers_in
from tests.unit.dispatch.dispatching import METHOD, Worker, pumped, submit


async def test_a_copy_has_the_slots_that_it_is_given(dispatcher: Dispatcher) -> None:
    batches: list[Batch] = []
    copy = ServableCopy("s:1", [METHOD], batches.append, slots=3)
    dispatcher.servable("s", 1).add_copy(copy)
    submit(dispatcher, 8 * 5)
    await pumped()
    assert len(batches) == 3
    assert repr(copy) == "<ServableCopy s:1 READY 0/3 slots free>"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batch_id": 99}, "s:1 answered batch 99, which is not under way"),
        ({"slot": 0}, "s:1 answered batch 0 in slot 0, expected 1"),
        ({"slot": 7}, "s:1 answered batch 0 in slot 7, expected 1"),
        ({"groups": (numbered(2),)}, "s:1 answered 2 of 1 instances"),
        ({"start": 5}, "s:1 answered 6 of 1 instances"),
        ({"groups": ()}, "s:1 answered 0 of 1 instances"),
    ],
    ids=["not asked", "a free slot", "no slot", "too many", "beyond", "not all"],
)
async def test_a_worker_that_breaks_the_protocol_is_found_out(
    dispatcher: Dispatcher, change: dict[str, Any], text: str
) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 1)
    await pumped()
    [batch] = worker.batches
    good = Result(batch.batch_id, batch.slot, 0, batch.groups, True)
    with pytest.raises(ChannelError) as caught:
        worker.copy.take_result(replace(good, **change))
    assert str(caught.value) == text
    assert not future.done()  # what may be of another batch is given to nobody
    worker.copy.take_result(good)
    assert numbers_in(await future) == [0]


async def test_instances_of_a_request_that_has_ended_are_not_among_the_lost(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    abandoned = submit(dispatcher, 3)
    submit(dispatcher, 2)
    await pumped()
    abandoned.cancel()
    [pieces] = worker.copy.lose().values()
    assert [piece.request.count for piece in pieces] == [2, 2]


class Memory:
    """Shared memory that notes whose pages are given back."""

    def __init__(self) -> None:
        self.released: list[int] = []

    def release(self, slot: int) -> None:
        self.released.append(slot)


def copy_with(memory: Memory, sent: list[Batch], *methods: MethodSignature) -> ServableCopy:
    return ServableCopy("c", methods or [METHOD], sent.append, cast("SharedMemory", memory))


def result_of(batch: Batch, final: bool = True) -> Result:
    return Result(batch.batch_id, batch.slot, 0, batch.groups if final else (), final)


@pytest.fixture
def piece(loop: asyncio.AbstractEventLoop) -> Piece:
    """A request of one instance, which nobody waits for."""
    request = Request([numbered(1)], loop.create_future())
    return pieces_of(request)[0]


def test_the_slot_of_a_batch_is_given_back_with_its_last_result_and_with_its_memory(piece: Piece) -> None:
    sent: list[Batch] = []
    memory = Memory()
    copy = copy_with(memory, sent)
    done: list[SentBatch] = []
    copy.on_done = done.append
    for number in range(2):
        copy.send("m", [piece], number)
    assert [batch.slot for batch in sent] == [1, 0]
    copy.take_result(result_of(sent[0], final=False))
    assert (memory.released, copy.free_slots(METHOD), done) == ([], 0, [])
    copy.take_result(result_of(sent[0]))
    assert (memory.released, copy.free_slots(METHOD), [batch.slot for batch in done]) == ([1], 1, [1])
    copy.send("m", [piece], 2)
    assert sent[2].slot == 1
    for batch in sent[1:]:
        copy.take_result(result_of(batch))
    assert memory.released == [1, 0, 1]
    assert copy.idle


def test_slots_of_methods_that_wait_are_given_back_too(piece: Piece) -> None:
    sent: list[Batch] = []
    memory = Memory()
    waits = MethodSignature("p", ("x",), 1, waits=True)
    copy = copy_with(memory, sent, METHOD, waits)
    for _ in range(2):
        copy.send("p", [piece], 1)
        assert copy.free_slots(waits) == 0
        copy.take_result(result_of(sent[-1]))
        assert copy.free_slots(waits) == 1
    assert memory.released == [sent[0].slot, sent[0].slot]
    assert sent[0].slot >= DEFAULT_SLOTS


def test_a_lost_copy_takes_no_results_and_touches_no_memory(piece: Piece) -> None:
    sent: list[Batch] = []
    memory = Memory()
    copy = copy_with(memory, sent)
    copy.send("m", [piece], 1)
    assert [*copy.lose()] == ["m"]
    copy.take_result(result_of(sent[0]))
    assert (memory.released, copy.free_slots(METHOD), copy.status) == ([], 0, CopyStatus.LOST)


def test_a_batch_that_cannot_be_sent_takes_no_slot(piece: Piece) -> None:
    def full(_: Batch) -> None:
        raise OSError("full")

    copy = ServableCopy("c", [METHOD], full)
    with pytest.raises(OSError, match="full"):
        copy.send("m", [piece], 1, exclusive=True)
    assert (copy.free_slots(METHOD), copy.idle, copy.exclusive) == (DEFAULT_SLOTS, True, False)


async def test_results_go_to_the_instances_that_they_are_of(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    futures = [submit(dispatcher, count, start) for count, start in ((2, 10), (1, 20), (3, 30))]
    await pumped()
    [batch] = worker.batches
    for start, count, final in ((1, 3, False), (5, 1, False), (4, 1, False), (0, 1, True)):
        worker.answer(batch, start, (numbered(count, 100 + start),), final)
    assert [numbers_in(await future) for future in futures] == [[100, 101], [102], [103, 104, 105]]


def test_a_copy_that_runs_a_suspect_takes_nothing_else(piece: Piece) -> None:
    sent: list[Batch] = []
    copy = ServableCopy("c", [METHOD], sent.append)
    copy.send("m", [piece], 1, exclusive=True)
    assert copy.free_slots(METHOD) == 0
    copy.take_result(result_of(sent[0]))
    assert (copy.free_slots(METHOD), copy.exclusive) == (DEFAULT_SLOTS, False)


def test_a_batch_that_waits_and_ends_does_not_end_the_rule_of_a_suspect(piece: Piece) -> None:
    sent: list[Batch] = []
    calls = MethodSignature("c", ("x",), 8, waits=True)
    copy = ServableCopy("c", [METHOD, calls], sent.append)
    copy.send("c", [piece], 1)
    assert (copy.idle, copy.only_waits) == (False, True)
    copy.send("m", [piece], 2, exclusive=True)
    assert not copy.only_waits
    copy.take_result(result_of(sent[0]))
    assert (copy.exclusive, copy.free_slots(METHOD), copy.free_slots(calls)) == (True, 0, 0)
    copy.take_result(result_of(sent[1]))
    assert (copy.exclusive, copy.free_slots(METHOD), copy.free_slots(calls)) == (
        False,
        DEFAULT_SLOTS,
        DEFAULT_SLOTS,
    )


def test_each_method_that_calls_others_has_as_many_slots_as_the_rest_share(piece: Piece) -> None:
    sent: list[Batch] = []
    calls = [MethodSignature(f"c{i}", ("x",), 8, waits=True) for i in range(3)]
    copy = ServableCopy("c", [METHOD, *calls], sent.append, slots=3)
    for method in ("c0", "c0", "c0", "c1", "m", "m", "m"):
        copy.send(method, [piece], 1)
    assert [copy.free_slots(method) for method in (METHOD, *calls)] == [0, 0, 2, 3]
    assert len({batch.slot for batch in sent}) == len(sent)
    assert max(batch.slot for batch in sent) < 3 + WAITING_SLOTS


def test_many_methods_that_call_others_have_a_slot_each_at_least() -> None:
    calls = [MethodSignature(f"c{i}", ("x",), 8, waits=True) for i in range(WAITING_SLOTS)]
    copy = ServableCopy("c", calls, [].append, slots=16)
    assert {copy.free_slots(method) for method in calls} == {1}
    few = ServableCopy("c", calls[:10], [].append, slots=16)
    assert {few.free_slots(method) for method in calls[:10]} == {WAITING_SLOTS // 10}


def test_whose_the_instances_of_a_batch_are() -> None:
    sent: list[Batch] = []
    loop = asyncio.new_event_loop()
    requests = [Request([numbered(count)], loop.create_future()) for count in (2, 1, 3)]
    copy = ServableCopy("c", [METHOD], sent.append)
    copy.send("m", [piece for request in requests for piece in pieces_of(request)], 1)
    first, second, third = requests
    assert copy.requests_of(0, 0, 6) == ("m", [(first, 2), (second, 1), (third, 3)])
    assert copy.requests_of(0, 1, 3) == ("m", [(first, 1), (second, 1), (third, 1)])
    assert copy.requests_of(0, 5, 1) == ("m", [(third, 1)])
    for wrong in ((1, 0, 1), (0, 5, 2), (0, 6, 1), (0, 0, 0)):
        with pytest.raises(ChannelError, match="has none of these"):
            copy.requests_of(*wrong)
    loop.close()


def test_methods_that_wait_and_others_have_slots_of_their_own(piece: Piece) -> None:
    sent: list[Batch] = []
    waits = [MethodSignature(f"p{i}", ("x",), 1, waits=True) for i in range(2)]
    plain = MethodSignature("m", ("x",), 8)
    copy = ServableCopy("c", [plain, *waits], sent.append)
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS, 1, 1]
    copy.send("p0", [piece], 1)
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS, 0, 1]
    copy.send("m", [piece], 2)
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS - 1, 0, 1]
    assert sent[0].slot >= DEFAULT_SLOTS > sent[1].slot
    copy.take_result(result_of(sent[0]))
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS - 1, 1, 1]
