"""Frozen dataclasses as one text, for what a process is given once, at its start.

The type hints of the fields say what is read (`hints`), with four exceptions. Every field has to be there, also one
that has a default, because whoever writes a document writes all of it. An int does for a float, as it does for Python.
`str | float` stands for any plain value. And bytes can neither be written nor read, so that no key gets into a
document.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, TypeVar

from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.hints import Rules, Unfit, json_form, reader_of, shown

_Document = TypeVar("_Document")


def write_document(value: Any) -> str:
    """The text of a dataclass, in ASCII; what is no Unicode, as file names may be, is kept as it is.

    Raises:
        TypeError: A field holds what no document can.
    """
    return json.dumps(value, default=json_form)


def read_document(kind: type[_Document], text: str | bytes) -> _Document:
    """What `write_document` was given.

    Args:
        kind: Its dataclass.
        text: From `write_document`.

    Raises:
        ChannelError: The text does not fit the dataclass; names the field.
    """
    try:
        plain = json.loads(text)
    except ValueError as cause:
        raise ChannelError(f"a {kind.__name__} is no JSON document: {cause}") from cause
    try:
        value: _Document = reader_of(kind, rules=_RULES)(plain)
    except Unfit as unfit:
        raise ChannelError(str(unfit.inside(kind.__name__))) from unfit
    return value


def _number(value: Any) -> float:
    if type(value) not in (float, int):  # a bool is an int for Python
        raise Unfit("float", shown(value))
    number: float = value
    return number


def _plain(value: Any) -> str | float:
    if type(value) not in (str, float, int, bool):
        raise Unfit("str, float, int or bool", shown(value))
    plain: str | float = value
    return plain


def _no_bytes(value: Any) -> NoReturn:
    raise Unfit("absent", shown(value))


_RULES: Final = Rules(complete=True, readers={float: _number, bytes: _no_bytes, str | float: _plain})
