"""Examples run before a worker is ready: what they are given, what they teach, and how they fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.dialect.native.json_codec import read_instances
from mindspore_serving.server.register import (
    Bytes,
    Parameters,
    PipelineServable,
    TensorSpec,
    Text,
    add_stage,
    call,
    declare_model,
    register_method,
    register_pipeline,
)
from mindspore_serving.server.register.definition import ServableDefinition
from mindspore_serving.server.register.pipeline import set_method_runtime
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.servable_loader import fitted_servable
from mindspore_serving.server.worker.warm_up import EXAMPLES_BYTES, warmed_up
from mindspore_serving.signature import PARAMETERS_SPEC, MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.support.rows import Rows, numbered
from tests.unit.worker.test_engine import DoublingGraph

F32 = DataType.FLOAT32


@pytest.fixture(autouse=True)
def definition() -> Iterator[ServableDefinition]:
    yield open_definition("servable", "/nowhere")


class Started:
    """The servable of a definition, after its examples."""

    def __init__(self, definition: ServableDefinition, graph: DoublingGraph | None = None) -> None:
        self.results: list[Result] = []
        runners = {key: [ModelRunner(graph or DoublingGraph(), True, (), 8)] for key in definition.models}
        self.engine = Engine(
            list(definition.methods.values()),
            runners,
            self.results.append,
            list(definition.pipelines.values()),
        )
        servable = warmed_up(fitted_servable(definition, runners), self.engine)
        self.methods: dict[str, MethodSignature] = {method.name: method for method in servable.methods}


def test_an_example_of_a_method_that_calls_is_checked_and_shown_but_not_run(
    definition: ServableDefinition,
) -> None:
    @register_method(
        ["y"], inputs={"x": TensorSpec("float32", [2])}, examples=[{"x": np.ones(2, np.float32)}]
    )
    def m(x):  # type: ignore[no-untyped-def]
        return call("other", "n", x)

    started = Started(definition)
    assert [json.loads(text) for text in started.methods["m"].examples] == [{"x": [1.0, 1.0]}]
    assert not started.methods["m"].outputs[0].is_known


def test_examples_run_through_models_and_functions(definition: ServableDefinition) -> None:
    graph, seen = DoublingGraph(), []
    model = declare_model("m.mindir", "MindIR", with_batch_dim=True)

    def note(y: Any) -> Any:
        seen.append(float(y))
        return y

    @register_method(["y", "noted"], examples=[{"x": 1}, {"x": np.float32(2)}])
    def m(x):  # type: ignore[no-untyped-def]
        y = add_stage(model, x, outputs_count=1)
        return y, add_stage(note, y, outputs_count=1)

    method = Started(definition, graph).methods["m"]
    assert [batch[0] for batch in graph.batches] == [1, 2]
    assert seen == [2, 4]
    assert method.outputs == (TensorType("y", F32, (), file_name="y"), TensorType("noted", F32, ()))
    assert method.examples == ('{"x": 1.0}', '{"x": 2.0}')


def test_parameters_are_those_of_the_example(definition: ServableDefinition) -> None:
    seen = []

    def note(x: Any, options: Any) -> Any:
        seen.append(options)
        return x

    @register_method(
        "y",
        inputs={"options": Parameters()},
        examples=[{"x": 1}, {"x": 2, "options": {"a": [1, {"b": None}]}}],
    )
    def m(options, x):  # type: ignore[no-untyped-def]
        return add_stage(note, x, options, outputs_count=1)

    method = Started(definition).methods["m"]
    assert seen == [{}, {"a": [1, {"b": None}]}]
    assert method.takes_parameters
    assert (method.input_names, method.examples) == (("x",), ('{"x": 1}', '{"x": 2}'))


def test_parameters_of_a_batch_are_a_dict_for_each_instance(definition: ServableDefinition) -> None:
    def note(x: Any, options: Any) -> Any:
        options["n"] = options.get("n", 0) + 1  # of this instance alone
        return x * options["n"] + options.get("plus", 0)

    @register_method("y", inputs={"options": Parameters()})
    def m(x, options):  # type: ignore[no-untyped-def]
        return add_stage(note, x, options, outputs_count=1)

    started = Started(definition)
    rows = numbered(3)
    column = [b'{"plus":0.5}', b'{"plus":0.5}', b"{}"]
    started.engine.add(
        Batch(0, 0, "m", (Rows((*rows.specs, PARAMETERS_SPEC), (*rows.columns, column), rows.count),))
    )
    while started.engine.run_function_step():
        pass
    [result] = started.results
    assert [float(value) for group in result.groups for value in group.columns[0]] == [0.5, 1.5, 2]  # type: ignore[union-attr]


def test_a_pipeline_gives_its_methods_no_parameters(definition: ServableDefinition) -> None:
    def size(x: Any, options: Any) -> int:
        return len(options)

    @register_method("y", inputs={"options": Parameters()})
    def m(x, options):  # type: ignore[no-untyped-def]
        return add_stage(size, x, options, outputs_count=1)

    @register_pipeline("y")
    def pipeline(x):  # type: ignore[no-untyped-def]
        return PipelineServable("servable", "m").run(x)

    engine = Started(definition).engine
    set_method_runtime(engine.call)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(PipelineServable("servable", "m").run(1)))
    thread.start()
    while thread.is_alive():
        engine.collect()
        engine.run_function_step()
    thread.join()
    set_method_runtime(None)
    assert found == [0]


def test_functions_do_not_change_the_users_arrays(definition: ServableDefinition) -> None:
    mine = np.zeros(2, np.float32)

    def fill(x: Any) -> Any:
        x[:] = 7
        return x

    @register_method("y", examples=[{"x": mine}])
    def m(x):  # type: ignore[no-untyped-def]
        return add_stage(fill, x, outputs_count=1)

    Started(definition)
    assert mine.tolist() == [0, 0]


def boom(x: Any) -> Any:
    raise ValueError("no such number")


def halves(x: Any) -> Any:
    return np.float64(x) / 2


@pytest.mark.parametrize(
    ("options", "function", "text"),
    [
        (
            {"examples": [{"x": 1}]},
            boom,
            "Example 1 of method 'm' failed: Call Function 'servable.boom' Failed, method: 'm', stage index(begin with "
            "1): 1, error msg: no such number",
        ),
        (
            {"examples": [{"x": 1}, {"x": 3}], "outputs": {"y": TensorSpec("int32", [])}},
            lambda x: x if x < 2 else halves(x),
            "Example 2 of method 'm' failed: Output 'y' is float64 of shape [], but is declared as int32 of shape []",
        ),
        (
            {"examples": [{"x": [1, 2]}], "outputs": {"y": TensorSpec("float64", [-1, 2])}},
            halves,
            "Example 1 of method 'm' failed: Output 'y' is float64 of shape [2], but is declared as float64 of shape "
            "[-1, 2]",
        ),
        (
            {"examples": [{"x": 1}], "outputs": {"y": Text()}},
            halves,
            "Example 1 of method 'm' failed: Output 'y' is float64 of shape [], but is declared as text",
        ),
    ],
)
def test_an_example_that_fails(
    definition: ServableDefinition, options: dict[str, Any], function: Any, text: str
) -> None:
    @register_method("y", **options)
    def m(x):  # type: ignore[no-untyped-def]
        return add_stage(function, x, outputs_count=1)

    with pytest.raises(StartUpError) as caught:
        Started(definition)
    assert str(caught.value) == text


def test_an_example_that_does_not_fit_a_model(definition: ServableDefinition) -> None:
    model = declare_model("m.mindir", "MindIR", with_batch_dim=True)

    @register_method("y", examples=[{"x": "text"}])
    def m(x):  # type: ignore[no-untyped-def]
        return add_stage(model, x, outputs_count=1)

    with pytest.raises(StartUpError, match="Example 1 of method 'm': input 'x' is str, expected float32"):
        Started(definition)


VALUES: list[tuple[Any, Any]] = [
    (None, True),
    (None, [1, 2]),
    (None, [1.5, 2]),
    (None, "text"),
    (None, b"\xff\x00"),
    (None, np.zeros((2, 2), np.int64)),
    (None, np.float16(0.1)),
    (None, np.zeros((3, 0), np.float32)),
    (None, [float("inf"), 1.0]),
    (TensorSpec("int64"), [1 << 40]),
    (TensorSpec("uint8", [2]), np.array([1, 255], np.uint8)),
    (TensorSpec("float16"), [0.1, 1]),
    (TensorSpec("float64"), [0.1]),
    (TensorSpec("bool"), [True]),
    (Text(), "it's"),
    (Bytes(), b""),
]


@pytest.mark.parametrize(("declared", "value"), VALUES)
def test_an_example_is_shown_as_rest_reads_it(
    definition: ServableDefinition, declared: Any, value: Any
) -> None:
    seen = []

    def note(x: Any) -> int:
        seen.append(x)
        return 0

    @register_method("y", inputs={"x": declared} if declared else None, examples=[{"x": value}])
    def m(x):  # type: ignore[no-untyped-def]
        return add_stage(note, x, outputs_count=1)

    method = Started(definition).methods["m"]
    [text] = method.examples
    [rows] = read_instances({"instances": [json.loads(text)]}, method.number_types)
    [column] = rows.columns
    if isinstance(column, list):
        read = column[0].decode() if rows.specs[0].dtype is DataType.STRING else column[0]
        assert (seen[0] if isinstance(read, str) else seen[0].tobytes()) == read
    else:
        assert column[0].dtype == seen[0].dtype
        np.testing.assert_array_equal(column[0], seen[0])


def test_an_example_that_rest_cannot_send_is_not_shown(definition: ServableDefinition) -> None:
    @register_method("y", examples=[{"x": np.zeros((0, 3), np.float32)}])
    def m(x):  # type: ignore[no-untyped-def]
        return add_stage(np_size, x, outputs_count=1)

    assert Started(definition).methods["m"].examples == ()


def np_size(x: Any) -> int:
    return int(x.size)


def test_large_examples_are_not_kept(definition: ServableDefinition) -> None:
    half = "a" * (EXAMPLES_BYTES // 2)

    def length(x: Any) -> int:
        return len(x)

    @register_method("y", examples=[{"x": half}, {"x": half}, {"x": half * 3}, {"x": "b"}])
    def m(x):  # type: ignore[no-untyped-def]
        return add_stage(length, x, outputs_count=1)

    method = Started(definition).methods["m"]
    assert [len(text) for text in method.examples] == [len(half) + len('{"x": ""}'), len('{"x": "b"}')]
    assert method.outputs[0].dtype is DataType.INT64
