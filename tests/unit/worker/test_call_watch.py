"""What a worker writes down while functions, models and pipelines run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.server.channel.call_page import RECORDS, CallPage, HeldRows, WrittenCall
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.register import (
    Model,
    PipelineServable,
    add_stage,
    declare_model,
    register_method,
    register_pipeline,
)
from mindspore_serving.server.register.model import set_runtime
from mindspore_serving.server.register.pipeline import set_method_runtime
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.call_watch import CallWatch
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec
from tests.support.rows import numbered

DEADLINE_S = 20.0
FUNCTION_TEXT = (
    "Call Function 'servable.{0}' Failed, method: 'method', stage index(begin with 1): 1, error msg: ran for longer "
    "than stage_timeout_ms 250"
)


class WatchedEngine:
    """An engine whose calls are written down, and what was written when `look` was called."""

    def __init__(self) -> None:
        self.page = CallPage.create()
        self.watch = CallWatch(self.page, 250.0)
        self.definition = open_definition("servable", "/nowhere")
        self.model = declare_model("m.mindir", "MindIR")
        self.seen: list[list[WrittenCall | None]] = []
        self.results: list[Result] = []
        self._woken = threading.Event()

    @property
    def signature(self) -> GraphSignature:
        return GraphSignature(
            (TensorSpec("x", DataType.FLOAT32, (4,)),), (TensorSpec("y", DataType.FLOAT32, (4,)),)
        )

    dynamic_batch = False

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """The graph of the model: x -> 2 * x."""
        self.look()
        return [arrays[0] * 2]

    def close(self) -> None:
        """Nothing to unload."""

    def look(self) -> None:
        self.seen.append([self.page.read(*told) for told in self.page.running()])

    def start(self) -> None:
        runner = ModelRunner(self, True, (), 8)
        self.watch.time_models([runner])
        set_runtime(lambda _, instances, __: runner.call(instances))
        self.engine = Engine(
            list(self.definition.methods.values()),
            {"m.mindir": [runner]},
            self.results.append,
            list(self.definition.pipelines.values()),
            self._woken.set,
            self.watch,
        )
        set_method_runtime(self.engine.call)
        self.engine.start()

    def run(self, *batches: Batch) -> None:
        """Run batches to their end; afterwards nothing is written down any more."""
        for batch in batches:
            self.engine.add(batch)
        deadline = time.monotonic() + DEADLINE_S
        while sum(result.final for result in self.results) < len(batches):
            assert time.monotonic() < deadline
            self._woken.wait(0.001)
            self._woken.clear()
            while self.engine.run_function_step() or self.engine.run_model_step() or self.engine.collect():
                pass
        assert self.page.running() == []
        assert len(self.watch._free) == RECORDS

    def rows_seen(self) -> list[list[Any]]:
        return [[call and call.rows for call in calls] for calls in self.seen]


@pytest.fixture
def engine() -> Iterator[WatchedEngine]:
    engine = WatchedEngine()
    yield engine
    engine.engine.stop()
    set_runtime(None)
    set_method_runtime(None)


def method_of(function: Callable[..., Any], **options: Any) -> None:
    @register_method(output_names=["y"])
    def method(x):
        return add_stage(function, x, outputs_count=1, **options)


def batch(number: int, count: int, method: str = "method") -> Batch:
    return Batch(number, 0, method, (numbered(count),))


def test_each_instance_of_a_function_is_a_call(engine: WatchedEngine) -> None:
    def one(x):
        engine.look()
        return x

    method_of(one)
    engine.start()
    engine.run(batch(5, 2), batch(9, 1))
    expected = [HeldRows(5, 0, 1), HeldRows(5, 1, 1), HeldRows(9, 0, 1)]
    assert engine.seen == [[WrittenCall(FUNCTION_TEXT.format("one"), (rows,))] for rows in expected]


def test_a_function_for_many_is_one_call(engine: WatchedEngine) -> None:
    def many(instances):
        engine.look()
        for i, (x,) in enumerate(instances):
            if i == 2:
                engine.look()
            yield x

    method_of(many, batch_size=4)
    engine.start()
    engine.run(batch(5, 3), batch(9, 1))
    rows = (HeldRows(5, 0, 3), HeldRows(9, 0, 1))
    assert engine.seen == [[WrittenCall(FUNCTION_TEXT.format("many"), rows)]] * 2


def test_each_call_of_a_function_has_a_clock_of_its_own(engine: WatchedEngine) -> None:
    begins: list[int] = []

    def one(x):
        begins.append(engine.page.running()[0][2])
        return x

    method_of(one)
    engine.start()
    before = time.monotonic_ns()
    engine.run(batch(1, 3))
    assert before <= begins[0] < begins[1] < begins[2] <= time.monotonic_ns()


def test_what_fails_in_a_call_leaves_nothing_behind(engine: WatchedEngine) -> None:
    def one(x):
        engine.look()
        raise SystemExit(int(x))

    method_of(one)
    engine.start()
    engine.run(batch(1, 2))
    assert engine.rows_seen() == [[(HeldRows(1, 0, 1),)], [(HeldRows(1, 1, 1),)]]


def test_a_batch_of_a_model_is_a_call(engine: WatchedEngine) -> None:
    method_of(engine.model)
    engine.start()
    engine.run(batch(1, 3), batch(2, 2))
    text = (
        "Call Model 'm.mindir' Failed, method: 'method', stage index(begin with 1): 1, error msg: ran for longer than "
        "stage_timeout_ms 250"
    )
    assert engine.seen == [
        [WrittenCall(text, (HeldRows(1, 0, 3), HeldRows(2, 0, 1)))],
        [WrittenCall(text, (HeldRows(2, 1, 1),))],
    ]


def test_a_model_that_a_function_calls_is_part_of_its_call(engine: WatchedEngine) -> None:
    calls: list[int] = []

    def around(x):
        calls.append(engine.page.running()[0][1])
        Model("m.mindir").call(np.float32(x))
        calls.append(engine.page.running()[0][1])
        return x

    method_of(around)
    engine.start()
    engine.run(batch(3, 1))
    assert calls[0] == calls[1]
    assert engine.seen == [[WrittenCall(FUNCTION_TEXT.format("around"), (HeldRows(3, 0, 1),))]]


def test_a_pipeline_is_no_call_but_what_it_calls_is(engine: WatchedEngine) -> None:
    def one(x):
        engine.look()
        return x

    method_of(one)

    @register_pipeline(output_names=["y"])
    def pipeline(x):
        engine.look()
        PipelineServable("servable", "method").run([x, x])
        Model("m.mindir").call(np.float32(x))
        return x

    engine.start()
    engine.run(batch(4, 2, "pipeline"))
    text = "Call Pipeline Failed, pipeline: 'pipeline', error msg: a model ran for longer than stage_timeout_ms 250"
    expected: list[list[WrittenCall]] = []
    for rows in (HeldRows(4, 0, 1), HeldRows(4, 1, 1)):
        method = WrittenCall(FUNCTION_TEXT.format("one"), (rows,))
        expected += [[], [method], [method], [WrittenCall(text, (rows,))]]
    assert engine.seen == expected


def test_a_batch_that_a_pipeline_runs_is_for_its_instance(engine: WatchedEngine) -> None:
    def many(instances):
        engine.look()
        return [x for (x,) in instances]

    method_of(many, batch_size=4)

    @register_pipeline(output_names=["y"])
    def pipeline(x):
        PipelineServable("servable", "method").run([x, x, x])
        return x

    engine.start()
    engine.run(batch(4, 1, "pipeline"))
    assert engine.rows_seen() == [[(HeldRows(4, 0, 1),)]]


def test_a_thread_of_the_users_own_runs_a_model_for_nobody_in_particular(engine: WatchedEngine) -> None:
    @register_pipeline(output_names=["y"])
    def pipeline(x):
        thread = threading.Thread(target=Model("m.mindir").call, args=(np.float32(x),))
        thread.start()
        thread.join(DEADLINE_S)
        return x

    engine.start()
    engine.run(batch(4, 1, "pipeline"))
    text = "Call Model Failed, error msg: ran for longer than stage_timeout_ms 250"
    assert engine.seen == [[WrittenCall(text, None)]]


def test_waiting_is_not_part_of_a_call(engine: WatchedEngine) -> None:
    running: list[Any] = []

    def waits(x):
        [(_, serial, begin)] = engine.page.running()
        engine.watch.waiting(lambda: running.append(engine.page.running()))()
        [(_, same, later)] = engine.page.running()
        running.append(same == serial and later > begin)
        return x

    method_of(waits)
    engine.start()
    engine.run(batch(1, 1))
    assert running == [[], True]


def test_a_turn_at_a_model_is_waited_for_without_a_clock(engine: WatchedEngine) -> None:
    method_of(engine.model)
    engine.start()
    with engine.watch._exclusive:  # as if another graph ran
        thread = threading.Thread(target=engine.run, args=(batch(1, 1),))
        thread.start()
        thread.join(0.05)
        assert engine.page.running() == []
        assert engine.seen == []
    thread.join(DEADLINE_S)
    assert engine.rows_seen() == [[(HeldRows(1, 0, 1),)]]


def test_more_threads_than_can_be_written_down_run_all_the_same(engine: WatchedEngine) -> None:
    engine.watch._free.clear()
    method_of(lambda x: engine.look() or x)
    engine.start()
    engine.engine.add(batch(1, 1))
    assert engine.engine.run_function_step()
    assert engine.seen == [[]]
    assert engine.results[0].final
