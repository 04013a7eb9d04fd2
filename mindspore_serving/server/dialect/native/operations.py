"""What the native dialect says of its paths: those of each method, and those of any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from mindspore_serving.server.dialect.native.description import TARGET_PATTERNS
from mindspore_serving.server.service.value_schema import (
    b64_object_schema,
    described,
    given_number_schema,
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

_BYTES_TYPE: Final = "application/octet-stream"
_FORM_TYPE: Final = "multipart/form-data"
_ANY_NUMBERS: Final = {"anyOf": [number_schema(kind) for kind in (DataType.INT32, DataType.FLOAT32)]}
_ANY_VALUE: Final[JsonSchema] = {
    "description": "A number, true or false, a text, nested lists, or bytes as base64.",
    "anyOf": [
        *_ANY_NUMBERS["anyOf"],
        {"type": "boolean"},
        TEXT_SCHEMA,
        {"type": "array", "minItems": 1, "items": ANYTHING},
        {"type": "object", "required": ["b64"], "properties": {"b64": TEXT_SCHEMA}},
    ],
}
_FURTHER_KEYS: Final[dict[str, JsonSchema]] = {
    "propertyNames": {"minLength": 1},
    "additionalProperties": {"anyOf": [*_ANY_NUMBERS["anyOf"], {"type": "boolean"}, TEXT_SCHEMA]},
}
"""Keys that are no inputs are left out, but have to be values."""
_FAILED_INSTANCE: Final = object_schema(
    {"error_msg": TEXT_SCHEMA}, description="An instance that has no result, where others have one."
)
_ERROR: Final = {
    "description": "One text; or one for each instance, where all have failed, and not alike.",
    "anyOf": [
        error_schema("error_msg"),
        object_schema({"instances": {"type": "array", "items": _FAILED_INSTANCE}}),
    ],
}
_NAME: Final = Parameter("name", "path", "Name of the servable.")
_NAMED: Final = "[^/:]+"
_NUMBER: Final = "[1-9][0-9]{0,8}"
_PARAMETERS: Final = {
    (pattern, asks): (
        *((_NAME,) if "{name}" in pattern else ()),
        Parameter("target", "path", f"`{{{what}}}:{{method}}`.", {"type": "string", "pattern": schema}),
    )
    for pattern, what, first in (
        (TARGET_PATTERNS[0], "servable", _NAMED),
        (TARGET_PATTERNS[1], "version", _NUMBER),
    )
    for asks, schema in ((True, f"^{first}:{_NAMED}$"), (False, f"^{first}(:{_NAMED})?$"))
}
"""By pattern, and whether a method is asked or described."""


def describe(servables: Sequence[DescribedServable]) -> Description:
    """What the dialect answers."""
    return Description(
        _operations(servables),
        _ERROR,
        unlisted=frozenset(("", TARGET_PATTERNS[2])),
    )


def _operations(servables: Sequence[DescribedServable]) -> Iterator[Operation]:
    for servable in servables:
        for method in servable.methods:
            yield _of_method(servable.name, method)
    yield from _of_any_method()


def _of_method(servable: str, method: MethodSignature) -> Operation:
    return Operation(
        "POST",
        TARGET_PATTERNS[0],
        f"Run {method.name} of {servable}",
        path=f"/model/{quote(servable, safe='')}:{quote(method.name, safe='')}",
        description=method.description,
        takes=tuple(_bodies(method)),
        gives={OK: [Content(_reply({one.name: output_schema(one) for one in method.outputs}))]},
        tag=servable,
    )


def _of_any_method() -> Iterator[Operation]:
    body = Content(_request({"type": "object", "minProperties": 1}))
    reply = Content(_reply({}))
    for pattern in TARGET_PATTERNS[:2]:
        yield Operation(
            "POST",
            pattern,
            "Run any method",
            parameters=_PARAMETERS[pattern, True],
            takes=(body,),
            gives={OK: [reply]},
        )
        for verb in ("GET", "HEAD"):
            yield Operation(
                verb,
                pattern,
                "Describe a servable, or one of its methods",
                description="Without `:{method}`, all methods of the servable.",
                parameters=_PARAMETERS[pattern, False],
                gives={OK: [Content({"type": "object"})] if verb == "GET" else []},
            )


def _bodies(method: MethodSignature) -> Iterator[Content]:
    """Bodies that a method takes: JSON, the bytes of its only input, or a form."""
    examples = [{"instances": [orjson.loads(text)]} for text in method.examples]
    inputs = {one.name: input_schema(one) for one in method.inputs}
    yield Content(_request(object_schema(inputs, **_FURTHER_KEYS)), examples=examples)
    kinds = {one.dtype for one in method.inputs}
    if len(method.inputs) == 1:
        if DataType.BYTES in kinds:
            kind = "image/*" if method.inputs[0].content == "image" else _BYTES_TYPE
            yield Content({"type": "string", "format": "binary", "minLength": 1}, kind)
        elif DataType.STRING in kinds:
            yield Content({"type": "string", "minLength": 1}, "text/plain")
    if DataType.BYTES in kinds:
        parts = {one.name: _part(one) for one in method.inputs}
        types = {one.name: _part_type(one) for one in method.inputs}
        yield Content(object_schema(parts, additionalProperties=False), _FORM_TYPE, part_types=types)


def _part(one: TensorType) -> JsonSchema:
    if one.dtype is DataType.BYTES:
        return described({"type": "string", "format": "binary"}, one)
    return described({"type": "string"}, one) if one.dtype is DataType.STRING else input_schema(one)


def _part_type(one: TensorType) -> str:
    if one.dtype is DataType.BYTES:
        return "image/*" if one.content == "image" else _BYTES_TYPE
    return "text/plain" if one.dtype is DataType.STRING else "application/json"


def _request(instance: JsonSchema) -> JsonSchema:
    return object_schema({"instances": {"type": "array", "minItems": 1, "items": instance}})


def _reply(outputs: Mapping[str, JsonSchema]) -> JsonSchema:
    result = {"anyOf": [object_schema(outputs), _FAILED_INSTANCE]} if outputs else {"type": "object"}
    return object_schema({"instances": {"type": "array", "items": result}})


def input_schema(one: TensorType) -> dict[str, Any]:
    """The schema of a value of one instance."""
    if one.dtype is DataType.STRING:
        as_bytes = b64_object_schema(type={"enum": ["str"]})
        schema: dict[str, Any] = {"anyOf": [TEXT_SCHEMA, as_bytes]}
    elif one.dtype is DataType.BYTES:
        schema = b64_object_schema()
    elif one.dtype is DataType.UNKNOWN:
        schema = dict(_ANY_VALUE)
    elif one.shape is None:
        schema = {"anyOf": [number_schema(one.dtype), {"type": "array", "minItems": 1}]}
    else:
        number = number_schema(one.dtype)
        schema = list_schema(number, one.shape)
        if one.shape == ():
            schema = {"anyOf": [number, list_schema(number, (1,))]}
    return described(schema, one)


def output_schema(one: TensorType) -> dict[str, Any]:
    """The schema of a result of one instance."""
    if one.dtype is DataType.UNKNOWN or one.shape is None or not is_certain(one):
        return described({}, one)
    if one.dtype is DataType.STRING:
        item: dict[str, Any] = {"type": "string"}
    elif one.dtype is DataType.BYTES:
        item = b64_object_schema()
    else:
        item = given_number_schema(one.dtype)
    return described(list_schema(item, one.shape, least=0), one)
