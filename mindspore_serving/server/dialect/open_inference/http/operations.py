"""What the Open Inference Protocol says of its paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from mindspore_serving.server.dialect.open_inference.datatypes import KNOWN_NAMES, NAME_OF
from mindspore_serving.server.service.method_example import ExampleValue, dtype_of, examples_of
from mindspore_serving.server.service.value_schema import (
    described,
    given_number_schema,
    is_certain,
    list_schema,
    number_schema,
)
from mindspore_serving.server.transport.description import (
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
from mindspore_serving.server.transport.http_routes import Route
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

_MODEL: Final = "/v2/models/{model}"
_ERROR: Final = error_schema("error")
_EVENTS: Final = "text/event-stream"
_SCALAR: Final[JsonSchema] = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean")]}
_PARAMETERS: Final[JsonSchema] = {
    "type": ["object", "null"],
    "additionalProperties": _SCALAR,
    "description": "For stages that ask for them; `priority` and `timeout` (microseconds) are for the server.",
    "properties": {
        "priority": number_schema(DataType.UINT64),
        "timeout": number_schema(DataType.UINT64),
    },
}
_ID: Final[JsonSchema] = {"type": ["string", "null"]}
_SIZE: Final[JsonSchema] = {"type": "integer", "minimum": 0}
_DATA: Final = "As many elements as the sizes of `shape` come to, in one list or nested."
_SHAPE: Final = "The first size counts rows."
_LIVE: Final = object_schema({"live": {"type": "boolean"}})
_READY: Final = object_schema({"ready": {"type": "boolean"}})
_TENSORS: Final[JsonSchema] = {
    "type": "array",
    "items": object_schema(
        {
            "name": TEXT_SCHEMA,
            "datatype": {"enum": [*KNOWN_NAMES, "UNKNOWN"]},
            "shape": {"type": "array", "items": {"type": "integer"}},
        }
    ),
}
_METADATA: Final = object_schema(
    {
        "name": TEXT_SCHEMA,
        "versions": {"type": "array", "items": TEXT_SCHEMA},
        "platform": TEXT_SCHEMA,
        "inputs": _TENSORS,
        "outputs": _TENSORS,
    }
)
_ANY_REQUEST: Final = object_schema({"inputs": {"type": "array", "items": {"type": "object"}}})
_ANY_REPLY: Final = object_schema(
    {"model_name": TEXT_SCHEMA, "model_version": TEXT_SCHEMA, "outputs": _TENSORS}
)
_INDEX: Final = {
    "type": "array",
    "items": object_schema(dict.fromkeys(("name", "version", "state"), TEXT_SCHEMA)),
}
_NAME: Final = Parameter("model", "path", "`servable`, or `servable.method`.")
_OF_PATHS: Final[Mapping[str, tuple[str, JsonSchema]]] = {
    "/v2": ("Describe the server", object_schema({"name": TEXT_SCHEMA, "version": TEXT_SCHEMA})),
    "/v2/health/live": ("Say that the server lives", _LIVE),
    "/v2/health/ready": ("Say whether all that is to be served is ready", _READY),
    "/v2/models": (
        "List models and methods",
        object_schema({"models": {"type": "array", "items": TEXT_SCHEMA}}),
    ),
    "/v2/models/stats": (
        "Tell what was counted of all models",
        object_schema({"model_stats": {"type": "array"}}),
    ),
    "": ("Describe a model", _METADATA),
    "/ready": ("Say whether a model is ready", _READY),
    "/config": ("Describe a model as Triton's configuration does", object_schema({"name": TEXT_SCHEMA})),
    "/stats": ("Tell what was counted of a model", object_schema({"model_stats": {"type": "array"}})),
    "/trace/setting": ("Give the settings of traces", {"type": "object"}),
    "/v2/trace/setting": ("Give the settings of traces", {"type": "object"}),
    "/v2/logging": ("Give the settings of the log", {"type": "object"}),
}
"""What is read: summary and reply, by path; those of a model by what stands behind it."""
_MAY_BE_UNREADY: Final = ("/v2/health/ready", "/ready")
_RUN: Final = ("/infer", "/infer_stream", "/generate", "/generate_stream")


def describe(
    servables: Sequence[DescribedServable], routes: Sequence[Route], *, shared_memory: bool
) -> Description:
    """What the dialect answers.

    Args:
        servables: Those to be described.
        routes: All of the dialect.
        shared_memory: Whether clients may pass tensors in shared memory; all about it is refused otherwise.
    """
    refused = (route.pattern for route in routes if _is_refused(route.pattern, shared_memory=shared_memory))
    return Description(_operations(servables, routes), _ERROR, unlisted=frozenset(("/v2/", *refused)))


def _is_refused(pattern: str, *, shared_memory: bool) -> bool:
    """Whether what is asked at a path is refused, unless it is said elsewhere what it does."""
    memory = (
        ("/v2/cudasharedmemory",) if shared_memory else ("/v2/cudasharedmemory", "/v2/systemsharedmemory")
    )
    return pattern.startswith(memory) or pattern.endswith(("/load", "/unload", "/setting", "/logging"))


def _operations(servables: Sequence[DescribedServable], routes: Iterable[Route]) -> Iterator[Operation]:
    for servable in servables:
        for name, method in servable.models:
            for action in ("infer", "generate"):
                yield _of_method(servable.name, name, method, action)
    for route in routes:
        for verb in route.verbs:
            operation = _of_route(verb, route.pattern)
            if operation is not None:
                yield operation


def _of_route(verb: str, pattern: str) -> Operation | None:
    """A path that is not one of a method; None where nothing is to be said of it."""
    named = (_NAME,) if "{model}" in pattern else ()
    action = pattern.removeprefix(_MODEL).removeprefix("/versions/{version}")
    if verb == "POST" and action in _RUN:
        streams = action.endswith("_stream")
        body = Content(_ANY_REQUEST if "infer" in action else {"type": "object"})
        given = (
            Content(TEXT_SCHEMA, _EVENTS)
            if streams
            else Content(_ANY_REPLY if action == "/infer" else {"type": "object"})
        )
        summary = "Run any method" + (", and give the reply as an event" if streams else "")
        return Operation(verb, pattern, summary, parameters=named, takes=(body,), gives={OK: [given]})
    if verb == "POST" and pattern.endswith("/index"):
        body = Content({"type": "object", "properties": {"ready": {"type": "boolean"}}}, examples=({},))
        return Operation(
            verb, pattern, "List each version of each model", takes=(body,), gives={OK: [Content(_INDEX)]}
        )
    known = _OF_PATHS.get(action)
    if known is None or verb == "POST":
        return None
    summary, schema = known
    replies = [Content(schema)] if verb == "GET" else []
    statuses = (OK, 503) if action in _MAY_BE_UNREADY else (OK,)
    return Operation(verb, pattern, summary, parameters=named, gives=dict.fromkeys(statuses, replies))


def _of_method(servable: str, model: str, method: MethodSignature, action: str) -> Operation:
    examples = tuple(_examples(method, _infer_example if action == "infer" else _generate_example))
    schemas = (_infer_request, _infer_reply) if action == "infer" else (_generate_request, _generate_reply)
    request, reply = (schema(method) for schema in schemas)
    way = "tensors" if action == "infer" else "plain values of one instance"
    return Operation(
        "POST",
        f"{_MODEL}/{action}",
        f"Run {method.name} of {servable} with {way}",
        path=f"/v2/models/{quote(model, safe='')}/{action}",
        description=method.description,
        takes=(Content(request, examples=examples),),
        gives={OK: [Content(reply)]},
        tag=servable,
    )


# --- Tensors ---


def _infer_request(method: MethodSignature) -> JsonSchema:
    inputs: dict[str, Any] = {"type": "array", "minItems": len(method.inputs), "maxItems": len(method.inputs)}
    if len(method.inputs) == 1:
        inputs["items"] = _sent_tensor(method.inputs[0], method.rows)
    elif method.inputs:
        inputs["prefixItems"] = [_sent_tensor(one, method.rows) for one in method.inputs]
        inputs["description"] = "Each input once, in any order."
    schema = object_schema({"inputs": inputs})
    schema["properties"] |= {
        "id": _ID,
        "parameters": _PARAMETERS,
        "outputs": {
            "type": ["array", "null"],
            "description": "Which outputs; none for all.",
            "uniqueItems": True,
            "items": object_schema({"name": {"enum": [one.name for one in method.outputs]}}),
        },
    }
    return schema


def _infer_reply(method: MethodSignature) -> JsonSchema:
    outputs: JsonSchema = {"type": "array"}
    if method.outputs:
        outputs = {"type": "array", "items": {"anyOf": [_given_tensor(one) for one in method.outputs]}}
    schema = object_schema({"model_name": TEXT_SCHEMA, "model_version": TEXT_SCHEMA, "outputs": outputs})
    schema["properties"]["id"] = TEXT_SCHEMA
    return schema


def _sent_tensor(one: TensorType, method_rows: bool) -> dict[str, Any]:
    element = _element(one, number_schema)
    kinds = list(KNOWN_NAMES) if one.dtype is DataType.UNKNOWN else [NAME_OF[one.dtype]]
    properties: dict[str, JsonSchema] = {
        "name": {"enum": [one.name]},
        "datatype": {"enum": kinds},
        "shape": _shape(one, method_rows and not one.shared),
        "data": {
            "type": "array",
            "description": _DATA,
            "items": {"anyOf": [element, {"type": "array"}]} if element else {},
        },
    }
    return described(object_schema(properties), one)


def _given_tensor(one: TensorType) -> dict[str, Any]:
    """An output; a string in place of a number is of the classification extension."""
    known = one.dtype is not DataType.UNKNOWN and is_certain(one)
    properties: dict[str, JsonSchema] = {
        "name": {"enum": [one.name]},
        "datatype": {"enum": [NAME_OF[one.dtype], "BYTES"]} if known else {"enum": list(KNOWN_NAMES)},
        "shape": {"type": "array", "items": _SIZE},
        "data": {"type": "array", "items": {"anyOf": [_given_element(one), TEXT_SCHEMA]} if known else {}},
    }
    return described(object_schema(properties), one)


def _element(one: TensorType, number: Callable[[DataType], dict[str, Any]]) -> dict[str, Any]:
    if one.dtype is DataType.UNKNOWN:
        return {}
    return {"type": "string"} if one.dtype.is_text else number(one.dtype)


def _given_element(one: TensorType) -> dict[str, Any]:
    """An element of an output; nothing is said of one whose type may vary."""
    return _element(one, given_number_schema) if is_certain(one) else {}


def _shape(one: TensorType, rows: bool) -> JsonSchema:
    """Of text it is [rows] or [rows, 1]; [1] where there are no rows."""
    if one.dtype.is_text or one.dtype is DataType.UNKNOWN or one.shape is None:
        return {"type": "array", "items": _SIZE, **({"minItems": 1, "description": _SHAPE} if rows else {})}
    sizes = (*((-1,) if rows else ()), *one.shape)
    schema: dict[str, Any] = {"type": "array", "minItems": len(sizes), "maxItems": len(sizes)}
    if sizes:
        schema["prefixItems"] = [_SIZE if size < 0 else {"enum": [size]} for size in sizes]
    return {**schema, "description": _SHAPE} if rows else schema


# --- Plain values ---


def _generate_request(method: MethodSignature) -> JsonSchema:
    values = {one.name: _plain(one) for one in method.inputs}
    schema = object_schema(values, additionalProperties=_SCALAR)
    for name, more in (("id", _ID), ("parameters", _PARAMETERS)):
        schema["properties"].setdefault(name, more)
    return schema


def _generate_reply(method: MethodSignature) -> JsonSchema:
    values = {}
    for one in method.outputs:
        element = _given_element(one)
        values[one.name] = described(
            {"anyOf": [element, {"type": "array", "items": element}]} if element else {}, one
        )
    return object_schema({"model_name": TEXT_SCHEMA, "model_version": TEXT_SCHEMA, **values})


def _plain(one: TensorType) -> dict[str, Any]:
    """A value, or a flat list of as many as the shape has; what is not known of it is 1."""
    element = _element(one, number_schema) or dict(_SCALAR)
    size = 1 if one.dtype.is_text else -1 if one.shape is None or -1 in one.shape else prod(one.shape)
    flat = list_schema(element, (size,))
    known = prod(abs(each) for each in one.shape or ())
    if size == 1 or (size < 0 and known == 1):
        return described({"anyOf": [element, flat]}, one)
    return described(flat, one)


# --- Examples ---


def _examples(method: MethodSignature, form: Any) -> Iterator[Mapping[str, Any]]:
    for example in examples_of(method):
        try:
            yield form(example, method)
        except UnicodeDecodeError:  # bytes that JSON cannot hold here
            continue


def _infer_example(example: Mapping[str, ExampleValue], method: MethodSignature) -> Mapping[str, Any]:
    return {
        "inputs": [_sent(one, example[one.name], method.rows and not one.shared) for one in method.inputs]
    }


def _sent(one: TensorType, value: ExampleValue, rows: bool) -> dict[str, Any]:
    own = list(value.shape) if isinstance(value, np.ndarray) else [] if rows else [1]
    if one.shape == () and own == [1] and rows:
        own = []
    shape = [1, *own] if rows else own
    return {"name": one.name, "datatype": NAME_OF[dtype_of(value)], "shape": shape, "data": _flat(value)}


def _generate_example(example: Mapping[str, ExampleValue], method: MethodSignature) -> Mapping[str, Any]:
    values = {name: _flat(value) for name, value in example.items()}
    return {
        one.name: values[one.name][0]
        if len(values[one.name]) == 1 and one.shape in ((), None)
        else values[one.name]
        for one in method.inputs
    }


def _flat(value: ExampleValue) -> list[Any]:
    """The elements in one list.

    Raises:
        UnicodeDecodeError: They are bytes, and no text.
    """
    if isinstance(value, np.ndarray):
        return list(value.reshape(-1).tolist())
    return [value.decode() if isinstance(value, bytes) else value]
