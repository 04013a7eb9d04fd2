"""Stages of methods in one process: order, batches, errors of one instance, several threads' worth of work."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import FailedRows
from mindspore_serving.server.channel.messages import Batch, Group, Result
from mindspore_serving.server.register import add_stage, declare_model, register_method
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
