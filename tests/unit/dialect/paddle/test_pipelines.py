"""Services of pipelines: what is asked and answered, as JSON and as messages."""

from __future__ import annotations

import base64
import gzip
import io
import json
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    QueueFull,
    ServableUnavailable,
    StageError,
)
from mindspore_serving.proto.foreign import paddle_pipeline_pb2 as pb2
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcStatus
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType, TensorSpec
from tests.unit.dialect.grpc_calls import FakeCall
from tests.unit.dialect.open_inference.fake_service import method, untyped
from tests.unit.dialect.paddle.asking import GRPC_PIPELINE, HOUSE, PRICE, UCI, Asked

PATH = "/m/prediction"
BODY = {"key": ["x"], "value": ["[[1, 2, 3.5]]"]}
REPLY = {"err_no": 0, "err_msg": "", "key": ["price"], "value": ["[[1.0,2.0,3.5]]"], "tensors": []}
TEXT = method("predict", (TensorType("x", DataType.STRING, ()),), (TensorType("y", DataType.STRING, ()),))


def call(asked: Asked, **request: Any) -> pb2.Response:
    """The reply to a call of gRPC."""
    answered = asked.call(GRPC_PIPELINE, pb2.Request(**request).SerializeToString())
    return pb2.Response.FromString(answered.message)


def test_the_form_of_a_reply() -> None:
    assert Asked().ask(PATH, {**BODY, "tensors": [], "logid": 7, "clientip": "1.2.3.4"}) == (200, REPLY)
    assert Asked().ask("/m.predict/prediction", BODY) == (200, REPLY)
    got = call(Asked(), **BODY)
    assert (list(got.key), list(got.value), got.err_no) == (["price"], ["[[1.0,2.0,3.5]]"], 0)


def test_the_service_of_a_call() -> None:
    both = {("a", 1): [UCI], ("b", 1): [UCI]}
    assert call(Asked(both), **BODY, name="b").err_no == 0
    assert call(Asked(both, default="b"), **BODY, method="prediction").err_no == 0
    assert call(Asked(both), **BODY).err_no == 5000
    missing = call(Asked(), **BODY, name="no")
    assert (missing.err_no, missing.err_msg) == (
        3002,
        "There is no model 'no'; GET /v1/models lists those there are",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[[1,2,3.5]]", [[1, 2, 3.5]]),
        ("[1,2,3.5]", [[1, 2, 3.5]]),
        ("[[1,2,3],[4,5,6]]", [[1, 2, 3], [4, 5, 6]]),
        ("0.0137, -.1136,\n 2.", [[0.0137, -0.1136, 2]]),
        ("1,2,3;4,5,6;", [[1, 2, 3], [4, 5, 6]]),
        (repr(np.array([[1, 2, 3.5]], np.float32)), [[1, 2, 3.5]]),
        (repr(np.array([[1, 2, 3], [4, 5, 6e-9]])), [[1, 2, 3], [4, 5, 6e-9]]),
        (repr(np.array([np.nan, np.inf, -np.inf])), [[np.nan, np.inf, -np.inf]]),
        ("np.array([1., 2., 3.], dtype='float32')", [[1, 2, 3]]),
        ("[NaN, Infinity, 1e5]", [[np.nan, np.inf, 1e5]]),
    ],
)
def test_texts_of_numbers(value: str, expected: Any) -> None:
    asked = Asked()
    assert asked.ask(PATH, {"key": ["x"], "value": [value]})[0] == 200
    [rows] = asked.dispatcher.admitted[0][0]
    assert rows.specs == (TensorSpec("x", DataType.FLOAT32, (3,)),)
    np.testing.assert_array_equal(rows.columns[0], np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("shape", "rows", "value", "expected"),
    [
        ((), True, "5", [5]),
        ((), True, "[5,6]", [5, 6]),
        ((), True, "5, 6", [5, 6]),
        (None, True, "5", [5]),
        (None, True, "[5,6]", [5, 6]),
        ((2, -1), True, "[[1],[2]]", [[[1], [2]]]),
        ((2, -1), True, "[[[1],[2]]]", [[[1], [2]]]),
        ((2,), False, "[1,2]", [[1, 2]]),
        ((), False, "7", [7]),
        ((-1,), True, "array([], dtype=float64)", np.empty((1, 0))),
    ],
)
def test_shapes_of_values(shape: Any, rows: bool, value: str, expected: Any) -> None:
    asked = Asked([method("predict", (TensorType("x", DataType.INT32, shape),), (PRICE,), rows=rows)])
    assert asked.ask(PATH, {"key": ["x"], "value": [value]})[1]["err_msg"] == ""
    [found] = asked.dispatcher.admitted[0][0]
    np.testing.assert_array_equal(found.columns[0], expected)


@pytest.mark.parametrize("value", ["[True, False]", "[true,false]", "array([ True, False])", "[1, 0]"])
def test_texts_of_bools(value: str) -> None:
    asked = Asked([method("predict", (TensorType("x", DataType.BOOL, (2,)),), (PRICE,))])
    assert asked.ask(PATH, {"key": ["x"], "value": [value]})[1]["err_msg"] == ""
    np.testing.assert_array_equal(asked.dispatcher.admitted[0][0][0].columns[0], [[True, False]])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "takes numbers, but got ''"),
        ("a,b,c", "takes numbers, but got 'a,b,c'; expected is JSON as [[1.5, 2]]"),
        ("__import__('os')", "takes numbers"),
        ("[[1,2,3]", "takes numbers"),
        ("array([1,2,3]", "takes numbers"),
        ("{}", "has an object as element 0"),
        ("[[1,2],[3]]", "nested otherwise"),
        ("[1,[2],3]", "element 1, which is no FP32"),
        ('["1","2","3"]', "which is no FP32"),
        ("[null,1,2]", "takes numbers"),
        ("[1,2]", "Input 'x' has shape [1, 2], expected [N, 3]"),
        ("7", "Input 'x' has shape [], expected [N, 3]"),
        ("[1e39,1,1]", "which is no FP32"),
        ("[" * 40 + "1" + "]" * 40, "more than 31 dimensions"),
        ("[" * 100_000, "takes numbers"),
        ("9" * 5000, "takes numbers"),
        ("[[]]", "Input 'x' has shape [1, 0], expected [N, 3]"),
        ("[]", "Input 'x' has shape [1, 0], expected [N, 3]"),
        ("\ud800", ""),
    ],
)
def test_texts_that_are_no_numbers(value: str, text: str) -> None:
    asked = Asked()
    status, reply = asked.ask(PATH, {"key": ["x"], "value": [value]})
    if value == "\ud800":  # no JSON
        assert (status, reply["code"]) == (400, 3)
        return
    assert (status, reply["err_no"], reply["key"], reply["tensors"]) == (200, 5000, [], [])
    assert text in reply["err_msg"]
    assert len(reply["err_msg"]) < 500
    assert not asked.dispatcher.admitted


def test_text_goes_as_it_is() -> None:
    for called in (TEXT, untyped("predict", ["x"], ["y"])):
        asked = Asked([called])
        for value in ("0.1, 0.2; 3", "[[1]]", "ü", ""):
            _, reply = asked.ask(PATH, {"key": ["x"], "value": [value]})
            assert (reply["err_no"], reply["value"]) == (0, [value])
            assert list(call(asked, key=["x"], value=[value]).value) == [value]


@pytest.mark.parametrize(
    ("dtype", "column", "rows", "expected"),
    [
        (DataType.STRING, [b"a"], True, "a"),
        (DataType.STRING, [b"a", b"b"], True, '["a","b"]'),
        (DataType.BYTES, ["ü".encode()], True, "ü"),
        (DataType.BYTES, [b"\xff"], True, "/w=="),
        (DataType.FLOAT32, np.array([[18.901152]], np.float32), True, "[[18.901152]]"),
        (DataType.FLOAT32, np.array([[np.nan, -np.inf]], np.float32), True, "[[NaN,-Infinity]]"),
        (DataType.FLOAT16, np.array([[0.5]], np.float16), False, "[0.5]"),
        (DataType.INT64, np.array([5]), False, "5"),
        (DataType.FLOAT64, np.array([0.5]), False, "0.5"),
        (DataType.FLOAT64, np.array([np.nan]), False, "NaN"),
        (DataType.BOOL, np.array([True]), False, "true"),
        (DataType.UINT64, np.array([2**64 - 1], np.uint64), True, "[18446744073709551615]"),
        (DataType.FLOAT32, np.zeros((1, 0), np.float32), True, "[[]]"),
    ],
)
def test_outputs_are_texts(dtype: DataType, column: Any, rows: bool, expected: str) -> None:
    shape = () if isinstance(column, list) else column.shape[1:]
    outcome = Rows((TensorSpec("y", dtype, shape),), (column,), len(column))
    called = method("predict", (HOUSE,), (TensorType("y"),), rows=rows)
    asked = Asked([called], lambda blocks: [outcome])
    value = "[[1,2,3]]" if rows else "[1,2,3]"
    _, reply = asked.ask(PATH, {"key": ["x"], "value": [value]})
    assert (reply["err_msg"], reply["value"]) == ("", [expected])


def test_a_large_output() -> None:
    values = np.arange(90_000, dtype=np.float32).reshape(1, 300, 300)
    outcome = Rows((TensorSpec("y", DataType.FLOAT32, (300, 300)),), (values,), 1)
    asked = Asked([method("predict", (HOUSE,), (TensorType("y"),))], lambda blocks: [outcome])
    reply = asked.post(PATH, BODY, accept_encoding="gzip")
    document = json.loads(gzip.decompress(reply.body))
    np.testing.assert_array_equal(json.loads(document["value"][0]), values)


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_tensors() -> None:
    array = np.array([[1, 2, 3.5]], np.float32)
    sent = [
        {"name": "x", "elem_type": 1, "shape": [1, 3], "float_data": [1, 2, 3.5]},
        {"name": "input_0", "elem_type": 13, "byte_data": saved(array)},
        {"name": "x", "elem_type": 13, "byte_data": saved(np.asfortranarray(array))},
        {"name": "x", "elem_type": 13, "byte_data": saved(array.astype(">f4"))},
    ]
    for tensor in sent:
        got = call(Asked(), tensors=[pb2.Tensor(**tensor)])
        assert (got.err_msg, list(got.value)) == ("", ["[[1.0,2.0,3.5]]"])
        named = dict(tensor)
        if "byte_data" in named:
            named["byte_data"] = base64.b64encode(named["byte_data"]).decode()
        assert Asked().ask(PATH, {"tensors": [named]}) == (200, REPLY)
    text = {"name": "x", "elem_type": 12, "str_data": ["a", "bc"]}
    assert list(call(Asked([TEXT]), tensors=[pb2.Tensor(**text)]).value) == ["abc"]
    assert Asked([TEXT]).ask(PATH, {"tensors": [text]})[1]["value"] == ["abc"]


def test_keys_and_tensors_together() -> None:
    asked = Asked([method("predict", (HOUSE, TensorType("y", DataType.INT32, ())), (PRICE, TensorType("z")))])
    tensor = {"name": "x", "elem_type": 1, "shape": [2, 3], "float_data": [1] * 6}
    _, reply = asked.ask(
        PATH, {"key": ["y", "pipeline.profile"], "value": ["[7, 8]", "1"], "tensors": [tensor]}
    )
    assert (reply["err_msg"], reply["value"][1]) == ("", "[7,8]")


@pytest.mark.parametrize(
    ("body", "number", "text"),
    [
        (b"", 5000, "Input 'x' is missing, inputs are x"),
        ({}, 5000, "Input 'x' is missing"),
        ({"unknown": 1}, 5000, "Input 'x' is missing"),
        ({"key": ["y"], "value": ["1"]}, 5000, "Key 'y' is no input of the method, inputs are x"),
        ({"key": ["x", "x"], "value": ["[1,2,3]", "[1,2,3]"]}, 5000, "Input 'x' is there more than once"),
        ({"key": ["x"], "value": []}, 8000, "The request has 1 keys and 0 values, expected one value"),
        ({"key": [], "value": ["1"]}, 8000, "The request has 0 keys and 1 values"),
        ({"key": "x", "value": ["1"]}, 5000, "key of the request should be a list"),
        ({"key": ["x"], "value": [1]}, 5000, "value of the request should be strings, but element 0"),
        ({"key": ["x"], "value": [[1]]}, 5000, "but element 0 is a list"),
        (
            {"tensors": [{"name": "x", "elem_type": 13, "byte_data": "AAAA"}]},
            5000,
            "is no array as numpy.save",
        ),
        ({"tensors": [{"name": "x", "elem_type": 13}]}, 5000, "is no array as numpy.save"),
        (
            {"tensors": [{"name": "x", "elem_type": 1, "shape": [1, 3]}]},
            5000,
            "has 0 elements of data, expected 3",
        ),
    ],
)
def test_wrong_requests(body: Any, number: int, text: str) -> None:
    asked = Asked()
    reply = asked.post(PATH, body)
    document = json.loads(reply.body)
    assert (reply.status, document["err_no"]) == (200, number)
    assert text in document["err_msg"]
    assert not asked.dispatcher.admitted
    if number == 8000:
        assert reply.failures
        assert call(asked, **body).err_no == 8000


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"[1]", b"\xff", b"1"])
def test_what_is_no_json(body: bytes) -> None:
    reply = Asked().post(PATH, body)
    document = json.loads(reply.body)
    assert (reply.status, document["code"], document["details"]) == (400, 3, [])
    assert document["error"] == document["message"]
    assert reply.failures


@pytest.mark.parametrize(
    ("error", "status", "number", "grpc"),
    [
        (InvalidInput("wrong"), 200, 5000, None),
        (StageError("boom"), 200, 10000, None),
        (QueueFull("full"), 429, 3000, GrpcStatus.RESOURCE_EXHAUSTED),
        (ServableUnavailable("gone"), 503, 3000, GrpcStatus.UNAVAILABLE),
        (DeadlineExceeded("late"), 504, 6000, GrpcStatus.DEADLINE_EXCEEDED),
    ],
)
def test_what_has_failed(error: Any, status: int, number: int, grpc: GrpcStatus | None) -> None:
    failed = [FailedRows(error.failure(), 1)]
    for outcome in (lambda blocks: error, lambda blocks: failed):
        expected = {"err_no": number, "err_msg": str(error), "key": [], "value": [], "tensors": []}
        assert Asked(outcome=outcome).ask(PATH, BODY) == (status, expected)
        if grpc is None:
            answered = Asked(outcome=outcome).call(GRPC_PIPELINE, pb2.Request(**BODY).SerializeToString())
            assert pb2.Response.FromString(answered.message).err_no == number
            assert answered.failures
        else:
            with pytest.raises(GrpcError) as raised:
                call(Asked(outcome=outcome), **BODY)
            assert raised.value.status is grpc


def test_a_service_is_its_method_predict() -> None:
    asked = Asked([method("first", (HOUSE,), (TensorType("other"),)), UCI])
    assert asked.ask(PATH, BODY) == (200, REPLY)
    assert asked.ask("/m.first/prediction", BODY)[1]["key"] == ["other"]


def test_no_such_service() -> None:
    status, reply = Asked().ask("/no/prediction", BODY)
    assert (status, reply["err_no"]) == (200, 3002)
    assert reply["err_msg"].startswith("There is no model 'no'")


def test_bytes_that_are_no_message() -> None:
    with pytest.raises(GrpcError, match="Unable to parse request"):
        Asked().call(GRPC_PIPELINE, b"\x0a\xff")


def test_large_values_of_a_call() -> None:
    text = "[" + "1.5," * 3_000_000 + "1]"
    got = call(Asked(), key=["x"], value=[text])
    assert got.err_no == 5000
    assert "expected at most 8388608; send large inputs in tensors" in got.err_msg
    call_ = FakeCall()
    message = pb2.Request(key=["x"], value=["[[1,2,3]]" + " " * 100_000]).SerializeToString()
    assert pb2.Response.FromString(Asked().call(GRPC_PIPELINE, message, call_).message).err_no == 0
    assert call_.counted_sizes == [len(message)]
