"""What the dialect says of its paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import pybase64

from mindspore_serving.server.dialect.kserve_v1.reply_body import BYTES_SUFFIX
from mindspore_serving.server.service.method_example import ExampleValue, dtype_of, examples_of
from mindspore_serving.server.service.value_schema import (
    b64_object_schema,
    described,
    is_certain,
    list_schema,
    number_schema,
)
from mindspore_serving.server.transport.description import (
    ANYTHING,
    OK,
    TEXT_SCHEMA,
    Content,
    DescribedServable,
    Description,
    JsonSchema,
    Operation,
    Parameter,
    error_schema,
    object_schema,
)
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

MODEL: Final = "/v1/models/{model}"
VERSION: Final = f"{MODEL}/versions/{{version}}"
LABEL: Final = f"{MODEL}/labels/{{label}}"
COLONS: Final = (":", "%3A", "%3a")
"""How clients write the colon in front of what they ask for."""
_ASK: Final = f"{MODEL}:{{asked}}"
_ERROR: Final = error_schema("error")
_OTHER_SPELLINGS: Final = frozenset(
    f"{path}{colon}{{asked}}" for path in (MODEL, VERSION, LABEL) for colon in COLONS[1:]
) | {f"{LABEL}:{{asked}}", f"{LABEL}/metadata", LABEL}
"""Labels are refused, whatever they are."""
_STATUS: Final = object_schema(
    {
        "name": TEXT_SCHEMA,
        "ready": {"type": "boolean"},
        "model_version_status": {
            "type": "array",
            "items": object_schema(
                {
                    "version": TEXT_SCHEMA,
                    "state": {"enum": ["AVAILABLE", "LOADING", "UNLOADING", "END"]},
                    "status": {"type": "object"},
                }
            ),
        },
    }
)
_METADATA: Final = object_schema({"model_spec": {"type": "object"}, "metadata": {"type": "object"}})
_LISTING: Final = object_schema({"models": {"type": "array", "items": TEXT_SCHEMA}})
_NAME: Final = Parameter("model", "path", "`servable`, or `servable.method`.")
_ASKED: Final = Parameter("asked", "path", "What is asked of the model.", {"enum": ["predict"]}, "predict")


def describe(servables: Sequence[DescribedServable]) -> Description:
    """What the dialect answers."""
    return Description(_operations(servables), _ERROR, unlisted=_OTHER_SPELLINGS)


def _operations(servables: Sequence[DescribedServable]) -> Iterator[Operation]:
    for servable in servables:
        for name, method in servable.models:
            yield _predict(servable.name, name, method)
    yield Operation("GET", "/v1/models", "List the models", gives={OK: [Content(_LISTING)]})
    for path in (MODEL, VERSION):
        status = [Content(_STATUS)]
        yield Operation(
            "GET", path, "Tell how a model is", parameters=(_NAME,), gives={OK: status, 503: status}
        )
        yield Operation(
            "GET",
            f"{path}/metadata",
            "Tell the signatures of a model",
            parameters=(_NAME,),
            gives={OK: [Content(_METADATA)]},
        )
        yield Operation(
            "POST",
            f"{path}:{{asked}}",
            "Run any method",
            parameters=(_NAME, _ASKED),
            takes=(Content(_any_request()),),
            gives={OK: [Content({"type": "object"})]},
        )


def _predict(servable: str, model: str, method: MethodSignature) -> Operation:
    return Operation(
        "POST",
        _ASK,
        f"Run {method.name} of {servable}",
        path=f"/v1/models/{quote(model, safe='')}:predict",
        description=method.description,
        takes=(Content(_request(method), examples=tuple(_examples(method))),),
        gives={OK: [Content(_reply(method))]},
        tag=servable,
    )


def _any_request() -> JsonSchema:
    return {"anyOf": [_with(instances={"type": "array"}), _with(inputs=ANYTHING)]}


def _with(**properties: JsonSchema) -> dict[str, Any]:
    """The schema of a body with one of the keys; one with both is refused."""
    return object_schema(properties)


def _request(method: MethodSignature) -> JsonSchema:
    """Rows, or columns: an object of names, or for a single input its values alone."""
    values = {one.name: _input(one) for one in method.inputs}
    columns = {
        one.name: values[one.name]
        if one.shared
        else {"type": "array", "minItems": 1, "items": values[one.name]}
        for one in method.inputs
    }
    row: JsonSchema = object_schema(values, additionalProperties=False)
    rows: JsonSchema = {"type": "array", "minItems": 1, "items": row}
    column: JsonSchema = object_schema(columns, additionalProperties=False)
    if len(values) == 1:
        rows = {"anyOf": [rows, *({**rows, "items": value} for value in values.values())]}
        column = {"anyOf": [column, *columns.values()]}
    more: dict[str, JsonSchema] = {
        "signature_name": {"enum": [method.name], "description": "Name of the method."},
        "parameters": {"type": ["object", "null"], "description": "For stages that ask for them."},
    }
    return {
        "description": "Rows as `instances`, or columns of all rows as `inputs`: one of the two.",
        "oneOf": [_form("instances", "inputs", rows, more), _form("inputs", "instances", column, more)],
    }


def _form(key: str, other: str, values: JsonSchema, more: Mapping[str, JsonSchema]) -> dict[str, Any]:
    properties = {key: values, **more}
    return {"type": "object", "required": [key], "properties": properties, "not": {"required": [other]}}


def _reply(method: MethodSignature) -> JsonSchema:
    """Of either form; a single output has no name."""
    values = {one.name: _output(one) for one in method.outputs}
    columns: dict[str, JsonSchema] = {
        name: {"type": "array", "items": value} for name, value in values.items()
    }
    row = next(iter(values.values())) if len(values) == 1 else object_schema(values)
    column = next(iter(columns.values())) if len(columns) == 1 else object_schema(columns)
    rows = {"type": "array", "items": row}
    return {"anyOf": [object_schema({"predictions": rows}), object_schema({"outputs": column})]}


def _input(one: TensorType) -> dict[str, Any]:
    if one.dtype is DataType.STRING:
        schema: dict[str, Any] = dict(TEXT_SCHEMA)
    elif one.dtype is DataType.BYTES:
        schema = {"anyOf": [TEXT_SCHEMA, b64_object_schema()]}
    elif one.dtype is DataType.UNKNOWN or one.shape is None:
        schema = {"anyOf": [{"type": kind} for kind in ("number", "boolean", "string", "array", "object")]}
    else:
        schema = list_schema(number_schema(one.dtype), one.shape)
        if one.shape == () and one.declared:
            schema = {"anyOf": [schema, list_schema(number_schema(one.dtype), (1,))]}
    return described(schema, one)


def _output(one: TensorType) -> dict[str, Any]:
    if one.dtype is DataType.UNKNOWN or one.shape is None or not is_certain(one):
        return described({}, one)
    if not one.dtype.is_text:
        # What is not finite is `NaN` or `Infinity`, as TensorFlow Serving writes it. That is no JSON.
        item: dict[str, Any] = {"type": number_schema(one.dtype)["type"]}
    elif one.dtype is DataType.BYTES or one.name.endswith(BYTES_SUFFIX):
        item = b64_object_schema()
    else:
        item = {"type": "string"}
    return described(list_schema(item, one.shape, least=0), one)


def _examples(method: MethodSignature) -> Iterator[dict[str, Any]]:
    for example in examples_of(method):
        if all(_keeps_type(value, one) for value, one in zip(example.values(), method.inputs, strict=True)):
            yield {"instances": [{name: _json(value) for name, value in example.items()}]}


def _keeps_type(value: ExampleValue, one: TensorType) -> bool:
    """Whether a value is read as what it is: of an input that takes anything, only some types are."""
    if one.dtype is not DataType.UNKNOWN:
        return True
    return dtype_of(value) in (
        DataType.INT32,
        DataType.FLOAT32,
        DataType.BOOL,
        DataType.STRING,
        DataType.BYTES,
    )


def _json(value: ExampleValue) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"b64": pybase64.b64encode_as_string(value)}
    return value.tolist()
