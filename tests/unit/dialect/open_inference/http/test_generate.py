"""The generate extension: plain values in, plain values out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.open_inference.http.generate import (
    event_of,
    generate_reply,
    generate_request,
)
from mindspore_serving.server.dialect.open_inference.messages import InferReply, OutputTensor
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType
from tests.unit.dialect.open_inference.fake_service import method, untyped


def typed(dtype: DataType, *shape: int) -> TensorType:
    return TensorType("x", dtype, shape)


@pytest.mark.parametrize(
    ("wanted", "value", "datatype", "shape"),
    [
        (typed(DataType.STRING), "a", "BYTES", (1,)),
        (typed(DataType.FLOAT32), 1.5, "FP32", (1,)),
        (typed(DataType.FLOAT32), [1.5], "FP32", (1,)),
        (typed(DataType.INT64, 3), [1, 2, 3], "INT64", (1, 3)),
        (typed(DataType.INT8, 2, -1), [1, 2, 3, 4], "INT8", (1, 2, 2)),
        (typed(DataType.INT8, -1, -1), [1, 2, 3], "INT8", (1, 1, 3)),
        (typed(DataType.INT8, -1), [], "INT8", (1, 0)),
        (TensorType("x"), "a", "BYTES", (1,)),
        (TensorType("x"), 1, "INT32", (1,)),
        (TensorType("x"), [1, 2.5], "FP32", (1, 2)),
        (TensorType("x"), [True], "BOOL", (1, 1)),
    ],
)
def test_inputs(wanted: TensorType, value: Any, datatype: str, shape: tuple[int, ...]) -> None:
    asked = generate_request({"x": value}, "m", "1", method(inputs=(wanted,)))
    [tensor] = asked.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", datatype, shape)
    assert tensor.data == (value if isinstance(value, list) else [value])


@pytest.mark.parametrize(
    ("wanted", "value", "text"),
    [
        (typed(DataType.INT64, 3), [1, 2], "Input 'x' has 2 values, which do not fill shape [3]"),
        (typed(DataType.INT64, 2, -1), [1, 2, 3], "Input 'x' has 3 values, which do not fill shape [2, -1]"),
        (typed(DataType.INT64, 0, -1), [1], "do not fill shape [0, -1]"),
        (typed(DataType.INT64, 2), [[1], [2]], "Input 'x' should be a value, or a flat list of values"),
        (typed(DataType.INT64, 2), {"a": 1}, "Input 'x' should be a value, or a flat list of values"),
        (TensorType("x"), [1, "a"], "Input 'x' should be of one type"),
        (TensorType("x"), [], "Input 'x' should be of one type"),
        (TensorType("x"), None, "Input 'x' should be of one type"),
    ],
)
def test_inputs_that_are_refused(wanted: TensorType, value: Any, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        generate_request({"x": value}, "m", "1", method(inputs=(wanted,)))
    assert text in str(caught.value)


def test_what_is_no_input_is_a_parameter() -> None:
    called = untyped("m", ["x"], ["y"])
    document = {"x": 1, "id": "7", "top_k": 5, "mode": "a", "parameters": {"mode": "b", "stop": "c"}}
    asked = generate_request(document, "m", "1", called)
    assert (asked.id, asked.parameters) == ("7", {"top_k": 5, "mode": "b", "stop": "c"})
    assert asked.inputs[0].shape == ()
    with pytest.raises(InvalidInput, match="parameter 'deep' should be a string"):
        generate_request({"x": 1, "deep": {}}, "m", "1", called)


def test_an_input_may_be_called_id() -> None:
    asked = generate_request({"id": 3}, "m", "", untyped("m", ["id"], ["y"]))
    assert (asked.id, [tensor.data for tensor in asked.inputs]) == ("", [[3]])


def test_the_reply() -> None:
    outputs = [
        OutputTensor("text_output", "BYTES", (1,), b"\2\0\0\0ab"),
        OutputTensor("scores", "FP32", (1, 2), bytes(8)),
        OutputTensor("none", "INT8", (1, 0), b""),
    ]
    document = orjson.loads(generate_reply(InferReply("m", "2", "7", outputs)))
    assert document == {
        "id": "7", "model_name": "m", "model_version": "2", "text_output": "ab", "scores": [0, 0], "none": []
    }  # fmt: skip
    assert generate_reply(InferReply("m", "2", "", [])) == b'{"model_name":"m","model_version":"2"}'


def test_an_event() -> None:
    assert event_of(b'{"a":1}') == b'data: {"a":1}\n\n'
