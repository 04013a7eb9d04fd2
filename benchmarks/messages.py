"""Instances as the bytes of a request, and replies as values, for both interfaces.

Arrays, text and bytes are values. What stands in a reply is read with the generated classes, and with a JSON parser,
not with our client: what the benchmark believes should not depend on the code that it measures.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from benchmarks.connections import JSON_HEADERS
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, DataType

Instances = Sequence[Mapping[str, Any]]

GRPC_PATH = "/mindspore.serving.proto.MSService/Predict"


@dataclass(frozen=True)
class Request:
    """One kind of request, and what tells a right reply to it.

    Attributes:
        protocol: `grpc` or `rest`.
        path: For gRPC, of the method.
        body: The serialized message, or the HTTP body.
        is_right: Whether the bytes of a reply hold the right values.
        headers: Of HTTP, beside `Host` and `Content-Length`; gRPC has its own.
    """

    protocol: str
    path: str
    body: bytes
    is_right: Callable[[bytes], bool]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)


def native_request(
    interface: str, servable: str, method: str, instances: Instances, results: Instances
) -> Request:
    """A request of MindSpore Serving's own clients.

    Args:
        interface: As of `request_bytes`.
        servable: Its name.
        method: Its method.
        instances: As of `request_bytes`.
        results: What is right, an output name to a value for each instance.
    """
    protocol = interface.split()[0]
    body = request_bytes(interface, servable, method, instances)
    is_right = functools.partial(is_reply, protocol, expected=results)
    return Request(protocol, path_of(protocol, servable, method), body, is_right)


def path_of(interface: str, servable: str, method: str) -> str:
    """Where a method is asked for."""
    return GRPC_PATH if interface == "grpc" else f"/model/{servable}:{method}"


def request_bytes(interface: str, servable: str, method: str, instances: Instances) -> bytes:
    """A serialized PredictRequest, or a JSON document.

    Args:
        interface: `grpc`; `rest`, with arrays as lists; `rest b64`, with arrays in base64.
        servable: Its name.
        method: Its method.
        instances: Input name to array, text or bytes.
    """
    if interface != "grpc":
        in_base64 = interface == "rest b64"
        shown = [{key: _json(value, in_base64) for key, value in one.items()} for one in instances]
        return orjson.dumps({"instances": shown})
    spec = ms_service_pb2.ServableSpec(name=servable, method_name=method)
    message = ms_service_pb2.PredictRequest(servable_spec=spec)
    for instance in instances:
        items = message.instances.add().items
        for name, value in instance.items():
            _fill(items[name], value)
    return message.SerializeToString()


def _json(value: Any, in_base64: bool) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return value
    if in_base64:
        data = base64.b64encode(value.tobytes()).decode()
        return {"b64": data, "type": value.dtype.name, "shape": list(value.shape)}
    return value.tolist()


def _fill(tensor: ms_service_pb2.Tensor, value: Any) -> None:
    if isinstance(value, (str, bytes)):
        kind = DataType.STRING if isinstance(value, str) else DataType.BYTES
        tensor.bytes_val.append(value.encode() if isinstance(value, str) else value)
        tensor.shape.dims.append(1)
    else:
        kind = DATA_TYPE_OF[value.dtype]
        tensor.data = value.tobytes()
        tensor.shape.dims.extend(value.shape)
    tensor.dtype = int(kind)  # type: ignore[assignment]


def is_reply(interface: str, reply: bytes, expected: Instances) -> bool:
    """Whether a reply holds these values and no error, whatever the order of its fields and keys."""
    try:
        found = _read_grpc(reply) if interface == "grpc" else orjson.loads(reply)["instances"]
    except (ValueError, KeyError, TypeError):
        return False
    if interface != "grpc":
        return bool(found == [{key: _json(value, False) for key, value in one.items()} for one in expected])
    return len(found) == len(expected) and all(
        one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
        for one, other in zip(found, expected, strict=True)
    )


def _read_grpc(data: bytes) -> list[dict[str, Any]]:
    reply = ms_service_pb2.PredictReply()
    try:
        reply.ParseFromString(data)
    except Exception as cause:  # protobuf's DecodeError is no ValueError
        raise ValueError("no PredictReply") from cause
    if reply.error_msg:
        raise ValueError(f"an error: {reply.error_msg[0].error_msg!r}")
    return [{name: _value(tensor) for name, tensor in one.items.items()} for one in reply.instances]


def _value(tensor: ms_service_pb2.Tensor) -> Any:
    kind = DataType(int(tensor.dtype))
    if not kind.is_text:
        return np.frombuffer(tensor.data, NUMPY_OF[kind]).reshape(tuple(tensor.shape.dims))
    [value] = tensor.bytes_val
    return value.decode() if kind is DataType.STRING else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)
