"""Frozen dataclasses as one text, for what a process is told once, at its start.

The type hints of the fields say what is read: str, int, float, bool, tuples of them, other dataclasses, and None where
the hint allows it. Whatever does not fit is refused by name: a value of another type, a field that is unknown, or one
that is missing, even where it has a default. Bytes cannot be written, so that no key gets into a document.
"""

from __future__ import annotations

import dataclasses
import json
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from mindspore_serving.errors import ChannelError

_Document = TypeVar("_Document")


def text_of(value: Any) -> str:
    """The text of a dataclass, in ASCII.

    Raises:
        TypeError: A field holds what no document can.
    """
    return json.dumps(_plain(value))


def read_as(document: type[_Document], text: str | bytes) -> _Document:
    """What `text_of` was given.

    Args:
        document: A dataclass.
        text: From `text_of`.

    Raises:
        ChannelError: The text does not fit the dataclass; names the field.
    """
    try:
        plain = json.loads(text)
    except ValueError as cause:
        raise ChannelError(f"a {document.__name__} is no JSON document: {cause}") from cause
    value: _Document = _value(document, plain, document.__name__)
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"a document cannot hold {type(value)}")


def _value(hint: Any, plain: Any, where: str) -> Any:
    """A plain value as its type hint wants it.

    Args:
        hint: The type hint.
        plain: From JSON.
        where: What is read, for error texts.
    """
    if get_origin(hint) in (UnionType, Union):
        if plain is None and NoneType in get_args(hint):
            return None
        [hint] = [one for one in get_args(hint) if one is not NoneType]
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, plain, where)
    if get_origin(hint) is tuple:
        item_hint = get_args(hint)[0]  # of tuple[item, ...]
        if isinstance(plain, list):
            return tuple(_value(item_hint, item, where) for item in plain)
    elif (hint is float and type(plain) is int) or type(plain) is hint:
        return plain
    raise ChannelError(f"{where} should be {hint}, but actually {plain!r}")


def _dataclass(hint: Any, plain: Any, where: str) -> Any:
    names = {one.name for one in dataclasses.fields(hint)}
    if not isinstance(plain, dict) or plain.keys() != names:
        given = sorted(plain) if isinstance(plain, dict) else plain
        raise ChannelError(f"{where} should have the fields {sorted(names)}, but actually {given!r}")
    hints = get_type_hints(hint)
    return hint(**{name: _value(hints[name], plain[name], f"{where}.{name}") for name in plain})
