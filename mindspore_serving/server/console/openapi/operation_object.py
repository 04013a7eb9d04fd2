"""An operation as OpenAPI has it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from mindspore_serving.server.transport.description import (
    TEXT_SCHEMA,
    Content,
    Description,
    Operation,
    Parameter,
)

ERROR_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "400": "The request is not what is taken here.",
        "404": "There is no such servable, version, method or path.",
        "429": "Too much is pending; nothing was done. `Retry-After` says when to try again.",
        "500": "A stage or a model failed.",
        "503": "It is not ready, or the server has no room, or stops; nothing was done.",
        "504": "There was no result in time.",
        "default": "Another error.",
    }
)
"""Replies with the body that a dialect has for errors, by status."""
KEY_SCHEMES: Final[dict[str, dict[str, str]]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
_OF_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "401": "The client shows no API key that this server knows.",
        "403": "The client's API key does not have the right to ask this.",
    }
)
_NAME = re.compile(r"\{(\w+)\*?\}")
_NOT_IN_IDS = re.compile(r"\W+", re.ASCII)


def error_responses(key: str, description: Description, *, keys: bool) -> dict[str, Any]:
    """The replies of a dialect to requests that have failed, by name.

    Args:
        key: Of the dialect, which the names begin with.
        description: What it says of itself.
        keys: Whether API keys are asked for.
    """
    texts = {**ERROR_TEXTS, **(_OF_KEYS if keys else {})}
    content = {description.error_type: {"schema": description.error}}
    return {f"{key}_{status}": {"description": text, "content": content} for status, text in texts.items()}


def operation_object(
    operation: Operation, dialect: str, *, errors: str, is_open: bool, keys: bool
) -> dict[str, Any]:
    """An operation as OpenAPI has it.

    Args:
        operation: It.
        dialect: Name of who answers.
        errors: What the names of its error replies begin with; "" where they are not known.
        is_open: Whether anybody may ask, also without a key.
        keys: Whether API keys are asked for otherwise.
    """
    path = operation.path or operation.pattern
    document: dict[str, Any] = {
        "operationId": _NOT_IN_IDS.sub("_", f"{operation.verb.lower()} {path}").strip("_"),
        "summary": operation.summary,
        "tags": [f"{operation.tag} ({dialect})" if operation.tag else dialect],
        "responses": _responses(operation, errors, with_keys=keys and not is_open),
    }
    if operation.description:
        document["description"] = operation.description
    if parameters := _parameters(path, operation.parameters):
        document["parameters"] = parameters
    if operation.takes:
        document["requestBody"] = {"required": True, "content": _contents(operation.takes)}
    if is_open and keys:
        document["security"] = []
    return document


def _parameters(path: str, known: Sequence[Parameter]) -> list[dict[str, Any]]:
    """All names in a path, and what else is known."""
    names = _NAME.findall(path)
    by_name = {one.name: one for one in known if one.place != "path" or one.name in names}
    for name in names:
        by_name.setdefault(name, Parameter(name, "path", ""))
    return [_parameter(one) for one in by_name.values()]


def _parameter(one: Parameter) -> dict[str, Any]:
    schema = (
        {**TEXT_SCHEMA, "minLength": 1} if one.place == "path" and one.schema is TEXT_SCHEMA else one.schema
    )
    document: dict[str, Any] = {"name": one.name, "in": one.place, "schema": schema}
    if one.place == "path":
        document["required"] = True
    if one.description:
        document["description"] = one.description
    if one.example is not None:
        document["example"] = one.example
    return document


def _responses(operation: Operation, errors: str, *, with_keys: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, contents in operation.gives.items():
        responses[str(status)] = {"description": "Done." if status < 300 else "Not ready."}
        if contents:
            responses[str(status)]["content"] = _contents(contents)
    if not operation.gives:
        responses["default"] = {"description": "What is answered here is not described."}
    if errors:
        for status in (*ERROR_TEXTS, *(_OF_KEYS if with_keys else ())):
            responses.setdefault(status, {"$ref": f"#/components/responses/{errors}_{status}"})
    return responses


def _contents(contents: Sequence[Content]) -> dict[str, Any]:
    return {one.type: _media_type(one) for one in contents}


def _media_type(one: Content) -> dict[str, Any]:
    document: dict[str, Any] = {"schema": one.schema}
    if one.examples:
        document["examples"] = {f"example {at}": {"value": body} for at, body in enumerate(one.examples, 1)}
    if one.part_types:
        document["encoding"] = {name: {"contentType": kind} for name, kind in one.part_types.items()}
    return document
