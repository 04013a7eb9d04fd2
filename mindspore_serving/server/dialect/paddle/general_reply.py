"""Replies of GeneralModelService: JSON, or `Response` of protobuf. What is empty is left out.

{"outputs": [{"tensor": [{"float_data": [18.9], "elem_type": 1, "shape": [1, 1], "name": "fc_0.tmp_1",
                          "alias_name": "price"}], "engine_name": "general_infer_0"}]}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import pybase64

from mindspore_serving.errors import Failure, InvalidInput, NotOffered, StatusCode, excerpt
from mindspore_serving.proto.foreign import paddle_general_model_pb2 as general_pb2
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.paddle.array_text import array_text
from mindspore_serving.server.dialect.paddle.elements import CONTENT, IN_CONTENT, NUMBER_OF, NUMBERS, TEXT
from mindspore_serving.server.dialect.paddle.tensor_message import tensor_bytes
from mindspore_serving.server.service.columns import output_column
from mindspore_serving.server.service.elements import NAME_OF
from mindspore_serving.server.service.error_text import text_for_client
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import Array, ColumnData, DataType, TensorSpec
from mindspore_serving.wire import head_of_field

ENGINE: Final = "general_infer_0"
_INTERNAL: Final = -5000
_MEMORY: Final = -5001
_INFERENCE: Final = -5100
_TENSOR_TAG = _OUTPUTS_TAG = 0x0A


class ReplyTensor(NamedTuple):
    """An output of a reply.

    Attributes:
        name: What the model's file calls it, where that is known.
        alias: What the method calls it.
        elem_type: Number of the type of its elements.
        shape: Sizes, that of the rows included.
        field: Where its elements are.
        data: Numbers of one dimension, or texts.
    """

    name: str
    alias: str
    elem_type: int
    shape: tuple[int, ...]
    field: str
    data: Array | list[bytes]


class Note(NamedTuple):
    """What a reply says beside its outputs.

    Attributes:
        log_id: As of the request.
        times: Microseconds at which the request came and the reply was made; empty where nobody asked.
    """

    log_id: int = 0
    times: tuple[int, ...] = ()


def wanted_outputs(fetch: Sequence[str], method: MethodSignature) -> Sequence[int]:
    """Which outputs of a method are asked for.

    Args:
        fetch: Names, the method's or the file's; nothing for all.
        method: It.

    Raises:
        InvalidInput: The method has no such output, or it is asked for twice.
    """
    if not fetch:
        return range(len(method.output_names))
    places: list[int] = []
    for name in fetch:
        place = next((at for at, one in enumerate(method.outputs) if name in (one.name, one.file_name)), None)
        if place is None or not name:
            names = ", ".join(method.output_names) or "none"
            raise InvalidInput(f"fetch_var_names has '{excerpt(name)}', outputs are {names}")
        if place in places:
            raise InvalidInput(f"fetch_var_names has '{excerpt(name)}' more than once")
        places.append(place)
    return places


def reply_tensors(
    blocks: Sequence[Rows], method: MethodSignature, wanted: Sequence[int]
) -> list[ReplyTensor]:
    """The outputs of a request of which every row has a result.

    Args:
        blocks: The results in order, at least one block.
        method: What has been run.
        wanted: Which outputs, from `wanted_outputs`.

    Raises:
        InvalidInput: Rows of an output differ in type or shape.
        NotOffered: Paddle Serving has no such type of elements.
    """
    tensors = []
    for place in wanted:
        known = method.outputs[place]
        spec, column = output_column(blocks, place, known.name)
        tensors.append(_tensor_of(known, spec, column, method.rows))
    return tensors


def _tensor_of(known: TensorType, spec: TensorSpec, column: ColumnData, rows: bool) -> ReplyTensor:
    name = known.file_name or known.name
    shape = (len(column), *spec.shape) if rows else spec.shape or (1,)
    if isinstance(column, list):
        if spec.dtype is DataType.BYTES:
            _check_text(known.name, column)
        return ReplyTensor(name, known.name, TEXT, shape, "data", column)
    number = NUMBER_OF.get(spec.dtype)
    if number is None:
        raise NotOffered(
            f"Output '{known.name}' is {NAME_OF[spec.dtype]}, which Paddle Serving has no type of elements for; ask "
            "for it over another protocol, or give a wider type"
        )
    field = CONTENT if spec.dtype in IN_CONTENT else NUMBERS[number].field
    return ReplyTensor(name, known.name, number, shape, field, column.reshape(-1))


def _check_text(name: str, texts: Sequence[bytes]) -> None:
    try:
        for text in texts:
            text.decode()
    except UnicodeDecodeError as cause:
        raise NotOffered(
            f"Output '{name}' is bytes that are no text, for which Paddle Serving has no type of elements; ask for it "
            "over another protocol"
        ) from cause


async def json_reply(tensors: Sequence[ReplyTensor], note: Note) -> bytes:
    """A reply as JSON."""
    document: dict[str, Any] = {
        "outputs": [{"tensor": [await _json_tensor(one) for one in tensors], "engine_name": ENGINE}]
    }
    if note.times:
        document |= {"profile_time": note.times, "profile_server": True}
    if note.log_id:
        document["log_id"] = note.log_id
    return orjson.dumps(document)


async def _json_tensor(tensor: ReplyTensor) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if len(tensor.data):
        document[tensor.field] = await _json_values(tensor)
    if tensor.elem_type:
        document["elem_type"] = tensor.elem_type
    return document | {"shape": tensor.shape, "name": tensor.name, "alias_name": tensor.alias}


async def _json_values(tensor: ReplyTensor) -> Any:
    data = tensor.data
    if isinstance(data, list):
        return [text.decode() for text in data]
    if tensor.field == CONTENT:
        return pybase64.b64encode_as_string(np.ascontiguousarray(data).tobytes())
    return orjson.Fragment(await array_text(data))


def message_reply(tensors: Sequence[ReplyTensor], note: Note) -> bytes:
    """A reply as a `Response` of protobuf."""
    output = b"".join([_field(_TENSOR_TAG, _message_tensor(one)) for one in tensors])
    output += general_pb2.ModelOutput(engine_name=ENGINE).SerializeToString()
    rest = general_pb2.Response(
        log_id=note.log_id, profile_time=note.times, profile_server=bool(note.times)
    ).SerializeToString()
    return _field(_OUTPUTS_TAG, output) + bytes(rest)


def _message_tensor(tensor: ReplyTensor) -> bytes:
    head = general_pb2.Tensor(
        elem_type=tensor.elem_type, shape=tensor.shape, name=tensor.name, alias_name=tensor.alias
    )
    if isinstance(tensor.data, list):
        head.data.extend([text.decode() for text in tensor.data])
        return bytes(head.SerializeToString())
    return tensor_bytes(head, tensor.field, tensor.data)


def _field(tag: int, content: bytes) -> bytes:
    return head_of_field(tag, len(content)) + content


def error_number(failure: Failure) -> int:
    """`err_no` of a failure, as Paddle Serving documents it."""
    if failure.text.startswith("MemoryError"):
        return _MEMORY
    return _INFERENCE if failure.code is StatusCode.SYSTEM_ERROR else _INTERNAL


def json_failure(failure: Failure, log_id: int = 0) -> bytes:
    """A reply without outputs as JSON."""
    document: dict[str, Any] = {"err_no": error_number(failure), "err_msg": text_for_client(failure)}
    if log_id:
        document["log_id"] = log_id
    return orjson.dumps(document)


def message_failure(failure: Failure, log_id: int = 0) -> bytes:
    """A reply without outputs as a `Response` of protobuf."""
    response = general_pb2.Response(
        err_no=error_number(failure), err_msg=text_for_client(failure), log_id=log_id
    )
    return bytes(response.SerializeToString())
