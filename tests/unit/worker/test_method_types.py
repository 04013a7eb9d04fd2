"""What is known of a method once its models are loaded: by its declaration, their files, and its examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.rows import Rows
from mindspore_serving.server.distributed import declare_servable
from mindspore_serving.server.register import (
    PipelineServable,
    TensorSpec,
    Text,
    add_stage,
    declare_model,
    register_method,
    register_pipeline,
)
from mindspore_serving.server.register.definition import ServableDefinition
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.graph_outcomes import Outcome
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.method_types import taught
from mindspore_serving.server.worker.servable_loader import fitted_servable
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from mindspore_serving.tensor import TensorSpec as Spec
from tests.support.rows import rows_of, texts

F32, I64 = DataType.FLOAT32, DataType.INT64


class Graph(GraphRunner):
    """A graph with these inputs of one instance, and outputs as its file has them."""

    def __init__(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> None:
        super().__init__(inputs, outputs, 4, False)

    def _run_good(self, blocks: list[tuple[int, Rows]]) -> list[Outcome]:
        raise NotImplementedError


IMAGES = Graph([Spec("x", F32, (3, 8)), Spec("mask", I64, (2,))], [Spec("y", F32, (4, 10))])
OTHER = Graph([Spec("x", I64, (3, 8))], [Spec("y", F32, (10,))])


@pytest.fixture(autouse=True)
def definition() -> Iterator[ServableDefinition]:
    yield open_definition("servable", "/nowhere")


def same(x: Any) -> Any:
    return x


def loaded(definition: ServableDefinition, **graphs: Graph) -> dict[str, MethodSignature]:
    runners = {f"{name}.mindir": [graph] for name, graph in graphs.items()}
    return {method.name: method for method in fitted_servable(definition, runners).methods}


def test_what_goes_straight_into_a_model_and_out_of_it(definition: ServableDefinition) -> None:
    model = declare_model("images.mindir", "MindIR", with_batch_dim=True, without_batch_dim_inputs=1)

    @register_method(["y", "again", "made"])
    def m(a, b, c):  # type: ignore[no-untyped-def]
        y = add_stage(model, a, b, outputs_count=1)
        return y, b, add_stage(same, c, outputs_count=1)

    method = loaded(definition, images=IMAGES)["m"]
    assert method.inputs == (
        TensorType("a", F32, (3, 8), file_name="x"),
        TensorType("b", I64, (2,), shared=True, file_name="mask"),
        TensorType("c"),
    )
    assert method.outputs == (
        TensorType("y", F32, (10,), file_name="y"),
        TensorType("again", I64, (2,)),
        TensorType("made"),
    )
    assert method.rows


def test_models_without_batch_dimension(definition: ServableDefinition) -> None:
    model = declare_model("other.mindir", "MindIR", with_batch_dim=False)

    @register_method("y")
    def m(a):  # type: ignore[no-untyped-def]
        return add_stage(model, a, outputs_count=1)

    method = loaded(definition, other=OTHER)["m"]
    assert method.inputs == (TensorType("a", I64, (3, 8), file_name="x"),)
    assert method.outputs == (TensorType("y", F32, (10,), file_name="y"),)
    assert not method.rows


def test_an_input_that_models_take_as_different_things(definition: ServableDefinition) -> None:
    images = declare_model("images.mindir", "MindIR", with_batch_dim=True)
    other = declare_model("other.mindir", "MindIR", with_batch_dim=False)

    @register_method(["y", "z"])
    def m(a, b):  # type: ignore[no-untyped-def]
        return add_stage(images, a, b, outputs_count=1), add_stage(other, a, outputs_count=1)

    method = loaded(definition, images=IMAGES, other=OTHER)["m"]
    assert method.inputs[0] == TensorType("a", DataType.UNKNOWN, (3, 8), file_name="x")
    assert not method.rows  # one of them has no batch dimension


@pytest.mark.parametrize(
    ("declared", "known"),
    [
        (TensorSpec("float32"), (3, 8)),
        (TensorSpec("float32", [-1, 8]), (3, 8)),
        (TensorSpec("float32", [3, 8]), (3, 8)),
    ],
)
def test_a_model_knows_what_a_declaration_leaves_open(
    definition: ServableDefinition, declared: TensorSpec, known: tuple[int, ...]
) -> None:
    model = declare_model("images.mindir", "MindIR", with_batch_dim=True)

    @register_method("y", inputs={"a": declared}, outputs={"y": TensorSpec("float32", [-1])})
    def m(a, b):  # type: ignore[no-untyped-def]
        return add_stage(model, a, b, outputs_count=1)

    method = loaded(definition, images=IMAGES)["m"]
    assert method.inputs[0] == TensorType("a", F32, known, declared=True, file_name="x")
    assert method.outputs == (TensorType("y", F32, (10,), declared=True, file_name="y"),)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"inputs": {"a": TensorSpec("float64", [3, 8])}},
            "The input 'a' of method 'm' is declared as float64 of shape [3, 8], but goes into 'x' of model "
            "'images.mindir', which is float32 of shape [3, 8]; declare that, or leave it out",
        ),
        (
            {"inputs": {"a": TensorSpec("float32", [3, 9])}},
            "declared as float32 of shape [3, 9], but goes into 'x'",
        ),
        (
            {"inputs": {"a": TensorSpec("float32", [24])}},
            "declared as float32 of shape [24], but goes into 'x'",
        ),
        ({"inputs": {"a": Text()}}, "declared as text, but goes into 'x'"),
        (
            {"outputs": {"y": TensorSpec("float32", [4, 10])}},
            "The output 'y' of method 'm' is declared as float32 of shape [4, 10], but comes from 'y' of model "
            "'images.mindir', which is float32 of shape [10]",
        ),
    ],
)
def test_a_declaration_that_contradicts_a_model(
    definition: ServableDefinition, options: dict[str, Any], text: str
) -> None:
    model = declare_model("images.mindir", "MindIR", with_batch_dim=True)

    @register_method("y", **options)
    def m(a, b):  # type: ignore[no-untyped-def]
        return add_stage(model, a, b, outputs_count=1)

    with pytest.raises(StartUpError) as caught:
        loaded(definition, images=IMAGES)
    assert text in str(caught.value)


def test_methods_without_models(definition: ServableDefinition) -> None:
    @register_method("y")
    def untyped(x):  # type: ignore[no-untyped-def]
        return add_stage(same, x, outputs_count=1)

    @register_method("y", inputs={"x": Text()})
    def typed(x):  # type: ignore[no-untyped-def]
        return x

    @register_method("y", examples=[{"x": 1}])
    def shown(x):  # type: ignore[no-untyped-def]
        return add_stage(same, x, outputs_count=1)

    @register_pipeline("y")
    def pipeline(x):  # type: ignore[no-untyped-def]
        return PipelineServable("servable", "typed").run(x)

    methods = loaded(definition)
    assert {name: method.rows for name, method in methods.items()} == {
        "untyped": False,
        "typed": True,
        "shown": True,
        "pipeline": False,
    }
    assert methods["typed"].outputs == (TensorType("y", DataType.STRING, ()),)
    assert methods["pipeline"].inputs == (TensorType("x"),)


def test_a_sharded_model(definition: ServableDefinition) -> None:
    model = declare_servable(rank_size=2, stage_size=1, with_batch_dim=True)

    @register_method("y")
    def m(a):  # type: ignore[no-untyped-def]
        return add_stage(model, a, outputs_count=1)

    graph = Graph([Spec("x", F32, (8,))], [Spec("y", F32, (4, 10))])
    [method] = fitted_servable(definition, {model.model_key: [graph]}).methods
    assert method.inputs == (TensorType("a", F32, (8,), file_name="x"),)
    assert method.outputs == (TensorType("y", F32, (10,), file_name="y"),)
    assert method.rows


def result(array: Any) -> Rows:
    return rows_of(y=np.asarray(array)[np.newaxis])


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], TensorType("y")),
        ([result(np.zeros((3, 4), np.float32))], TensorType("y", F32, (-1, -1))),
        ([result(np.int64(3))], TensorType("y", I64, ())),
        (
            [result(np.zeros((3, 4), np.float32)), result(np.zeros((3, 5), np.float32))],
            TensorType("y", F32, (3, -1)),
        ),
        ([result(np.zeros((3, 4), np.float32)), result(np.zeros(4, np.float32))], TensorType("y", F32, None)),
        ([result(np.zeros(4, np.float32)), result(np.zeros(4))], TensorType("y")),
        ([texts(["a"], "y"), texts(["b"], "y")], TensorType("y", DataType.STRING, ())),
    ],
)
def test_results_of_examples_teach(results: list[Rows], expected: TensorType) -> None:
    assert taught([TensorType("y")], results) == (expected,)
    known = TensorType("y", F32, (7,), declared=True)
    assert taught([known], results) == (known,)


def test_text_of_models_is_one_value(definition: ServableDefinition) -> None:
    model = declare_model("text.mindir", "MindIR")

    @register_method("y")
    def m(a):  # type: ignore[no-untyped-def]
        return add_stage(model, a, outputs_count=1)

    text = Graph([Spec("x", DataType.STRING, ())], [Spec("y", DataType.STRING, (-1, 1))])
    method = loaded(definition, text=text)["m"]
    assert [(one.dtype, one.shape) for one in (*method.inputs, *method.outputs)] == [
        (DataType.STRING, ())
    ] * 2
