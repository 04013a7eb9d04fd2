"""The generate extension: one instance in plain JSON, and plain values back.

{"id": ..., "<input>": value or flat list, "<other key>": parameter, "parameters": {...}}
{"id": ..., "model_name": ..., "model_version": ..., "<output>": value or flat list}
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Final

import orjson

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.open_inference.datatypes import BYTES, NAME_OF
from mindspore_serving.server.dialect.open_inference.http.reply import texts_in
from mindspore_serving.server.dialect.open_inference.http.request import parameters_of, request_id_of
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest, InputTensor
from mindspore_serving.server.dialect.open_inference.outputs import numbers_in
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

_TYPE_OF_JSON: Final = {
    bool: DataType.BOOL,
    int: DataType.INT32,
    float: DataType.FLOAT32,
    str: DataType.STRING,
}
"""What an input becomes that the servable does not declare: as in the native dialect."""


def generate_request(
    document: dict[str, Any], model: str, version: str, method: MethodSignature
) -> InferRequest:
    """A request of the generate extension as one for inference.

    Args:
        document: Of the request.
        model: Name of the model.
        version: As it was sent.
        method: What is asked for.

    Raises:
        InvalidInput: An input has no value that it may have.
    """
    inputs = []
    names = set(method.input_names)
    for wanted in method.inputs:
        if wanted.name in document:
            inputs.append(_input_of(wanted, document[wanted.name], method.rows))
    others = {
        name: value
        for name, value in document.items()
        if name not in names and name not in ("id", "parameters")
    }
    given = parameters_of(document, "The request")
    parameters = {**parameters_of({"parameters": others}, "The request"), **given}
    request_id = "" if "id" in names else request_id_of(document)
    return InferRequest(model, version, request_id, inputs, (), parameters)


def generate_reply(reply: InferReply) -> bytes:
    """A reply as the generate extension has it.

    Raises:
        InvalidInput: An output holds bytes that are no text.
    """
    document: dict[str, Any] = {"id": reply.id} if reply.id else {}
    document |= {"model_name": reply.model, "model_version": reply.version}
    for tensor in reply.outputs:
        values = texts_in(tensor) if tensor.datatype == BYTES else numbers_in(tensor)
        document[tensor.name] = values[0] if len(values) == 1 else values
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def event_of(document: bytes) -> bytes:
    """A document of JSON as an event of `text/event-stream`."""
    return b"data: " + document + b"\n\n"


def _input_of(wanted: TensorType, value: Any, rows: bool) -> InputTensor:
    values = value if type(value) is list else [value]
    if any(type(one) in (list, dict) for one in values):
        raise InvalidInput(
            f"Input '{wanted.name}' should be a value, or a flat list of values, but holds lists or objects"
        )
    dtype = wanted.dtype or _dtype_of(wanted.name, values)
    own = _shape_of(wanted, values, dtype, flat=type(value) is list)
    shape = (1, *own) if rows and not wanted.shared else own
    return InputTensor(wanted.name, NAME_OF[dtype], shape, values)


def _dtype_of(name: str, values: Sequence[Any]) -> DataType:
    """What a value is of which nothing is declared.

    Raises:
        InvalidInput: It is nothing that an input can be.
    """
    kinds = set(map(type, values))
    kind = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else None
    dtype = _TYPE_OF_JSON.get(kind) if kind else None
    if dtype is None:
        raise InvalidInput(f"Input '{name}' should be of one type: bool, numbers or strings")
    return dtype


def _shape_of(wanted: TensorType, values: Sequence[Any], dtype: DataType, *, flat: bool) -> tuple[int, ...]:
    """The shape of one instance: sizes that are not known are 1, but for the last one, which takes the rest."""
    if dtype.is_text:
        return (len(values),) if len(values) != 1 else ()
    if wanted.shape is None:
        return (len(values),) if flat else ()
    sizes = list(wanted.shape)
    unknown = [at for at, size in enumerate(sizes) if size < 0]
    for at in unknown:
        sizes[at] = 1
    if unknown and (known := prod(sizes)):
        sizes[unknown[-1]] = len(values) // known
    if prod(sizes) != len(values):
        raise InvalidInput(
            f"Input '{wanted.name}' has {len(values)} values, which do not fill shape {list(wanted.shape)}"
        )
    return tuple(sizes)
