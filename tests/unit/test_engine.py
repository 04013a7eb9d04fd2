"""Stages of methods in one process: order, batches, errors of one instance, several threads' worth of work."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import FailedRows, StatusCode
from mindspore_serving.server.channel.messages import Batch, Group, Result
from mindspore_serving.server.register import (
    Model,
    PipelineServable,
    add_stage,
    call_servable,
    declare_model,
    declare_servable,
    register_method,
    register_pipeline,
)
from mindspore_serving.server.register.built_in import BUILT_IN_STAGES, BuiltInStage, add_built_in_stage
from mindspore_serving.server.register.pipeline import set_method_runtime
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec
from tests.unit.rows import numbered, rows_of, texts


class DoublingGraph:
    """A graph y = 2 * x over float32 rows; remembers the sizes of its batches."""

    def __init__(self, batch: int = 4) -> None:
        self.signature = GraphSignature(
            (TensorSpec("x", DataType.FLOAT32, (batch,)),), (TensorSpec("y", DataType.FLOAT32, (batch,)),)
        )
        self.dynamic_batch = batch == -1
        self.batches: list[list[float]] = []

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        self.batches.append(arrays[0].tolist())
        return [arrays[0] * 2]

    def close(self) -> None:
        """Nothing to unload."""


class Fixture:
    """An engine over the methods that a test registers."""

    def __init__(self, graph: DoublingGraph | None = None) -> None:
        self.definition = open_definition("servable", "/nowhere")
        self.graph = graph or DoublingGraph()
        self.model = declare_model("m.mindir", "MindIR")
        self.results: list[Result] = []
        self._next_id = 0

    def start(self) -> None:
        runner = ModelRunner(self.graph, True, (), 8)
        self.engine = Engine(
            list(self.definition.methods.values()), {"m.mindir": [runner]}, self.results.append
        )

    def add(self, method: str, *groups: Any) -> int:
        self._next_id += 1
        self.engine.add(Batch(self._next_id, 0, method, groups))
        return self._next_id

    def run(self) -> None:
        while self.engine.run_function_step() or self.engine.run_model_step() or self.engine.collect():
            pass

    def outcomes(self, batch_id: int) -> list[Group]:
        """What was told about a batch, in row order; checks that each row is told about once."""
        results = sorted((r for r in self.results if r.batch_id == batch_id), key=lambda r: r.start)
        at = 0
        groups: list[Group] = []
        for result in results:
            assert result.start == at
            at += sum(group.count for group in result.groups)
            groups += result.groups
        assert [r.final for r in self.results if r.batch_id == batch_id].count(True) == 1
        return groups


def values_of(groups: Sequence[Group]) -> list[Any]:
    """Values of the first output, or the text of the failure, per instance."""
    values: list[Any] = []
    for group in groups:
        if isinstance(group, FailedRows):
            values += [group.failure.text] * group.count
        else:
            column = group.columns[0]
            values += [item.decode() for item in column] if isinstance(column, list) else column.tolist()
    return values


def single_stage(function: Callable[..., Any], **options: Any) -> Fixture:
    fixture = Fixture()

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(function, x, outputs_count=1, **options)

    fixture.start()
    return fixture


def test_a_method_without_stages_returns_its_inputs() -> None:
    fixture = Fixture()

    @register_method(output_names=["b", "a"])
    def swap(a, b):
        return b, a

    fixture.start()
    batch = fixture.add("swap", rows_of(a=np.zeros(3), b=np.ones(3)))
    fixture.run()
    (group,) = fixture.outcomes(batch)
    assert [spec.name for spec in group.specs] == ["b", "a"]
    np.testing.assert_array_equal(group.columns[0], np.ones(3))


def test_a_function_per_instance() -> None:
    fixture = single_stage(lambda x: x + 1)
    batch = fixture.add("method", numbered(3))
    fixture.run()
    assert values_of(fixture.outcomes(batch)) == [1, 2, 3]


def test_an_error_is_one_instances_own() -> None:
    def fail_on_one(x):
        if x == 1:
            raise ValueError("it is one")
        return x

    fixture = single_stage(fail_on_one)
    batch = fixture.add("method", numbered(3))
    fixture.run()
    assert values_of(fixture.outcomes(batch)) == [
        0,
        "Call Function 'servable.fail_on_one' Failed, method: 'method', stage index(begin with 1): 1, "
        "error msg: it is one",
        2,
    ]


def test_a_generator_starts_anew_after_the_instance_that_raised() -> None:
    calls = []

    def stage(instances):
        calls.append([float(x) for (x,) in instances])
        for (x,) in instances:
            if x in (1, 3):
                raise ValueError("odd")
            yield x

    fixture = single_stage(stage, batch_size=8)
    batch = fixture.add("method", numbered(5))
    fixture.run()
    outcomes = values_of(fixture.outcomes(batch))
    assert [value if isinstance(value, float) else "failed" for value in outcomes] == [
        0,
        "failed",
        2,
        "failed",
        4,
    ]
    assert calls == [[0, 1, 2, 3, 4], [2, 3, 4], [4]]


def test_batches_of_a_function_join_instances_of_several_messages() -> None:
    sizes = []

    def stage(instances):
        sizes.append(len(instances))
        return [x for (x,) in instances]

    fixture = single_stage(stage, batch_size=4)
    batches = [fixture.add("method", numbered(3, 10 * i)) for i in range(3)]
    fixture.run()
    assert sizes == [4, 4, 1]
    assert [values_of(fixture.outcomes(batch)) for batch in batches] == [
        [0, 1, 2],
        [10, 11, 12],
        [20, 21, 22],
    ]


@pytest.mark.parametrize("returned", [[1.0], [], iter([1.0])], ids=["list", "empty", "iterator"])
def test_too_few_results_fail_the_instances_of_the_call(returned: Any) -> None:
    def stage(instances):
        return returned

    fixture = single_stage(stage, batch_size=8)
    batch = fixture.add("method", numbered(3))
    fixture.run()
    texts_seen = values_of(fixture.outcomes(batch))
    assert len(texts_seen) == 3
    assert all(
        "of instances returned by function 'servable.stage' is not equal" in text for text in texts_seen
    )


def test_the_very_same_object_reaches_the_next_function() -> None:
    seen = []

    def make(x):
        value = np.array([x, x])
        seen.append(id(value))
        return value

    def change(value):
        seen.append(id(value))
        value[0] = 123
        return value

    fixture = Fixture()

    @register_method(output_names=["before", "after"])
    def method(x):
        made = add_stage(make, x, outputs_count=1)
        return made, add_stage(change, made, outputs_count=1)

    fixture.start()
    batch = fixture.add("method", numbered(1, 5))
    fixture.run()
    (group,) = fixture.outcomes(batch)
    assert seen[0] == seen[1]
    assert [column.tolist() for column in group.columns] == [[[123, 5]], [[123, 5]]]


def test_a_change_of_an_input_in_place_is_seen_by_later_stages() -> None:
    def change(x):
        x[0] = 7
        return x

    fixture = Fixture()

    @register_method(output_names=["x", "y"])
    def method(x):
        add_stage(change, x, outputs_count=1)
        return x, add_stage(lambda v: v.copy(), x, outputs_count=1)

    fixture.start()
    batch = fixture.add("method", rows_of(x=np.zeros((2, 2), np.float32)))
    fixture.run()
    (group,) = fixture.outcomes(batch)
    assert [column.tolist() for column in group.columns] == [[[7, 0], [7, 0]]] * 2


def test_a_model_runs_instances_of_all_methods_together() -> None:
    fixture = Fixture(DoublingGraph(4))

    @register_method(output_names=["y"])
    def one(x):
        return add_stage(fixture.model, x, outputs_count=1)

    @register_method(output_names=["y"])
    def two(x):
        return add_stage(fixture.model, x, outputs_count=1)

    fixture.start()
    batches = [
        fixture.add("one", numbered(2)),
        fixture.add("two", numbered(1, 10)),
        fixture.add("one", numbered(4, 20)),
    ]
    fixture.run()
    assert fixture.graph.batches == [[0, 1, 10, 20], [21, 22, 23, 21]]
    assert [values_of(fixture.outcomes(batch)) for batch in batches] == [[0, 2], [20], [40, 42, 44, 46]]


def test_one_instance_that_does_not_fit_the_model_fails_alone() -> None:
    fixture = Fixture(DoublingGraph(4))

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(fixture.model, x, outputs_count=1)

    fixture.start()
    batch = fixture.add(
        "method",
        numbered(1),
        rows_of(x=np.zeros(1, np.int32)),
        numbered(1, 5),
        rows_of(x=np.zeros((1, 2), np.float32)),
        texts(["no number"]),
    )
    fixture.run()
    assert values_of(fixture.outcomes(batch)) == [
        0,
        "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in model",
        10,
        "Given model input 0 size 8 not match the size 4 defined in model",
        "Given model input 0 size 0 not match the size 4 defined in model",
    ]


def test_slow_instances_do_not_hold_back_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindspore_serving.server.worker.engine.PARTIAL_REPLY_S", 0)
    monkeypatch.setattr("mindspore_serving.server.worker.stage_functions.TIME_SLICE_S", 0)
    fixture = single_stage(lambda x: x)
    batch = fixture.add("method", numbered(3))
    assert fixture.engine.run_function_step()
    assert [(result.start, result.final) for result in fixture.results] == [(0, False)]
    fixture.run()
    assert values_of(fixture.outcomes(batch)) == [0, 1, 2]
    assert len(fixture.results) == 3


def test_outputs_may_differ_in_type_and_shape() -> None:
    def stage(x):
        return [np.zeros(int(x)), "text", b"bytes", 3, True, 1.5][int(x)]

    fixture = single_stage(stage)
    batch = fixture.add("method", numbered(6))
    fixture.run()
    specs = [
        (group.specs[0].dtype.name, group.specs[0].shape)
        for group in fixture.outcomes(batch)  # type: ignore[union-attr]
    ]
    assert specs == [
        ("FLOAT64", (0,)),
        ("STRING", ()),
        ("BYTES", ()),
        ("INT64", ()),
        ("BOOL", ()),
        ("FLOAT64", ()),
    ]


@pytest.mark.parametrize("value", [None, {}, object(), [[1], [1, 2]], 2**70, "\ud800", np.array(["a"])])
def test_a_value_that_cannot_be_sent_is_the_stages_error(value: Any) -> None:
    fixture = single_stage(lambda x: (value,))
    batch = fixture.add("method", numbered(1))
    fixture.run()
    (text,) = values_of(fixture.outcomes(batch))
    assert "error msg: Push py task result cause exception: Get illegal result data" in text


# ---- Subgraphs


def test_subgraphs_of_a_model_run_apart() -> None:
    fixture = Fixture()
    key = "a.mindir;b.mindir"
    fixture.definition = open_definition("servable", "/nowhere")
    declare_servable(["a.mindir", "b.mindir"], "MindIR")

    @register_method(output_names=["y"])
    def first(x):
        y = call_servable(x)
        return y  # noqa: RET504

    @register_method(output_names=["y"])
    def second(x):
        y = call_servable(x, subgraph=1)
        return y  # noqa: RET504

    @register_method(output_names=["y"])
    def also_second(x):
        y = call_servable(x, subgraph=1)
        return y  # noqa: RET504

    graphs = [DoublingGraph(4), DoublingGraph(4)]
    fixture.engine = Engine(
        list(fixture.definition.methods.values()),
        {key: [ModelRunner(graph, True, (), 8) for graph in graphs]},
        fixture.results.append,
    )
    batches = [
        fixture.add(name, numbered(2, 10 * i)) for i, name in enumerate(("first", "second", "also_second"))
    ]
    fixture.run()
    assert [graph.batches for graph in graphs] == [[[0, 1, 0, 0]], [[10, 11, 20, 21]]]
    assert [values_of(fixture.outcomes(batch)) for batch in batches] == [[0, 2], [20, 22], [40, 42]]


# ---- Built-in stages


def raise_lookup_error(x):
    raise LookupError("not there")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: np.float32(x + 1), [1, 2]),
        (lambda x: [x + 1], [1, 2]),
        (
            raise_lookup_error,
            [
                "Call Function 'added_cpp' Failed, method: 'method', stage index(begin with 1): 1, error msg: not there"
            ]
            * 2,
        ),
        (lambda x: (x, x), ["Built-in stage added_cpp gave 2 outputs, expected 1"] * 2),
        (
            lambda x: None,
            ["Push py task result cause exception: Get illegal result data with type <class 'NoneType'>"] * 2,
        ),
    ],
)
def test_a_built_in_stage_that_was_added(function: Callable[..., Any], expected: list[Any]) -> None:
    add_built_in_stage(BuiltInStage("added_cpp", 1, 1, function))
    try:
        fixture = Fixture()

        @register_method(output_names=["y"])
        def method(x):
            return add_stage("added_cpp", x, outputs_count=1)

        fixture.start()
        batch = fixture.add("method", numbered(2))
        fixture.run()
        assert values_of(fixture.outcomes(batch)) == expected
    finally:
        del BUILT_IN_STAGES["added_cpp"]


# ---- Pipelines

DEADLINE_S = 20.0


class PipelineFixture(Fixture):
    """An engine with pipelines, whose main thread is the test."""

    def start(self) -> None:
        self.woken = threading.Event()
        self.engine = Engine(
            list(self.definition.methods.values()),
            {"m.mindir": [ModelRunner(self.graph, True, (), 8)]},
            self.results.append,
            list(self.definition.pipelines.values()),
            self.woken.set,
        )
        set_method_runtime(self.engine.call)
        self.engine.start()

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run the engine until then; the test fails if that takes too long."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.run()
            if done():
                return
            assert self.woken.wait(deadline - time.monotonic()), "the pipeline does not come to its end"
            self.woken.clear()

    def is_done(self, batch_id: int) -> bool:
        return any(result.batch_id == batch_id and result.final for result in self.results)

    def answer(self, method: str, *groups: Any) -> list[Any]:
        batch = self.add(method, *groups)
        self.run_until(lambda: self.is_done(batch))
        return values_of(self.outcomes(batch))


@pytest.fixture
def pipelines() -> Iterator[PipelineFixture]:
    """A servable with the methods `double`, `negate`, `split` and `pick`; tests add pipelines, and start it."""
    fixture = PipelineFixture()

    @register_method(output_names=["y"])
    def double(x):
        return add_stage(fixture.model, x, outputs_count=1)

    def refuse_three(x):
        if x == 3:
            raise ValueError("no 3 here")
        return -x

    @register_method(output_names=["y"])
    def negate(x):
        return add_stage(refuse_three, x, outputs_count=1)

    @register_method(output_names=["a", "b"])
    def split(x1, x2):
        return add_stage(lambda a, b: (a, b), x1, x2, outputs_count=2)

    @register_method(output_names=["y"])
    def name_of(x):
        return add_stage(lambda v: f"{type(v).__name__} {v}", x, outputs_count=1)

    yield fixture
    set_method_runtime(None)
    fixture.engine.stop()


def handle(method: str) -> PipelineServable:
    return PipelineServable(servable_name="servable", method=method)


def test_a_pipeline_runs_methods_in_a_loop(pipelines: PipelineFixture) -> None:
    @register_pipeline(output_names=["y"])
    def grow(x):
        x = np.float32(x)
        while x < 100:
            x = handle("double").run(x)
        return x

    pipelines.start()
    assert pipelines.answer("grow", numbered(3, 3)) == [192, 128, 160]


def test_pipeline_and_methods_are_all_reachable(pipelines: PipelineFixture) -> None:
    @register_pipeline(output_names=["y"])
    def negate(x):
        return handle("negate").run(x) * 10

    pipelines.start()
    assert pipelines.answer("negate", numbered(2, 1)) == [-10, -20]
    assert pipelines.answer("double", numbered(2, 1)) == [2, 4]


def test_what_run_gives_back(pipelines: PipelineFixture) -> None:
    seen: list[Any] = []

    @register_pipeline(output_names=["y"])
    def look(x):
        one = handle("double").run(np.float32(2))
        one += 1  # what it gives may be changed
        seen.append((type(one), one.shape, float(one)))
        a, b = handle("split").run(1, "text")
        seen.append((a.dtype.name, a.shape, b))
        several = handle("negate").run([1, np.float32(2), 4.0, 5.0])
        seen.append([type(several), *several])
        several[3][0][...] = 9
        seen.append([handle("name_of").run(value) for value in (True, 3, 2.5, "s", b"ab")])
        return x

    pipelines.start()
    assert pipelines.answer("look", numbered(1)) == [0]
    assert seen == [
        (np.ndarray, (), 5.0),
        ("int64", (), "text"),
        [list, (-1,), (-2,), (-4,), (9,)],
        ["ndarray True", "ndarray 3", "ndarray 2.5", "str s", "ndarray [97 98]"],
    ]


@pytest.mark.parametrize(
    ("method", "args", "text"),
    [
        ("nowhere", (1,), "method 'nowhere' is not registered"),
        (
            "double",
            (),
            "The inputs count 0 of instance 0 is not equal to the inputs count 1 of method 'double'",
        ),
        ("double", (1, 2), "The inputs count 2 of instance 0 is not equal to the inputs count 1"),
        ("split", ([1, 2],), "The inputs count 1 of instance 0 is not equal to the inputs count 2"),
        ("double", ([],), "Input instances count is 0"),
        ("double", (None,), "Get illegal result data with type <class 'NoneType'>"),
        ("double", (5,), "Given model input 0 size 8 not match the size 4 defined in model"),
        (
            "negate",
            ([1, 3, 5],),
            "Call Function 'servable.refuse_three' Failed, method: 'negate', stage index(begin with 1): 1, error msg: "
            "no 3 here",
        ),
        ("fail", (1,), "method 'fail' is not registered"),
    ],
)
def test_a_run_that_fails(pipelines: PipelineFixture, method: str, args: Any, text: str) -> None:
    @register_pipeline(output_names=["y"])
    def fail(x):
        return handle(method).run(*args)

    pipelines.start()
    (told,) = pipelines.answer("fail", numbered(1))
    assert told.startswith(f"Call Pipeline Failed, pipeline: 'fail', error msg: Run failed: {text}")


def raise_it(x):
    raise ValueError("boom")


def leave(x):
    raise SystemExit("bye")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (raise_it, "boom"),
        (leave, "bye"),
        (lambda x: (x, x), "The outputs number 2 of one instance returned by function 'servable.guarded'"),
        (lambda x: {}, "Get illegal result data with type <class 'dict'>"),
        (lambda x: None, "Get illegal result data with type <class 'NoneType'>"),
        (lambda x: np.array(["a"]), "Get illegal result data with type"),
    ],
)
def test_a_bad_instance_fails_alone(
    pipelines: PipelineFixture, function: Callable[..., Any], text: str
) -> None:
    @register_pipeline(output_names=["y"])
    def guarded(x):
        return function(x) if x == 1 else handle("double").run(x)

    pipelines.start()
    first, second, third = pipelines.answer("guarded", numbered(3))
    assert (first, third) == (0, 4)
    assert second.startswith("Call Pipeline Failed, pipeline: 'guarded', error msg: ")
    assert text in second


def test_how_a_failure_of_a_pipeline_is_told(pipelines: PipelineFixture) -> None:
    register_pipeline(output_names=["y"])(raise_it)
    pipelines.start()
    batch = pipelines.add("raise_it", numbered(1))
    pipelines.run_until(lambda: pipelines.is_done(batch))
    (group,) = pipelines.outcomes(batch)
    assert isinstance(group, FailedRows)
    assert group.failure.code is StatusCode.INVALID_INPUTS
    assert group.failure.status == 500


def test_a_pipeline_that_waits_holds_up_nothing(pipelines: PipelineFixture) -> None:
    arrived, gate = threading.Event(), threading.Event()

    @register_pipeline(output_names=["y"])
    def waits(x):
        arrived.set()
        gate.wait(DEADLINE_S)
        return handle("double").run(x)

    @register_pipeline(output_names=["y"])
    def other(x):
        return handle("negate").run(x)

    pipelines.start()
    slow = pipelines.add("waits", numbered(2, 1))
    assert arrived.wait(DEADLINE_S)
    assert pipelines.answer("double", numbered(2, 1)) == [2, 4]
    assert pipelines.answer("other", numbered(2, 1)) == [-1, -2]
    assert not pipelines.is_done(slow)
    gate.set()
    pipelines.run_until(lambda: pipelines.is_done(slow))
    assert values_of(pipelines.outcomes(slow)) == [2, 4]


def test_a_run_ends_when_the_engine_stops(pipelines: PipelineFixture) -> None:
    arrived = threading.Event()
    told: list[str] = []
    ended = threading.Event()

    @register_pipeline(output_names=["y"])
    def waits(x):
        arrived.set()
        for _ in range(2):
            try:
                handle("double").run(x)
            except RuntimeError as error:
                told.append(str(error))
        ended.set()
        return x

    pipelines.start()
    pipelines.add("waits", numbered(1))
    assert arrived.wait(DEADLINE_S)
    pipelines.engine.stop()
    pipelines.engine.stop()
    assert ended.wait(DEADLINE_S)
    assert told == ["Run failed: Servable stopped"] * 2


def test_a_run_that_makes_no_progress_is_given_up(
    pipelines: PipelineFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mindspore_serving.server.worker.flight.CALL_LIMIT_S", 0.01)
    told: list[str] = []
    ended = threading.Event()

    @register_pipeline(output_names=["y"])
    def waits(x):
        try:
            handle("double").run(x)
        except RuntimeError as error:
            told.append(str(error))
        ended.set()
        return x

    pipelines.start()
    batch = pipelines.add("waits", numbered(1, 5))
    assert ended.wait(DEADLINE_S)  # the engine does not run meanwhile
    assert told == ["Run failed: method 'double' has made no progress for 0.01 s"]
    pipelines.run_until(lambda: pipelines.is_done(batch))
    assert values_of(pipelines.outcomes(batch)) == [5]


def test_a_stage_cannot_run_a_method(pipelines: PipelineFixture) -> None:
    @register_method(output_names=["y"])
    def around(x):
        return add_stage(lambda v: handle("double").run(v), x, outputs_count=1)

    pipelines.start()
    (told,) = pipelines.answer("around", numbered(1))
    assert "Run failed: method 'double' cannot be run from a stage function" in told


def test_calls_from_many_threads(pipelines: PipelineFixture) -> None:
    pipelines.start()
    results: dict[int, list[tuple[Any, ...]]] = {}

    def call(number: int) -> None:
        results[number] = pipelines.engine.call(
            "negate", [(np.float32(number * 10 + i),) for i in range(4, 8)]
        )
        pipelines.woken.set()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    pipelines.run_until(lambda: len(results) == 8)
    assert results == {number: [(-(number * 10 + i),) for i in range(4, 8)] for number in range(8)}
    for thread in threads:
        thread.join(DEADLINE_S)


class MeetingGraph(DoublingGraph):
    """A graph that, while it runs, waits until another one runs too, and must never run twice at a time."""

    def __init__(self, meeting: threading.Barrier) -> None:
        super().__init__()
        self._meeting = meeting
        self._running = threading.Lock()

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        assert self._running.acquire(blocking=False), "the graph runs twice at a time"
        try:
            self._meeting.wait(10)
            return super().predict(arrays)
        finally:
            self._running.release()


def test_graphs_run_side_by_side_but_each_once_at_a_time() -> None:
    definition = open_definition("servable", "/nowhere")
    meeting = threading.Barrier(2)
    runners = {}
    for name in "ab":
        model = declare_model(name, "MindIR")
        runners[model.model_key] = [ModelRunner(MeetingGraph(meeting), True, (), 8)]

    @register_method(output_names=["y"])
    def first(x):
        return add_stage(Model("a"), x, outputs_count=1)

    @register_method(output_names=["y"])
    def second(x):
        return add_stage(Model("b"), x, outputs_count=1)

    results: list[Result] = []
    engine = Engine(list(definition.methods.values()), runners, results.append)
    for number in range(4):
        engine.add(Batch(number, 0, "first" if number % 2 else "second", (numbered(4),)))

    def work() -> None:
        while engine.has_model_work or len(results) < 4:
            engine.run_model_step()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(results) < 4 and time.monotonic() < deadline:
        engine.collect()
    assert sorted(result.batch_id for result in results) == [0, 1, 2, 3]
    for result in results:
        assert values_of(result.groups) == [0, 2, 4, 6]
