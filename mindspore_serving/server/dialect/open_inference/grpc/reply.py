"""Replies to `ModelInferResponse` and `ModelStreamInferResponse` bytes.

All of a reply but its id and its data is the same for the requests of one kind, and remembered. So data is copied once,
into the message.

With | between fields, and sizes as varints:

    ModelInferResponse          0x0a size name | 0x12 size version | 0x1a size id | parameters | outputs | raw ...
    raw                         0x32 size data                                    one for each output, an empty one, too
    ModelStreamInferResponse    0x0a size error | 0x12 size ModelInferResponse
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from mindspore_serving.proto.foreign import open_inference_pb2
from mindspore_serving.server.dialect.open_inference.grpc.request import Heading
from mindspore_serving.server.dialect.open_inference.messages import InferReply, Parameter, RawData
from mindspore_serving.wire import head_of_field

FINAL_RESPONSE: Final = "triton_final_response"
"""Parameter of the last reply to a request of a stream."""
_ID = 0x1A
_RAW_OUTPUT = 0x32
_INFER_RESPONSE = 0x12
_Kind = tuple[tuple[str, str, tuple[int, ...]], ...]


def parts_of_reply(reply: InferReply, *, final: bool = False) -> list[RawData]:
    """A reply as the parts of its message, to be joined.

    Args:
        reply: It.
        final: Whether to say that it is the last one to its request.

    Returns:
        Parts of a serialised ModelInferResponse.
    """
    heads = heads_of_reply(reply, final=final)
    return parts_between(heads, reply.id, [output.data for output in reply.outputs])


def heads_of_reply(reply: InferReply, *, final: bool = False) -> tuple[bytes, bytes]:
    """What a reply has before its id, and between that and its data.

    Args:
        reply: It.
        final: As of `parts_of_reply`.
    """
    outputs = reply.outputs
    if final or reply.parameters or any(output.parameters for output in outputs):
        return _target(reply.model, reply.version), _described(reply, final)
    kind = tuple([(output.name, output.datatype, tuple(output.shape)) for output in outputs])
    return _remembered(reply.model, reply.version, kind)


def parts_between(heads: tuple[bytes, bytes], id: str, data: Iterable[RawData | None]) -> list[RawData]:
    """A reply as the parts of its message, to be joined.

    Args:
        heads: As of `heads_of_reply`.
        id: Of the request; "" for none.
        data: Of each output.
    """
    before, behind = heads
    parts: list[RawData] = [before]
    if id:
        parts += _field(_ID, id.encode())
    parts.append(behind)
    for content in data:
        parts += _field(_RAW_OUTPUT, b"" if content is None else content)
    return parts


def streamed(parts: Sequence[RawData]) -> list[RawData]:
    """A message of a stream, as parts to be joined.

    Args:
        parts: Of the reply that it carries.

    Returns:
        Parts of a serialised ModelStreamInferResponse.
    """
    return [head_of_field(_INFER_RESPONSE, size_of(parts)), *parts]


def streamed_error(text: str, heading: Heading | None) -> bytes:
    """The message of a stream for a request that has failed.

    Args:
        text: What the client is told.
        heading: Of the request; None where it has none that can be read.

    Returns:
        A serialised ModelStreamInferResponse.
    """
    message = open_inference_pb2.ModelStreamInferResponse(error_message=text)
    reply = message.infer_response
    if heading is not None:
        reply.model_name, reply.model_version, reply.id = heading
    reply.parameters[FINAL_RESPONSE].bool_param = True
    return bytes(message.SerializeToString())


def size_of(parts: Sequence[RawData]) -> int:
    """Bytes of a message in parts."""
    return sum([len(part) for part in parts])


def _field(tag: int, content: RawData) -> tuple[RawData, RawData]:
    return head_of_field(tag, len(content)), content


def _target(model: str, version: str) -> bytes:
    message = open_inference_pb2.ModelInferResponse(model_name=model, model_version=version)
    return bytes(message.SerializeToString())


@lru_cache(maxsize=1024)
def _remembered(model: str, version: str, kind: _Kind) -> tuple[bytes, bytes]:
    """What precedes the id, and what comes behind it, of a reply without parameters."""
    message = open_inference_pb2.ModelInferResponse()
    for name, datatype, shape in kind:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
    return _target(model, version), bytes(message.SerializeToString())


def _described(reply: InferReply, final: bool) -> bytes:
    """What comes behind the id, of a reply with parameters."""
    message = open_inference_pb2.ModelInferResponse()
    _add_values(message.parameters, reply.parameters)
    if final:
        message.parameters[FINAL_RESPONSE].bool_param = True
    for output in reply.outputs:
        added = message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        _add_values(added.parameters, output.parameters)
    return bytes(message.SerializeToString())


def _add_values(parameters: Any, values: Mapping[str, Parameter]) -> None:
    for name, value in values.items():
        parameter = parameters[name]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int):
            if value < 1 << 63:
                parameter.int64_param = value
            else:
                parameter.uint64_param = value
        elif isinstance(value, float):
            parameter.double_param = value
        else:
            parameter.string_param = value
