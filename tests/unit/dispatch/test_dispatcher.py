"""Requests through the dispatcher to copies and back, with copies that answer, fail and get lost."""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, replace

import pytest

from mindspore_serving.errors import (
    ChannelError,
    Failure,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    StatusCode,
    UnknownTarget,
)
from mindspore_serving.options import DEFAULT_SLOTS, Limits
from mindspore_serving.rows import FailedRows, Group
from mindspore_serving.server.channel.call_page import HeldRows, WrittenCall
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host import settings
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered, numbers_in

METHOD = MethodSignature("m", ("x",), 8)


class Worker:
    """A copy whose worker is the test: it sees the batches, and answers when told."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str = "s",
        version: int = 1,
        *,
        label: str = "",
        methods: Sequence[MethodSignature] = (METHOD,),
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self.batches: list[Batch] = []
        self._told = told
        self.servable = dispatcher.servable(name, version)
        self.copy = ServableCopy(label or f"{name}:{version}", methods, self._take)
        self.servable.add_copy(self.copy)

    def _take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._told()

    def answer(
        self, batch: Batch, start: int = 0, groups: tuple[Group, ...] = (), final: bool = True
    ) -> None:
        """Give instances back as they came, or as `groups`."""
        self.servable.take_result(
            self.copy, Result(batch.batch_id, batch.slot, start, groups or batch.groups, final)
        )

    def free_slots(self) -> int:
        return self.copy.free_slots(METHOD)

    def die(self) -> None:
        self.servable.remove_copy(self.copy)


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    loop = asyncio.new_event_loop()
    yield Dispatcher(loop)
    loop.close()


def run(dispatcher: Dispatcher, test: Callable[[], Awaitable[None]]) -> None:
    dispatcher._loop.run_until_complete(asyncio.wait_for(test(), 10))


def submit(
    dispatcher: Dispatcher, count: int, start: int = 0, servable: str = "s", timeout_s: float | None = None
) -> asyncio.Future:
    route = dispatcher.resolve(servable, "m", 0)
    dispatcher.check_room(route)
    return dispatcher.submit(route, [numbered(count, start)], timeout_s)


async def turn() -> None:
    """Let the loop form batches."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_order_is_kept_when_batches_return_in_another(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        future = submit(dispatcher, 12)
        await turn()
        first, second = worker.batches
        worker.answer(second)
        worker.answer(first)
        assert numbers_in(await future) == list(range(12))

    run(dispatcher, test)


def test_requests_that_arrive_together_travel_together(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        futures = [submit(dispatcher, 2, 10 * i) for i in range(3)]
        await turn()
        (batch,) = worker.batches
        worker.answer(batch)
        assert [numbers_in(await future) for future in futures] == [[0, 1], [10, 11], [20, 21]]

    run(dispatcher, test)


def test_no_more_batches_than_slots(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        future = submit(dispatcher, 8 * (DEFAULT_SLOTS + 2))
        await turn()
        assert len(worker.batches) == DEFAULT_SLOTS
        assert worker.free_slots() == 0
        for i in range(DEFAULT_SLOTS + 2):
            worker.answer(worker.batches[i])
            await turn()
        assert numbers_in(await future) == list(range(8 * (DEFAULT_SLOTS + 2)))
        assert worker.free_slots() == DEFAULT_SLOTS

    run(dispatcher, test)


def test_a_copy_has_the_slots_that_it_is_given(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        batches: list[Batch] = []
        copy = ServableCopy("s:1", [METHOD], batches.append, slots=3)
        dispatcher.servable("s", 1).add_copy(copy)
        submit(dispatcher, 8 * 5)
        await turn()
        assert len(batches) == 3
        assert repr(copy) == "<ServableCopy s:1 READY 0/3 slots free>"

    run(dispatcher, test)


def test_a_batch_that_is_not_full_waits_as_long_as_it_may(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        dispatcher.servable("s", 1).delay_s = 0.1
        sent = asyncio.Event()
        worker = Worker(dispatcher, methods=[replace(METHOD, full=4)], told=sent.set)
        begin = time.monotonic()
        first = submit(dispatcher, 1)
        second = submit(dispatcher, 2, 1)
        await turn()
        assert worker.batches == []
        await sent.wait()
        assert time.monotonic() - begin >= 0.1
        worker.answer(worker.batches[0])
        assert numbers_in(await first) + numbers_in(await second) == [0, 1, 2]
        full = submit(dispatcher, 4)
        await turn()
        worker.answer(worker.batches[1])
        assert numbers_in(await full) == [0, 1, 2, 3]

    run(dispatcher, test)


def test_a_cancelled_request_harms_no_batch_mate(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        futures = [submit(dispatcher, 1, i) for i in range(4)]
        await turn()
        futures[1].cancel()
        worker.answer(worker.batches[0])
        assert [numbers_in(await futures[i]) for i in (0, 2, 3)] == [[0], [2], [3]]
        await turn()
        assert "<Dispatcher 0 unanswered" in repr(dispatcher)

    run(dispatcher, test)


def test_partial_results_settle_their_own_requests(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        quick, slow = submit(dispatcher, 1, 0), submit(dispatcher, 1, 1)
        await turn()
        (batch,) = worker.batches
        worker.answer(batch, groups=(numbered(1),), final=False)
        assert numbers_in(await quick) == [0]
        assert not slow.done()
        worker.answer(batch, start=1, groups=(numbered(1, 1),))
        assert numbers_in(await slow) == [1]

    run(dispatcher, test)


def test_instances_of_a_lost_copy_go_to_another_one_by_one(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        future = submit(dispatcher, 3)
        await turn()
        second = Worker(dispatcher)
        first.answer(first.batches[0], start=1, groups=(numbered(1, 1),), final=False)
        first.die()
        for number in (0, 2):
            await turn()
            (batch,) = second.batches
            assert numbers_in(batch.groups) == [number]
            second.answer(second.batches.pop())
        assert numbers_in(await future) == [0, 1, 2]

    run(dispatcher, test)


def test_an_instance_that_lost_two_workers_is_given_up_and_its_mates_are_not(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        future = submit(dispatcher, 2)
        await turn()
        second = Worker(dispatcher)
        first.die()
        await turn()
        assert [numbers_in(batch.groups) for batch in second.batches] == [[0]]
        third = Worker(dispatcher)
        second.die()
        await turn()
        assert [numbers_in(batch.groups) for batch in third.batches] == [[1]]
        third.answer(third.batches[0])
        failed, good = await future
        assert isinstance(failed, FailedRows)
        assert failed.failure.code is StatusCode.SYSTEM_ERROR
        assert "2 workers were lost while they served this instance" in failed.failure.text
        assert numbers_in([good]) == [1]

    run(dispatcher, test)


def test_what_waits_may_wait_for_a_copy_that_is_started_again(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        future = submit(dispatcher, 1)
        await turn()
        first.servable.remove_copy(first.copy, returns=True)
        await turn()
        assert not future.done()
        second = Worker(dispatcher)
        await turn()
        second.answer(second.batches[0])
        assert numbers_in(await future) == [0]

    run(dispatcher, test)


def test_a_copy_that_does_not_come_back_is_waited_for_no_longer(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        future = submit(dispatcher, 1)
        await turn()
        worker.servable.remove_copy(worker.copy, returns=True)
        worker.servable.give_up_copy(worker.copy.label)
        (group,) = await future
        assert group == may_have_run(1)

    run(dispatcher, test)


OTHER = MethodSignature("other", ("x",), 8)


def test_a_copy_that_returns_without_a_method_ends_the_wait_for_it(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        device = Worker(dispatcher, label="device")
        extra = Worker(dispatcher, label="extra", methods=(OTHER,))
        future = submit(dispatcher, 1)
        await turn()
        extra.servable.remove_copy(extra.copy, returns=True)
        device.die()
        Worker(dispatcher, label="extra", methods=(OTHER,))
        (group,) = await future
        assert group == may_have_run(1)
        with pytest.raises(ServableUnavailable, match="servable is not available"):
            submit(dispatcher, 1)

    run(dispatcher, test)


def test_an_instance_is_blamed_for_a_worker_that_leaves_if_it_ran_alone(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        workers = [Worker(dispatcher)]
        future = submit(dispatcher, 2)
        await turn()
        for held in ([0, 1], [0], [1], [0]):
            assert [numbers_in(batch.groups) for batch in workers[-1].batches] == [held]
            leaver = workers[-1]
            workers.append(Worker(dispatcher))
            leaver.servable.remove_copy(leaver.copy, left=True)
            await turn()
        workers[-1].answer(workers[-1].batches[0])
        failed, good = await future
        assert "2 workers were lost while they served this instance" in failed.failure.text
        assert numbers_in([good]) == [1]

    run(dispatcher, test)


def test_a_lost_instance_of_a_method_that_waits_keeps_no_other_out(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        waits = MethodSignature("m", ("x",), 1, waits=True)
        first = Worker(dispatcher, methods=(waits, OTHER))
        waiting = submit(dispatcher, 1)
        await turn()
        second = Worker(dispatcher, methods=(waits, OTHER))
        first.die()
        await turn()
        other = dispatcher.submit(dispatcher.resolve("s", "other", 0), [numbered(1, 5)])
        await turn()
        assert [numbers_in(batch.groups) for batch in second.batches] == [[0], [5]]
        for batch in second.batches:
            second.answer(batch)
        assert numbers_in(await waiting) == [0]
        assert numbers_in(await other) == [5]

    run(dispatcher, test)


def test_instances_that_cannot_be_written_are_answered(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)

        def refuse(_: Batch) -> None:
            raise ValueError("no such frame")

        worker.copy._send = refuse
        (group,) = await submit(dispatcher, 1)
        assert group.failure.text == "The instances cannot be passed on: ValueError('no such frame')"

    run(dispatcher, test)


@pytest.mark.parametrize(
    "changed",
    [MethodSignature("m", ("a", "b"), 8), MethodSignature("m", METHOD.input_names, 8, waits=True)],
    ids=["inputs", "pipeline"],
)
def test_methods_of_one_name_agree_as_long_as_one_serves(
    dispatcher: Dispatcher, changed: MethodSignature
) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        with pytest.raises(ChannelError, match="is at other workers method m with inputs"):
            Worker(dispatcher, methods=(changed,))
        first.die()
        Worker(dispatcher, methods=(changed,))
        assert dispatcher.servable("s", 1).method("m") == changed

    run(dispatcher, test)


NOT_AVAILABLE = "Request servable(s) method(m)  version(1) , servable is not available"


def untouched(count: int) -> FailedRows:
    """What instances get that no worker has held: they can be sent again."""
    return FailedRows(Failure(StatusCode.SERVABLE_UNAVAILABLE, NOT_AVAILABLE), count)


def may_have_run(count: int) -> FailedRows:
    """What instances get that a worker has held."""
    text = f"{NOT_AVAILABLE}: a worker had this instance, which may have been run"
    return FailedRows(Failure(StatusCode.SYSTEM_ERROR, text), count)


def test_of_what_nobody_runs_it_is_told_whether_a_worker_had_it(dispatcher: Dispatcher) -> None:
    assert (untouched(1).failure.status, may_have_run(1).failure.status) == (503, 500)

    async def test() -> None:
        worker = Worker(dispatcher)
        under_way = [submit(dispatcher, 8) for _ in range(DEFAULT_SLOTS)]
        await turn()
        waiting = submit(dispatcher, 2)
        await turn()
        worker.die()
        for future in under_way:
            assert await future == [may_have_run(1)] * 8
        assert await waiting == [untouched(2)]
        with pytest.raises(ServableUnavailable):
            dispatcher.resolve("s", "m", 0)

    run(dispatcher, test)


def test_an_instance_that_left_a_worker_without_blame_may_have_run_all_the_same(
    dispatcher: Dispatcher,
) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        future = submit(dispatcher, 2)
        await turn()
        call = WrittenCall("late", (HeldRows(worker.batches[0].batch_id, 0, 1),))
        worker.servable.remove_copy(worker.copy, returns=True, overdue=call)
        worker.servable.give_up_copy(worker.copy.label)
        failed, innocent = await future
        assert failed.failure.text == "late"
        assert innocent == may_have_run(1)

    run(dispatcher, test)


def test_without_memory_too(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        lost, full = Worker(dispatcher), Worker(dispatcher)
        full.servable.remove_copy(full.copy)
        future = submit(dispatcher, 1)
        await turn()

        def no_memory() -> None:
            raise OSError("no room")

        Worker(dispatcher, told=no_memory)
        lost.die()
        fresh = submit(dispatcher, 1)
        text = "No memory for the instances of this request: no room"
        suffix = ": a worker had this instance, which may have been run"
        assert await future == [FailedRows(Failure(StatusCode.FAILED, text + suffix), 1)]
        assert await fresh == [FailedRows(Failure(StatusCode.FAILED, text, 503), 1)]

    run(dispatcher, test)


def test_a_suspect_spares_the_last_copy_for_a_while_only(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        lost = Worker(dispatcher)
        future = submit(dispatcher, 1)
        await turn()
        lost.servable.suspect_wait_s = 0.05
        reached = asyncio.Event()
        last = Worker(dispatcher, label="last", told=reached.set)
        lost.servable.remove_copy(lost.copy, returns=True)
        await turn()
        assert last.batches == []
        await reached.wait()
        last.answer(last.batches[0])
        assert numbers_in(await future) == [0]

    run(dispatcher, test)


def test_a_stop_answers_everything_and_ignores_what_workers_send_then(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        under_way = [submit(dispatcher, 8) for _ in range(DEFAULT_SLOTS)]
        await turn()
        waiting = submit(dispatcher, 1)
        worker.answer(worker.batches[0], groups=worker.batches[0].groups[0:1], final=False)
        dispatcher.fail_waiting()
        assert numbers_in(await under_way[0]) == list(range(8))
        assert await under_way[1] == [may_have_run(1)] * 8
        assert await waiting == [untouched(1)]
        for batch in worker.batches:
            worker.answer(batch)
        worker.die()
        await turn()
        assert "0 unanswered" in repr(dispatcher)
        assert "LOST 0/" in repr(worker.copy)
        with pytest.raises(ServableUnavailable):
            submit(dispatcher, 1)

    run(dispatcher, test)


def test_a_stop_does_not_wait_for_copies_that_are_started_again(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        future = submit(dispatcher, 1)
        await turn()
        worker.servable.remove_copy(worker.copy, returns=True)
        assert not future.done()
        dispatcher.fail_waiting()
        assert isinstance((await future)[0], FailedRows)
        with pytest.raises(ServableUnavailable):
            submit(dispatcher, 1)

    run(dispatcher, test)


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


def test_version_zero_is_the_highest_that_runs(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        Worker(dispatcher, version=1)
        newer = Worker(dispatcher, version=12)
        assert dispatcher.resolve("s", "m", 0).servable.version == 12
        newer.die()
        assert dispatcher.resolve("s", "m", 0).servable.version == 1

    run(dispatcher, test)


@pytest.fixture
def limits() -> Iterator[Callable[..., None]]:
    """Sets the limits of the server; those before hold again afterwards."""
    before = replace(settings.server_limits)

    def set_limits(requests: int = before.requests, instances: int = 0, byte_size: int = 0) -> None:
        settings.set_max_enqueued_requests(requests)
        settings.set_max_enqueued_instances(instances or before.instances)
        settings.set_max_enqueued_bytes(byte_size or before.byte_size)

    yield set_limits
    set_limits(before.requests, before.instances, before.byte_size)


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
def test_limits_of_what_is_unanswered(
    dispatcher: Dispatcher,
    limits: Callable[..., None],
    whose: str,
    what: str,
    most: Limits,
    taken: list[int],
    refused: int,
) -> None:
    async def test() -> None:
        worker, other = Worker(dispatcher), Worker(dispatcher, "other")
        if whose == "server":
            limits(**{name: value for name, value in asdict(most).items() if value})
        else:
            worker.servable.limit(most)
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
            await turn()
            for each in (worker, other):
                for batch in each.batches:
                    each.answer(batch)
                each.batches.clear()
            await asyncio.gather(*futures)
            owed = (
                [dispatcher._unanswered]
                if whose == "server"
                else [dispatcher._unanswered, worker.servable.unanswered]
            )
            assert {(one.requests, one.instances, one.byte_size) for one in owed} == {(0, 0, 0)}

    run(dispatcher, test)


@pytest.mark.parametrize("most", [Limits(instances=2), Limits(byte_size=8)])
def test_a_request_that_is_larger_than_a_limit_is_taken_if_it_is_alone(
    dispatcher: Dispatcher, most: Limits
) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        worker.servable.limit(most)
        future = submit(dispatcher, 3)
        with pytest.raises(QueueFull):
            submit(dispatcher, 1)
        await turn()
        worker.answer(worker.batches[0])
        assert numbers_in(await future) == [0, 1, 2]

    run(dispatcher, test)


@pytest.mark.parametrize("name", ["requests", "instances", "bytes"])
@pytest.mark.parametrize(
    ("value", "text"),
    [(0, ">= 1"), (True, "int, but actually <class 'bool'>"), (2.0, "int, but actually <class 'float'>")],
)
def test_limits_that_are_none(name: str, value: object, text: str) -> None:
    before = replace(settings.server_limits)
    with pytest.raises(RuntimeError) as caught:
        getattr(settings, f"set_max_enqueued_{name}")(value)
    assert str(caught.value) == f"Parameter 'max_enqueued_{name}' should be {text}"
    assert settings.server_limits == before


def test_limits_change_while_requests_wait(dispatcher: Dispatcher, limits: Callable[..., None]) -> None:
    async def test() -> None:
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

    run(dispatcher, test)


def test_what_was_admitted_elsewhere_counts_for_no_limit(
    dispatcher: Dispatcher, limits: Callable[..., None]
) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        limits(1, 1, 1)
        worker.servable.limit(Limits(1, 1, 1))
        future = submit(dispatcher, 1)
        forwarded = [dispatcher.forward(worker.servable, "m", [numbered(3)]) for _ in range(2)]
        await turn()
        for batch in worker.batches:
            worker.answer(batch)
        await asyncio.gather(future, *forwarded)
        await turn()
        submit(dispatcher, 1)

    run(dispatcher, test)


def test_what_abandoned_requests_leave_in_the_queue_is_bounded(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        under_way = submit(dispatcher, 8 * DEFAULT_SLOTS)  # no slot is free from here on
        await turn()
        waiting = submit(dispatcher, 5, 100)
        queue = worker.servable._queues["m"]
        for count in [1] * 50 + [40] * 10:
            submit(dispatcher, count, 200).cancel()
            await turn()
            assert queue.waiting <= 5 + 8 * DEFAULT_SLOTS + 5
        assert "<Dispatcher 2 unanswered" in repr(dispatcher)
        for batch in worker.batches[:]:
            worker.answer(batch)
        await under_way
        while len(worker.batches) == DEFAULT_SLOTS:  # it is kept open: many requests have come of late
            await turn()
        worker.answer(worker.batches[-1])
        assert numbers_in(await waiting) == [100, 101, 102, 103, 104]

    run(dispatcher, test)


def test_a_deadline_ends_a_request_and_drops_what_waits(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        before = submit(dispatcher, 8 * DEFAULT_SLOTS)
        await turn()
        late = submit(dispatcher, 2, 100, timeout_s=0.0025)
        patient = submit(dispatcher, 2, 200, timeout_s=50)
        [group] = await late
        assert isinstance(group, FailedRows)
        text = "Request servable(s) method(m)  version(1) , deadline of 2.5 ms exceeded"
        assert (group.failure.text, group.failure.status, group.count) == (text, 504, 2)
        await turn()
        assert "<Dispatcher 2 unanswered" in repr(dispatcher)
        for batch in worker.batches[:]:
            worker.answer(batch)
        await before
        await turn()
        worker.answer(worker.batches[-1])
        assert numbers_in(await patient) == [200, 201]
        assert 100 not in [x for batch in worker.batches for x in numbers_in(batch.groups)]

    run(dispatcher, test)


def test_a_deadline_keeps_nothing_of_an_answered_request(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        rows = numbered(1)
        values = weakref.ref(rows.columns[0])
        answered = dispatcher.submit(dispatcher.resolve("s", "m", 0), [rows], timeout_s=50)
        del rows
        await turn()
        worker.answer(worker.batches.pop(), groups=(numbered(1, 7),))
        assert numbers_in(await answered) == [7]
        await turn()
        assert values() is None

    run(dispatcher, test)


def test_an_answer_that_comes_after_the_deadline_is_dropped(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        late = submit(dispatcher, 3, timeout_s=0.002)
        await turn()
        [batch] = worker.batches
        worker.answer(batch, 0, (batch.groups[0].take(0, 1),), final=False)
        [group] = await late
        assert isinstance(group, FailedRows)
        worker.answer(batch, 1, (batch.groups[0].take(1, 3),))
        assert worker.free_slots() == DEFAULT_SLOTS

    run(dispatcher, test)


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
def test_a_worker_that_breaks_the_protocol_is_found_out(dispatcher: Dispatcher, result: Result) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        submit(dispatcher, 1)
        await turn()
        with pytest.raises(ChannelError):
            worker.servable.take_result(worker.copy, result)

    run(dispatcher, test)


def test_no_memory_for_a_batch_fails_its_instances_only(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        send = worker.copy._send
        worker.copy._send = _raise_os_error
        (group,) = await submit(dispatcher, 2)
        assert isinstance(group, FailedRows)
        assert "No memory for the instances of this request" in group.failure.text
        worker.copy._send = send
        future = submit(dispatcher, 1)
        await turn()
        worker.answer(worker.batches[0])
        assert numbers_in(await future) == [0]

    run(dispatcher, test)


def _raise_os_error(_: Batch) -> None:
    raise OSError("full")


def test_the_state_shows_in_the_repr(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        submit(dispatcher, 12)
        assert "12 waiting" in repr(dispatcher)
        await turn()
        assert f"<ServableCopy s:1 READY 0/{DEFAULT_SLOTS} slots free>" in repr(worker.servable)
        worker.die()
        assert "LOST" in repr(worker.copy)

    run(dispatcher, test)


def test_a_huge_request_comes_back_whole_and_in_order(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        future = submit(dispatcher, 5000)
        while not future.done():
            await turn()
            while worker.batches:
                worker.answer(worker.batches.pop(0))
        assert numbers_in(await future) == list(range(5000))

    run(dispatcher, test)


# ---- a call takes too long


def overdue(*rows: HeldRows) -> WrittenCall:
    return WrittenCall("it ran for too long", rows or None)


def test_an_instance_whose_call_takes_too_long_fails_at_once_and_the_others_go_on(
    dispatcher: Dispatcher,
) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        futures = [submit(dispatcher, 4), submit(dispatcher, 8, 4)]
        await turn()
        one, _ = first.batches
        first.answer(one, groups=(numbered(1),), final=False)
        first.servable.remove_copy(first.copy, returns=True, overdue=overdue(HeldRows(one.batch_id, 2, 1)))
        await turn()
        second = Worker(dispatcher)
        await turn()
        held = [numbers_in(batch.groups) for batch in second.batches]
        assert held == [[1, 3, 4, 5, 6, 7, 8, 9], [10, 11]]  # together, and before what came later
        for batch in second.batches:
            second.answer(batch)
        before, single, failed, after = await futures[0]
        assert numbers_in([before, single, after]) == [0, 1, 3]
        assert failed == FailedRows(Failure(StatusCode.SYSTEM_ERROR, "it ran for too long"), 1)
        assert numbers_in(await futures[1]) == list(range(4, 12))


def test_a_drain_refuses_what_is_new_and_waits_for_what_was_admitted(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        futures = [submit(dispatcher, 3, 10 * i) for i in range(2)]
        await turn()
        drained = asyncio.create_task(dispatcher.drain(60))
        await turn()
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

    run(dispatcher, test)


def test_instances_of_a_call_that_takes_too_long_are_tried_one_by_one(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        future = submit(dispatcher, 4)
        await turn()
        call = overdue(HeldRows(first.batches[0].batch_id, 1, 2))
        first.servable.remove_copy(first.copy, returns=True, overdue=call)
        second = Worker(dispatcher)
        await turn()
        assert [numbers_in(batch.groups) for batch in second.batches] == [[1]]
        second.servable.remove_copy(second.copy, returns=True, overdue=overdue(HeldRows(0, 0, 1)))
        third = Worker(dispatcher)
        for held in ([2], [0, 3]):
            await turn()
            [batch] = third.batches
            assert numbers_in(batch.groups) == held
            third.answer(third.batches.pop())
        good, failed, *rest = await future
        assert failed == FailedRows(Failure(StatusCode.SYSTEM_ERROR, "it ran for too long"), 1)
        assert numbers_in([good, *rest]) == [0, 2, 3]


def test_a_drain_without_requests_or_without_time_ends_at_once(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        Worker(dispatcher)
        assert await dispatcher.drain(60)
        dispatcher.draining = False
        future = submit(dispatcher, 1)
        assert not await dispatcher.drain(0.01)
        dispatcher.fail_waiting()
        await turn()
        assert await dispatcher.drain(60)
        assert isinstance((await future)[0], FailedRows)

    run(dispatcher, test)


def test_of_an_unknown_call_all_instances_are_suspects_and_a_single_one_fails(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        future = submit(dispatcher, 2)
        await turn()
        first.servable.remove_copy(first.copy, returns=True, overdue=overdue())
        second = Worker(dispatcher)
        await turn()
        assert [numbers_in(batch.groups) for batch in second.batches] == [[0]]
        second.servable.remove_copy(second.copy, returns=True, overdue=overdue())
        third = Worker(dispatcher)
        await turn()
        third.answer(third.batches[0])
        failed, good = await future
        assert failed == FailedRows(Failure(StatusCode.SYSTEM_ERROR, "it ran for too long"), 1)
        assert numbers_in([good]) == [1]


def test_a_drain_ends_with_what_is_failed(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        Worker(dispatcher)
        submit(dispatcher, 1)
        drained = asyncio.create_task(dispatcher.drain(60))
        await turn()
        dispatcher.fail_waiting()
        assert await drained

    run(dispatcher, test)


def test_a_call_for_instances_that_are_answered_blames_nobody(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        future = submit(dispatcher, 3)
        await turn()
        [batch] = first.batches
        first.answer(batch, groups=(numbered(1),), final=False)
        call = overdue(HeldRows(batch.batch_id, 0, 1), HeldRows(77, 0, 0xFFFFFFFF))
        first.servable.remove_copy(first.copy, returns=True, overdue=call)
        second = Worker(dispatcher)
        await turn()
        assert [numbers_in(batch.groups) for batch in second.batches] == [[1, 2]]
        second.answer(second.batches[0])
        assert numbers_in(await future) == [0, 1, 2]


def test_in_a_drain_no_batch_waits_for_more(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        dispatcher.servable("s", 1).delay_s = 60
        sent = asyncio.Event()
        worker = Worker(dispatcher, methods=[replace(METHOD, full=4)], told=sent.set)
        submit(dispatcher, 1)
        await turn()
        assert worker.batches == []
        drained = asyncio.create_task(dispatcher.drain(60))
        await sent.wait()
        worker.answer(worker.batches[0])
        assert await drained

    run(dispatcher, test)


def test_a_client_that_has_gone_is_not_missed_when_a_call_takes_too_long(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        first = Worker(dispatcher)
        gone, stays = submit(dispatcher, 1), submit(dispatcher, 1, 1)
        await turn()
        gone.cancel()
        await turn()
        call = overdue(HeldRows(first.batches[0].batch_id, 0, 2))
        first.servable.remove_copy(first.copy, returns=True, overdue=call)
        second = Worker(dispatcher)
        await turn()
        assert [numbers_in(batch.groups) for batch in second.batches] == [[1]]
        assert second.free_slots() == 0  # alone: the one that has gone may have been to blame, or this one
        second.answer(second.batches[0])
        assert numbers_in(await stays) == [1]
        await turn()
        assert "<Dispatcher 0 unanswered" in repr(dispatcher)


def test_what_others_have_admitted_is_served_in_a_drain(dispatcher: Dispatcher) -> None:
    async def test() -> None:
        worker = Worker(dispatcher)
        first = submit(dispatcher, 1)
        await turn()
        drained = asyncio.create_task(dispatcher.drain(60))
        await turn()
        other = dispatcher.forward(worker.servable, "m", [numbered(1, 5)])
        await turn()
        for batch in worker.batches:
            worker.answer(batch)
        assert await drained
        assert numbers_in(await first) + numbers_in(await other) == [0, 5]

    run(dispatcher, test)
