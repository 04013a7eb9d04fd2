"""Instances onto a graph: batch sizes, padding, checks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, ModelError, ServingError, StartUpError
from mindspore_serving.server import register
from mindspore_serving.server.register import distributed_model
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.servable_loader import fitted_servable
from mindspore_serving.server.worker.values import Values
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec


class SumGraph:
    """y = x + scale over float32; fails for batches that hold -1; remembers what it was given."""

    def __init__(self, x: Sequence[int], scale: Sequence[int] = (), y: Sequence[int] | None = None) -> None:
        specs = [
            TensorSpec("x", DataType.FLOAT32, tuple(x)),
            TensorSpec("scale", DataType.FLOAT32, tuple(scale)),
        ]
        self.signature = GraphSignature(
            tuple(specs), (TensorSpec("y", DataType.FLOAT32, tuple(x if y is None else y)),)
        )
        self.dynamic_batch = x[:1] == (-1,)
        self.given: list[list[Any]] = []

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        assert all(array.flags.c_contiguous for array in arrays)
        self.given.append([array.tolist() for array in arrays])
        if (arrays[0] == -1).any():
            raise ModelError("Serving Error: runtime error occurred: minus one")
        return [arrays[0] + arrays[1]]

    def close(self) -> None:
        """Nothing to unload."""


def values(*columns: Any) -> list[Values]:
    return [Values(len(column), objects=[np.float32(v) for v in column]) for column in columns]


def results(runner: ModelRunner, *columns: Any) -> list[Any]:
    """Outputs per instance, or the text of the error."""
    flat: list[Any] = []
    for start, stop, outcome in runner.run(values(*columns), len(columns[0])):
        assert start == len(flat)
        flat += [str(outcome)] * (stop - start) if isinstance(outcome, ServingError) else outcome[0].tolist()
    return flat


def test_short_batches_are_padded_with_the_first_instance() -> None:
    graph = SumGraph((4,))
    runner = ModelRunner(graph, True, (1,), 64)
    assert results(runner, [1, 2, 3, 4, 5, 6], [0] * 6) == [1, 2, 3, 4, 5, 6]
    assert [given[0] for given in graph.given] == [[1, 2, 3, 4], [5, 6, 5, 5]]


def test_a_dynamic_batch_is_not_padded_and_not_larger_than_allowed() -> None:
    graph = SumGraph((-1,))
    runner = ModelRunner(graph, True, (1,), 4)
    assert runner.batch_size == 4
    assert results(runner, [1, 2, 3, 4, 5, 6], [0] * 6) == [1, 2, 3, 4, 5, 6]
    assert [given[0] for given in graph.given] == [[1, 2, 3, 4], [5, 6]]


def test_without_batch_dimension_instances_go_one_by_one() -> None:
    graph = SumGraph((2,), (2,))
    runner = ModelRunner(graph, False, (), 64)
    assert runner.batch_size == 1
    assert results(runner, [[1, 2], [3, 4]], [[1, 1], [2, 2]]) == [[2, 3], [5, 6]]


def test_instances_that_differ_in_an_input_without_batch_dimension_do_not_share_a_batch() -> None:
    graph = SumGraph((4,))
    runner = ModelRunner(graph, True, (1,), 64)
    assert results(runner, [1, 2, 3, 4, 5], [10, 10, 20, 20, 10]) == [11, 12, 23, 24, 15]
    assert [given[1] for given in graph.given] == [10, 20, 10]


def test_a_failing_batch_fails_its_own_instances() -> None:
    runner = ModelRunner(SumGraph((2,)), True, (1,), 64)
    assert results(runner, [1, 2, -1, 4, 5], [0] * 5) == [
        1,
        2,
        *["Serving Error: runtime error occurred: minus one"] * 2,
        5,
    ]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.zeros(3, np.float32), "Given model input 0 size 12 not match the size 8 defined in model"),
        (
            np.zeros(2, np.int32),
            "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in model",
        ),
        (np.zeros(1, np.float64), "Given model input 0 data type kMSI_Float64 not match"),
        ("text", "Given model input 0 size 0 not match the size 8 defined in model"),
    ],
)
def test_checks_of_an_instance(x: Any, text: str) -> None:
    runner = ModelRunner(SumGraph((4, 2)), True, (1,), 64)
    with pytest.raises(InvalidInput, match=text):
        runner.call([[x, np.float32(0)]])


def test_a_shape_of_the_same_size_is_taken_for_the_models() -> None:
    runner = ModelRunner(SumGraph((2, 2, 2)), True, (1,), 64)
    ((y,),) = runner.call([[np.arange(4, dtype=np.float32), np.float32(1)]])
    np.testing.assert_array_equal(y, [[1, 2], [3, 4]])


@pytest.mark.parametrize("sharded", [False, True])
def test_a_shape_of_the_same_size_is_refused_where_the_model_says_so(sharded: bool) -> None:
    definition = open_definition("folded", "/nowhere")
    if sharded:
        model = distributed_model.declare_servable(8, 1, strict_shape=True)
    else:
        model = register.declare_model("folded.mindir", "MindIR", strict_shape=True)

    @register.register_method(output_names=["y"])
    def fold(x):
        return register.add_stage(lambda v: v, x, outputs_count=1)

    runner = ModelRunner(SumGraph((2, 2, 2)), True, (1,), 64)
    fitted_servable(definition, {model.model_key: [runner]})
    text = (
        r"shape \[4\] not match the shape \[2, 2\] defined in model; input 0 'x' is float32 \[4\], expected float32 "
        r"\[2, 2\]$"
    )
    with pytest.raises(InvalidInput, match=text):
        runner.call([[np.arange(4, dtype=np.float32), np.float32(1)]])
    assert len(runner.call([[np.zeros((2, 2), np.float32), np.float32(1)]])) == 1


def test_warnings_of_shapes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("mindspore_serving.log.warning", lambda text, *args, **_: lines.append(text % args))
    runner = ModelRunner(SumGraph((1, 48)), True, (1,), 64)
    shapes = [(*[1] * ones, n, 48 // n) for ones in range(12) for n in range(1, 49) if not 48 % n]
    assert len(set(shapes)) > 100
    for rows in shapes:
        runner.call([[np.zeros(rows, np.float32), np.float32(1)]])
    assert len(lines) == 100
    assert lines[0].startswith("Model.call gives model input 0 'x' the shape [1, 48]")


def test_a_call_with_a_wrong_number_of_inputs() -> None:
    runner = ModelRunner(SumGraph((4,)), True, (1,), 64)
    with pytest.raises(
        InvalidInput, match="The inputs count 1 of instance 1 is not equal to the inputs count 2 of the model"
    ):
        runner.call([[1.0, 2.0], [1.0]])


@pytest.mark.parametrize(
    ("graph", "shared", "text"),
    [
        (SumGraph((), ()), (), "The shape of model input 0 cannot be empty, when with_batch_dim is true and"),
        (SumGraph((4,), (2,)), (), r"The shape \[2\] of model input 1 does not match current batch size 4"),
        (
            SumGraph((4,), y=(2,)),
            (1,),
            r"The shape \[2\] of model output 0 does not match current batch size 4",
        ),
        (SumGraph((4, 0)), (1,), r"The shape of model input 0 is invalid, shape: \[4, 0\]"),
    ],
)
def test_shapes_that_do_not_fit_the_declaration(graph: SumGraph, shared: tuple[int, ...], text: str) -> None:
    with pytest.raises(StartUpError, match=text):
        ModelRunner(graph, True, shared, 64)
