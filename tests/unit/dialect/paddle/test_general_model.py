"""GeneralModelService: what is asked and answered, as JSON and as messages."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import numpy as np
import orjson
import pytest

from mindspore_serving.errors import (
    DeadlineExceeded,
    Failure,
    InvalidInput,
    ModelError,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    StageError,
)
from mindspore_serving.proto.foreign import paddle_general_model_pb2 as pb2
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.dialect.paddle.tensors import known_of
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcStatus
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import NUMPY_OF, DataType, TensorSpec
from tests.unit.dialect.grpc_calls import FakeCall
from tests.unit.dialect.open_inference.fake_service import method, untyped
from tests.unit.dialect.paddle.asking import GENERAL, GRPC_GENERAL, HOUSE, PRICE, UCI, Asked

TENSOR = {"float_data": [1, 2, 3.5], "elem_type": 1, "name": "input_0", "alias_name": "x", "shape": [1, 3]}
BODY = {"tensor": [TENSOR], "fetch_var_names": ["price"], "log_id": 0}
REPLY = {
    "outputs": [
        {
            "tensor": [
                {
                    "float_data": [1.0, 2.0, 3.5],
                    "elem_type": 1,
                    "shape": [1, 3],
                    "name": "fc_0.tmp_1",
                    "alias_name": "price",
                }
            ],
            "engine_name": "general_infer_0",
        }
    ]
}


def request(**more: Any) -> pb2.Request:
    tensor = pb2.Tensor(float_data=[1, 2, 3.5], elem_type=1, name="input_0", alias_name="x", shape=[1, 3])
    return pb2.Request(**{"tensor": [tensor], "fetch_var_names": ["price"], **more})


def test_the_form_of_a_reply() -> None:
    assert Asked().ask(GENERAL, BODY) == (200, REPLY)
    assert Asked().ask("/GeneralModelService/debug", BODY) == (200, REPLY)


@pytest.mark.parametrize("fetch", [None, [], ["price"], ["fc_0.tmp_1"]])
def test_outputs_that_are_asked_for(fetch: Any) -> None:
    assert Asked().ask(GENERAL, {**BODY, "fetch_var_names": fetch}) == (200, REPLY)


def test_outputs_come_in_the_order_in_which_they_are_asked_for() -> None:
    called = method("predict", (HOUSE, TensorType("y", DataType.FLOAT32, (3,))), (PRICE, TensorType("b")))
    asked = Asked([called])
    body = {"tensor": [TENSOR, {**TENSOR, "name": "y", "alias_name": "", "float_data": [7, 8, 9]}]}
    _, reply = asked.ask(GENERAL, {**body, "fetch_var_names": ["b", "price"]})
    assert [one["alias_name"] for one in reply["outputs"][0]["tensor"]] == ["b", "price"]
    assert [one["float_data"] for one in reply["outputs"][0]["tensor"]] == [[7, 8, 9], [1, 2, 3.5]]
    _, reply = asked.ask(GENERAL, body)
    assert [one["alias_name"] for one in reply["outputs"][0]["tensor"]] == ["price", "b"]


@pytest.mark.parametrize("names", [("x", ""), ("", "x"), ("input_0", "other"), ("other", "input_0")])
def test_either_name_of_an_input(names: tuple[str, str]) -> None:
    name, alias = names
    assert Asked().ask(GENERAL, {"tensor": [{**TENSOR, "name": name, "alias_name": alias}]}) == (200, REPLY)


def test_the_rows_that_run() -> None:
    asked = Asked()
    asked.ask(GENERAL, {"tensor": [{**TENSOR, "float_data": [1, 2, 3, 4, 5, 6], "shape": [2, 3]}]})
    [(blocks, timeout_s, priority, parameters)] = asked.dispatcher.admitted
    [rows] = blocks
    assert rows.specs == (TensorSpec("x", DataType.FLOAT32, (3,)),)
    assert rows.count == 2
    np.testing.assert_array_equal(rows.columns[0], [[1, 2, 3], [4, 5, 6]])
    assert (timeout_s, priority, parameters) == (None, 0, None)


def test_the_time_that_a_client_gives() -> None:
    asked = Asked()
    asked.post(GENERAL, BODY, x_request_timeout_ms="1500")
    assert asked.dispatcher.admitted[0][1] == 1.5
    status, reply = asked.ask(GENERAL, BODY, x_request_timeout_ms="soon")
    assert (status, "soon" in reply["err_msg"]) == (400, True)


@pytest.mark.parametrize(
    ("number", "field", "values", "dtype"),
    [
        (0, "int64_data", [-(2**62), 5], DataType.INT64),
        (1, "float_data", [0.1, -2], DataType.FLOAT32),
        (2, "int_data", [-5, 2**31 - 1], DataType.INT32),
        (3, "float64_data", [0.1, 1e300], DataType.FLOAT64),
        (4, "int_data", [-5, 32767], DataType.INT16),
        (5, "float_data", [0.5, -2], DataType.FLOAT16),
        (7, "uint32_data", [0, 255], DataType.UINT8),
        (8, "int_data", [-128, 127], DataType.INT8),
        (9, "bool_data", [True, False], DataType.BOOL),
    ],
)
def test_types_of_elements(number: int, field: str, values: list[Any], dtype: DataType) -> None:
    known = TensorType("x", dtype, (2,)), TensorType("y", dtype, (2,))
    asked = Asked([method("predict", known[:1], known[1:])])
    raw = np.array([values], NUMPY_OF[dtype])
    tensor = {"elem_type": number, "name": "x", "shape": [1, 2]}
    content = base64.b64encode(raw.tobytes()).decode()
    for sent in ({field: values}, {"tensor_content": content}):
        status, reply = asked.ask(GENERAL, {"tensor": [{**tensor, **sent}]})
        assert status == 200, reply
        np.testing.assert_array_equal(asked.dispatcher.admitted[-1][0][0].columns[0], raw)
        [got] = reply["outputs"][0]["tensor"]
        assert got.get("elem_type", 0) == number
        if dtype in (DataType.FLOAT16, DataType.UINT8, DataType.INT8):
            assert base64.b64decode(got["tensor_content"]) == raw.tobytes()
        else:
            assert got[field] == pytest.approx(values)
    message = pb2.Request(tensor=[pb2.Tensor(**tensor, **{field: values})])
    answered = pb2.Response.FromString(asked.call(GRPC_GENERAL, message.SerializeToString()).message)
    np.testing.assert_array_equal(asked.dispatcher.admitted[-1][0][0].columns[0], raw)
    [out] = answered.outputs[0].tensor
    assert (out.elem_type, list(out.shape), out.name) == (number, [1, 2], "y")
    if dtype in (DataType.FLOAT16, DataType.UINT8, DataType.INT8):
        assert out.tensor_content == raw.tobytes()
    else:
        assert list(getattr(out, field)) == pytest.approx(values)


def test_text() -> None:
    known = TensorType("x", DataType.STRING, ()), TensorType("y", DataType.STRING, ())
    asked = Asked([method("predict", known[:1], known[1:])])
    texts = ["ü", "", "b" * 300]
    for shape in ([3], [3, 1]):
        tensor = {"elem_type": 20, "name": "x", "shape": shape, "data": texts}
        status, reply = asked.ask(GENERAL, {"tensor": [tensor]})
        assert (status, reply["outputs"][0]["tensor"][0]["data"]) == (200, texts)
        assert reply["outputs"][0]["tensor"][0]["shape"] == [3]
        message = pb2.Request(tensor=[pb2.Tensor(**tensor)]).SerializeToString()
        answered = pb2.Response.FromString(asked.call(GRPC_GENERAL, message).message)
        assert list(answered.outputs[0].tensor[0].data) == texts


def test_bytes_are_text_or_nothing() -> None:
    y = TensorType("y", DataType.BYTES, ())
    called = method("predict", (TensorType("x"),), (y,))

    def outcome(value: bytes) -> Any:
        return lambda blocks: [Rows((TensorSpec("y", DataType.BYTES, ()),), ([value],), 1)]

    body = {"tensor": [{"elem_type": 20, "name": "x", "shape": [1], "data": ["a"]}]}
    status, reply = Asked([called], outcome("ü".encode())).ask(GENERAL, body)
    assert (status, reply["outputs"][0]["tensor"][0]["data"]) == (200, ["ü"])
    status, reply = Asked([called], outcome(b"\xff")).ask(GENERAL, body)
    assert status == 501
    assert "bytes that are no text" in reply["err_msg"]


def test_a_type_that_paddle_serving_has_not() -> None:
    y = TensorType("y", DataType.UINT16, ())
    outcome = Rows((TensorSpec("y", DataType.UINT16, ()),), (np.array([1], "<u2"),), 1)
    status, reply = Asked([method("predict", (HOUSE,), (y,))], lambda blocks: [outcome]).ask(
        GENERAL, {"tensor": [TENSOR]}
    )
    assert status == 501
    assert reply["err_msg"].startswith("Output 'y' is UINT16, which Paddle Serving has no type")


def test_a_method_of_which_nothing_is_known_takes_tensors_as_one_instance() -> None:
    asked = Asked([untyped("echo", ["x"], ["y"])])
    status, reply = asked.ask(GENERAL, {"tensor": [{**TENSOR, "shape": [1, 3]}]})
    assert status == 200
    [rows] = asked.dispatcher.admitted[0][0]
    assert (rows.count, rows.specs[0].shape) == (1, (1, 3))
    assert reply["outputs"][0]["tensor"][0]["shape"] == [1, 3]


def test_a_value_that_rows_have_in_common() -> None:
    shared = TensorType("s", DataType.INT32, (2,), shared=True)
    asked = Asked([method("predict", (HOUSE, shared), (PRICE, TensorType("t")))])
    both = [
        {**TENSOR, "float_data": [0] * 6, "shape": [2, 3]},
        {"elem_type": 2, "int_data": [7, 8], "name": "s", "shape": [2]},
    ]
    assert asked.ask(GENERAL, {"tensor": both})[0] == 200
    [rows] = asked.dispatcher.admitted[0][0]
    assert rows.count == 2
    np.testing.assert_array_equal(rows.columns[1], [[7, 8], [7, 8]])


def test_log_id_and_times() -> None:
    status, reply = Asked().ask(GENERAL, {**BODY, "log_id": 2**64 - 1, "profile_server": True})
    assert (status, reply["log_id"], reply["profile_server"]) == (200, 2**64 - 1, True)
    begin, end = reply["profile_time"]
    assert 0 < begin <= end
    assert Asked().ask(GENERAL, {**BODY, "log_id": "12"})[1]["log_id"] == 12
    message = request(log_id=2**64 - 1, profile_server=True).SerializeToString()
    answered = pb2.Response.FromString(Asked().call(GRPC_GENERAL, message).message)
    assert (answered.log_id, len(answered.profile_time)) == (2**64 - 1, 2)


def test_numbers_that_are_not_finite() -> None:
    body = b'{"tensor": [{"float_data": [NaN, Infinity, -Infinity], "elem_type": 1, "name": "x", "shape": [1, 3]}]}'
    reply = Asked().post(GENERAL, body)
    assert b'"float_data":[NaN,Infinity,-Infinity]' in reply.body


def test_messages_over_http() -> None:
    reply = Asked().post(GENERAL, request(log_id=7).SerializeToString(), content_type="application/proto")
    assert (reply.status, reply.content_type) == (200, "application/proto")
    answered = pb2.Response.FromString(reply.body)
    assert answered.log_id == 7
    [tensor] = answered.outputs[0].tensor
    assert answered.outputs[0].engine_name == "general_infer_0"
    assert (tensor.name, tensor.alias_name, list(tensor.shape)) == ("fc_0.tmp_1", "price", [1, 3])
    assert list(tensor.float_data) == [1, 2, 3.5]
    reply = Asked().post(GENERAL, b"\x0a\xff", content_type="application/proto; charset=x")
    assert (reply.status, reply.content_type) == (400, "application/proto")
    answered = pb2.Response.FromString(reply.body)
    assert answered.err_no == -5000
    assert answered.err_msg.startswith("The body is no Request of protobuf")


def test_compressed() -> None:
    known = TensorType("x", DataType.FLOAT32, (999,)), TensorType("y", DataType.FLOAT32, (999,))
    asked = Asked([method("predict", known[:1], known[1:])])
    body = json.dumps(
        {"tensor": [{"float_data": [1.5] * 999, "elem_type": 1, "name": "x", "shape": [1, 999]}]}
    ).encode()
    reply = asked.post(GENERAL, gzip.compress(body), content_encoding="gzip", accept_encoding="gzip")
    assert ("Content-Encoding", "gzip") in reply.headers
    assert json.loads(gzip.decompress(reply.body))["outputs"][0]["tensor"][0]["float_data"] == [1.5] * 999
    assert asked.post(GENERAL, b"no gzip", content_encoding="gzip").status == 400
    assert asked.post(GENERAL, body, content_encoding="br").status == 415


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        ([], "should be a JSON object with 'tensor', but is a list"),
        ({}, "Input 'x' is missing, inputs are x"),
        ({"tensor": None}, "Input 'x' is missing"),
        ({"tensor": {}}, "tensor of the request should be a list, but is an object"),
        ({"tensor": [1]}, "tensor 0 should be an object, but is a number"),
        ({"tensor": [TENSOR, TENSOR]}, "Input 'x' is there more than once"),
        (
            {"tensor": [{**TENSOR, "name": "z", "alias_name": ""}]},
            "Tensor 'z' is no input of the method, inputs are x",
        ),
        ({"tensor": [{**TENSOR, "name": 1}]}, "name of tensor 0 should be a string, but is a number"),
        ({"tensor": [{**TENSOR, "shape": [1, "3"]}]}, "shape of tensor 0 should be a list of integers"),
        ({"tensor": [{**TENSOR, "shape": [1, 3.0]}]}, "shape of tensor 0 should be a list of integers"),
        ({"tensor": [{**TENSOR, "shape": [1, 2**31]}]}, "shape of tensor 0 should be a list of integers"),
        ({"tensor": [{**TENSOR, "shape": [1] * 2000}]}, "shape of tensor 0 should be a list of integers"),
        ({"tensor": [{**TENSOR, "shape": [1] * 40}]}, "Input 'x' has 40 dimensions"),
        ({"tensor": [{**TENSOR, "shape": [1, 4]}]}, "Input 'x' has 3 elements of data, expected 4"),
        ({"tensor": [{**TENSOR, "shape": [1, -3]}]}, "in which a size is negative"),
        ({"tensor": [{**TENSOR, "shape": [2**31 - 1] * 3}]}, "which is too large"),
        ({"tensor": [{**TENSOR, "shape": []}]}, "Input 'x' has 3 elements of data, expected 1"),
        (
            {"tensor": [{**TENSOR, "shape": [3]}]},
            "has shape [3], expected [N, 3], of which the first size counts",
        ),
        ({"tensor": [{**TENSOR, "shape": [3, 1]}]}, "Input 'x' has shape [3, 1], expected [N, 3]"),
        ({"tensor": [{**TENSOR, "shape": [0, 3], "float_data": []}]}, "The tensors have no rows"),
        ({"tensor": [{**TENSOR, "lod": [0, 3]}]}, "Input 'x' has lod, which is not supported"),
        ({"tensor": [{**TENSOR, "lod": 3}]}, "lod of tensor 0 should be a list"),
        (
            {"tensor": [{**TENSOR, "elem_type": 6}]},
            "Input 'x' has elem_type 6, expected one of 0 INT64, 1 FP32",
        ),
        ({"tensor": [{**TENSOR, "elem_type": -1}]}, "elem_type of tensor 0 should be an integer from 0"),
        ({"tensor": [{**TENSOR, "elem_type": True}]}, "elem_type of tensor 0 should be an integer from 0"),
        ({"tensor": [{**TENSOR, "elem_type": 0}]}, "Input 'x' takes FP32, but got INT64"),
        ({"tensor": [{**TENSOR, "elem_type": 3}]}, "Input 'x' takes FP32, but got FP64"),
        ({"tensor": [{**TENSOR, "elem_type": 20}]}, "Input 'x' takes FP32, but got STRING"),
        ({"tensor": [{**TENSOR, "float_data": [1, 2, "3"]}]}, "has '3' as element 2, which is no FP32"),
        ({"tensor": [{**TENSOR, "float_data": [1, 2, None]}]}, "has null as element 2, which is no FP32"),
        ({"tensor": [{**TENSOR, "float_data": [[1, 2, 3]]}]}, "Input 'x' has 1 elements of data, expected 3"),
        ({"tensor": [{**TENSOR, "float_data": [1, 2, 1e39]}]}, "has 1e+39 as element 2, which is no FP32"),
        ({"tensor": [{**TENSOR, "float_data": "123"}]}, "float_data of tensor 0 should be a list"),
        (
            {"tensor": [{**TENSOR, "tensor_content": "!"}]},
            "tensor_content of tensor 0 is '!', which is not base64",
        ),
        (
            {"tensor": [{**TENSOR, "tensor_content": "AAAA"}]},
            "has elements in float_data and in tensor_content",
        ),
        (
            {"tensor": [{**TENSOR, "float_data": [], "tensor_content": "AAAA"}]},
            "Input 'x' has 3 bytes of data, expected 12",
        ),
        (
            {"tensor": [{**TENSOR, "float_data": [], "int_data": [1, 2, 3]}]},
            "Input 'x' of elem_type 1 has elements in int_data, expected float_data or tensor_content",
        ),
        ({**BODY, "fetch_var_names": ["no"]}, "fetch_var_names has 'no', outputs are price"),
        ({**BODY, "fetch_var_names": [""]}, "fetch_var_names has '', outputs are price"),
        (
            {**BODY, "fetch_var_names": ["price", "fc_0.tmp_1"]},
            "fetch_var_names has 'fc_0.tmp_1' more than once",
        ),
        ({**BODY, "fetch_var_names": "price"}, "fetch_var_names of the request should be a list"),
        ({**BODY, "fetch_var_names": [1]}, "should be strings, but element 0 is a number"),
        ({**BODY, "log_id": -1}, "log_id of the request should be an integer from 0"),
        ({**BODY, "log_id": 2**64}, "log_id of the request should be an integer from 0"),
        ({**BODY, "log_id": []}, "but is a list"),
    ],
)
def test_what_is_no_request(body: Any, text: str) -> None:
    asked = Asked()
    status, reply = asked.ask(GENERAL, body)
    assert (status, reply["err_no"]) == (400, -5000)
    assert text in reply["err_msg"]
    assert not asked.dispatcher.admitted


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"shape": [2, 2], "data": ["a", "b", "c", "d"]}, "has shape [2, 2], expected [N] or [N, 1]"),
        ({"shape": []}, "has shape [], expected [N] or [N, 1]"),
        ({"shape": [2]}, "Input 'x' has 1 texts of data, expected 2"),
        ({"data": [1]}, "Input 'x' has an element that is no text"),
        ({"elem_type": 1, "data": [], "float_data": [1]}, "Input 'x' takes STRING, but got FP32"),
    ],
)
def test_what_is_no_text(changed: Any, text: str) -> None:
    known = TensorType("x", DataType.STRING, ())
    tensor = {"elem_type": 20, "name": "x", "shape": [1], "data": ["a"], **changed}
    status, reply = Asked([method("predict", (known,), (known,))]).ask(GENERAL, {"tensor": [tensor]})
    assert status == 400
    assert text in reply["err_msg"]


@pytest.mark.parametrize(
    ("number", "field", "value", "dtype"),
    [
        (4, "int_data", 32768, DataType.INT16),
        (8, "int_data", -129, DataType.INT8),
        (7, "uint32_data", 256, DataType.UINT8),
        (5, "float_data", 70000, DataType.FLOAT16),
    ],
)
def test_numbers_out_of_range(number: int, field: str, value: Any, dtype: DataType) -> None:
    asked = Asked([method("predict", (TensorType("x", dtype, (2,)),), (PRICE,))])
    tensor = {"elem_type": number, "name": "x", "shape": [1, 2], field: [1, value]}
    status, reply = asked.ask(GENERAL, {"tensor": [tensor]})
    assert status == 400
    assert f"has {value}" in reply["err_msg"].replace(".0 ", " ")
    assert "as element 1, which is out of the range of" in reply["err_msg"]


def test_infinity_is_in_the_range_of_narrow_floats() -> None:
    """Infinite numbers and NaN come in wide fields, too: they are what the client means, and are not too large."""
    asked = Asked([method("predict", (TensorType("x", DataType.FLOAT16, (3,)),), (PRICE,))])
    tensor = {"elem_type": 5, "name": "x", "shape": [1, 3], "float_data": [np.inf, -np.inf, np.nan]}
    assert asked.ask(GENERAL, {"tensor": [tensor]})[0] == 200


def test_a_log_id_that_protobuf_has_no_number_for() -> None:
    status, reply = Asked().ask(GENERAL, {"tensor": [TENSOR], "log_id": str(1 << 64)})
    assert (status, "log_id of the request should be an integer from 0 to" in reply["err_msg"]) == (400, True)


def test_a_bool_of_two() -> None:
    asked = Asked([method("predict", (TensorType("x", DataType.BOOL, (1,)),), (PRICE,))])
    tensor = {"elem_type": 9, "name": "x", "shape": [1, 1], "tensor_content": "Ag=="}
    status, reply = asked.ask(GENERAL, {"tensor": [tensor]})
    assert (status, "has 2 as an element, expected 0 or 1" in reply["err_msg"]) == (400, True)


@pytest.mark.parametrize(
    ("error", "status", "number", "grpc"),
    [
        (QueueFull("full"), 429, -5000, GrpcStatus.RESOURCE_EXHAUSTED),
        (ServableUnavailable("gone"), 503, -5000, GrpcStatus.UNAVAILABLE),
        (ServerStopping(), 503, -5000, GrpcStatus.UNAVAILABLE),
        (DeadlineExceeded("late"), 504, -5000, GrpcStatus.DEADLINE_EXCEEDED),
        (InvalidInput("wrong"), 400, -5000, GrpcStatus.INVALID_ARGUMENT),
        (StageError("boom"), 500, -5100, GrpcStatus.INTERNAL),
        (ModelError("boom"), 500, -5100, GrpcStatus.INTERNAL),
        (StageError("MemoryError"), 500, -5001, GrpcStatus.INTERNAL),
    ],
)
def test_what_has_failed(error: Any, status: int, number: int, grpc: GrpcStatus) -> None:
    failed = [FailedRows(error.failure(), 1)]
    for outcome in (lambda blocks: error, lambda blocks: failed):
        for log_id in (0, 7):
            got, reply = Asked(outcome=outcome).ask(GENERAL, {**BODY, "log_id": log_id})
            assert (got, reply["err_no"], reply.get("log_id", 0)) == (status, number, log_id)
            assert reply["err_msg"] == str(error)
            assert "outputs" not in reply
        with pytest.raises(GrpcError) as raised:
            Asked(outcome=outcome).call(GRPC_GENERAL, request().SerializeToString())
        assert raised.value.status is grpc
        assert raised.value.failure.text == str(error)


def test_a_failed_request_is_for_the_log() -> None:
    failure = Failure(StageError.code, "boom", trace="here")
    reply = Asked(outcome=lambda blocks: [FailedRows(failure, 1)]).post(GENERAL, {**BODY, "log_id": 1})
    assert [one.failure.trace for one in reply.failures] == ["here"]
    assert reply.instance_count == 1


def test_no_room_is_said_before_the_body_is_read() -> None:
    asked = Asked()
    asked.dispatcher.room = QueueFull("full")
    assert asked.ask(GENERAL, b"no JSON")[0] == 429
    with pytest.raises(GrpcError, match="full"):
        asked.call(GRPC_GENERAL, b"no message")
    general = next(one for one in asked.dialect.grpc_methods if one.path == GRPC_GENERAL)
    assert general.refuses is not None
    assert general.refuses(b"") is True
    asked.dispatcher.room = None
    assert general.refuses(b"") is False


def test_several_servables() -> None:
    both = {("a", 1): [UCI], ("b", 1): [UCI]}
    status, reply = Asked(both).ask(GENERAL, BODY)
    assert status == 400
    assert "The request names no servable, and there are 2: a, b" in reply["err_msg"]
    asked = Asked(both, default="b")
    assert asked.ask(GENERAL, BODY)[0] == 200


def test_large_messages_are_counted_while_they_are_read() -> None:
    known = TensorType("x", DataType.INT64, (-1,)), TensorType("y", DataType.INT64, (-1,))
    asked = Asked([method("predict", known[:1], known[1:])])
    numbers = np.arange(-10_000, 10_000) * 999
    tensor = pb2.Tensor(int64_data=numbers.tolist(), elem_type=0, name="x", shape=[1, len(numbers)])
    message = pb2.Request(tensor=[tensor]).SerializeToString()
    call = FakeCall()
    answered = pb2.Response.FromString(asked.call(GRPC_GENERAL, message, call).message)
    assert (call.counted_sizes, call.arriving) == ([len(message)], 0)
    assert (asked.dispatcher.most_held, asked.dispatcher.held) == (1, 0)
    np.testing.assert_array_equal(list(answered.outputs[0].tensor[0].int64_data), numbers)
    with pytest.raises(GrpcError, match="no room"):
        asked.call(GRPC_GENERAL, message, FakeCall(has_room=False))
    with pytest.raises(GrpcError, match="Sent message larger than max") as raised:
        asked.call(GRPC_GENERAL, message, FakeCall(largest_reply=1 << 10))
    assert raised.value.status is GrpcStatus.RESOURCE_EXHAUSTED


def test_a_large_reply_is_written_while_others_have_their_turns() -> None:
    known = TensorType("x", DataType.FLOAT32, (-1,)), TensorType("y", DataType.FLOAT32, (-1,))
    asked = Asked([method("predict", known[:1], known[1:])])
    values = np.arange(100_000, dtype=np.float32)
    values[50_000] = np.nan
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def scenario() -> Any:
        body = {
            "tensor": [
                {"elem_type": 1, "name": "x", "shape": [1, 100_000], "tensor_content": _base64(values)}
            ]
        }
        task = asyncio.create_task(others())
        reply = await asked.posted(GENERAL, body)
        task.cancel()
        return json.loads(reply.body)

    document = asyncio.run(scenario())
    np.testing.assert_array_equal(
        np.array(document["outputs"][0]["tensor"][0]["float_data"], np.float32), values
    )
    assert turns > 4


def _base64(values: Any) -> str:
    return base64.b64encode(values.tobytes()).decode()


def test_what_is_known_crosses_processes_as_json() -> None:
    assert orjson.loads(orjson.dumps(known_of(UCI))) == {
        "inputs": [["x", "input_0", int(DataType.FLOAT32), [3], False]],
        "rows": True,
    }
