"""The JSON schema of the file of settings, for editors: made of `config`, so that it cannot lag behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING
from types import NoneType
from typing import Any, get_args, get_origin

from mindspore_serving.cli.serving.config import ServerConfig, keys_of

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> dict[str, Any]:
    """The schema of a file, JSON Schema 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mindspore-serving serve",
        **_object(ServerConfig),
    }


def _object(kind: type) -> dict[str, Any]:
    keys = keys_of(kind)
    properties = {}
    for key in keys.values():
        described = _value(key.hint) | ({"description": key.help} if key.help else {})
        if key.default is not MISSING and not dataclasses.is_dataclass(key.default):
            described["default"] = list(key.default) if isinstance(key.default, tuple) else key.default
        properties[key.name] = described
    required = [key.name for key in keys.values() if key.default is MISSING]
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def _value(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint)
    if origin is tuple:
        inner = _value(arguments[0])
        many: dict[str, Any] = {"type": "array", "items": inner}
        return many if inner.get("type") == "object" else {"anyOf": [many, inner]}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    if NoneType in arguments:
        [present] = [one for one in arguments if one is not NoneType]
        return {"anyOf": [_value(present), {"type": "null"}]}
    return {"type": _TYPES[hint]}
