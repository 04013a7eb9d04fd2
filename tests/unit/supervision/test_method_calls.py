"""Calls of methods between workers, seen from main: whose they are, what they wait for, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mindspore_serving.errors import Failure, StartUpError, StatusCode
from mindspore_serving.rows import FailedRows, Group, Reply
from mindspore_serving.server.channel.messages import (
    NO_BATCH,
    NO_SLOT,
    Batch,
    MethodCall,
    MethodReply,
    Register,
    Result,
)
from mindspore_serving.server.dispatch.method_calls import DEEPEST_CALLS
from mindspore_serving.signature import CalledMethod, MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.support.plans import worker_plan
from tests.support.rows import numbered, numbers_in
from tests.support.virtual_time import run_in_virtual_time
from tests.unit.supervision.fake_children import FakeChild
from tests.unit.supervision.supervised import Supervised

_OUTER = MethodSignature("m", ("x",), 8, waits=True, output_names=("y",))
_INNER = MethodSignature("n", ("image",), 8, output_names=("label",))
_CALL = CalledMethod("m", "inner", "n", 0, 1, 1)


def _register(
    methods: dict[str, tuple[MethodSignature, ...]], calls: dict[str, tuple[CalledMethod, ...]]
) -> Callable[[FakeChild], None]:
    def start(child: FakeChild) -> None:
        name = child.plan.servable_name
        child.send(Register(child.number, child.pid, methods[name], (), calls.get(name, ())))
        child.show_life()

    return start


async def _two(inner: MethodSignature = _INNER) -> tuple[Supervised, FakeChild, FakeChild]:
    """A servable `outer`, whose method calls one of a servable `inner`."""
    scene = Supervised()
    scene.children.on_start = _register({"outer": (_OUTER,), "inner": (inner,)}, {"outer": (_CALL,)})
    outer, called = await scene.start(worker_plan("outer"), worker_plan("inner"))
    return scene, outer, called


def _ask(
    scene: Supervised, count: int, start: int = 0, priority: int = 0, timeout_s: float | None = None
) -> asyncio.Future[Reply]:
    destination = scene.dispatcher.resolve("outer", "m", 1)
    return scene.dispatcher.admit(destination, [numbered(count, start)], timeout_s, priority=priority)


def _replies(child: FakeChild) -> list[MethodReply]:
    return [message for message in child.received if isinstance(message, MethodReply)]


def _call(batch: Batch, call_id: int = 1, start: int = 0, count: int | None = None) -> MethodCall:
    """A call with what came in."""
    count = batch.count if count is None else count
    [group] = batch.groups
    return MethodCall(call_id, NO_SLOT, 0, batch.batch_id, start, count, (group.take(start, start + count),))


def _finish(child: FakeChild, batch: Batch, groups: tuple[Group, ...]) -> None:
    child.send(Result(batch.batch_id, batch.slot, 0, groups, True))


def _run(test: Callable[[], Awaitable[None]]) -> None:
    run_in_virtual_time(test())


def test_instances_go_to_the_called_method_and_come_back() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        requests = [_ask(scene, 2, 10), _ask(scene, 1, 20)]
        await scene.settle()
        [batch] = outer.batches
        outer.send(_call(batch, 7))
        await scene.settle()
        [called] = inner.batches
        assert called.method == "n"
        assert [spec.name for spec in called.groups[0].specs] == ["image"]
        assert numbers_in(called.groups) == [10, 11, 20]
        inner.answer(called, (numbered(3, 100),))
        await scene.settle()
        [reply] = _replies(outer)
        assert (reply.call_id, reply.slot, numbers_in(reply.groups)) == (7, NO_SLOT, [100, 101, 102])
        _finish(outer, batch, reply.groups)
        assert [numbers_in(await request) for request in requests] == [[100, 101], [102]]  # type: ignore[arg-type]
        counted = scene.dispatcher.statistics("inner", 1, "n")
        assert (counted.success.count, counted.fail.count, counted.instances) == (2, 0, 3)

    _run(test)


def test_a_request_that_is_gone_takes_its_calls_out_of_the_queue() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        gone, stays = _ask(scene, 2, 10), _ask(scene, 1, 20)
        await scene.settle()
        [batch] = outer.batches
        for _ in range(3):  # both slots of the inner copy are taken
            scene.dispatcher.admit(scene.dispatcher.resolve("inner", "n", 1), [numbered(8)])
            await scene.settle()
        busy = list(inner.batches)
        outer.send(_call(batch))
        await scene.settle()
        gone.cancel()
        await scene.settle()
        for one in busy:
            inner.answer(one)
        await scene.settle()
        for one in inner.batches[len(busy) :]:
            inner.answer(one)
        await scene.settle()
        assert numbers_in([group for one in inner.batches for group in one.groups]) == [*range(8)] * 3 + [20]
        [reply] = _replies(outer)
        failed, answered = reply.groups
        assert isinstance(failed, FailedRows)
        assert (failed.count, numbers_in([answered])) == (2, [20])  # type: ignore[list-item]
        _finish(outer, batch, reply.groups)
        assert numbers_in(await stays) == [20]  # type: ignore[arg-type]
        assert scene.dispatcher.statistics("inner", 1, "n").fail.count == 1

    _run(test)


def test_a_call_for_a_request_that_has_ended_reaches_nobody() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        gone = _ask(scene, 2, 10)
        await scene.settle()
        [batch] = outer.batches
        gone.cancel()
        await scene.settle()
        outer.send(_call(batch))
        await scene.settle()
        [reply] = _replies(outer)
        [failed] = reply.groups
        assert isinstance(failed, FailedRows)
        assert failed.count == 2
        assert inner.batches == []

    _run(test)


def test_a_call_that_fails_counts_as_failed_at_both() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 3, 10)
        await scene.settle()
        [batch] = outer.batches
        outer.send(_call(batch))
        await scene.settle()
        failed = FailedRows(Failure(StatusCode.FAILED, "no"), 1)
        inner.answer(inner.batches[0], (numbered(1, 10), failed, numbered(1, 12)))
        await scene.settle()
        [reply] = _replies(outer)
        _finish(outer, batch, reply.groups)
        await request
        for name, method in (("inner", "n"), ("outer", "m")):
            counted = scene.dispatcher.statistics(name, 1, method)
            assert (counted.success.count, counted.fail.count, counted.instances) == (0, 1, 2)

    _run(test)


def test_a_call_that_is_answered_leaves_nothing_behind() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1, 10)
        await scene.settle()
        copy = scene.dispatcher.servable("outer", 1).copies[0]
        _, [(known, _)] = copy.requests_of(outer.batches[0].batch_id, 0, 1)
        outer.send(_call(outer.batches[0]))
        await scene.settle()
        assert known.calls
        inner.answer(inner.batches[0])
        await scene.settle()
        assert not known.calls
        request.cancel()

    _run(test)


def test_a_deadline_ends_what_was_called() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        late = _ask(scene, 1, 10, timeout_s=5.0)
        await scene.settle()
        outer.send(_call(outer.batches[0]))
        await scene.settle()
        assert len(inner.batches) == 1
        [failed] = await late
        assert isinstance(failed, FailedRows)
        assert "deadline of 5000 ms exceeded" in failed.failure.text
        await scene.settle()
        assert len(_replies(outer)) == 1  # it waits no longer, although nobody has answered
        inner.answer(inner.batches[0])
        await scene.settle()
        assert len(_replies(outer)) == 1

    _run(test)


def test_what_is_urgent_is_urgent_where_it_is_called() -> None:
    async def test() -> None:
        scene, outer, inner = await _two(replace(_INNER, batch_limit=1))
        for _ in range(2):
            scene.dispatcher.admit(scene.dispatcher.resolve("inner", "n", 1), [numbered(1)])
            await scene.settle()
        busy = list(inner.batches)
        assert len(busy) == 2
        usual = _ask(scene, 1, 10)
        await scene.settle()
        urgent = _ask(scene, 1, 20, priority=1)
        await scene.settle()
        for batch in outer.batches:
            outer.send(_call(batch, batch.batch_id))
            await scene.settle()
        for one in busy:
            inner.answer(one)
        await scene.settle()
        assert numbers_in([group for one in inner.batches[2:] for group in one.groups]) == [20, 10]
        usual.cancel()
        urgent.cancel()

    _run(test)


def test_a_worker_that_dies_leaves_no_calls_behind_and_its_requests_are_run_again() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1, 10)
        await scene.settle()
        for _ in range(3):
            scene.dispatcher.admit(scene.dispatcher.resolve("inner", "n", 1), [numbered(8)])
            await scene.settle()
        busy = list(inner.batches)
        outer.send(_call(outer.batches[0]))
        await scene.settle()
        outer.end(-9)
        await asyncio.sleep(20)
        again = scene.children.started[-1]
        assert again.plan.servable_name == "outer"
        assert again is not outer
        [batch] = again.batches
        again.send(_call(batch))
        await scene.settle()
        for one in busy:
            inner.answer(one)
        await scene.settle()
        for one in inner.batches[len(busy) :]:
            inner.answer(one)
        await scene.settle()
        assert numbers_in([group for one in inner.batches for group in one.groups]).count(10) == 1
        _finish(again, batch, _replies(again)[0].groups)
        assert numbers_in(await request) == [10]  # type: ignore[arg-type]

    _run(test)


def test_a_called_worker_that_dies_is_waited_for() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1, 10)
        await scene.settle()
        served = scene.dispatcher.admit(scene.dispatcher.resolve("inner", "n", 1), [numbered(1)])
        await scene.settle()
        inner.answer(inner.batches[0])
        await served
        inner.end(-9)  # nothing is with it: the call that comes now waits for its next start
        await scene.settle()
        outer.send(_call(outer.batches[0]))
        await asyncio.sleep(20)
        again = scene.children.started[-1]
        assert again is not inner
        [called] = again.batches
        again.answer(called)
        await scene.settle()
        _finish(outer, outer.batches[0], _replies(outer)[0].groups)
        assert numbers_in(await request) == [10]  # type: ignore[arg-type]

    _run(test)


def test_calls_are_answered_while_the_server_drains() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1, 10)
        await scene.settle()
        drained = asyncio.create_task(scene.dispatcher.drain(60.0))
        await scene.settle()
        outer.send(_call(outer.batches[0]))
        await scene.settle()
        inner.answer(inner.batches[0])
        await scene.settle()
        _finish(outer, outer.batches[0], _replies(outer)[0].groups)
        assert await drained
        assert numbers_in(await request) == [10]  # type: ignore[arg-type]

    _run(test)


def test_no_limit_of_clients_refuses_a_call() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = _register({"outer": (_OUTER,), "inner": (_INNER,)}, {"outer": (_CALL,)})
        plans = worker_plan("outer"), worker_plan("inner", max_enqueued_requests=1)
        for plan in plans:
            scene.dispatcher.configure(plan.settings)
        outer, inner = await scene.start(*plans)
        scene.dispatcher.admit(scene.dispatcher.resolve("inner", "n", 1), [numbered(1)])
        request = _ask(scene, 2, 10)
        await scene.settle()
        outer.send(_call(outer.batches[0]))
        await scene.settle()
        assert [numbers_in(batch.groups) for batch in inner.batches] == [[0], [10, 11]]
        request.cancel()

    _run(test)


def test_a_value_that_the_called_method_does_not_take_is_refused_alone() -> None:
    async def test() -> None:
        typed = TensorType("image", DataType.INT32, (), declared=True)
        scene, outer, inner = await _two(replace(_INNER, inputs=(typed,)))
        request = _ask(scene, 1, 10)
        await scene.settle()
        outer.send(_call(outer.batches[0]))
        await scene.settle()
        [reply] = _replies(outer)
        [failed] = reply.groups
        assert isinstance(failed, FailedRows)
        assert failed.failure.text == "Input 'image' is float32 of shape [], expected int32 of shape []"
        assert not inner.batches
        request.cancel()

    _run(test)


def test_calls_for_nobody_in_particular() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        outer.send(MethodCall(3, NO_SLOT, 0, NO_BATCH, 0, 1, (numbered(2, 5),)))
        await scene.settle()
        inner.answer(inner.batches[0])
        await scene.settle()
        [reply] = _replies(outer)
        assert (reply.call_id, numbers_in(reply.groups)) == (3, [5, 6])

    _run(test)


def test_several_instances_for_one_of_a_batch_end_with_it() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1, 10)
        await scene.settle()
        [batch] = outer.batches
        outer.send(MethodCall(3, NO_SLOT, 0, batch.batch_id, 0, 1, (numbered(3, 5),)))
        await scene.settle()
        assert numbers_in(inner.batches[0].groups) == [5, 6, 7]
        request.cancel()
        await scene.settle()
        [reply] = _replies(outer)
        [failed] = reply.groups
        assert isinstance(failed, FailedRows)
        assert failed.count == 3

    _run(test)


def test_several_instances_that_cannot_be_called_for_all_fail() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1, 10)
        await scene.settle()
        inner.leave()
        await asyncio.sleep(1)
        outer.send(MethodCall(3, NO_SLOT, 0, outer.batches[0].batch_id, 0, 1, (numbered(3, 5),)))
        await scene.settle()
        [reply] = _replies(outer)
        [failed] = reply.groups
        assert isinstance(failed, FailedRows)
        assert failed.count == 3
        request.cancel()

    _run(test)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"slot": 1}, "in slot 1, which is none for such calls"),
        ({"slot": 10_000}, "in slot 10000, which is none for such calls"),
        ({"target": 1}, "calls method 1 of 1 that it has registered"),
        ({"groups": ()}, "calls a method without instances"),
        ({"batch_id": 99}, "of batch 99, which has none of these"),
        ({"start": 1}, "which has none of these"),
        ({"held": 2}, "with 1 instances for 2 of a batch"),
    ],
)
def test_a_call_that_cannot_be_breaks_the_protocol(
    change: dict[str, int], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1)
        await scene.settle()
        outer.send(replace(_call(outer.batches[0]), **change))
        await scene.settle()
        assert outer.was_hung_up_on
        assert not inner.batches
        request.cancel()

    _run(test)
    assert text in caplog.text


# ---- versions


@pytest.mark.parametrize(
    ("called", "version", "reached"),
    [
        ("inner", 0, "inner 2"),
        ("inner", 1, "inner 1"),
        ("outer", 0, "outer 1"),  # the caller's own version, although there is a higher one
        ("outer", 2, "outer 2"),
    ],
)
def test_which_version_a_call_reaches(called: str, version: int, reached: str) -> None:
    async def test() -> None:
        scene = Supervised()
        both = dict.fromkeys(("outer", "inner"), (_OUTER, _INNER))
        scene.children.on_start = _register(
            both, {"outer": (replace(_CALL, servable=called, version=version),)}
        )
        plans = [worker_plan(name, version_number=v) for name in both for v in (1, 2)]
        children = await scene.start(*plans)
        request = _ask(scene, 1, 10)
        await scene.settle()
        children[0].send(_call(children[0].batches[0]))
        await scene.settle()
        reaches = [
            f"{one.plan.servable_name} {one.plan.version}"
            for one in children
            for b in one.batches
            if b.method == "n"
        ]
        assert reaches == [reached]
        request.cancel()

    _run(test)


def test_a_call_reaches_the_highest_version_that_still_runs() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = _register({"outer": (_OUTER,), "inner": (_INNER,)}, {"outer": (_CALL,)})
        outer, first, second = await scene.start(
            worker_plan("outer"), *[worker_plan("inner", version_number=v) for v in (1, 2)]
        )
        request = _ask(scene, 1, 10)
        await scene.settle()
        for call_id in (1, 2):
            outer.send(_call(outer.batches[0], call_id))
            await scene.settle()
            if call_id == 1:
                second.answer(second.batches[0])
                second.leave()
                await asyncio.sleep(1)
        assert (len(second.batches), len(first.batches)) == (1, 1)
        request.cancel()

    _run(test)


# ---- chains


def test_the_end_of_a_request_ends_all_that_was_called_for_it() -> None:
    async def test() -> None:
        scene = Supervised()
        methods = tuple(MethodSignature(f"m{i}", ("x",), 8, waits=True) for i in range(DEEPEST_CALLS + 2))
        calls = tuple(CalledMethod(f"m{i}", "outer", f"m{i + 1}") for i in range(DEEPEST_CALLS + 1))
        scene.children.on_start = _register({"outer": methods}, {"outer": calls})
        [outer] = await scene.start(worker_plan("outer"))
        destination = scene.dispatcher.resolve("outer", "m0", 1)
        request = scene.dispatcher.admit(destination, [numbered(1)])
        for depth in range(DEEPEST_CALLS + 1):
            await scene.settle()
            assert [batch.method for batch in outer.batches] == [
                f"m{i}" for i in range(min(depth + 1, DEEPEST_CALLS))
            ]
            if depth < DEEPEST_CALLS:
                outer.send(replace(_call(outer.batches[depth]), call_id=depth, target=depth))
        [refused] = _replies(outer)
        [failed] = refused.groups
        assert isinstance(failed, FailedRows)
        assert f"at most {DEEPEST_CALLS} may call each other in a row" in failed.failure.text
        request.cancel()
        await scene.settle()
        answered = {reply.call_id for reply in _replies(outer)}
        assert answered == set(range(DEEPEST_CALLS))

    _run(test)


# ---- what is checked before the server serves


_MORE = MethodSignature("two", ("a", "b"), 8, output_names=("c", "d"))


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        (
            {"outer": (CalledMethod("m", "nobody", "n"),)},
            "Method 'outer.m' calls 'nobody.n', but this server starts no servable 'nobody', only ['inner', 'outer']",
        ),
        (
            {"outer": (CalledMethod("m", "inner", "nothing"),)},
            "Method 'outer.m' calls 'inner.nothing', but servable 'inner' has no method 'nothing'",
        ),
        (
            {"outer": (CalledMethod("m", "inner", "n", 3),)},
            "Method 'outer.m' calls 'inner.n version 3', but this server starts the versions [1] of servable 'inner'",
        ),
        (
            {"outer": (CalledMethod("m", "inner", "two", 0, 1, 2),)},
            "Method 'outer.m' calls 'inner.two' with 1 inputs, but that has 2: ['a', 'b']",
        ),
        (
            {"outer": (CalledMethod("m", "inner", "two", 0, 2, 1),)},
            "Method 'outer.m' calls 'inner.two' with 1 outputs, but that has 2: ['c', 'd']",
        ),
        (
            {"outer": (CalledMethod("", "inner", "nothing"),)},
            "A pipeline of 'outer' calls 'inner.nothing', but servable 'inner' has no method 'nothing'",
        ),
        (
            {"outer": (_CALL,), "inner": (CalledMethod("n", "outer", "m"),)},
            "Methods call each other in a circle, which would never end: outer.m -> inner.n -> outer.m.",
        ),
        (
            {
                "outer": (_CALL, CalledMethod("m", "inner", "two")),
                "inner": (CalledMethod("n", "inner", "two"), CalledMethod("two", "inner", "n", 1)),
            },
            "which would never end: inner.n -> inner.two -> inner.n.",
        ),
    ],
)
def test_calls_that_cannot_work_keep_the_server_from_starting(
    calls: dict[str, tuple[CalledMethod, ...]], text: str
) -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = _register({"outer": (_OUTER,), "inner": (_INNER, _MORE)}, calls)
        with pytest.raises(StartUpError) as refused:
            await scene.start(worker_plan("outer"), worker_plan("inner"))
        assert text in str(refused.value)
        await scene.supervisor.stop()

    _run(test)


def test_calls_that_work_do_not() -> None:
    async def test() -> None:
        scene = Supervised()
        calls = {
            "outer": (_CALL, CalledMethod("m", "inner", "two", 1, 2, 2), CalledMethod("", "inner", "n")),
            "inner": (CalledMethod("two", "inner", "n"),),
        }
        scene.children.on_start = _register({"outer": (_OUTER,), "inner": (_INNER, _MORE)}, calls)
        assert len(await scene.start(worker_plan("outer"), worker_plan("inner"))) == 2

    _run(test)


def test_a_method_that_is_gone_at_the_call_is_an_error_of_the_servable() -> None:
    async def test() -> None:
        scene, outer, inner = await _two()
        request = _ask(scene, 1, 10)
        await scene.settle()
        inner.leave()
        await asyncio.sleep(1)
        outer.send(_call(outer.batches[0]))
        await scene.settle()
        [reply] = _replies(outer)
        [failed] = reply.groups
        assert failed == FailedRows(
            Failure(
                StatusCode.SYSTEM_ERROR,
                "Request servable(inner) method(n)  version(1) , servable is not available",
            ),
            1,
        )
        request.cancel()

    _run(test)
