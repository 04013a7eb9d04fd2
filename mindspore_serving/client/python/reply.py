"""Replies as they travel: the bytes of a PredictReply to the results that a caller reads.

The instances of a reply, and the replies to one client, are mostly alike: the same outputs, of the same types and
shapes. Their bytes then differ in the data only. A `ReplyReader` remembers the heads in a reply that the generated
classes have read. Where the next one has the same heads at the same places, what lies between them is the data;
every other reply goes the long way, through the generated classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from mindspore_serving import wire
from mindspore_serving.client.python.proxy import Proxy
from mindspore_serving.errors import ServingError
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.tensor import NUMPY_OF, DataType

InferResult: TypeAlias = "list[dict[str, Any]] | dict[str, str]"


_CAUSED_BY_THE_WAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def grpc_failure(code: grpc.StatusCode, details: str | None, proxy: Proxy | None = None) -> dict[str, str]:
    """The result of a call that gRPC did not bring to an end, for example because no server listens.

    Args:
        code: What gRPC says.
        details: In words.
        proxy: What the call went through; None for the direct way.
    """
    text = f"Grpc Error, {code.value}, {details}"
    if proxy is not None and code in _CAUSED_BY_THE_WAY:
        text += f"; the way leads through {proxy}: list the server's host in no_proxy to reach it directly"
    return {"error": text}


def failure_elsewhere(process: int) -> dict[str, str]:
    """The result, in a forked child, of a call that its parent has sent.

    Args:
        process: The one that has sent it.
    """
    return {
        "error": f"The call was sent by process {process}, from which this one was forked: its result goes there"
    }


class ReplyReader:
    """Reads the replies to one client; several threads may do so at once."""

    def __init__(self) -> None:
        self._layout: _ReplyLayout | None = None

    def read(self, data: bytes) -> InferResult:
        """The result of a call.

        Args:
            data: A serialized PredictReply, with an error for each instance or none, or one for the whole request.

        Returns:
            One dict per instance: output name to value, or `{"error": text}` where this instance failed. One
            `{"error": text}` instead of the list where the request failed as a whole.

        Raises:
            ServingError: The reply cannot be read, the numbers of its errors and instances do not fit together, or a
                tensor is damaged.
        """
        layout = self._layout
        alike = None if layout is None else _read_alike(data, layout)
        if alike is not None:
            return alike
        try:
            reply = ms_service_pb2.PredictReply.FromString(data)
        except DecodeError as cause:
            raise ServingError(f"The reply cannot be read: {cause}") from cause
        result = _decode_reply(reply)
        self._layout = _layout_of_reply(reply, data)
        return result


class _TensorLayout(NamedTuple):
    """One output of an instance: the bytes before its data, and how to read the data."""

    head: bytes
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    byte_size: int


class _ReplyLayout(NamedTuple):
    """A reply whose instances are all alike: what each consists of, at least one tensor.

    The head of the first tensor includes the head of the instance.

    Attributes:
        start: All bytes before the first data.
        begin: Where the first instance begins.
        size: Bytes of an instance.
        cut: Cuts an instance that begins at a position into the heads and the data of its tensors, in turn.
        tensors: The tensors of an instance.
    """

    start: bytes
    begin: int
    size: int
    cut: Callable[[bytes, int], tuple[bytes, ...]]
    tensors: tuple[_TensorLayout, ...]


def _read_alike(data: bytes, layout: _ReplyLayout) -> list[dict[str, Any]] | None:
    """The instances of a reply that has this layout; None for any other reply."""
    start, begin, size, cut, tensors = layout
    end = len(data)
    if not data.startswith(start) or (end - begin) % size:
        return None
    instances = []
    for position in range(begin, end, size):
        fields = cut(data, position)
        instance: dict[str, Any] = {}
        i = 0
        for head, name, shape, dtype, _ in tensors:
            if fields[i] != head:
                return None
            instance[name] = np.ndarray(shape, dtype, fields[i + 1])
            i += 2
        instances.append(instance)
    return instances


def _layout_of_reply(reply: ms_service_pb2.PredictReply, data: bytes) -> _ReplyLayout | None:
    """What the next reply is compared with: the first instance of this one, if it consists of arrays."""
    if reply.error_msg or not reply.instances:
        return None
    items = reply.instances[0].items
    outputs = [_layout_of_tensor(name, items[name]) for name in items]
    tensors = [output for output in outputs if output]
    if not tensors or len(tensors) < len(outputs):
        return None
    spec = reply.servable_spec.SerializeToString()
    head = wire.head_of_field(wire.SPEC, len(spec)) + spec if reply.HasField("servable_spec") else b""
    size = sum(len(tensor.head) + tensor.byte_size for tensor in tensors)
    head_of_instance = wire.head_of_field(wire.INSTANCE_OF_REPLY, size)
    first, *rest = _in_order_of(data, len(head) + len(head_of_instance), tensors)
    first = first._replace(head=head_of_instance + first.head)
    fields = Struct("".join(f"{len(tensor.head)}s{tensor.byte_size}s" for tensor in (first, *rest)))
    return _ReplyLayout(head + first.head, len(head), fields.size, fields.unpack_from, (first, *rest))


def _layout_of_tensor(name: str, tensor: ms_service_pb2.Tensor) -> _TensorLayout | None:
    _, shape, dtype, byte_size = _meaning(tensor.dtype, tensor.shape.SerializeToString())
    if dtype is None:
        return None
    bare = ms_service_pb2.Tensor(dtype=tensor.dtype, shape=tensor.shape if tensor.HasField("shape") else None)
    head = wire.head_of_entry(name.encode(), bare.SerializeToString(), wire.ARRAY_DATA, byte_size)
    return _TensorLayout(head, name, shape, dtype, byte_size)


def _in_order_of(data: bytes, position: int, tensors: list[_TensorLayout]) -> list[_TensorLayout]:
    """The tensors as they follow each other in the data from this position on; a map has them in any order."""
    ordered: list[_TensorLayout] = []
    rest = list(tensors)
    while rest:
        at_position = [i for i, tensor in enumerate(rest) if data.startswith(tensor.head, position)]
        tensor = rest.pop(at_position[0] if at_position else 0)
        ordered.append(tensor)
        position += len(tensor.head) + tensor.byte_size
    return ordered


def _decode_reply(reply: ms_service_pb2.PredictReply) -> InferResult:
    errors = reply.error_msg
    if not errors:
        return [_decode_instance(instance) for instance in reply.instances]
    if len(errors) == 1:
        return _error(errors[0].error_msg)
    if len(errors) != len(reply.instances):
        raise ServingError(
            f"error msg result size {len(errors)} not be 0, 1 or length of instances {len(reply.instances)}"
        )
    return [
        _error(error.error_msg) if error.error_code else _decode_instance(instance)
        for error, instance in zip(errors, reply.instances, strict=True)
    ]


def _error(text: bytes) -> dict[str, str]:
    return {"error": _text(text)}


def _text(utf8: bytes) -> str:
    return utf8.decode(errors="backslashreplace")


def _decode_instance(instance: ms_service_pb2.Instance) -> dict[str, Any]:
    items = instance.items
    # By name, because items() of a map takes several times as long.
    return {name: _decode_value(items[name]) for name in items}


def _decode_value(tensor: ms_service_pb2.Tensor) -> Any:
    kind, shape, dtype, byte_size = _meaning(tensor.dtype, tensor.shape.SerializeToString())
    if dtype is None:
        return _decode_text(kind, tensor.bytes_val)
    data = tensor.data
    if len(data) != byte_size:
        raise ServingError(f"Tensor of shape {list(shape)} has {len(data)} bytes, not {byte_size}")
    return np.ndarray(shape, dtype, data)


def _decode_text(kind: DataType, values: Sequence[bytes]) -> str | bytes | list[str | bytes]:
    decoded: list[str | bytes] = [_text(value) if kind is DataType.STRING else value for value in values]
    return decoded[0] if len(decoded) == 1 else decoded


class _Meaning(NamedTuple):
    """What a tensor's type and shape say; dtype is None for text and bytes."""

    kind: DataType
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    byte_size: int


@lru_cache(1024)
def _meaning(kind_number: int, serialized_shape: bytes) -> _Meaning:
    # A shape is looked up by its bytes, because to read its numbers takes longer than all else of a small tensor.
    try:
        kind = DataType(kind_number)
    except ValueError:
        kind = DataType.UNKNOWN
    if kind is DataType.UNKNOWN:
        raise ServingError(f"Unknown data type {kind_number} in the reply")
    shape = tuple(ms_service_pb2.TensorShape.FromString(serialized_shape).dims)
    dtype = NUMPY_OF.get(kind)
    return _Meaning(kind, shape, dtype, 0 if dtype is None else prod(shape) * dtype.itemsize)
