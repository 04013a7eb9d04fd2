"""Values of inputs and outputs as JSON Schema.

A schema says type, range and sizes. It cannot say that the lists of an array with several open sizes are of one length,
nor that a float takes an integer only if it holds it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import NUMPY_OF, DataType

Schema = dict[str, Any]
_FORMATS: Final = MappingProxyType(
    {
        DataType.INT32: "int32",
        DataType.INT64: "int64",
        DataType.FLOAT32: "float",
        DataType.FLOAT64: "double",
    }
)
"""Formats that OpenAPI knows."""
BASE64_PATTERN: Final = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
MANY_DIMENSIONS: Final = "Lists of each dimension are of the same length."


def is_certain(one: TensorType) -> bool:
    """Whether an output is always of its type; what only examples have shown may be otherwise another time."""
    return one.declared or bool(one.file_name)


def number_schema(dtype: DataType) -> Schema:
    """The schema of one number, or of true and false.

    Args:
        dtype: A data type with elements of one size.
    """
    if dtype is DataType.BOOL:
        return {"type": "boolean"}
    kind = NUMPY_OF[dtype]
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        schema: Schema = {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    else:
        most = float(np.finfo(kind).max)
        schema = {"type": "number", "minimum": -most, "maximum": most}
    if dtype in _FORMATS:
        schema["format"] = _FORMATS[dtype]
    return schema


def given_number_schema(dtype: DataType) -> Schema:
    """As `number_schema`, of a reply: what is not finite is null."""
    kind = None if dtype is DataType.BOOL else NUMPY_OF[dtype].kind
    return {"anyOf": [{"type": "number"}, {"type": "null"}]} if kind == "f" else number_schema(dtype)


def base64_schema() -> Schema:
    """The schema of bytes in base64."""
    return {"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN}


def b64_object_schema(**more: Mapping[str, Any]) -> Schema:
    """The schema of `{"b64": ...}`.

    Args:
        more: Schemas of further keys, which have to be there.
    """
    return {
        "type": "object",
        "required": ["b64", *more],
        "properties": {"b64": base64_schema(), **more},
        "additionalProperties": False,
    }


def list_schema(item: Mapping[str, Any], shape: Sequence[int], least: int = 1) -> Schema:
    """The schema of nested lists.

    Args:
        item: Schema of an element.
        shape: Sizes, -1 for one that is open.
        least: Least length of a list whose size is open.
    """
    schema = dict(item)
    for size in reversed(shape):
        sizes = {"minItems": least} if size < 0 else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **sizes}
    if sum(size < 0 for size in shape[1:]):
        schema["description"] = MANY_DIMENSIONS
    return schema


def described(schema: Schema, one: TensorType) -> Schema:
    """A schema with what is said of its input or output."""
    said = [text for text in (one.description, schema.get("description", "")) if text]
    if not schema and one.is_known:
        said.append(f"Usually {one.text}.")
    return {**schema, "description": " ".join(said)} if said else schema
