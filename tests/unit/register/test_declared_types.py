"""What a method may say of its inputs and outputs, and what is wrong with what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register import (
    Bytes,
    Image,
    Parameters,
    TensorSpec,
    Text,
    add_stage,
    call_preprocess,
    call_servable,
    declare_model,
    register_method,
)
from mindspore_serving.server.register.definition import MethodDefinition, ServableDefinition, ValueRef
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType


@pytest.fixture(autouse=True)
def definition() -> Iterator[ServableDefinition]:
    yield open_definition("servable", "/nowhere")


def same(x: Any) -> Any:
    return x


def both(x: Any, y: Any) -> Any:
    return x


def registered(**options: Any) -> MethodDefinition:
    """A method with the inputs x and y, registered with these options."""
    definition = open_definition("servable", "/nowhere")

    @register_method(output_names=["z"], **options)
    def m(x, y):  # type: ignore[no-untyped-def]
        """Do something.

        At length.
        """
        return add_stage(same, x, outputs_count=1)

    return definition.methods["m"]


class OfMindSpore:
    """Prints as a data type of MindSpore does."""

    def __str__(self) -> str:
        return "Float16"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (TensorSpec("float32"), TensorType("x", DataType.FLOAT32, declared=True)),
        (
            TensorSpec("int64", [3, -1], "ids"),
            TensorType("x", DataType.INT64, (3, -1), declared=True, description="ids"),
        ),
        (TensorSpec(np.uint8, ()), TensorType("x", DataType.UINT8, (), declared=True)),
        (TensorSpec(np.dtype(">f8"), [2]), TensorType("x", DataType.FLOAT64, (2,), declared=True)),
        (TensorSpec(bool, [np.int64(2)]), TensorType("x", DataType.BOOL, (2,), declared=True)),
        (TensorSpec(np.bool_), TensorType("x", DataType.BOOL, declared=True)),
        (TensorSpec(OfMindSpore()), TensorType("x", DataType.FLOAT16, declared=True)),
        (Text("a question"), TensorType("x", DataType.STRING, (), declared=True, description="a question")),
        (Bytes(), TensorType("x", DataType.BYTES, (), declared=True)),
        (Image(), TensorType("x", DataType.BYTES, (), "image", declared=True)),
    ],
)
def test_a_type_as_users_write_it(declared: Any, expected: TensorType) -> None:
    method = registered(inputs={"x": declared})
    assert method.input_types == (expected, TensorType("y"))
    assert method.output_types == (TensorType("z"),)


def test_a_method_that_says_nothing() -> None:
    method = registered()
    assert (method.input_names, method.parameters, method.examples) == (("x", "y"), "", ())
    assert method.input_types == (TensorType("x"), TensorType("y"))
    assert method.description == "Do something.\n\nAt length."


NAMES = "float32, int64"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"inputs": ["x"]}, "parameter 'inputs' should be a dict of names and types, now is <class 'list'>"),
        ({"inputs": {"q": Text()}}, "parameter 'inputs' has 'q', expected are x, y"),
        ({"inputs": {1: Text()}}, "parameter 'inputs' has 1, expected are x, y"),
        ({"outputs": {"x": Text()}}, "parameter 'outputs' has 'x', expected are z"),
        (
            {"inputs": {"x": "float32"}},
            "parameter 'inputs' 'x' should be a TensorSpec, Text, Bytes or Image of mindspore_serving.server.register, "
            "now is 'float32'",
        ),
        ({"inputs": {"x": Text}}, "parameter 'inputs' 'x' is the class Text, write Text(...)"),
        (
            {"outputs": {"z": Parameters()}},
            "parameter 'outputs' 'z' should be a TensorSpec, Text, Bytes or Image",
        ),
        (
            {"inputs": {"x": TensorSpec("float23")}},
            "parameter 'inputs' 'x': dtype is float23, expected one of bool, ",
        ),
        ({"inputs": {"x": TensorSpec(float)}}, "'x': dtype is <class 'float'>, expected one of bool, int8, "),
        ({"inputs": {"x": TensorSpec(None)}}, "'x': dtype is None, expected one of"),
        ({"inputs": {"x": TensorSpec("string")}}, "float64; for text use Text(), for bytes Bytes()"),
        ({"inputs": {"x": TensorSpec(np.str_)}}, "'x': dtype is <class 'numpy.str_'>, expected one of"),
        ({"inputs": {"x": TensorSpec("int8", 3)}}, "'x': shape is 3, expected a list of integers"),
        ({"inputs": {"x": TensorSpec("int8", [-2])}}, "'x': shape is [-2], expected a list of integers"),
        ({"inputs": {"x": TensorSpec("int8", [1.5])}}, "'x': shape is [1.5], expected a list of integers"),
        ({"inputs": {"x": TensorSpec("int8", [True])}}, "'x': shape is [True], expected a list of integers"),
        (
            {"inputs": {"x": TensorSpec("int8", [1] * 32)}},
            "'x': shape has 32 dimensions, expected at most 31",
        ),
        ({"inputs": {"x": Text(3)}}, "'x': description should be str, now is <class 'int'>"),  # type: ignore[arg-type]
        (
            {"inputs": {"x": Parameters(), "y": Parameters()}},
            "parameter 'inputs' has Parameters() for 'x' and for 'y', expected at most once",
        ),
        ({"examples": {"x": 1}}, "parameter 'examples' should be a list of dicts, now is <class 'dict'>"),
        ({"examples": [[1, 2]]}, "example 1: expected a dict of inputs and values, now is <class 'list'>"),
        (
            {"examples": [{"x": 1, "y": 2}, {"x": 1}]},
            "parameter 'examples', example 2: has no value for input 'y'",
        ),
        ({"examples": [{"x": 1, "y": 2, "z": 3}]}, "example 1: has 'z', expected are x, y"),
        (
            {"inputs": {"x": TensorSpec("float32", [2])}, "examples": [{"x": [1, 2, 3], "y": 1}]},
            "example 1: input 'x' is float32 of shape [3], expected float32 of shape [2]",
        ),
        (
            {"inputs": {"x": TensorSpec("float32", [2])}, "examples": [{"x": np.zeros(2), "y": 1}]},
            "example 1: input 'x' is float64 of shape [2], expected float32 of shape [2]",
        ),
        (
            {"inputs": {"x": TensorSpec("int8")}, "examples": [{"x": [1.0], "y": 1}]},
            "example 1: input 'x': [1.0] is float64, expected int8",
        ),
        (
            {"inputs": {"x": TensorSpec("int8")}, "examples": [{"x": [1, 300], "y": 1}]},
            "example 1: input 'x': int8 cannot hold 300",
        ),
        (
            {"inputs": {"x": TensorSpec("float16")}, "examples": [{"x": 1e9, "y": 1}]},
            "example 1: input 'x': float16 cannot hold 1000000000.0",
        ),
        (
            {"inputs": {"x": TensorSpec("int8")}, "examples": [{"x": [[1], [1, 2]], "y": 1}]},
            "example 1: input 'x': [[1], [1, 2]] is no array",
        ),
        (
            {"inputs": {"x": TensorSpec("int8")}, "examples": [{"x": None, "y": 1}]},
            "example 1: input 'x': Get illegal result data with type <class 'NoneType'>",
        ),
        (
            {"inputs": {"x": TensorSpec("int8")}, "examples": [{"x": "1", "y": 1}]},
            "example 1: input 'x' is str, expected int8",
        ),
        (
            {"inputs": {"x": Text()}, "examples": [{"x": b"1", "y": 1}]},
            "example 1: input 'x' is bytes, expected text",
        ),
        (
            {"inputs": {"x": Image()}, "examples": [{"x": [1], "y": 1}]},
            "example 1: input 'x' is list, expected bytes",
        ),
        (
            {"inputs": {"x": Parameters()}, "examples": [{"x": [1], "y": 1}]},
            "example 1: 'x' should be a dict of parameters, now is <class 'list'>",
        ),
        (
            {"inputs": {"x": Parameters()}, "examples": [{"x": {"a": {1}}, "y": 1}]},
            "example 1: 'x' cannot be written as JSON: Object of type set is not JSON serializable",
        ),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        registered(**options)
    assert str(caught.value).startswith("Check failed in method 'm', ")
    assert text in str(caught.value)


def test_examples_are_kept_as_they_are_written() -> None:
    examples = [{"x": [1, 2], "y": "a"}, {"x": np.ones(3, np.float32), "y": b"b"}]
    method = registered(inputs={"x": TensorSpec("float32", [-1])}, examples=examples)
    assert list(method.examples) == examples
    assert "examples" not in repr(method)  # which is logged; they may be pictures


def test_parameters_of_requests_are_no_input(definition: ServableDefinition) -> None:
    @register_method("z", inputs={"options": Parameters(), "y": Text()})
    def m(x, options, y):  # type: ignore[no-untyped-def]
        return add_stage(both, options, y, outputs_count=1)

    method = definition.methods["m"]
    assert (method.input_names, method.parameters) == (("x", "y"), "options")
    assert method.value_names == ("x", "y", "options")
    assert [one.name for one in method.input_types] == ["x", "y"]
    assert method.stages[0].inputs == (ValueRef(0, 2), ValueRef(0, 1))


def test_parameters_of_requests_go_to_functions_only() -> None:
    model = declare_model("m.mindir", "MindIR")
    with pytest.raises(RegistrationError, match=r"method 'm', .* now they go to model 'm.mindir'"):

        @register_method("z", inputs={"options": Parameters()})
        def m(options):  # type: ignore[no-untyped-def]
            return add_stage(model, options, outputs_count=1)

    with pytest.raises(RegistrationError, match="method 'n', the parameters of requests cannot be an output"):

        @register_method("z", inputs={"options": Parameters()})
        def n(options):  # type: ignore[no-untyped-def]
            return options


def test_types_of_a_method_of_earlier_releases(definition: ServableDefinition) -> None:
    model = declare_model("m.mindir", "MindIR")
    assert model

    @register_method("z", inputs={"x": TensorSpec("float32")})
    def m(x):  # type: ignore[no-untyped-def]
        x = call_preprocess(same, x)
        z = call_servable(x)
        return z  # noqa: RET504  # the name is what the source is read for

    assert definition.methods["m"].input_types[0].dtype is DataType.FLOAT32
