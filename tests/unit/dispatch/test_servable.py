"""Copies of a servable come, fail and get lost; what becomes of the instances."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import (
    ChannelError,
    Failure,
    ServableUnavailable,
    StatusCode,
)
from mindspore_serving.options import DEFAULT_SLOTS
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.call_page import HeldRows, WrittenCall
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered, numbers_in
from tests.unit.dispatch.dispatching import METHOD, OTHER, Worker, may_have_run, pumped, submit, untouched


async def test_order_is_kept_when_batches_return_in_another(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 12)
    await pumped()
    first, second = worker.batches
    worker.answer(second)
    worker.answer(first)
    assert numbers_in(await future) == list(range(12))


async def test_a_cancelled_request_harms_no_batch_mate(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    futures = [submit(dispatcher, 1, i) for i in range(4)]
    await pumped()
    futures[1].cancel()
    worker.answer(worker.batches[0])
    assert [numbers_in(await futures[i]) for i in (0, 2, 3)] == [[0], [2], [3]]
    await pumped()
    assert "<Dispatcher 0 pending" in repr(dispatcher)


async def test_partial_results_settle_their_own_requests(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    quick, slow = submit(dispatcher, 1, 0), submit(dispatcher, 1, 1)
    await pumped()
    (batch,) = worker.batches
    worker.answer(batch, groups=(numbered(1),), final=False)
    assert numbers_in(await quick) == [0]
    assert not slow.done()
    worker.answer(batch, start=1, groups=(numbered(1, 1),))
    assert numbers_in(await slow) == [1]


async def test_instances_of_a_lost_copy_go_to_another_one_by_one(dispatcher: Dispatcher) -> None:
    first = Worker(dispatcher)
    future = submit(dispatcher, 3)
    await pumped()
    second = Worker(dispatcher)
    first.answer(first.batches[0], start=1, groups=(numbered(1, 1),), final=False)
    first.die()
    for number in (0, 2):
        await pumped()
        (batch,) = second.batches
        assert numbers_in(batch.groups) == [number]
        second.answer(second.batches.pop())
    assert numbers_in(await future) == [0, 1, 2]


async def test_an_instance_that_lost_two_workers_is_given_up_and_its_mates_are_not(
    dispatcher: Dispatcher,
) -> None:
    first = Worker(dispatcher)
    future = submit(dispatcher, 2)
    await pumped()
    second = Worker(dispatcher)
    first.die()
    await pumped()
    assert [numbers_in(batch.groups) for batch in second.batches] == [[0]]
    third = Worker(dispatcher)
    second.die()
    await pumped()
    assert [numbers_in(batch.groups) for batch in third.batches] == [[1]]
    third.answer(third.batches[0])
    failed, good = await future
    assert isinstance(failed, FailedRows)
    assert failed.failure.code is StatusCode.SYSTEM_ERROR
    assert "2 workers were lost while they served this instance" in failed.failure.text
    assert numbers_in([good]) == [1]


async def test_what_waits_may_wait_for_a_copy_that_is_started_again(dispatcher: Dispatcher) -> None:
    first = Worker(dispatcher)
    future = submit(dispatcher, 1)
    await pumped()
    first.servable.remove_copy(first.copy, returns=True)
    await pumped()
    assert not future.done()
    second = Worker(dispatcher)
    await pumped()
    second.answer(second.batches[0])
    assert numbers_in(await future) == [0]


async def test_a_copy_that_does_not_come_back_is_waited_for_no_longer(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 1)
    await pumped()
    worker.servable.remove_copy(worker.copy, returns=True)
    worker.servable.give_up_copy(worker.copy.label)
    (group,) = await future
    assert group == may_have_run(1)


async def test_a_copy_that_returns_without_a_method_ends_the_wait_for_it(dispatcher: Dispatcher) -> None:
    device = Worker(dispatcher, label="device")
    extra = Worker(dispatcher, label="extra", methods=(OTHER,))
    future = submit(dispatcher, 1)
    await pumped()
    extra.servable.remove_copy(extra.copy, returns=True)
    device.die()
    Worker(dispatcher, label="extra", methods=(OTHER,))
    (group,) = await future
    assert group == may_have_run(1)
    with pytest.raises(ServableUnavailable, match="servable is not available"):
        submit(dispatcher, 1)


async def test_an_instance_is_blamed_for_a_worker_that_leaves_if_it_ran_alone(dispatcher: Dispatcher) -> None:
    workers = [Worker(dispatcher)]
    future = submit(dispatcher, 2)
    await pumped()
    for held in ([0, 1], [0], [1], [0]):
        assert [numbers_in(batch.groups) for batch in workers[-1].batches] == [held]
        leaver = workers[-1]
        workers.append(Worker(dispatcher))
        leaver.servable.remove_copy(leaver.copy, left=True)
        await pumped()
    workers[-1].answer(workers[-1].batches[0])
    failed, good = await future
    assert "2 workers were lost while they served this instance" in failed.failure.text
    assert numbers_in([good]) == [1]


async def test_a_lost_instance_of_a_method_that_waits_keeps_no_other_out(dispatcher: Dispatcher) -> None:
    waits = MethodSignature("m", ("x",), 1, waits=True)
    first = Worker(dispatcher, methods=(waits, OTHER))
    waiting = submit(dispatcher, 1)
    await pumped()
    second = Worker(dispatcher, methods=(waits, OTHER))
    first.die()
    await pumped()
    other = dispatcher.admit(dispatcher.resolve("s", "other", 0), [numbered(1, 5)])
    await pumped()
    assert [numbers_in(batch.groups) for batch in second.batches] == [[0], [5]]
    for batch in second.batches:
        second.answer(batch)
    assert numbers_in(await waiting) == [0]
    assert numbers_in(await other) == [5]


@pytest.mark.parametrize(
    "changed",
    [MethodSignature("m", ("a", "b"), 8), MethodSignature("m", METHOD.input_names, 8, waits=True)],
    ids=["inputs", "pipeline"],
)
async def test_methods_of_one_name_agree_as_long_as_one_serves(
    dispatcher: Dispatcher, changed: MethodSignature
) -> None:
    first = Worker(dispatcher)
    with pytest.raises(ChannelError, match="is at other workers method m with inputs"):
        Worker(dispatcher, methods=(changed,))
    first.die()
    Worker(dispatcher, methods=(changed,))
    assert dispatcher.servable("s", 1).method("m") == changed


async def test_of_what_nobody_runs_it_is_told_whether_a_worker_had_it(dispatcher: Dispatcher) -> None:
    assert (untouched(1).failure.status, may_have_run(1).failure.status) == (503, 500)
    worker = Worker(dispatcher)
    under_way = [submit(dispatcher, 8) for _ in range(DEFAULT_SLOTS)]
    await pumped()
    waiting = submit(dispatcher, 2)
    await pumped()
    worker.die()
    for future in under_way:
        assert await future == [may_have_run(1)] * 8
    assert await waiting == [untouched(2)]
    with pytest.raises(ServableUnavailable):
        dispatcher.resolve("s", "m", 0)


async def test_an_instance_that_left_a_worker_without_blame_may_have_run_all_the_same(
    dispatcher: Dispatcher,
) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 2)
    await pumped()
    call = WrittenCall("late", (HeldRows(worker.batches[0].batch_id, 0, 1),))
    worker.servable.remove_copy(worker.copy, returns=True, overdue=call)
    worker.servable.give_up_copy(worker.copy.label)
    failed, innocent = await future
    assert failed.failure.text == "late"
    assert innocent == may_have_run(1)


async def test_a_stop_answers_everything_and_ignores_what_workers_send_then(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    under_way = [submit(dispatcher, 8) for _ in range(DEFAULT_SLOTS)]
    await pumped()
    waiting = submit(dispatcher, 1)
    worker.answer(worker.batches[0], groups=worker.batches[0].groups[0:1], final=False)
    dispatcher.fail_waiting()
    assert numbers_in(await under_way[0]) == list(range(8))
    assert await under_way[1] == [may_have_run(1)] * 8
    assert await waiting == [untouched(1)]
    for batch in worker.batches:
        worker.answer(batch)
    worker.die()
    await pumped()
    assert "0 pending" in repr(dispatcher)
    assert "LOST 0/" in repr(worker.copy)
    with pytest.raises(ServableUnavailable):
        submit(dispatcher, 1)


async def test_a_stop_does_not_wait_for_copies_that_are_started_again(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 1)
    await pumped()
    worker.servable.remove_copy(worker.copy, returns=True)
    assert not future.done()
    dispatcher.fail_waiting()
    assert isinstance((await future)[0], FailedRows)
    with pytest.raises(ServableUnavailable):
        submit(dispatcher, 1)


async def test_the_state_shows_in_the_repr(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    submit(dispatcher, 12)
    assert "12 waiting" in repr(dispatcher)
    await pumped()
    assert f"<ServableCopy s:1 READY 0/{DEFAULT_SLOTS} slots free>" in repr(worker.servable)
    worker.die()
    assert "LOST" in repr(worker.copy)


async def test_a_huge_request_comes_back_whole_and_in_order(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 5000)
    while not future.done():
        await pumped()
        while worker.batches:
            worker.answer(worker.batches.pop(0))
    assert numbers_in(await future) == list(range(5000))


def overdue(*rows: HeldRows) -> WrittenCall:
    return WrittenCall("it ran for too long", rows or None)


async def test_an_instance_whose_call_takes_too_long_fails_at_once_and_the_others_go_on(
    dispatcher: Dispatcher,
) -> None:
    first = Worker(dispatcher)
    futures = [submit(dispatcher, 4), submit(dispatcher, 8, 4)]
    await pumped()
    one, _ = first.batches
    first.answer(one, groups=(numbered(1),), final=False)
    first.servable.remove_copy(first.copy, returns=True, overdue=overdue(HeldRows(one.batch_id, 2, 1)))
    await pumped()
    second = Worker(dispatcher)
    await pumped()
    held = [numbers_in(batch.groups) for batch in second.batches]
    assert held == [[1, 3, 4, 5, 6, 7, 8, 9], [10, 11]]  # together, and before what came later
    for batch in second.batches:
        second.answer(batch)
    before, single, failed, after = await futures[0]
    assert numbers_in([before, single, after]) == [0, 1, 3]
    assert failed == FailedRows(Failure(StatusCode.SYSTEM_ERROR, "it ran for too long"), 1)
    assert numbers_in(await futures[1]) == list(range(4, 12))


async def test_instances_that_are_not_to_blame_for_a_call_go_before_what_waits(
    dispatcher: Dispatcher,
) -> None:
    first = Worker(dispatcher)
    futures = [submit(dispatcher, 8, 8 * i) for i in range(DEFAULT_SLOTS)]
    await pumped()
    waiting = submit(dispatcher, 1, 100)
    call = overdue(HeldRows(first.batches[0].batch_id, 0, 1))
    first.servable.remove_copy(first.copy, returns=True, overdue=call)
    second = Worker(dispatcher)
    order: list[float] = []
    while not waiting.done():
        await pumped()
        order += [number for batch in second.batches for number in numbers_in(batch.groups)]
        second.answer_all()
    assert order == [*range(1, 8 * DEFAULT_SLOTS), 100]
    assert all(future.done() for future in futures)


async def test_instances_of_a_call_that_takes_too_long_are_tried_one_by_one(dispatcher: Dispatcher) -> None:
    first = Worker(dispatcher)
    future = submit(dispatcher, 4)
    await pumped()
    call = overdue(HeldRows(first.batches[0].batch_id, 1, 2))
    first.servable.remove_copy(first.copy, returns=True, overdue=call)
    second = Worker(dispatcher)
    await pumped()
    assert [numbers_in(batch.groups) for batch in second.batches] == [[1]]
    second.servable.remove_copy(second.copy, returns=True, overdue=overdue(HeldRows(0, 0, 1)))
    third = Worker(dispatcher)
    for held in ([2], [0, 3]):
        await pumped()
        [batch] = third.batches
        assert numbers_in(batch.groups) == held
        third.answer(third.batches.pop())
    good, failed, *rest = await future
    assert failed == FailedRows(Failure(StatusCode.SYSTEM_ERROR, "it ran for too long"), 1)
    assert numbers_in([good, *rest]) == [0, 2, 3]


async def test_of_an_unknown_call_all_instances_are_suspects_and_a_single_one_fails(
    dispatcher: Dispatcher,
) -> None:
    first = Worker(dispatcher)
    future = submit(dispatcher, 2)
    await pumped()
    first.servable.remove_copy(first.copy, returns=True, overdue=overdue())
    second = Worker(dispatcher)
    await pumped()
    assert [numbers_in(batch.groups) for batch in second.batches] == [[0]]
    second.servable.remove_copy(second.copy, returns=True, overdue=overdue())
    third = Worker(dispatcher)
    await pumped()
    third.answer(third.batches[0])
    failed, good = await future
    assert failed == FailedRows(Failure(StatusCode.SYSTEM_ERROR, "it ran for too long"), 1)
    assert numbers_in([good]) == [1]


async def test_a_call_for_instances_that_are_answered_blames_nobody(dispatcher: Dispatcher) -> None:
    first = Worker(dispatcher)
    future = submit(dispatcher, 3)
    await pumped()
    [batch] = first.batches
    first.answer(batch, groups=(numbered(1),), final=False)
    call = overdue(HeldRows(batch.batch_id, 0, 1), HeldRows(77, 0, 0xFFFFFFFF))
    first.servable.remove_copy(first.copy, returns=True, overdue=call)
    second = Worker(dispatcher)
    await pumped()
    assert [numbers_in(batch.groups) for batch in second.batches] == [[1, 2]]
    second.answer(second.batches[0])
    assert numbers_in(await future) == [0, 1, 2]


async def test_a_client_that_has_gone_is_not_missed_when_a_call_takes_too_long(
    dispatcher: Dispatcher,
) -> None:
    first = Worker(dispatcher)
    gone, stays = submit(dispatcher, 1), submit(dispatcher, 1, 1)
    await pumped()
    gone.cancel()
    await pumped()
    call = overdue(HeldRows(first.batches[0].batch_id, 0, 2))
    first.servable.remove_copy(first.copy, returns=True, overdue=call)
    second = Worker(dispatcher)
    await pumped()
    assert [numbers_in(batch.groups) for batch in second.batches] == [[1]]
    assert second.free_slots() == 0  # alone: the one that has gone may have been to blame, or this one
    second.answer(second.batches[0])
    assert numbers_in(await stays) == [1]
    await pumped()
    assert "<Dispatcher 0 pending" in repr(dispatcher)


async def test_batches_grow_where_instances_are_quick(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher)
    future = submit(dispatcher, 1000)
    sizes: list[int] = []
    while not future.done():
        await pumped()
        sizes += [batch.count for batch in worker.batches]
        worker.answer_all()
    assert sizes[0] == METHOD.batch_limit < max(sizes)


async def test_methods_that_nobody_serves_can_be_withdrawn(dispatcher: Dispatcher) -> None:
    first = Worker(dispatcher, methods=(METHOD, OTHER))
    servable = first.servable
    second = Worker(dispatcher, label="second", methods=(OTHER,))
    servable.remove_copy(first.copy)
    assert servable.methods == (METHOD, OTHER)
    servable.withdraw_unserved()
    assert servable.methods == (OTHER,)
    assert servable.method(METHOD.name) is None
    assert servable.method(OTHER.name) == OTHER
    servable.remove_copy(second.copy)
    assert servable.methods == (OTHER,)
    Worker(dispatcher, label="third", methods=(METHOD,))
    assert servable.methods == (METHOD, OTHER)
    assert servable.method(METHOD.name) == METHOD
