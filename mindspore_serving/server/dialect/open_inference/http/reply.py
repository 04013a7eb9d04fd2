"""Replies over HTTP: JSON, with raw tensors behind it where the request asks for that.

JSON has no NaN and no infinity: both are `null`. As binary data they arrive as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.open_inference.datatypes import BYTES
from mindspore_serving.server.dialect.open_inference.http.request import (
    BINARY_DATA,
    BINARY_OUTPUT,
    BINARY_SIZE,
)
from mindspore_serving.server.dialect.open_inference.messages import (
    InferReply,
    InferRequest,
    OutputTensor,
    Parameter,
)
from mindspore_serving.server.dialect.open_inference.outputs import numbers_in
from mindspore_serving.server.transport.http_routes import HttpReply

BINARY_TYPE: Final = "application/octet-stream"
LENGTH: Final = "Inference-Header-Content-Length"
_MANY: Final = 1 << 14
"""Elements that are written as JSON without a turn of others."""
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


async def http_reply(reply: InferReply, asked: InferRequest) -> HttpReply:
    """A reply as its client wants it.

    Args:
        reply: It.
        asked: What was asked for, which says what is to be binary.

    Raises:
        InvalidInput: An output that is to be JSON holds bytes that are no text.
    """
    binary = [_is_binary(tensor, asked) for tensor in reply.outputs]
    if not any(binary):
        return HttpReply(200, await json_of(reply))
    raw = [tensor.data or b"" for tensor, is_binary in zip(reply.outputs, binary, strict=True) if is_binary]
    document = await _body_of(reply, binary)
    body = b"".join((document, *raw))
    return HttpReply(200, body, BINARY_TYPE, ((LENGTH, str(len(document))),))


async def json_of(reply: InferReply) -> bytes:
    """A reply of which no output is binary."""
    return await _body_of(reply, [False] * len(reply.outputs))


def texts_in(tensor: OutputTensor) -> list[str]:
    """The elements of an output of BYTES.

    Raises:
        InvalidInput: One is no text.
    """
    data = bytes(tensor.data or b"")
    texts, at = [], 0
    try:
        while at < len(data):
            end = at + 4 + int.from_bytes(data[at : at + 4], "little")
            texts.append(data[at + 4 : end].decode())
            at = end
    except UnicodeDecodeError as cause:
        raise InvalidInput(
            f"Output '{tensor.name}' holds bytes that are no UTF-8, which JSON cannot hold; ask for binary data, with "
            f"the parameter {BINARY_DATA} of the output or {BINARY_OUTPUT} of the request"
        ) from cause
    return texts


def _is_binary(tensor: OutputTensor, asked: InferRequest) -> bool:
    if tensor.data is None:
        return False
    by_default = asked.parameters.get(BINARY_OUTPUT, False)
    for output in asked.outputs:
        if output.name == tensor.name:
            return bool(output.parameters.get(BINARY_DATA, by_default))
    return bool(by_default)


async def _body_of(reply: InferReply, binary: Sequence[bool]) -> bytes:
    """The JSON of a reply."""
    document: dict[str, Any] = {"model_name": reply.model, "model_version": reply.version}
    if reply.id:
        document["id"] = reply.id
    if reply.parameters:
        document["parameters"] = reply.parameters
    outputs: list[dict[str, Any]] = []
    slow: list[tuple[int, OutputTensor]] = []
    for at, (tensor, is_binary) in enumerate(zip(reply.outputs, binary, strict=True)):
        described: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        parameters: Mapping[str, Parameter] = tensor.parameters
        if tensor.data is not None:
            if is_binary:
                parameters = {**parameters, BINARY_SIZE: len(tensor.data)}
            elif len(tensor.data) <= _MANY:
                described["data"] = _json_values(tensor)
            else:
                slow.append((at, tensor))
        if parameters:
            described["parameters"] = parameters
        outputs.append(described)
    document["outputs"] = outputs
    if not slow:
        return orjson.dumps(document, option=_OPTIONS)
    for at, tensor in slow:
        outputs[at]["data"] = orjson.Fragment(await _written(tensor))
    return orjson.dumps(document, option=_OPTIONS)


def _json_values(tensor: OutputTensor) -> Any:
    """What orjson writes for the elements of an output."""
    return texts_in(tensor) if tensor.datatype == BYTES else numbers_in(tensor)


async def _written(tensor: OutputTensor) -> bytes:
    """The elements of an output as a list of JSON; others have their turns meanwhile."""
    values = _json_values(tensor)
    parts = []
    for start in range(0, len(values), _MANY):
        if start:
            await asyncio.sleep(0)
        parts.append(orjson.dumps(values[start : start + _MANY], option=_OPTIONS)[1:-1])
    return b"[" + b",".join(parts) + b"]"
