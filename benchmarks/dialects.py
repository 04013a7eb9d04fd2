"""The same tensors as a request of each dialect, and what the replies of each say.

What stands in a reply is read with the generated classes, or with a JSON parser. All arrays are float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from google.protobuf.message import DecodeError

from benchmarks.messages import Request, native_request
from mindspore_serving.proto.foreign import open_inference_pb2

Tensors = Mapping[str, npt.NDArray[np.float32]]

GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
_DATATYPE = "FP32"
_ID = "1"
"""Servers that would make up an id for each reply give this one back, so that all replies are the same bytes."""
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, DecodeError)


@dataclass(frozen=True)
class Inference:
    """What is asked for, whatever the dialect.

    Attributes:
        servable: Its name.
        method: Its method.
        inputs: Arrays of shape [N, ...]: N rows, which the native dialect calls instances.
        results: What has to come back, likewise.
    """

    servable: str
    method: str
    inputs: Tensors
    results: Tensors

    @property
    def model(self) -> str:
        """How the Open Inference Protocol calls the method."""
        return f"{self.servable}.{self.method}"

    @property
    def path(self) -> str:
        """Where the Open Inference Protocol asks for it over REST."""
        return f"/v2/models/{self.model}/infer"


def native(interface: str, inference: Inference) -> Request:
    """As MindSpore Serving's own clients ask; `interface` is `grpc`, `rest`, or `rest b64` with arrays in base64."""
    instances, results = _rows(inference.inputs), _rows(inference.results)
    return native_request(interface, inference.servable, inference.method, instances, results)


def native_bytes(inference: Inference, method: str) -> Request:
    """With arrays in base64 both ways: a method that gives back each row as bytes."""
    results = [{name: row.tobytes() for name, row in one.items()} for one in _rows(inference.results)]
    return native_request("rest b64", inference.servable, method, _rows(inference.inputs), results)


def open_inference_grpc(inference: Inference) -> Request:
    """ModelInfer with raw contents, as tritonclient sends it."""
    message = open_inference_pb2.ModelInferRequest(model_name=inference.model, id=_ID)
    for name, array in inference.inputs.items():
        message.inputs.add(name=name, datatype=_DATATYPE, shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    return Request("grpc", GRPC_PATH, message.SerializeToString(), _checked(_read_grpc, inference.results))


def open_inference_binary(inference: Inference) -> Request:
    """A JSON document with the bytes of the tensors after it, both ways, as tritonclient sends it over REST."""
    inputs = [
        {**_described(name, array), "parameters": {"binary_data_size": array.nbytes}}
        for name, array in inference.inputs.items()
    ]
    document = orjson.dumps({"id": _ID, "inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(document)),
    }
    body = document + b"".join(array.tobytes() for array in inference.inputs.values())
    return Request("rest", inference.path, body, _checked(_read_binary, inference.results), headers)


def open_inference_json(inference: Inference) -> Request:
    """A JSON document with the numbers of each tensor in one list."""
    inputs = [
        {**_described(name, array), "data": array.ravel().tolist()}
        for name, array in inference.inputs.items()
    ]
    body = orjson.dumps({"id": _ID, "inputs": inputs})
    return Request("rest", inference.path, body, _checked(_read_json, inference.results))


def v1(inference: Inference) -> Request:
    """Rows, as TensorFlow Serving and KServe v1 know them; the method has one output, whose name a reply leaves out."""
    instances = [{name: row.tolist() for name, row in one.items()} for one in _rows(inference.inputs)]
    body = orjson.dumps({"signature_name": inference.method, "instances": instances})
    [output] = inference.results

    def read(reply: bytes) -> Tensors:
        return {output: np.array(orjson.loads(reply)["predictions"], np.float32)}

    path = f"/v1/models/{inference.servable}:predict"
    return Request("rest", path, body, _checked(read, inference.results))


def _rows(tensors: Tensors) -> Sequence[Tensors]:
    return [dict(zip(tensors, row, strict=True)) for row in zip(*tensors.values(), strict=True)]


def _described(name: str, array: npt.NDArray[np.float32]) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": _DATATYPE}


def _checked(read: Callable[[bytes], Tensors], results: Tensors) -> Callable[[bytes], bool]:
    """Whether what a function reads from a reply is right; a reply that it cannot read is not."""

    def is_right(reply: bytes) -> bool:
        try:
            found = read(reply)
        except _UNREADABLE:
            return False
        return found.keys() == results.keys() and all(
            np.array_equal(found[name], results[name]) for name in results
        )

    return is_right


def _read_grpc(reply: bytes) -> Tensors:
    message = open_inference_pb2.ModelInferResponse.FromString(reply)
    return {
        output.name: _array(content, output.datatype, output.shape)
        for output, content in zip(message.outputs, message.raw_output_contents, strict=True)
    }


def _read_binary(reply: bytes) -> Tensors:
    # The document ends where its last brace is closed; in latin-1 characters count as bytes.
    document, end = json.JSONDecoder().raw_decode(reply.decode("latin-1"))
    found, contents = {}, memoryview(reply)[end:]
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = _array(contents[:size], output["datatype"], output["shape"])
        contents = contents[size:]
    if contents:
        raise ValueError(f"{len(contents)} bytes belong to no output")
    return found


def _read_json(reply: bytes) -> Tensors:
    return {
        output["name"]: _array(np.array(output["data"], np.float32), output["datatype"], output["shape"])
        for output in orjson.loads(reply)["outputs"]
    }


def _array(content: Any, datatype: str, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    if datatype != _DATATYPE:
        raise ValueError(f"expected {_DATATYPE}, got {datatype}")
    return np.frombuffer(content, np.float32).reshape(tuple(shape))
