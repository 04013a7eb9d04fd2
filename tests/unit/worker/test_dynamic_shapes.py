"""Instances of any shapes onto a graph with dynamic dimensions, and text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindspore_serving.errors import InvalidInput, ModelError, ServingError, StartUpError
from mindspore_serving.rows import Rows
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.register import add_stage, declare_model, register_method
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.values import Values
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec

FLOAT, TEXT, BYTES = DataType.FLOAT32, DataType.STRING, DataType.BYTES
Spec = tuple[DataType, tuple[int, ...]]


class Graph:
    """Runs a function; remembers the shapes that it was given, which must be those of its signature."""

    def __init__(
        self,
        run: Callable[..., Any],
        *inputs: Spec,
        y: Spec | Sequence[Spec] = (FLOAT, (-1,)),
        dynamic_batch: bool | None = None,
    ) -> None:
        outputs = [y] if isinstance(y, tuple) else y
        self.signature = GraphSignature(
            tuple(TensorSpec(f"x{i}", *one) for i, one in enumerate(inputs)),
            tuple(TensorSpec(f"y{i}", *one) for i, one in enumerate(outputs)),
        )
        self.dynamic_batch = inputs[0][1][:1] == (-1,) if dynamic_batch is None else dynamic_batch
        self.given: list[list[tuple[int, ...]]] = []
        self._run = run

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        assert all(array.flags.c_contiguous for array in arrays)
        for array, spec in zip(arrays, self.signature.inputs, strict=True):
            assert array.ndim == len(spec.shape)
            assert all(want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True))
        self.given.append([array.shape for array in arrays])
        outputs = self._run(*arrays)
        return list(outputs) if isinstance(outputs, tuple) else [outputs]

    def close(self) -> None:
        """Nothing to unload."""


def total(x: Array) -> Array:
    """The sum of each instance, which padding of a sequence would not change, and how long it is, which that would."""
    return np.stack([x.reshape(len(x), -1).sum(axis=1), np.full(len(x), x[0].size)], axis=1).astype(
        np.float32
    )


def sums(batch: int = -1, dimensions: int = 1, **options: Any) -> Graph:
    return Graph(total, (FLOAT, (batch, *[-1] * dimensions)), y=(FLOAT, (batch, 2)), **options)


def ragged(*lengths: int) -> list[Array]:
    """Sequences that all differ in their numbers."""
    start = np.cumsum([0, *lengths])
    return [np.arange(a, a + n, dtype=np.float32) for a, n in zip(start.tolist(), lengths, strict=False)]


def run(runner: ModelRunner, *inputs: Sequence[Any]) -> list[Any]:
    """Outputs per instance, a list where there are several, or the text of the error."""
    count = len(inputs[0])
    found: list[Any] = []
    for start, stop, outcome in runner.run([Values(count, objects=list(one)) for one in inputs], count):
        assert start == len(found)
        if isinstance(outcome, ServingError):
            found += [f"{type(outcome).__name__}: {outcome}"] * (stop - start)
        else:
            assert all(len(column) == stop - start for column in outcome)
            rows = [[as_list(cell) for cell in row] for row in zip(*outcome, strict=True)]
            found += [row[0] if len(row) == 1 else row for row in rows]
    assert len(found) == count
    return found


def as_list(cell: Any) -> Any:
    return cell.tolist() if isinstance(cell, np.ndarray | np.generic) else cell


def test_instances_of_one_shape_run_together_wherever_they_stand() -> None:
    graph = sums()
    sequences = ragged(3, 1, 3, 2, 1, 3, 2)
    assert run(ModelRunner(graph, True, (), 64), sequences) == [[s.sum(), len(s)] for s in sequences]
    assert graph.given == [[(3, 3)], [(2, 1)], [(2, 2)]]


def test_batches_of_one_shape_are_as_large_as_may_be() -> None:
    graph = sums()
    sequences = ragged(2, 1, 2, 2, 1, 2, 2)
    assert run(ModelRunner(graph, True, (), 2), sequences) == [[s.sum(), len(s)] for s in sequences]
    assert graph.given == [[(2, 2)], [(2, 2)], [(1, 2)], [(2, 1)]]


def test_a_fixed_batch_is_padded_with_an_instance_of_the_same_shape() -> None:
    seen: list[Any] = []

    def remembered(x: Array) -> Array:
        seen.append(x.tolist())
        return total(x)

    graph = Graph(remembered, (FLOAT, (3, -1)), y=(FLOAT, (3, 2)))
    sequences = ragged(2, 1, 2)
    assert run(ModelRunner(graph, True, (), 64), sequences) == [[s.sum(), len(s)] for s in sequences]
    assert seen == [[[0, 1], [3, 4], [0, 1]], [[2], [2], [2]]]


def test_outputs_that_are_as_long_as_the_inputs() -> None:
    graph = Graph(lambda x: -x, (FLOAT, (-1, -1)), y=(FLOAT, (-1, -1)))
    sequences = ragged(3, 1, 3, 3, 2)
    assert run(ModelRunner(graph, True, (), 64), sequences) == [(-s).tolist() for s in sequences]


def test_neighbours_with_outputs_of_one_shape_are_one_outcome() -> None:
    sequences = ragged(3, 1, 3, 2)
    values = [Values(4, objects=list(sequences))]
    [(start, stop, outcome)] = ModelRunner(sums(), True, (), 64).run(values, 4)
    assert (start, stop) == (0, 4)
    assert isinstance(outcome, list)
    assert np.asarray(outcome[0]).tolist() == [[s.sum(), len(s)] for s in sequences]


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        (
            np.zeros((1, 1, 1), np.float32),
            "input 0 shape [1, 1, 1] not match the shape [-1, -1] defined in model; input 0 'x0' is float32 [1, 1, 1], "
            "expected float32 [-1, -1]; an instance has no batch dimension: give each row as an instance of its own",
        ),
        (
            np.zeros(1, np.float32),
            "input 0 shape [1] not match the shape [-1, -1] defined in model; input 0 'x0' is",
        ),
        (np.zeros((2, 0), np.float32), "input 0 shape [2, 0] not match the shape [-1, -1] defined in model"),
        (
            np.zeros((1, 1), np.int32),
            "input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in",
        ),
        ("text", "input 0 data type kMSI_String not match the data type kMSI_Float32 defined in model"),
    ],
)
def test_an_instance_that_does_not_fit_fails_alone(odd: Any, text: str) -> None:
    good = np.ones((1, 1), np.float32)
    before, error, after = run(ModelRunner(sums(dimensions=2), True, (), 64), [good, odd, good])
    assert before == after == [1, 1]
    assert error.startswith(f"WrongInput: Given model {text}")


def test_fixed_dimensions_beside_dynamic_ones_must_be_right() -> None:
    graph = Graph(total, (FLOAT, (-1, -1, 2)), y=(FLOAT, (-1, 2)))
    shapes = [(3, 2), (2, 3), (1, 2), (6,)]
    found = run(ModelRunner(graph, True, (), 64), [np.ones(shape, np.float32) for shape in shapes])
    assert found[0] == [6, 6]
    assert found[2] == [2, 2]
    assert "shape [2, 3] not match the shape [-1, 2] defined in model" in found[1]
    assert "shape [6] not match the shape [-1, 2] defined in model" in found[3]


def test_a_shape_that_fails_fails_alone() -> None:
    def refuses_two(x: Array) -> Array:
        if x.shape[1] == 2:
            raise ModelError("two is too few")
        return total(x)

    graph = Graph(refuses_two, (FLOAT, (-1, -1)), y=(FLOAT, (-1, 2)))
    sequences = ragged(3, 2, 3, 2)
    found = run(ModelRunner(graph, True, (), 64), sequences)
    assert found[1] == found[3] == "ModelError: two is too few"
    assert (found[0], found[2]) == ([3, 3], [18, 3])
    assert graph.given == [[(2, 3)], [(2, 2)]]


def test_instances_are_apart_if_any_input_has_another_shape() -> None:
    graph = Graph(lambda x, mask: total(x * mask), (FLOAT, (-1, -1)), (FLOAT, (-1, -1)), y=(FLOAT, (-1, 2)))
    x = [np.float32(v) for v in ([1, 2], [3, 4], [5], [6, 7])]
    mask = [np.float32(v) for v in ([1, 1], [1], [1], [0, 1])]
    assert run(ModelRunner(graph, True, (), 64), x, mask) == [[3, 2], [7, 2], [5, 1], [7, 2]]
    assert graph.given == [[(2, 2), (2, 2)], [(1, 2), (1, 1)], [(1, 1), (1, 1)]]


def test_inputs_without_a_batch_dimension_may_be_dynamic() -> None:
    graph = Graph(lambda x, w: total(x * w.sum()), (FLOAT, (-1, -1)), (FLOAT, (-1,)), y=(FLOAT, (-1, 2)))
    x = ragged(2, 2, 2, 2)
    weights = [np.float32(v) for v in ([1, 1], [1], [1, 1], [2])]
    scales = [2, 1, 2, 2]
    assert run(ModelRunner(graph, True, (1,), 64), x, weights) == [
        [s.sum() * n, 2] for s, n in zip(x, scales, strict=True)
    ]
    assert graph.given == [[(2, 2), (2,)], [(1, 2), (1,)], [(1, 2), (1,)]]


def test_without_a_batch_dimension_instances_run_one_by_one() -> None:
    graph = Graph(lambda x: x.sum(keepdims=True), (FLOAT, (-1,)), y=(FLOAT, (1,)))
    runner = ModelRunner(graph, False, (), 64)
    assert (runner.batch_size, runner.dynamic) == (1, False)
    sequences = ragged(2, 3, 2)
    assert run(runner, sequences) == [[s.sum()] for s in sequences]
    assert graph.given == [[(2,)], [(2,)], [(3,)]]


def test_outputs_without_a_row_for_each_instance_are_an_error() -> None:
    graph = Graph(lambda x: x[:1], (FLOAT, (-1, -1)), y=(FLOAT, (-1, -1)))
    found = run(ModelRunner(graph, True, (), 64), ragged(2, 2, 1))
    problem = "ModelError: Serving Error: runtime error occurred: model output 0 has the shape [1, 2] for a batch of 2"
    assert found == [f"{problem} instances"] * 2 + [[4]]


def test_a_fixed_batch_whose_output_varies_must_give_all_rows() -> None:
    graph = Graph(lambda x: x[x[:, 0] > 0], (FLOAT, (2, 1)), y=(FLOAT, (-1, 1)), dynamic_batch=False)
    found = run(ModelRunner(graph, True, (), 64), [np.float32([v]) for v in (1, 2, 3, 0)])
    assert found[:2] == [[1], [2]]
    assert "model output 0 has the shape [1, 1] for a batch of 2 instances" in found[2]


def greeting(names: Array) -> Array:
    assert names.dtype == object
    assert {type(name) for name in names.flat} == {str}
    return np.array([f"hi {name}" for name in names.flat], object).reshape(names.shape)


@pytest.mark.parametrize("own", [(), (1,), (-1,)])
def test_text_is_an_array_of_str(own: tuple[int, ...]) -> None:
    graph = Graph(greeting, (TEXT, (-1, *own)), y=(TEXT, (-1, *own)))
    runner = ModelRunner(graph, True, (), 2)
    assert runner.inputs == (TensorSpec("x0", TEXT, ()),)
    assert run(runner, ["Ann", "Øre", ""]) == [b"hi Ann", "hi Øre".encode(), b"hi "]
    assert graph.given == [[(n, *[1] * len(own))] for n in (2, 1)]


def test_bytes_are_an_array_of_bytes() -> None:
    def reversed_(x: Array) -> Array:
        assert {type(value) for value in x} == {bytes}
        return np.array([value[::-1] for value in x], object)

    graph = Graph(reversed_, (BYTES, (4,)), y=(BYTES, (4,)))
    assert run(ModelRunner(graph, True, (), 64), [b"ab", b"\xff\x00"]) == [b"ba", b"\x00\xff"]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array(["a", "ß"]), [b"a", "ß".encode()]),
        (np.array([b"a", b"b"]), [b"a", b"b"]),
        (np.array([["a"], ["b"]], object), [b"a", b"b"]),
        (np.array([["a", "b"], ["c", "d"]]), "the shape [2, 2], expected one text for each of 2 instances"),
        (np.array(["a", None], object), "model output 0 has a value of type NoneType, expected text"),
        (np.array(["a", "\ud800"], object), "model output 0 is not valid Unicode text"),
        (np.array([b"a", b"\xff"], object), "model output 0 is not valid Unicode text"),
        (np.array([1, 2]), "model output 0 has a value of type int, expected text"),
    ],
)
def test_what_a_graph_may_give_as_text(array: Array, expected: Any) -> None:
    graph = Graph(lambda _: array, (FLOAT, (-1,)), y=(TEXT, (-1, -1)))
    found = run(ModelRunner(graph, True, (), 64), [np.float32(1), np.float32(2)])
    if isinstance(expected, str):
        assert all(expected in one and one.startswith("ModelError") for one in found)
    else:
        assert found == expected


def test_text_beside_sequences() -> None:
    def run_graph(name: Array, x: Array) -> tuple[Array, Array]:
        return name, total(x)

    graph = Graph(run_graph, (TEXT, (-1,)), (FLOAT, (-1, -1)), y=[(TEXT, (-1,)), (FLOAT, (-1, 2))])
    found = run(ModelRunner(graph, True, (), 64), ["a", "b", "c"], ragged(2, 1, 2))
    assert found == [[b"a", [1, 2]], [b"b", [2, 1]], [b"c", [7, 2]]]
    assert len(graph.given) == 2


def test_text_that_all_instances_of_a_batch_have_in_common() -> None:
    graph = Graph(
        lambda x, name: np.array([f"{name.item()}{v:.0f}" for v in x], object),
        (FLOAT, (-1,)),
        (TEXT, ()),
        y=(TEXT, (-1,)),
    )
    found = run(ModelRunner(graph, True, (1,), 64), np.float32([1, 2, 3]), ["a", "a", "b"])
    assert found == [b"a1", b"a2", b"b3"]
    assert len(graph.given) == 2


def test_text_where_instances_run_one_by_one() -> None:
    graph = Graph(greeting, (TEXT, (-1,)), y=(TEXT, (-1,)))
    assert run(ModelRunner(graph, False, (), 64), ["a", "b"]) == [b"hi a", b"hi b"]
    assert graph.given == [[(1,)], [(1,)]]


@pytest.mark.parametrize("odd", [b"bytes", np.float32(1), np.zeros(3, np.uint8)])
def test_what_is_no_text_fails_alone(odd: Any) -> None:
    graph = Graph(greeting, (TEXT, (-1,)), y=(TEXT, (-1,)))
    before, error, after = run(ModelRunner(graph, True, (), 64), ["a", odd, "b"])
    assert (before, after) == (b"hi a", b"hi b")
    assert error.startswith("WrongInput: Given model input 0 data type")
    assert error.endswith("expected str")


def test_model_call_gives_text_as_functions_see_it() -> None:
    graph = Graph(lambda x: (x, x.astype("S")), (TEXT, (-1,)), y=[(TEXT, (-1,)), (BYTES, (-1,))])
    ((text, content),) = ModelRunner(graph, True, (), 64).call([["ab"]])
    assert text == "ab"
    assert content.tolist() == [97, 98]


@pytest.mark.parametrize(
    ("graph", "batched", "text"),
    [
        (
            Graph(greeting, (TEXT, (-1, 3))),
            True,
            r"model input 0 'x0' is invalid, shape: \[-1, 3\]: an instance has one text, expected \[-1\] or \[-1, 1\]",
        ),
        (
            Graph(greeting, (TEXT, (2,))),
            False,
            r"model input 0 'x0' is invalid, shape: \[2\]: .* \[\] or \[1\]",
        ),
        (
            Graph(greeting, (FLOAT, (-1,)), y=(TEXT, (-1, 2))),
            True,
            r"model output 0 'y0' is invalid, shape: \[-1, 2\]: an instance has one text",
        ),
    ],
)
def test_a_graph_with_several_texts_for_an_instance_is_refused(
    graph: Graph, batched: bool, text: str
) -> None:
    with pytest.raises(StartUpError, match=text):
        ModelRunner(graph, batched, (), 64)


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=24),
    columns=st.integers(1, 3),
    batch=st.integers(1, 5),
    dynamic=st.booleans(),
    shared=st.lists(st.integers(0, 1), min_size=24, max_size=24),
    broken=st.sets(st.integers(0, 23), max_size=4),
)
def test_an_instance_gets_what_it_gets_alone(
    lengths: list[int], columns: int, batch: int, dynamic: bool, shared: list[int], broken: set[int]
) -> None:
    def run_graph(x: Array, scale: Array) -> tuple[Array, Array]:
        if x.shape[1] == 4:
            raise ModelError("too long")
        return x * scale, total(x)

    first = -1 if dynamic else batch
    outputs: list[Spec] = [(FLOAT, (first, -1, columns)), (FLOAT, (first, 2))]
    graph = Graph(run_graph, (FLOAT, (first, -1, columns)), (FLOAT, ()), y=outputs)
    runner = ModelRunner(graph, True, (1,), batch)
    x: list[Any] = [s.repeat(columns).reshape(-1, columns) for s in ragged(*lengths)]
    for index in broken:
        if index < len(x):
            x[index] = x[index].astype(np.float64)
    scale = [np.float32(1 + s) for s in shared[: len(x)]]
    together = run(runner, x, scale)
    assert max(shapes[0][0] for shapes in graph.given) <= batch if graph.given else len(broken)
    assert together == [one for a, b in zip(x, scale, strict=True) for one in run(runner, [a], [b])]


def test_dimensions_that_must_agree_are_the_librarys_to_check() -> None:
    def added(a: Array, b: Array) -> Array:
        if a.shape != b.shape:
            raise InvalidInput(f"lengths differ: {a.shape[1]} and {b.shape[1]}")
        return a + b

    graph = Graph(added, (FLOAT, (-1, -1)), (FLOAT, (-1, -1)), y=(FLOAT, (-1, -1)))
    found = run(ModelRunner(graph, True, (), 64), ragged(1, 2, 2), ragged(1, 1, 2))
    assert found == [[0], "InvalidInput: lengths differ: 2 and 1", [5, 7]]


def test_one_text_in_a_list_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindspore_serving.log.warning", lambda text, *_: pytest.fail(text))
    runner = ModelRunner(Graph(greeting, (TEXT, (-1,)), y=(TEXT, (-1,))), True, (), 64)
    value = Values(2, TensorSpec("x", TEXT, (1,)), [b"a", b"b"])
    for strict in (False, True):
        runner.strict_shape = strict
        assert runner.run([value], 2) == [(0, 2, [[b"hi a", b"hi b"]])]


def test_a_step_gives_text_as_one_value_for_an_instance() -> None:
    definition = open_definition("servable", "/nowhere")
    model = declare_model("m.mindir", "MindIR")

    @register_method(output_names=["y"])
    def greet(x):
        return add_stage(model, x, outputs_count=1)

    results: list[Result] = []
    runner = ModelRunner(Graph(greeting, (TEXT, (-1, 1)), y=(TEXT, (-1, 1))), True, (), 64)
    engine = Engine(list(definition.methods.values()), {"m.mindir": [runner]}, results.append)
    engine.add(Batch(1, 0, "greet", (Rows((TensorSpec("x", TEXT, ()),), ([b"a", b"b"],), 2),)))
    while engine.run_model_step() or engine.collect():
        continue
    [result] = results
    [group] = result.groups
    assert isinstance(group, Rows)
    assert (group.specs, group.columns) == ((TensorSpec("y", TEXT, ()),), ([b"hi a", b"hi b"],))
