"""Calls of other methods in a worker: what leaves, what the replies are for, and which rows go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import ChannelError, Failure, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.messages import (
    NO_BATCH,
    NO_SLOT,
    Batch,
    MethodCall,
    MethodReply,
    Result,
)
from mindspore_serving.server.register import PipelineServable, add_stage, call, register_method
from mindspore_serving.server.register.definition import StageKind, ValueRef
from mindspore_serving.server.register.pipeline import register_pipeline, set_method_runtime
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.call_step import OutgoingCalls
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.job import CallJob
from mindspore_serving.server.worker.servable_loader import fitted_servable
from mindspore_serving.server.worker.stages import CallStep, Chunk, steps_of
from mindspore_serving.server.worker.values import Values
from mindspore_serving.tensor import DataType, TensorSpec
from tests.support.rows import numbered, numbers_in

_UNAVAILABLE = Failure(StatusCode.SERVABLE_UNAVAILABLE, "nobody is there")
_WRONG = Failure(StatusCode.INVALID_INPUTS, "it is wrong")


class Scene:
    """An engine over the methods that a test registers, whose main process is the test."""

    def __init__(self, slots: Sequence[int] = (), fails: bool = False) -> None:
        self.definition = open_definition("own", "/nowhere")
        self.sent: list[MethodCall] = []
        self.results: list[Result] = []
        self.slots = slots
        self.fails = fails
        self.woken = threading.Event()

    def start(self) -> None:
        definition = self.definition
        self.calls = OutgoingCalls(definition.calls, self._send, self.slots)
        methods, pipelines = list(definition.methods.values()), list(definition.pipelines.values())
        self.engine = Engine(
            methods, {}, self.results.append, pipelines, wake=self.woken.set, calls=self.calls
        )

    def _send(self, message: MethodCall) -> None:
        if self.fails:
            raise OSError("no memory")
        self.sent.append(message)

    def ask(self, *groups: Rows, method: str = "m", batch: int = 1) -> None:
        self.engine.add(Batch(batch, 0, method, groups))
        self.run()

    def reply(self, number: int, *groups: Group) -> None:
        message = self.sent[number]
        self.engine.take_reply(MethodReply(message.call_id, message.slot, groups))
        self.run()

    def run(self) -> None:
        while self.engine.run_function_step() or self.engine.collect():
            pass

    @property
    def outcomes(self) -> list[Any]:
        """Values and error texts of all instances, in order, once all are there."""
        assert [result.final for result in self.results].count(True) == 1
        ordered = sorted(self.results, key=lambda result: result.start)
        values: list[Any] = []
        for group in (group for result in ordered for group in result.groups):
            values += (
                [group.failure.text] * group.count if isinstance(group, FailedRows) else numbers_in([group])
            )
        return values


def add(a: Any, b: Any) -> Any:
    return a + b


def negated(instances: Any) -> Any:
    """Takes a batch, which no time slice cuts on a busy machine."""
    return [(-x,) for (x,) in instances]


def chain_of_two(**options: Any) -> Scene:
    """A method that calls for the output of a function, and goes on with a function."""
    scene = Scene(**options)

    @register_method(output_names=["y"])
    def m(x):
        x = add_stage(negated, x, outputs_count=1, batch_size=8)
        x = call("other", "n", x)
        return add_stage(negated, x, outputs_count=1, batch_size=8)

    scene.start()
    return scene


def fan_out() -> Scene:
    scene = Scene()

    @register_method(output_names=["y"])
    def m(x):
        a = call("one", "a", x)
        b = call("two", "b", x)
        return add_stage(add, a, b, outputs_count=1)

    scene.start()
    return scene


def test_rows_leave_with_a_call_and_go_on_with_its_reply() -> None:
    scene = chain_of_two()
    scene.ask(numbered(3, 1))
    [sent] = scene.sent
    assert (sent.target, sent.batch_id, sent.start, sent.held, sent.slot) == (0, 1, 0, 3, NO_SLOT)
    assert numbers_in(sent.groups) == [-1, -2, -3]
    assert not scene.results
    assert not scene.engine.has_function_work
    scene.reply(0, numbered(3, 10))
    assert scene.outcomes == [-10, -11, -12]


def test_an_instance_that_fails_there_fails_alone_and_names_the_call() -> None:
    scene = chain_of_two()
    scene.ask(numbered(3))
    scene.reply(0, numbered(1, 10), FailedRows(_WRONG, 1), numbered(1, 12))
    assert scene.outcomes == [
        -10,
        "Call Method 'other.n' Failed, method: 'm', stage index(begin with 1): 2, error msg: it is wrong",
        -12,
    ]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (_WRONG, StatusCode.INVALID_INPUTS),
        (Failure(StatusCode.INVALID_INPUTS, "it is wrong", 404), StatusCode.SYSTEM_ERROR),
        (_UNAVAILABLE, StatusCode.SYSTEM_ERROR),
    ],
)
def test_who_is_at_fault_for_a_value_of_the_client(failure: Failure, code: StatusCode) -> None:
    scene = fan_out()
    scene.ask(numbered(1))
    scene.reply(0, FailedRows(failure, 1))
    scene.reply(1, numbered(1))
    [group] = scene.results[0].groups
    assert isinstance(group, FailedRows)
    assert (group.failure.code, group.failure.http_status) == (code, None)


def test_a_value_of_a_stage_is_never_the_fault_of_the_client() -> None:
    scene = chain_of_two()
    scene.ask(numbered(1))
    scene.reply(0, FailedRows(_WRONG, 1))
    [group] = scene.results[0].groups
    assert isinstance(group, FailedRows)
    assert group.failure.code is StatusCode.SYSTEM_ERROR


def test_a_value_of_a_stage_beside_one_of_the_client_is_not_the_fault_of_the_client() -> None:
    scene = Scene()

    @register_method(output_names=["y"])
    def m(x):
        made = add_stage(negated, x, outputs_count=1, batch_size=8)
        return call("other", "n", x, made)

    scene.start()
    scene.ask(numbered(1))
    scene.reply(0, FailedRows(_WRONG, 1))
    [group] = scene.results[0].groups
    assert isinstance(group, FailedRows)
    assert group.failure.code is StatusCode.SYSTEM_ERROR


def test_calls_that_do_not_need_each_other_leave_together() -> None:
    scene = fan_out()
    scene.ask(numbered(2, 5))
    assert [(sent.target, numbers_in(sent.groups)) for sent in scene.sent] == [(0, [5, 6]), (1, [5, 6])]
    scene.reply(1, numbered(2, 100))
    assert not scene.results
    scene.reply(0, numbered(2, 1))
    assert scene.outcomes == [101, 103]


def test_a_row_that_fails_in_one_of_two_calls_has_the_first_error() -> None:
    scene = fan_out()
    scene.ask(numbered(4))
    scene.reply(0, numbered(2, 1), FailedRows(Failure(StatusCode.FAILED, "first"), 1), numbered(1, 4))
    scene.reply(
        1,
        numbered(1, 100),
        FailedRows(Failure(StatusCode.FAILED, "second"), 2),
        numbered(1, 103),
    )
    one, two, three, four = scene.outcomes
    assert (one, four) == (101, 107)
    assert two.endswith("stage index(begin with 1): 2, error msg: second")
    assert three.endswith("stage index(begin with 1): 1, error msg: first")


def test_which_calls_run_together() -> None:
    scene = Scene()

    @register_method(output_names=["y"])
    def m(x):
        a = call("s", "a", x)  # 1
        b = call("s", "b", a)  # 2 needs 1
        c = call("s", "c", x)  # 3 needs none of them
        d = add_stage(add, b, c, outputs_count=1)  # 4
        e = call("s", "e", d)  # 5
        return call("s", "f", e, x)  # 6 needs 5

    stages = scene.definition.methods["m"].stages
    assert [[stage.index for stage in step] for step in steps_of(stages)] == [[1, 3], [2], [4], [5], [6]]
    assert {stage.kind for stage in stages} == {StageKind.CALL, StageKind.FUNCTION}


def test_batches_that_wait_do_not_hold_up_others() -> None:
    scene = chain_of_two()
    scene.ask(numbered(1, 1), batch=1)
    scene.ask(numbered(1, 2), batch=2)
    assert [sent.batch_id for sent in scene.sent] == [1, 2]
    scene.reply(1, numbered(1, 7))
    assert [(result.batch_id, result.final) for result in scene.results] == [(2, True)]
    scene.reply(0, numbered(1, 8))
    assert [numbers_in([group]) for result in scene.results for group in result.groups] == [[-7], [-8]]  # type: ignore[list-item]


def test_a_call_takes_a_free_slot_and_never_waits_for_one() -> None:
    scene = chain_of_two(slots=(40, 41))
    for batch in range(3):
        scene.ask(numbered(1), batch=batch)
    assert [sent.slot for sent in scene.sent] == [41, 40, NO_SLOT]
    scene.reply(1, numbered(1))
    scene.reply(2, numbered(1))
    scene.ask(numbered(1), batch=3)
    scene.ask(numbered(1), batch=4)
    assert [sent.slot for sent in scene.sent[3:]] == [40, NO_SLOT]
    assert len({sent.call_id for sent in scene.sent}) == 5


@pytest.mark.parametrize("bad", [(0,), (1,), (3,), (0, 1), (1, 3), (0, 1, 2, 3)])
def test_a_value_that_cannot_be_sent_fails_alone(bad: tuple[int, ...]) -> None:
    scene = fan_out()
    method = scene.engine._methods["m"]
    [step, _] = method.stages
    assert isinstance(step, CallStep)
    objects = [object() if i in bad else float(i) for i in range(4)]
    job = CallJob("m", [numbered(4)], 0.0)
    chunk = Chunk(job, 0, 4, {ValueRef(0, 0): Values(4, objects=objects)})
    finished = scene.calls.start(step, chunk, 1.0)
    assert [(one.chunk.start, one.chunk.count) for one in finished] == [(i, 1) for i in bad]
    for one in finished:
        [(_, _, failure)] = one.outcomes
        assert isinstance(failure, Failure)
        assert failure.text.startswith(
            "Call Method 'one.a' Failed, method: 'm', stage index(begin with 1): 1, "
        )
    sent = [value for message in scene.sent if message.target == 0 for value in numbers_in(message.groups)]
    assert sent == [i for i in range(4) if i not in bad]
    assert len(scene.sent) % 2 == 0  # each part goes into both calls


def test_a_call_that_cannot_be_sent_fails_its_rows() -> None:
    scene = chain_of_two(fails=True)
    scene.ask(numbered(2))
    assert [text.rpartition("error msg: ")[2] for text in scene.outcomes] == [
        "No way to the called method: no memory"
    ] * 2


def test_another_number_of_outputs_than_expected_is_an_error() -> None:
    scene = chain_of_two()
    scene.ask(numbered(1))
    two = TensorSpec("a", DataType.FLOAT32, ()), TensorSpec("b", DataType.FLOAT32, ())
    column = np.zeros(1, np.float32)
    scene.reply(0, Rows(two, (column, column), 1))
    assert scene.outcomes[0].endswith("error msg: it gave 2 outputs, but outputs_count is 1")


def test_a_reply_to_nothing_breaks_the_protocol() -> None:
    scene = chain_of_two()
    with pytest.raises(ChannelError, match="has answered call 5, which is not under way"):
        scene.engine.take_reply(MethodReply(5, NO_SLOT, (numbered(1),)))


def test_a_step_counts_from_its_call_to_its_reply() -> None:
    scene = Scene()

    @register_method(output_names=["y"])
    def m(x):
        return call("other", "n", x)

    times = iter([100.0, 100.0, 101.0, 104.0])
    scene.calls = OutgoingCalls(scene.definition.calls, scene._send)
    scene.engine = Engine(
        list(scene.definition.methods.values()),
        {},
        scene.results.append,
        now=lambda: next(times),
        calls=scene.calls,
    )
    scene.ask(numbered(1))
    scene.reply(0, numbered(1))
    [result] = scene.results
    assert (result.wait_us, result.run_us) == (0, 1_000_000)


# ---- pipelines


def in_a_pipeline(body: Callable[[Any], Any], scene: Scene) -> None:
    """Start an engine with a pipeline of this body."""

    def p(x):
        return body(x)

    register_pipeline(output_names=["y"])(p)
    scene.start()
    set_method_runtime(scene.engine.call)
    scene.engine.start()


def until(scene: Scene, condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        scene.run()
        if condition():
            return
        scene.woken.wait(0.01)
        scene.woken.clear()
    raise AssertionError("it has not come")


def test_a_pipeline_calls_another_servable_and_waits() -> None:
    scene = Scene()
    other = PipelineServable("other", "n")
    in_a_pipeline(lambda x: sum(value for (value,) in other.run([x, x + 1])), scene)
    scene.ask(numbered(1, 5), method="p", batch=9)
    until(scene, lambda: bool(scene.sent))
    [sent] = scene.sent
    assert (sent.batch_id, sent.start, sent.held, sent.count) == (9, 0, 1, 2)
    scene.reply(0, numbered(2, 10))
    until(scene, lambda: bool(scene.results))
    scene.engine.stop()
    set_method_runtime(None)
    assert scene.outcomes == [21]


def test_a_failure_of_what_a_pipeline_calls_is_told() -> None:
    scene = Scene()
    other = PipelineServable("other", "n")
    in_a_pipeline(other.run, scene)
    scene.ask(numbered(1), method="p")
    until(scene, lambda: bool(scene.sent))
    scene.reply(0, FailedRows(_UNAVAILABLE, 1))
    until(scene, lambda: bool(scene.results))
    scene.engine.stop()
    set_method_runtime(None)
    [text] = scene.outcomes
    assert text.endswith("Run failed: method 'other.n': nobody is there")


def test_a_stage_function_cannot_wait_for_another_servable() -> None:
    scene = Scene()
    other = PipelineServable("other", "n")

    @register_method(output_names=["y"])
    def m(x):
        return add_stage(run_other, x, outputs_count=1)

    handles.append(other)
    scene.start()
    set_method_runtime(scene.engine.call)
    scene.ask(numbered(1))
    set_method_runtime(None)
    [text] = scene.outcomes
    assert "cannot be run from a stage function, whose end it would wait for" in text
    assert "register.call('other', 'n', ...)" in text


handles: list[PipelineServable] = []


def run_other(x: Any) -> Any:
    return handles[-1].run(x)


def test_a_handle_made_in_a_function_is_refused() -> None:
    scene = Scene()
    scene.start()
    late = PipelineServable("other", "n")
    found: list[str] = []

    def run() -> None:
        try:
            scene.engine.call(late._called or "", [(1,)])
        except RuntimeError as error:
            found.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert found
    assert "make its PipelineServable at the top of servable_config.py" in found[0]


def test_what_nobody_knows_the_batch_of_says_so() -> None:
    scene = chain_of_two()
    job = CallJob("m", [numbered(1)], 0.0)
    scene.engine._calls.waiting.append(job)
    scene.run()
    assert (scene.sent[0].batch_id, scene.sent[0].held) == (NO_BATCH, 1)


# ---- what is registered


def test_a_method_that_calls_waits_and_batches() -> None:
    scene = chain_of_two()
    [method] = fitted_servable(scene.definition, {}).methods
    assert (method.waits, method.batch_limit, method.only_models) == (True, 64, False)


def test_too_many_methods_that_wait_are_refused() -> None:
    definition = open_definition("own", "/nowhere")
    for number in range(65):

        def m(x):
            return call("other", "n", x)

        m.__name__ = f"m{number}"
        register_method(output_names=["y"])(m)
    with pytest.raises(
        RuntimeError, match="has 65 pipelines and methods that call others, expected at most 64"
    ):
        fitted_servable(definition, {})
