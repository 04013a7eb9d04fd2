"""Methods learn the types of what they call when that registers: whichever is first, and again after restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.messages import Register
from mindspore_serving.signature import CalledMethod, MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.support.plans import worker_plan
from tests.support.rows import numbered
from tests.support.virtual_time import run_in_virtual_time
from tests.unit.supervision.fake_children import FakeChild
from tests.unit.supervision.supervised import Supervised

F32, I32 = DataType.FLOAT32, DataType.INT32
X, Y, SCORE = TensorType("x"), TensorType("y"), TensorType("score", F32, (10,))
DECLARED = TensorType("image", I32, (), declared=True)
OUTER = MethodSignature("m", ("x",), 8, waits=True, output_names=("y",), inputs=(X,), outputs=(Y,))
INNER = MethodSignature(
    "n", ("image",), 8, output_names=("score",), inputs=(DECLARED,), outputs=(SCORE,), rows=True
)
CALL = CalledMethod("m", "inner", "n", 0, 1, 1, (0,), (0,))
KNOWN = replace(OUTER, inputs=(replace(DECLARED, name="x"),), outputs=(replace(SCORE, name="y"),), rows=True)


class Workers:
    """What the workers of each servable and version register."""

    def __init__(self) -> None:
        self.methods: dict[tuple[str, int], tuple[MethodSignature, ...]] = {
            ("outer", 1): (OUTER,),
            ("inner", 1): (INNER,),
        }
        self.calls: dict[str, tuple[CalledMethod, ...]] = {"outer": (CALL,)}
        self.late: list[FakeChild] = []
        self.delays: frozenset[str] = frozenset()

    def start(self, child: FakeChild) -> None:
        """Register at once, or when the test says it."""
        if child.plan.servable_name in self.delays:
            self.late.append(child)
        else:
            self.register(child)

    def register(self, child: FakeChild) -> None:
        """Register a worker."""
        name, version = child.plan.servable_name, child.plan.version
        methods = self.methods[name, version]
        child.send(Register(child.number, child.pid, methods, (), self.calls.get(name, ())))
        child.show_life()


@pytest.fixture
def workers() -> Workers:
    return Workers()


def _run(test: Callable[[], Awaitable[None]]) -> None:
    run_in_virtual_time(test())


def _scene(workers: Workers) -> Supervised:
    scene = Supervised()
    scene.children.on_start = workers.start
    return scene


def _known(scene: Supervised, name: str = "outer", method: str = "m") -> MethodSignature:
    """A method as clients see it."""
    found = next(one for one in scene.dispatcher.methods(name, 1) if one.name == method)
    assert scene.dispatcher.resolve(name, method, 1).method == found
    return found


@pytest.mark.parametrize("late", ["outer", "inner"])
def test_whichever_registers_last(workers: Workers, late: str) -> None:
    async def test() -> None:
        workers.delays = frozenset((late,))
        scene = _scene(workers)
        start = asyncio.create_task(scene.start(worker_plan("outer"), worker_plan("inner")))
        await asyncio.sleep(1)
        if late == "inner":
            assert _known(scene) == OUTER
        for child in workers.late:
            workers.register(child)
        await start
        assert _known(scene) == KNOWN
        assert _known(scene, "inner", "n") == INNER

    _run(test)


def test_a_worker_that_is_started_again_forgets_nothing(workers: Workers) -> None:
    async def test() -> None:
        of_file = replace(DECLARED, declared=False)
        workers.methods["inner", 1] = (replace(INNER, inputs=(of_file,)),)
        scene = _scene(workers)
        outer, inner = await scene.start(worker_plan("outer"), worker_plan("inner"))
        for child, name, method in ((outer, "outer", "m"), (inner, "inner", "n")):
            request = scene.dispatcher.admit(scene.dispatcher.resolve(name, method, 1), [numbered(1)])
            await scene.settle()
            child.answer(child.batches[0])
            await request
            child.end(-9)
            await asyncio.sleep(20)
            assert _known(scene) == replace(KNOWN, inputs=(replace(of_file, name="x"),))
        assert len(scene.children.started) == 4

    _run(test)


def test_what_the_called_method_declares_is_checked_before_any_worker_gets_it(workers: Workers) -> None:
    async def test() -> None:
        scene = _scene(workers)
        outer, _ = await scene.start(worker_plan("outer"), worker_plan("inner"))
        [failed] = await scene.dispatcher.admit(scene.dispatcher.resolve("outer", "m", 1), [numbered(1)])
        assert isinstance(failed, FailedRows)
        assert failed.failure.text == "Input 'x' is float32 of shape [], expected int32 of shape []"
        assert not outer.batches

    _run(test)


def test_types_come_through_several_calls(workers: Workers) -> None:
    async def test() -> None:
        between = replace(OUTER, name="between")
        workers.methods["middle", 1] = (between,)
        workers.calls = {
            "outer": (replace(CALL, servable="middle", method="between"),),
            "middle": (replace(CALL, caller="between"),),
        }
        scene = _scene(workers)
        await scene.start(worker_plan("outer"), worker_plan("middle"), worker_plan("inner"))
        assert _known(scene) == KNOWN
        assert _known(scene, "middle", "between") == replace(KNOWN, name="between")

    _run(test)


def test_a_version_tells_its_own_types(workers: Workers) -> None:
    async def test() -> None:
        other = replace(INNER, outputs=(replace(SCORE, shape=(20,)),))
        workers.methods["inner", 2] = (other,)
        workers.methods["outer", 1] = (OUTER, replace(OUTER, name="newest"))
        workers.calls["outer"] = (replace(CALL, version=1), replace(CALL, caller="newest"))
        scene = _scene(workers)
        await scene.start(worker_plan("outer"), worker_plan("inner"), worker_plan("inner", version_number=2))
        assert _known(scene).outputs[0].shape == (10,)
        assert _known(scene, method="newest").outputs[0].shape == (20,)

    _run(test)


def test_a_method_of_the_same_servable_is_that_of_the_same_version(workers: Workers) -> None:
    async def test() -> None:
        other = replace(INNER, outputs=(replace(SCORE, shape=(20,)),))
        workers.methods = {("outer", 1): (OUTER, INNER), ("outer", 2): (OUTER, other)}
        workers.calls["outer"] = (replace(CALL, servable="outer"),)
        scene = _scene(workers)
        await scene.start(worker_plan("outer"), worker_plan("outer", version_number=2))
        shapes = [scene.dispatcher.resolve("outer", "m", v).method.outputs[0].shape for v in (1, 2)]
        assert shapes == [(10,), (20,)]

    _run(test)


def test_a_method_that_calls_no_more_knows_what_its_worker_does(workers: Workers) -> None:
    async def test() -> None:
        scene = _scene(workers)
        outer, _ = await scene.start(worker_plan("outer"), worker_plan("inner"))
        assert _known(scene) == KNOWN
        workers.calls = {}
        outer.leave()
        await asyncio.sleep(1)
        await scene.supervisor.add(worker_plan("outer"), scene.said.append)
        assert _known(scene) == OUTER

    _run(test)


def test_a_pipeline_that_hides_a_method_has_nothing_from_its_calls(workers: Workers) -> None:
    async def test() -> None:
        pipeline = replace(OUTER, batch_limit=1)
        workers.methods["outer", 1] = (pipeline,)
        scene = _scene(workers)
        await scene.start(worker_plan("outer"), worker_plan("inner"))
        assert _known(scene) == pipeline

    _run(test)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (
            {"inputs": (replace(X, dtype=F32, declared=True),)},
            "The input 'x' of method 'outer.m' is declared as float32",
        ),
        (
            {"outputs": (replace(Y, dtype=F32, shape=(9,), declared=True),)},
            "but comes from 'score' of method 'inner.n', which is float32 of shape [10]",
        ),
    ],
)
@pytest.mark.parametrize("late", ["outer", "inner"])
def test_what_contradicts_keeps_the_server_from_starting(
    workers: Workers, declared: dict[str, tuple[TensorType, ...]], text: str, late: str
) -> None:
    async def test() -> None:
        workers.methods["outer", 1] = (replace(OUTER, **declared),)
        workers.methods["inner", 1] = (replace(INNER, outputs=(replace(SCORE, declared=True),)),)
        scene = _scene(workers)
        with pytest.raises(StartUpError) as refused:
            await scene.start(*[worker_plan(name) for name in sorted(("outer", "inner"), key=late.__eq__)])
        assert text in str(refused.value)
        await scene.supervisor.stop()

    _run(test)


def test_a_servable_that_is_added_later_may_not_contradict(workers: Workers) -> None:
    async def test() -> None:
        scene = _scene(workers)
        await scene.start(worker_plan("outer"), worker_plan("inner"))
        workers.methods["more", 1] = (replace(OUTER, inputs=(replace(X, dtype=F32, declared=True),)),)
        workers.calls["more"] = (CALL,)
        with pytest.raises(StartUpError, match=r"input 'x' of method 'more\.m' is declared as float32"):
            await scene.supervisor.add(worker_plan("more"), scene.said.append)
        assert _known(scene) == KNOWN

    _run(test)
