"""Stages of methods in one process: order, batches, errors of one instance, several threads' worth of work."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import Failure, InvalidInput, ServingError, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.messages import Batch, Result
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
from mindspore_serving.server.worker.function_step import run_function_step
from mindspore_serving.server.worker.job import BatchJob
from mindspore_serving.server.worker.model_queue import ModelQueue
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.stage_functions import StageResult
from mindspore_serving.server.worker.stages import MethodStages, StageRunner
from mindspore_serving.server.worker.values import Values, rows_or_errors
from mindspore_serving.signature import PARTIAL_REPLY_S, GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec
from tests.support.rows import numbered, rows_of, texts


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

    def start(self, now: Callable[[], float] = time.monotonic) -> None:
        runner = ModelRunner(self.graph, True, (), 8)
        self.engine = Engine(
            list(self.definition.methods.values()), {"m.mindir": [runner]}, self.results.append, now=now
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


ONE_VALUE = (
    "The result of function 'servable.stage' is one {}, expected a list or tuple with one result for each of the 3 "
    "instances"
)


class NoLength:
    def __len__(self) -> int:
        raise KeyboardInterrupt


class NoItems:
    def __iter__(self) -> Iterator[Any]:
        raise SystemExit("no items")


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (np.zeros((3, 2)), ONE_VALUE.format("ndarray of shape [3, 2]")),
        (np.zeros(3), ONE_VALUE.format("ndarray of shape [3]")),
        (np.float32(3), ONE_VALUE.format("float32 of shape []")),
        ("abc", ONE_VALUE.format("str")),
        (b"abc", ONE_VALUE.format("bytes")),
        ({1: 1, 2: 2, 3: 3}, ONE_VALUE.format("dict")),
        ({1, 2, 3}, ONE_VALUE.format("set")),
        (
            [1.0] * 4,
            "The number 4 of instances returned by function 'servable.stage' is not equal to the number 3",
        ),
        (
            (1.0,) * 9,
            "The number 9 of instances returned by function 'servable.stage' is not equal to the number 3",
        ),
        (NoLength(), "KeyboardInterrupt"),
        (NoItems(), "no items"),
        (7, "'int' object is not iterable"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_series_of_results_fails_the_instances_of_the_call(returned: Any, text: str) -> None:
    def stage(instances):
        return returned if len(instances) == 3 else [x for (x,) in instances]

    fixture = single_stage(stage, batch_size=8)
    batch = fixture.add("method", numbered(3))
    fixture.run()
    told = values_of(fixture.outcomes(batch))
    assert told == told[:1] * 3
    assert f"error msg: {text}" in told[0]


def test_an_iterator_is_not_asked_for_more_than_there_are_instances() -> None:
    asked: list[int] = []

    def stage(instances):
        for number in range(100):
            asked.append(number)
            yield number

    fixture = single_stage(stage, batch_size=8)
    batch = fixture.add("method", numbered(3))
    fixture.run()
    assert values_of(fixture.outcomes(batch)) == [0, 1, 2] == asked


class BadImage(InvalidInput):
    pass


@pytest.mark.parametrize("kind", ["one", "generator", "built-in"])
def test_a_stage_that_says_that_the_client_is_at_fault(kind: str) -> None:
    def refuse_one(x):
        if x == 1:
            raise BadImage("x is 1")
        return x

    def generate(instances):
        for (x,) in instances:
            yield refuse_one(x)

    add_built_in_stage(BuiltInStage("refuse_cpp", 1, 1, refuse_one))
    try:
        fixture = Fixture()

        @register_method(output_names=["y"])
        def method(x):
            stage: Any = {"one": refuse_one, "generator": generate, "built-in": "refuse_cpp"}[kind]
            return add_stage(stage, x, outputs_count=1, **({"batch_size": 8} if kind == "generator" else {}))

        fixture.start()
        batch = fixture.add("method", numbered(3))
        fixture.run()
    finally:
        del BUILT_IN_STAGES["refuse_cpp"]
    groups = fixture.outcomes(batch)
    assert values_of(groups) == [0, "x is 1", 2]
    [failed] = [group.failure for group in groups if isinstance(group, FailedRows)]
    assert (failed.code, failed.status, failed.trace) == (StatusCode.INVALID_INPUTS, 400, "")


class ConvertsAs:
    """Has an array, which may be anything; or raises."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def asnumpy(self) -> Any:
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


class ArrayOf(ConvertsAs):
    asnumpy = None  # type: ignore[assignment]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return ConvertsAs.asnumpy(self)


class NoClass:
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt("no class")


MASKED = np.ma.masked_array([1, 2, 3], [0, 1, 0])
HIDDEN = "1 of its 3 values are masked and have no number; give them one with .filled(value)"
ROUNDED = "becomes {} beside other numbers; return an array of one integer type"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (MASKED, HIDDEN),
        (ConvertsAs(MASKED), HIDDEN),
        (ArrayOf(MASKED), HIDDEN),
        ([[MASKED, MASKED]], HIDDEN),
        (np.ma.masked, "1 of its 1 values are masked"),
        ([[2**63 + 1, -1]], "9223372036854775809 " + ROUNDED.format(9.223372036854775808e18)),
        ([[2**53 + 1, 0.5]], "9007199254740993 " + ROUNDED.format("9007199254740992.0")),
        (
            [[np.uint64(2**63 + 1), np.int64(-1)]],
            "9223372036854775809 " + ROUNDED.format(9.223372036854775808e18),
        ),
        (np.longdouble(1), "dtype float128"),
        (np.datetime64("2020"), "dtype datetime64[Y]"),
        (np.zeros((1,) * 32), "it has 32 dimensions, expected at most 31"),
        (ConvertsAs(np.zeros((1,) * 32)), "it has 32 dimensions, expected at most 31"),
        (ConvertsAs(KeyboardInterrupt()), "KeyboardInterrupt"),
        (ConvertsAs(SystemExit(3)), "SystemExit: 3"),
        (ArrayOf(GeneratorExit()), "GeneratorExit"),
        (ArrayOf(MemoryError()), "MemoryError"),
        (NoClass, "no class"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
@pytest.mark.parametrize("in_batches", [False, True])
def test_a_value_that_would_change_or_raises_fails_its_instance(
    value: Any, text: str, in_batches: bool
) -> None:
    def one(x):
        if x == 1:
            return NoClass() if value is NoClass else value
        return x

    def many(instances):
        return [one(x) for (x,) in instances]

    fixture = single_stage(many, batch_size=8) if in_batches else single_stage(one)
    batch = fixture.add("method", numbered(3))
    fixture.run()
    first, second, third = values_of(fixture.outcomes(batch))
    assert (first, third) == (0, 2)
    assert text in second


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.ma.masked_array([1, 2]), [1, 2]),
        (ArrayOf(np.ma.masked_array([1, 2], [False, False])), [1, 2]),
        ([[2**63, 0.5]], [2.0**63, 0.5]),
        ([[2**53 + 1, 7]], [2**53 + 1, 7]),
        ([[2**63 + 1, 2**63 + 2]], [2**63 + 1, 2**63 + 2]),
        ([[1e300, float("inf")]], [1e300, float("inf")]),
    ],
)
def test_a_value_whose_numbers_stay_the_same(value: Any, expected: list[float]) -> None:
    fixture = single_stage(lambda x: value)
    batch = fixture.add("method", numbered(1))
    fixture.run()
    assert values_of(fixture.outcomes(batch)) == [expected]


def test_which_output_cannot_be_sent() -> None:
    fixture = Fixture()

    @register_method(output_names=["a", "b"])
    def method(x):
        return add_stage(lambda x: (x, MASKED), x, outputs_count=2)

    fixture.start()
    batch = fixture.add("method", numbered(1))
    fixture.run()
    [text] = values_of(fixture.outcomes(batch))
    assert text.endswith(f"{HIDDEN}, output 1 of 2")


def test_values_that_fail_on_their_way_out_leave_the_others_alone() -> None:
    objects = [np.zeros(2), MASKED, np.ones(2), ArrayOf(KeyboardInterrupt()), "text"]
    outcomes = rows_or_errors(["y"], [Values(5, objects=objects)], 5)
    assert [
        str(outcome) if isinstance(outcome, ServingError) else (outcome.specs[0].dtype.name, outcome.count)
        for outcome in outcomes
    ] == [
        ("FLOAT64", 1),
        f"Get illegal result data with type <class 'numpy.ma.core.MaskedArray'>, {HIDDEN}",
        ("FLOAT64", 1),
        "Get illegal result data, KeyboardInterrupt",
        ("STRING", 1),
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
        "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in model; input 0 'x' "
        "is int32 [], expected float32 []; give x.astype(np.float32), or in JSON 1.0 instead of 1",
        10,
        "Given model input 0 size 8 not match the size 4 defined in model; input 0 'x' is float32 [2], expected "
        "float32 []; an instance has no batch dimension: give each row as an instance of its own",
        "Given model input 0 size 0 not match the size 4 defined in model; input 0 'x' is str, expected float32 []",
    ]


def failures_of(groups: Sequence[Group]) -> list[Failure]:
    assert all(isinstance(group, FailedRows) for group in groups)
    return [group.failure for group in groups for _ in range(group.count)]  # type: ignore[union-attr]


def test_who_gave_a_model_the_wrong_value_is_at_fault() -> None:
    fixture = Fixture(DoublingGraph(4))

    def widen(image):
        return image.astype(np.float64)

    @register_method(output_names=["y"])
    def of_stage(image):
        image = add_stage(widen, image, outputs_count=1)
        return add_stage(fixture.model, image, outputs_count=1)

    @register_method(output_names=["y"])
    def of_client(image):
        add_stage(lambda v: v, image, outputs_count=1)
        return add_stage(fixture.model, image, outputs_count=1)

    fixture.start()
    batches = [
        fixture.add(method, rows_of(image=np.zeros(2, np.float64))) for method in ("of_stage", "of_client")
    ]
    fixture.run()  # both meet in one batch of the model
    by_stage, by_client = [failures_of(fixture.outcomes(batch)) for batch in batches]
    told = "Given model input 0 size 8 not match the size 4 defined in model; input 0 "
    assert by_stage == by_stage[:1] * 2
    assert by_stage[0] == Failure(
        StatusCode.SYSTEM_ERROR,
        told
        + "'x' is float64 [] from Function 'servable.widen', stage 1 of method 'of_stage', expected float32 []; "
        "give x.astype(np.float32)",
    )
    assert by_client == by_client[:1] * 2
    assert by_client[0] == Failure(
        StatusCode.INVALID_INPUTS,
        told + "'image' is float64 [], expected float32 []; give image.astype(np.float32)",
    )
    assert (by_stage[0].status, by_client[0].status) == (500, 400)


def test_a_shape_of_the_right_size_is_told_once_per_method_and_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("mindspore_serving.log.warning", lambda text, *args, **_: lines.append(text % args))
    fixture = Fixture(DoublingGraph(4))

    def ask(name: str) -> None:
        def method(x):
            return add_stage(fixture.model, x, outputs_count=1)

        method.__name__ = name
        register_method(output_names=["y"])(method)

    for name in ("one", "two"):
        ask(name)
    fixture.start()
    for _ in range(3):
        for name in ("one", "two"):
            for shape in ((2, 1), (2, 1, 1)):
                batch = fixture.add(name, rows_of(x=np.ones(shape, np.float32)))
                fixture.run()
                assert values_of(fixture.outcomes(batch)) == [2, 2]
    assert [line.partition(":")[0] for line in lines] == [
        f"Method {name} gives model input 0 'x' the shape {shape}, and the model takes []"
        for name in ("one", "two")
        for shape in ("[1]", "[1, 1]")
    ]


class Unpredictable(DoublingGraph):
    """Raises what a graph should not."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__(4)
        self.raised = raised

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        if (arrays[0] < 0).any():
            raise self.raised
        return super().predict(arrays)


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (ValueError("boom"), "boom"),
        (KeyError("label"), "KeyError: 'label'"),
        (SystemExit(2), "SystemExit: 2"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
    ids=repr,
)
def test_what_nobody_expects_fails_the_instances_at_hand(raised: BaseException, text: str) -> None:
    fixture = Fixture(Unpredictable(raised))

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(fixture.model, x, outputs_count=1)

    fixture.start()
    batches = [fixture.add("method", numbered(2, start)) for start in (-2, 1)]
    fixture.run()
    later = fixture.add("method", numbered(2, 5))
    fixture.run()
    for batch in batches:
        failures = failures_of(fixture.outcomes(batch))
        assert (
            failures
            == [Failure(StatusCode.SYSTEM_ERROR, f"Serving Error: the worker failed unexpectedly: {text}")]
            * 2
        )
        assert "in predict" in failures[0].trace
    assert values_of(fixture.outcomes(later)) == [10, 12]


class Constant:
    """A graph without inputs; counts its runs."""

    dynamic_batch = False

    def __init__(self, rows: tuple[int, ...] = ()) -> None:
        self.signature = GraphSignature((), (TensorSpec("y", DataType.FLOAT32, (*rows, 2)),))
        self.runs = 0

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        assert not arrays
        self.runs += 1
        return [np.full(self.signature.outputs[0].shape, 7, np.float32)]

    def close(self) -> None:
        """Nothing to unload."""


def test_a_model_without_inputs() -> None:
    fixture = Fixture()
    table = Constant()

    @register_method(output_names=["y"])
    def only():
        return add_stage(fixture.model, outputs_count=1)

    @register_method(output_names=["y"])
    def beside(x):
        y = add_stage(fixture.model, outputs_count=1)
        return add_stage(lambda a, b: a + b, x, y, outputs_count=1)

    runner = ModelRunner(table, False, (), 8)
    fixture.engine = Engine(
        list(fixture.definition.methods.values()), {"m.mindir": [runner]}, fixture.results.append
    )
    batches = [fixture.add("only", Rows((), (), 3)), fixture.add("beside", numbered(2))]
    fixture.run()
    assert values_of(fixture.outcomes(batches[0])) == [[7, 7]] * 3
    assert values_of(fixture.outcomes(batches[1])) == [[7, 7], [8, 8]]
    assert table.runs == 5
    assert [row[0].tolist() for row in runner.call([(), ()])] == [[7, 7]] * 2


def test_a_model_without_inputs_that_gives_a_batch() -> None:
    table = Constant((4,))
    runner = ModelRunner(table, True, (), 8)
    assert [row[0].tolist() for row in runner.call([()] * 6)] == [[7, 7]] * 6
    assert table.runs == 2


@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_method_without_inputs(batch_size: int | None) -> None:
    fixture = Fixture()
    add_built_in_stage(BuiltInStage("six_cpp", 0, 1, lambda: 6))
    try:

        def five():
            return 5

        def fives(instances):
            return [5] * len(instances)

        @register_method(output_names=["a", "b"])
        def method():
            first = (
                add_stage(fives, outputs_count=1, batch_size=batch_size)
                if batch_size
                else add_stage(five, outputs_count=1)
            )
            return first, add_stage("six_cpp", outputs_count=1)

        fixture.start()
        batch = fixture.add("method", Rows((), (), 6))
        fixture.run()
        groups = fixture.outcomes(batch)
    finally:
        del BUILT_IN_STAGES["six_cpp"]
    assert values_of(groups) == [5] * 6
    assert [six for group in groups for six in group.columns[1]] == [6] * 6  # type: ignore[union-attr]


def test_slow_instances_do_not_hold_back_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindspore_serving.server.worker.stage_functions.TIME_SLICE_S", 0)
    fixture = Fixture()

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(lambda v: v, x, outputs_count=1)

    fixture.start(now=map(PARTIAL_REPLY_S.__mul__, itertools.count(0, 2)).__next__)
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

    def start(self, now: Callable[[], float] = time.monotonic) -> None:
        self.woken = threading.Event()
        self.engine = Engine(
            list(self.definition.methods.values()),
            {"m.mindir": [ModelRunner(self.graph, True, (), 8)]},
            self.results.append,
            list(self.definition.pipelines.values()),
            self.woken.set,
            now=now,
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
    monkeypatch.setattr("mindspore_serving.server.worker.job.CALL_LIMIT_S", 0.01)
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


# ---- Which rows run when, and whose outcomes they are


def test_methods_take_turns_at_functions() -> None:
    fixture, calls = Fixture(), list[str]()

    def ask(name: str) -> None:
        def stage(instances):
            calls.append(name)
            return [x for (x,) in instances]

        def method(x):
            return add_stage(stage, x, outputs_count=1, batch_size=1)

        method.__name__ = name
        register_method(output_names=["y"])(method)

    for name in "ab":
        ask(name)
    fixture.start()
    for name in "ab":
        fixture.add(name, numbered(3))
    fixture.run()
    assert "".join(calls) == "ababab"


class NamedGraph(DoublingGraph):
    """Writes its name down at each run."""

    def __init__(self, name: str, runs: list[str]) -> None:
        super().__init__(2)
        self._name, self._runs = name, runs

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        self._runs.append(self._name)
        return super().predict(arrays)


def test_models_take_turns() -> None:
    definition, runs = open_definition("servable", "/nowhere"), list[str]()
    results: list[Result] = []

    def ask(name: str) -> None:
        model = declare_model(name, "MindIR")

        def method(x):
            return add_stage(model, x, outputs_count=1)

        method.__name__ = name
        register_method(output_names=["y"])(method)

    for name in "ab":
        ask(name)
    runners = {name: [ModelRunner(NamedGraph(name, runs), True, (), 8)] for name in "ab"}
    engine = Engine(list(definition.methods.values()), runners, results.append, now=lambda: 0.0)
    for number, name in enumerate("ab"):
        engine.add(Batch(number, 0, name, (numbered(6),)))
    while engine.run_model_step() or engine.collect():
        pass
    assert "".join(runs) == "ababab"
    assert [values_of(result.groups) for result in results] == [[0, 2, 4, 6, 8, 10]] * 2


def test_methods_that_share_a_model_give_it_their_own_values() -> None:
    fixture = Fixture(DoublingGraph(8))

    @register_method(output_names=["y"])
    def first_input(x, unused):
        return add_stage(fixture.model, x, outputs_count=1)

    @register_method(output_names=["y"])
    def second_input(unused, x):
        return add_stage(fixture.model, x, outputs_count=1)

    fixture.start()
    first, second = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    batches = [
        fixture.add("first_input", rows_of(x=first, unused=second)),
        fixture.add("second_input", rows_of(unused=first, x=second)),
    ]
    fixture.run()
    assert fixture.graph.batches == [[1, 2, 10, 20, 1, 1, 1, 1]]
    assert [values_of(fixture.outcomes(batch)) for batch in batches] == [[2, 4], [20, 40]]


@pytest.mark.parametrize("in_batches", [False, True])
def test_inputs_that_are_used_again_stay_with_their_rows(in_batches: bool) -> None:
    fixture = Fixture()

    def mark(x):
        x[1] = x[0]
        return x[0]

    def mark_all(instances):
        return [mark(x) for (x,) in instances]

    @register_method(output_names=["x", "y"])
    def method(x):
        if in_batches:
            return x, add_stage(mark_all, x, outputs_count=1, batch_size=8)
        return x, add_stage(mark, x, outputs_count=1)

    fixture.start()
    batches = [
        fixture.add("method", rows_of(x=np.array([[10 * b + i, 0] for i in range(2)]))) for b in range(3)
    ]
    fixture.run()
    for b, batch in enumerate(batches):
        (group,) = fixture.outcomes(batch)
        assert group.columns[0].tolist() == [[10 * b + i] * 2 for i in range(2)]  # type: ignore[union-attr]
        assert group.columns[1].tolist() == [10 * b + i for i in range(2)]  # type: ignore[union-attr]


def test_what_a_time_slice_leaves_runs_next_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindspore_serving.server.worker.stage_functions.TIME_SLICE_S", 0)
    run: list[float] = []
    fixture = single_stage(lambda x: run.append(float(x)) or x)
    batches = [fixture.add("method", numbered(30, 30 * b)) for b in range(4)]
    fixture.run()
    assert run == list(range(120))
    for b, batch in enumerate(batches):
        assert values_of(fixture.outcomes(batch)) == list(range(30 * b, 30 * b + 30))


def test_a_graph_gets_no_more_than_it_may_run_at_a_time() -> None:
    fixture = Fixture(DoublingGraph(2))

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(fixture.model, x, outputs_count=1)

    runner = MethodStages(fixture.definition.methods["method"], {"m.mindir": 2}, None)
    queue = ModelQueue(ModelRunner(fixture.graph, True, (), 8, concurrency=2))
    job = BatchJob(Batch(1, 0, "method", (numbered(7),)), 0.0, lambda _: None)
    [chunk] = runner.chunks_of([numbered(7)], job)
    queue.waiting.append((runner.stages[0], chunk))
    counts = [[chunk.count for _, chunk in queue.take()] for _ in range(3)]
    assert counts == [[2], [2], []]
    queue.done()
    assert [chunk.start for _, chunk in queue.take()] == [4]


def test_a_step_that_breaks_fails_all_rows_that_it_has_taken() -> None:
    fixture = single_stage(lambda x: x)
    method = MethodStages(fixture.definition.methods["method"], {}, None)
    stage = StageRunner(method, method.definition.stages[0], 0, 8, None)

    def broken(inputs: Sequence[list[Any]], count: int) -> list[StageResult]:
        raise LookupError("lost")  # where no function of a user is to blame

    stage.run = broken
    for number in range(3):
        job = BatchJob(Batch(number, 0, "method", (numbered(2),)), 0.0, lambda _: None)
        for chunk in method.chunks_of([numbered(2)], job):
            stage.queue.append((stage, chunk))
    text = "Serving Error: the worker failed unexpectedly: lost"
    assert [
        (start, stop, outcome.text if isinstance(outcome, Failure) else "")
        for finished in run_function_step(stage, None)
        for start, stop, outcome in finished.outcomes
    ] == [(0, 2, text)] * 3
    assert not stage.queue


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_time(self, seconds: float) -> float:
        self.now += seconds
        return seconds


class SlowGraph(DoublingGraph):
    """A graph each batch of which takes a second."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(4)
        self._clock = clock

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        self._clock.pass_time(1.0)
        return super().predict(arrays)


def times_of(fixture: Fixture) -> list[tuple[float, float]]:
    return [(result.wait_us / 1e6, result.run_us / 1e6) for result in fixture.results if result.final]


def test_a_batch_runs_from_its_first_stage_to_the_end_of_its_last() -> None:
    clock = Clock()
    fixture = Fixture(SlowGraph(clock))

    def half(x):
        clock.pass_time(0.5)
        return x

    @register_method(output_names=["y"])
    def method(x):
        x = add_stage(half, x, outputs_count=1)
        x = add_stage(fixture.model, x, outputs_count=1)
        return add_stage(half, x, outputs_count=1)

    fixture.start(now=clock)
    fixture.add("method", numbered(1))
    clock.pass_time(3.0)  # it waits for its first stage
    assert fixture.engine.run_function_step()
    clock.pass_time(0.25)  # and between stages
    assert fixture.engine.run_model_step()
    clock.pass_time(0.25)
    fixture.run()
    assert times_of(fixture) == [(3.0, 2.5)]


def test_what_lies_between_the_last_stage_and_the_result_is_none_of_its_time() -> None:
    clock = Clock()
    fixture = Fixture(SlowGraph(clock))

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(fixture.model, x, outputs_count=1)

    fixture.start(now=clock)
    fixture.add("method", numbered(6))  # two batches of the model
    while fixture.engine.run_model_step():
        clock.pass_time(5.0)  # the main thread has other work
    fixture.run()
    assert times_of(fixture) == [(0.0, 7.0)]


def test_batches_that_run_together_have_each_waited_for_itself() -> None:
    clock = Clock()
    fixture = Fixture(SlowGraph(clock))

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(fixture.model, x, outputs_count=1)

    fixture.start(now=clock)
    for _ in range(2):
        fixture.add("method", numbered(1))
        clock.pass_time(0.25)
    fixture.run()
    assert times_of(fixture) == [(0.5, 1.0), (0.25, 1.0)]


def test_a_batch_that_came_earlier_than_it_was_read_has_waited_since() -> None:
    fixture = Fixture()

    @register_method(output_names=["y"])
    def method(x):
        return x

    fixture.start(now=lambda: 100.0)
    fixture.engine.add(Batch(1, 0, "method", (numbered(1),)), 98.5)
    fixture.engine.add(Batch(2, 0, "unknown", (numbered(1),)), 99.5)
    assert times_of(fixture) == [(1.5, 0.0), (0.5, 0.0)]


def test_how_long_models_take_is_learned() -> None:
    fixture = Fixture(DoublingGraph(2))

    @register_method(output_names=["y"])
    def method(x):
        return add_stage(fixture.model, x, outputs_count=1)

    fixture.start(now=itertools.count().__next__)  # each look at the clock is a second after the one before
    assert fixture.engine.model_s == 0
    fixture.add("method", numbered(20))
    fixture.run()
    assert 0.5 < fixture.engine.model_s < 1
