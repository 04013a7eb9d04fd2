"""What the dialect says of its paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import orjson

from mindspore_serving.server.dialect.paddle.elements import IN_CONTENT, NUMBER_OF, NUMBERS, TEXT
from mindspore_serving.server.service.method_example import ExampleValue, dtype_of, examples_of
from mindspore_serving.server.service.value_schema import base64_schema
from mindspore_serving.server.transport.description import (
    OK,
    TEXT_SCHEMA,
    Content,
    DescribedServable,
    Description,
    JsonSchema,
    Operation,
    Parameter,
    object_schema,
)
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

GENERAL_PATH: Final = "/GeneralModelService"
GENERAL_CALLS: Final = ("inference", "debug")
PIPELINE_PATTERN: Final = "/{service}/prediction"
PROTO: Final = "application/proto"
_INTEGER: Final = {"type": "integer"}
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
_TEXTS: Final = {"type": "array", "items": TEXT_SCHEMA}
_FIELDS: Final[Mapping[str, JsonSchema]] = {
    **{name: {"type": "array", "items": _INTEGER} for name in ("int64_data", "int_data", "uint32_data")},
    **{name: {"type": "array", "items": {"type": "number"}} for name in ("float_data", "float64_data")},
    "bool_data": {"type": "array", "items": {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}},
    "data": _TEXTS,
    "tensor_content": base64_schema(),
}
"""Where a tensor has its elements, by the type that `elem_type` says."""
_GENERAL_ERROR: Final = object_schema({"err_no": _INTEGER, "err_msg": TEXT_SCHEMA})
_PIPELINE_REPLY: Final = object_schema(
    {"err_no": _INTEGER, "err_msg": TEXT_SCHEMA, "key": _TEXTS, "value": _TEXTS, "tensors": {"type": "array"}}
)
_NO_JSON: Final = object_schema({"error": TEXT_SCHEMA, "code": _INTEGER, "message": TEXT_SCHEMA})
_ERROR: Final = {"anyOf": [_GENERAL_ERROR, _NO_JSON]}
_PIPELINE_TEXT: Final = (
    "Also a request that fails is answered with HTTP 200: `err_no` is 0 where there is a result."
)
_SERVICE: Final = Parameter("service", "path", "`servable`, or `servable.method`.")


def describe(
    servables: Sequence[DescribedServable], unnamed: tuple[str, MethodSignature] | None
) -> Description:
    """What the dialect answers.

    Args:
        servables: Those to be described.
        unnamed: Servable and method that answer a request which names none; None where no such request is answered.
    """
    return Description(_operations(servables, unnamed), _ERROR)


def _operations(
    servables: Sequence[DescribedServable], unnamed: tuple[str, MethodSignature] | None
) -> Iterator[Operation]:
    for call in GENERAL_CALLS:
        yield _general(call, unnamed)
    for servable in servables:
        for name, method in servable.models:
            yield _pipeline(servable.name, name, method)
    yield Operation(
        "POST",
        PIPELINE_PATTERN,
        "Run any method",
        description=_PIPELINE_TEXT,
        parameters=(_SERVICE,),
        takes=(Content(_values(())),),
        gives={OK: [Content(_PIPELINE_REPLY)]},
    )


def _general(call: str, unnamed: tuple[str, MethodSignature] | None) -> Operation:
    summary, tensor = "Run the only servable, or the default one", _tensor(None)
    examples: tuple[Any, ...] = ()
    if unnamed is not None:
        servable, method = unnamed
        summary = f"Run {method.name} of {servable}"
        tensor = _tensor([one.name for one in method.inputs])
        examples = tuple(_general_examples(method))
    reply = {
        "outputs": {
            "type": "array",
            "items": object_schema({"tensor": {"type": "array", "items": _tensor(None)}}),
        }
    }
    request = object_schema({"tensor": {"type": "array", "items": tensor}})
    request["properties"] |= {
        "fetch_var_names": _TEXTS,
        "log_id": _COUNT,
        "profile_server": {"type": "boolean"},
    }
    binary = {"type": "string", "format": "binary"}
    return Operation(
        "POST",
        f"{GENERAL_PATH}/{call}",
        summary,
        description="The request names no servable. As protobuf it is a `Request`, and the reply a `Response`.",
        takes=(Content(request, examples=examples), Content(binary, PROTO)),
        gives={OK: [Content(object_schema(reply)), Content(binary, PROTO)]},
    )


def _tensor(names: Sequence[str] | None) -> dict[str, Any]:
    """The schema of a tensor of JSON, whatever its type is.

    Args:
        names: Of what it is for; None where that may be anything.
    """
    name = TEXT_SCHEMA if names is None else {"enum": names}
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    schema = object_schema({"alias_name": name, "shape": sizes})
    schema["properties"] |= {"name": TEXT_SCHEMA, "elem_type": {"enum": [*NUMBERS, TEXT]}, **_FIELDS}
    return schema


def _pipeline(servable: str, service: str, method: MethodSignature) -> Operation:
    examples = tuple(_pipeline_examples(method))
    return Operation(
        "POST",
        PIPELINE_PATTERN,
        f"Run {method.name} of {servable}",
        path=f"/{quote(service, safe='')}/prediction",
        description=" ".join(text for text in (method.description, _PIPELINE_TEXT) if text),
        takes=(Content(_values(method.inputs), examples=examples),),
        gives={OK: [Content(_PIPELINE_REPLY)]},
        tag=servable,
    )


def _values(inputs: Sequence[TensorType]) -> JsonSchema:
    """The schema of keys and values."""
    key: JsonSchema = {"enum": [one.name for one in inputs]} if inputs else TEXT_SCHEMA
    value = {**TEXT_SCHEMA, "description": "A text, or numbers as `[[1.5, 2]]`."}
    count = {"minItems": len(inputs), "maxItems": len(inputs)} if inputs else {}
    return object_schema(
        {"key": {"type": "array", "items": key, **count}, "value": {"type": "array", "items": value, **count}}
    )


# --- Examples ---


def _general_examples(method: MethodSignature) -> Iterator[Mapping[str, Any]]:
    if not all(one.dtype in NUMBER_OF or one.dtype is DataType.STRING for one in method.outputs):
        return  # which Paddle Serving has no type of elements for, or nobody knows
    for example in examples_of(method):
        tensors = [_sent(one, example[one.name], method.rows and not one.shared) for one in method.inputs]
        if None not in tensors:
            yield {"tensor": tensors}


def _sent(one: TensorType, value: ExampleValue, rows: bool) -> dict[str, Any] | None:
    """A value as a tensor; None where Paddle Serving has no type for it."""
    names = {"alias_name": one.name, "name": one.file_name or one.name}
    if not isinstance(value, np.ndarray):
        text = _text(value)
        return None if text is None else {**names, "elem_type": TEXT, "shape": [1], "data": [text]}
    dtype = dtype_of(value)
    number = NUMBER_OF.get(dtype)
    if number is None or dtype in IN_CONTENT:
        return None
    shape = [1, *value.shape] if rows else list(value.shape)
    data = value.reshape(-1).tolist()
    return {**names, "elem_type": number, "shape": shape, NUMBERS[number].field: data}


def _pipeline_examples(method: MethodSignature) -> Iterator[Mapping[str, Any]]:
    for example in examples_of(method):
        values = [_value(one, example[one.name]) for one in method.inputs]
        if None not in values:
            yield {"key": [one.name for one in method.inputs], "value": values}


def _value(one: TensorType, value: ExampleValue) -> str | None:
    """A value as text; None where it would be read as something else."""
    if not isinstance(value, np.ndarray):
        return _text(value)
    return orjson.dumps(value.tolist()).decode() if one.dtype and one.shape is not None else None


def _text(value: str | bytes) -> str | None:
    try:
        return value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        return None
