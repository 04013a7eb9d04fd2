"""Circles of calls that show only when they happen, as pipelines make them: refused, whoever the calls are for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mindspore_serving.errors import StatusCode
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.messages import (
    NO_BATCH,
    NO_SLOT,
    Batch,
    MethodCall,
    MethodReply,
    Register,
)
from mindspore_serving.signature import CalledMethod, MethodSignature
from tests.support.plans import worker_plan
from tests.support.rows import numbered, numbers_in
from tests.support.virtual_time import run_in_virtual_time
from tests.unit.supervision.fake_children import FakeChild
from tests.unit.supervision.supervised import Supervised

NAMES = ("a", "b", "c")
PIPELINE = MethodSignature("m", ("x",), 1, waits=True, output_names=("y",))
CALLS = tuple(CalledMethod("", name, "m") for name in NAMES)


def _start(child: FakeChild) -> None:
    child.send(Register(child.number, child.pid, (PIPELINE,), (), CALLS))
    child.show_life()


async def _three() -> tuple[Supervised, dict[str, FakeChild]]:
    """Three servables with a pipeline each, any of which can call any."""
    scene = Supervised()
    scene.children.on_start = _start
    children = await scene.start(*[worker_plan(name) for name in NAMES])
    return scene, dict(zip(NAMES, children, strict=True))


def _call(batch: Batch, servable: str, call_id: int = 1) -> MethodCall:
    return MethodCall(call_id, NO_SLOT, NAMES.index(servable), batch.batch_id, 0, batch.count, batch.groups)


def _refusals(child: FakeChild) -> list[str]:
    """What the calls of a worker were refused with."""
    texts = []
    for message in child.received:
        if isinstance(message, MethodReply):
            [failed] = message.groups
            assert isinstance(failed, FailedRows)
            assert failed.failure.code is StatusCode.SYSTEM_ERROR
            texts.append(failed.failure.text)
    return texts


def _circle(path: str) -> str:
    return f"The call is refused, methods that call each other in a circle may wait for each other for ever: {path}"


def _run(test: Callable[[], Awaitable[None]]) -> None:
    run_in_virtual_time(test())


def test_a_method_that_waits_for_the_called_one_is_not_called() -> None:
    async def test() -> None:
        scene, children = await _three()
        request = scene.ask(numbered(1, 5), "a")
        await scene.settle()
        for caller, called in ("ab", "bc"):
            children[caller].send(_call(children[caller].batches[0], called))
            await scene.settle()
        children["c"].send(_call(children["c"].batches[0], "a"))
        await scene.settle()
        assert _refusals(children["c"]) == [_circle("a.m -> b.m -> c.m -> a.m")]
        assert len(children["a"].batches) == 1
        children["c"].answer(children["c"].batches[0])
        request.cancel()

    _run(test)


def test_requests_that_would_wait_for_each_other_do_not() -> None:
    """Each holds a pipeline that takes one instance at a time, and calls the other one."""

    async def test() -> None:
        scene, children = await _three()
        requests = [scene.ask(numbered(1, 5), "a"), scene.ask(numbered(1, 6), "b")]
        await scene.settle()
        children["a"].send(_call(children["a"].batches[0], "b"))
        children["b"].send(_call(children["b"].batches[0], "a"))
        await scene.settle()
        assert [_refusals(children[name]) for name in "ab"] == [[], [_circle("a.m -> b.m -> a.m")]]
        children["b"].answer(children["b"].batches[0])
        await scene.settle()
        children["b"].answer(children["b"].batches[1])
        await scene.settle()
        [reply] = [message for message in children["a"].received if isinstance(message, MethodReply)]
        assert numbers_in(reply.groups) == [5]
        children["a"].answer(children["a"].batches[0])
        assert [numbers_in(await request) for request in requests] == [[5], [6]]  # type: ignore[arg-type]

    _run(test)


def test_a_pipeline_that_calls_itself_is_refused() -> None:
    async def test() -> None:
        scene, children = await _three()
        request = scene.ask(numbered(1), "a")
        await scene.settle()
        children["a"].send(_call(children["a"].batches[0], "a"))
        await scene.settle()
        assert _refusals(children["a"]) == [_circle("a.m -> a.m")]
        request.cancel()

    _run(test)


def test_ways_that_meet_are_no_circle() -> None:
    async def test() -> None:
        scene, children = await _three()
        request = scene.ask(numbered(1), "a")
        await scene.settle()
        [batch] = children["a"].batches
        for call_id, called in enumerate("bcb"):
            children["a"].send(_call(batch, called, call_id))
        await scene.settle()
        children["b"].send(_call(children["b"].batches[0], "c"))
        await scene.settle()
        assert [_refusals(child) for child in children.values()] == [[], [], []]
        request.cancel()

    _run(test)


def test_a_worker_that_is_started_again_may_call_others() -> None:
    """Its servable_config.py may be another one."""

    async def test() -> None:
        scene, children = await _three()
        first = scene.ask(numbered(1), "a")
        await scene.settle()
        children["a"].send(_call(children["a"].batches[0], "b"))
        await scene.settle()
        children["b"].answer(children["b"].batches[0])
        children["a"].answer(children["a"].batches[0])
        await first
        children["a"].end(-9)
        await asyncio.sleep(20)
        second = scene.ask(numbered(1), "b")
        await scene.settle()
        children["b"].send(_call(children["b"].batches[1], "a"))
        await scene.settle()
        again = scene.children.started[-1]
        assert (len(again.batches), _refusals(children["b"])) == (1, [])
        second.cancel()

    _run(test)


def test_a_call_that_nobody_knows_for_whom_it_is_is_no_part_of_a_circle() -> None:
    async def test() -> None:
        scene, children = await _three()
        for caller, called in ("ab", "ba"):
            call = MethodCall(1, NO_SLOT, NAMES.index(called), NO_BATCH, 0, 1, (numbered(1),))
            children[caller].send(call)
        await scene.settle()
        assert [len(children[name].batches) for name in "ab"] == [1, 1]

    _run(test)
