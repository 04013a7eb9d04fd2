"""The slots of a copy, and results that do not fit what was sent."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import (
    ChannelError,
)
from mindspore_serving.options import DEFAULT_SLOTS
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.signature import MethodSignature
from tests.support.dispatching import METHOD, Worker, pumped, submit
from tests.support.rows import numbered


async def test_a_copy_has_the_slots_that_it_is_given(dispatcher: Dispatcher) -> None:
    batches: list[Batch] = []
    copy = ServableCopy("s:1", [METHOD], batches.append, slots=3)
    dispatcher.servable("s", 1).add_copy(copy)
    submit(dispatcher, 8 * 5)
    await pumped()
    assert len(batches) == 3
    assert repr(copy) == "<ServableCopy s:1 READY 0/3 slots free>"


@pytest.mark.parametrize(
    "result",
    [
        Result(99, 0, 0, (numbered(1),), True),
        Result(0, 0, 0, (numbered(2),), True),
        Result(0, 0, 5, (numbered(1),), True),
        Result(0, 0, 0, (), True),
    ],
    ids=["not asked", "too many", "beyond", "not all"],
)
async def test_a_worker_that_breaks_the_protocol_is_found_out(dispatcher: Dispatcher, result: Result) -> None:
    worker = Worker(dispatcher)
    submit(dispatcher, 1)
    await pumped()
    with pytest.raises(ChannelError):
        worker.copy.take_result(result)


def test_methods_that_wait_and_others_have_slots_of_their_own() -> None:
    sent: list[Batch] = []
    waits = [MethodSignature(f"p{i}", ("x",), 1, waits=True) for i in range(2)]
    plain = MethodSignature("m", ("x",), 8)
    copy = ServableCopy("c", [plain, *waits], sent.append)
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS, 1, 1]
    copy.send("p0", [], 1)
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS, 0, 1]
    copy.send("m", [], 2)
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS - 1, 0, 1]
    assert sent[0].slot >= DEFAULT_SLOTS > sent[1].slot
    copy.take_result(Result(sent[0].batch_id, sent[0].slot, 0, (), final=True))
    assert [copy.free_slots(method) for method in (plain, *waits)] == [DEFAULT_SLOTS - 1, 1, 1]
