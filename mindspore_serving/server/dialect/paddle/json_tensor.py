"""Tensors in JSON, of both services, and what else their requests have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pybase64

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.server.dialect.paddle.elements import WIDE
from mindspore_serving.server.dialect.paddle.messages import Elements, SentTensor

MOST_INTEGER: Final = (1 << 64) - 1
_INT32: Final = (-(1 << 31), (1 << 31) - 1)
_MOST_SIZES: Final = 1 << 10
"""Sizes of a shape that are looked at; more than that are refused, whatever they are."""
_TEXTS: Final = ("data", "str_data")
_BYTES: Final = ("tensor_content", "byte_data")


def json_tensor(document: Any, where: str) -> SentTensor:
    """A tensor.

    Args:
        document: JSON.
        where: What it is called in error texts.

    Raises:
        InvalidInput: It is none.
    """
    if not isinstance(document, dict):
        raise InvalidInput(f"{where} should be an object, but is {kind_of(document)}")
    elements: dict[str, Elements] = {}
    for name in (*WIDE, *_TEXTS):
        values = list_of(document, name, where)
        if values:
            elements[name] = values
    for name in _BYTES:
        text = text_of(document, name, where)
        if text:
            elements[name] = _decoded(text, name, where)
    shape = list_of(document, "shape", where)
    if len(shape) > _MOST_SIZES or not all(_is_int32(size) for size in shape):
        raise InvalidInput(
            f"shape of {where} should be a list of integers, but is {excerpt(str(shape[:10]))}"
        )
    return SentTensor(
        name=text_of(document, "name", where),
        alias=text_of(document, "alias_name", where),
        elem_type=integer_of(document, "elem_type", where, _INT32[1]),
        shape=tuple(shape),
        lod=len(list_of(document, "lod", where)),
        fields=elements,
    )


def list_of(document: Mapping[str, Any], name: str, where: str) -> list[Any]:
    """The list at a key; an empty one where there is none.

    Raises:
        InvalidInput: There is something else.
    """
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"{name} of {where} should be a list, but is {kind_of(value)}")
    return value


def text_of(document: Mapping[str, Any], name: str, where: str) -> str:
    """The text at a key; "" where there is none.

    Raises:
        InvalidInput: There is something else.
    """
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} of {where} should be a string, but is {kind_of(value)}")
    return value


def integer_of(document: Mapping[str, Any], name: str, where: str, most: int = MOST_INTEGER) -> int:
    """The integer at a key, which may be written as a string, as protobuf does; 0 where there is none.

    Raises:
        InvalidInput: There is something else.
    """
    value = document.get(name)
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(most)):
        value = int(value)
    if type(value) is not int or not 0 <= value <= most:
        shown = excerpt(str(value)) if isinstance(value, (int, float, str)) else kind_of(value)
        raise InvalidInput(f"{name} of {where} should be an integer from 0 to {most}, but is {shown}")
    return value


def texts_at(document: Mapping[str, Any], name: str, where: str) -> Sequence[str]:
    """The texts at a key; none where there is none.

    Raises:
        InvalidInput: There is something else.
    """
    values = list_of(document, name, where)
    for at, value in enumerate(values):
        if not isinstance(value, str):
            raise InvalidInput(f"{name} of {where} should be strings, but element {at} is {kind_of(value)}")
    return values


def kind_of(value: Any) -> str:
    """What a JSON value is, in an error text."""
    if value is None:
        return "null"
    kinds = {bool: "a bool", int: "a number", float: "a number", str: "a string", dict: "an object"}
    return kinds.get(type(value), "a list")


def _is_int32(value: Any) -> bool:
    return type(value) is int and _INT32[0] <= value <= _INT32[1]


def _decoded(text: str, name: str, where: str) -> bytes:
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as cause:  # binascii.Error, or letters that are not ASCII
        raise InvalidInput(f"{name} of {where} is '{excerpt(text)}', which is not base64") from cause
