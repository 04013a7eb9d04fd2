"""Requests of each dialect, and what tells a right reply of it: none of it may be unable to fail."""

from __future__ import annotations

import base64
import struct

import numpy as np
import orjson
import pytest

from benchmarks import dialects
from benchmarks.dialect_table import NATIVE, dialect_rows, planned_dialects
from benchmarks.dialects import Inference
from benchmarks.run import Settings
from mindspore_serving.proto import ms_service_pb2 as native_pb
from mindspore_serving.proto.foreign import open_inference_pb2 as pb

X1 = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
X2 = np.full((2, 2, 2), 7, np.float32)
INFERENCE = Inference("dialects", "identity", {"x1": X1, "x2": X2}, {"y": X1})
HEAD = "Inference-Header-Content-Length"


def test_the_native_dialect_has_instances() -> None:
    over_grpc, over_rest = (dialects.native(interface, INFERENCE) for interface in ("grpc", "rest"))
    message = native_pb.PredictRequest.FromString(over_grpc.body)
    assert [np.frombuffer(one.items["x1"].data, np.float32)[0] for one in message.instances] == [0, 4]
    assert orjson.loads(over_rest.body)["instances"][1] == {"x1": X1[1].tolist(), "x2": X2[1].tolist()}
    assert (over_grpc.protocol, over_rest.path) == ("grpc", "/model/dialects:identity")
    reply = b'{"instances":[{"y":[[0,1],[2,3]]},{"y":[[4,5],[6,%d]]}]}'
    assert over_rest.is_right(reply % 7) and not over_rest.is_right(reply % 8)


def test_the_native_dialect_has_bytes_in_base64() -> None:
    request = dialects.native_bytes(INFERENCE, "content")
    assert request.path == "/model/dialects:content"
    assert orjson.loads(request.body)["instances"][0]["x1"]["b64"] == base64.b64encode(X1[0]).decode()
    rows = [{"y": {"b64": base64.b64encode(row).decode()}} for row in X1]
    assert request.is_right(orjson.dumps({"instances": rows}))
    assert not request.is_right(orjson.dumps({"instances": rows[::-1]}))


def grpc_reply(y: np.ndarray = X1, name: str = "y", datatype: str = "FP32", raw: bool = True) -> bytes:
    reply = pb.ModelInferResponse(model_name="dialects.identity", id="1")
    reply.outputs.add(name=name, datatype=datatype, shape=y.shape)
    if raw:
        reply.raw_output_contents.append(y.tobytes())
    return reply.SerializeToString()


def binary_reply(y: np.ndarray = X1, more: bytes = b"", size: int = 32) -> bytes:
    parameters = {"binary_data_size": size}
    output = {"name": "y", "datatype": "FP32", "shape": y.shape, "parameters": parameters}
    return orjson.dumps({"model_name": "a", "outputs": [output]}) + y.tobytes() + more


def json_reply(y: np.ndarray = X1, datatype: str = "FP32") -> bytes:
    output = {"name": "y", "datatype": datatype, "shape": y.shape, "data": y.ravel().tolist()}
    return orjson.dumps({"model_name": "a", "outputs": [output]})


def v1_reply(y: np.ndarray = X1) -> bytes:
    return orjson.dumps({"predictions": y.tolist()})


@pytest.mark.parametrize(
    ("dialect", "reply", "wrong"),
    [
        (
            dialects.open_inference_grpc,
            grpc_reply(),
            [
                grpc_reply(X2),
                grpc_reply(X1.reshape(8)),
                grpc_reply(name="z"),
                grpc_reply(datatype="INT32"),
                grpc_reply(raw=False),
                b"",
            ],
        ),
        (
            dialects.open_inference_binary,
            binary_reply(),
            [
                binary_reply(X2),
                binary_reply(X1.reshape(4, 2)),
                binary_reply(more=b"1234"),
                binary_reply(size=28),
                binary_reply()[:-1],
                json_reply(),
            ],
        ),
        (
            dialects.open_inference_json,
            json_reply(),
            [json_reply(X2), json_reply(X1.reshape(8)), json_reply(datatype="FP64"), binary_reply()],
        ),
        (dialects.v1, v1_reply(), [v1_reply(X2), v1_reply(X1[0]), json_reply(), b'{"predictions":[{}]}']),
    ],
)
def test_replies_are_compared_by_value(dialect, reply: bytes, wrong: list[bytes]) -> None:
    request = dialect(INFERENCE)
    assert request.is_right(reply)
    errors = [b'{"error":"no such model"}', b"no reply", b'{"error_msg":"failed"}']
    assert [one for one in (*wrong, *errors) if request.is_right(one)] == []


def test_a_grpc_request_has_raw_contents() -> None:
    request = dialects.open_inference_grpc(INFERENCE)
    message = pb.ModelInferRequest.FromString(request.body)
    assert (message.model_name, [one.name for one in message.inputs]) == ("dialects.identity", ["x1", "x2"])
    assert list(message.raw_input_contents) == [X1.tobytes(), X2.tobytes()]
    assert list(message.inputs[0].shape) == [2, 2, 2]


def test_a_binary_request_has_its_tensors_after_the_document() -> None:
    request = dialects.open_inference_binary(INFERENCE)
    size = int(request.headers[HEAD])
    document, contents = orjson.loads(request.body[:size]), request.body[size:]
    assert request.path == "/v2/models/dialects.identity/infer"
    assert document["parameters"] == {"binary_data_output": True}
    assert [one["parameters"]["binary_data_size"] for one in document["inputs"]] == [32, 32]
    assert struct.unpack("<16f", contents) == (*range(8), *[7] * 8)


def test_json_requests_have_numbers() -> None:
    oip, v1 = (dialect(INFERENCE) for dialect in (dialects.open_inference_json, dialects.v1))
    first, _ = orjson.loads(oip.body)["inputs"]
    assert first == {"name": "x1", "shape": [2, 2, 2], "datatype": "FP32", "data": list(range(8))}
    assert HEAD not in oip.headers
    assert v1.path == "/v1/models/dialects:predict"
    document = orjson.loads(v1.body)
    assert document["signature_name"] == "identity"
    assert document["instances"][0] == {"x1": [[0, 1], [2, 3]], "x2": [[7, 7], [7, 7]]}


def test_each_row_begins_with_the_native_dialect() -> None:
    rows = dialect_rows()
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert next(iter(row.requests)) == NATIVE
        assert {request.protocol for request in row.requests.values()} == {row.protocol}


def test_rows_are_planned() -> None:
    settings = Settings(3, 1.0, [1, 8, 32, 128], "tools", only="rest image")
    assert [(row.name, counts) for row, counts in planned_dialects(settings)] == [
        ("REST image float32 in base64, 1 row", [1, 8, 32]),
        ("REST image float32 as numbers, 1 row", [1, 8]),
    ]
