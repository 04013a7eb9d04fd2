"""The forms of a request's body: JSON, the bytes of a single input, and a form with one part for each input.

The `Content-Type` tells which, and what the method takes:

| Content-Type | body |
|---|---|
| none, JSON, or what `curl -d` says by itself | JSON |
| `multipart/form-data` | one instance, a part for each input |
| any other, for a method of exactly one input | one instance: text for `text/*`, bytes otherwise |
| any other, for another method | JSON |

Clients have always sent JSON with whatever type their library says: so a body that begins with `{"instances":` is JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.native.json_codec import parse_body, read_instances
from mindspore_serving.server.dialect.native.json_values import JsonTensor, read_value
from mindspore_serving.server.transport.http_routes import BodyContent, BodyFormat
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import DataType, TensorSpec

_JSON_TYPES: Final = frozenset(
    (
        "",
        "application/json",
        "application/x-www-form-urlencoded",
        "text/json",
        "application/json; charset=utf-8",
    )
)
_INSTANCES = re.compile(rb'\s*\{\s*"instances"\s*:')
_BEGINNING_BYTES = 1 << 12
"""Bytes in which it is told that a body is JSON: blanks may be all of it."""
_NO_TYPES: Final[Mapping[str, DataType]] = MappingProxyType({})
_FORM = "multipart/form-data"
_MOST_QUICK_TEXT = 1 << 23
"""Bytes of text of which the encoding is checked within some milliseconds."""
_MOST_QUICK_FORM = 1 << 20
"""Bytes of a form that is read within some milliseconds: what takes the time are its line ends, not its values."""
_UTF8 = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))


def read_json(body: bytes, argument: Any) -> BodyContent:
    """The instances of a JSON document.

    Args:
        body: The document.
        argument: What numbers become, by input; see `MethodSignature.number_types`.

    Raises:
        InvalidInput: It is no JSON, or holds no instances.
    """
    return BodyContent(read_instances(parse_body(body), _types(argument)))


def read_raw(body: bytes, argument: Any) -> BodyContent:
    """One instance of one input, which is all of a body.

    Args:
        body: Bytes, or UTF-8.
        argument: `name` and `dtype` of the input, and `types` as for JSON.

    Raises:
        InvalidInput: The body is empty, or is to be text and is none.
    """
    if not body or _begins_as_json(body):
        return read_json(body, argument["types"])
    dtype = DataType(argument["dtype"])
    if dtype is DataType.STRING:
        _check_text(body, "The body")
    return BodyContent([Rows((TensorSpec(argument["name"], dtype, ()),), ([body],), 1)])


def read_form(body: bytes, argument: Any) -> BodyContent:
    """One instance, with a part for each input.

    Args:
        body: As `multipart/form-data` has it.
        argument: `boundary`, `inputs`, which are the names that parts may have, and `types` as for JSON.

    Raises:
        InvalidInput: The body is no form, a part is no input or no value, or an input has none.
    """
    if not body or _begins_as_json(body):
        return read_json(body, argument["types"])
    types, inputs = _types(argument["types"]), argument["inputs"]
    tensors: dict[str, JsonTensor] = {}
    try:
        for part, content in _parts_of(body, argument["boundary"]):
            name = _name_of(part, inputs, tensors)
            tensors[name] = _read_part(name, part, b"".join(content), types.get(name))
    except MultipartError as cause:
        raise InvalidInput(f"http message invalid, body is not {_FORM}: {cause.args[0]}") from cause
    missing = [name for name in inputs if name not in tensors]
    if missing:
        raise InvalidInput(f"Parser request failed, form has no part '{missing[0]}', {_expected(inputs)}")
    specs = tuple(TensorSpec(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items())
    columns = tuple(
        [tensor.data] if isinstance(tensor.data, bytes) else np.stack([tensor.data])
        for tensor in tensors.values()
    )
    return BodyContent([Rows(specs, columns, 1)])


def _begins_as_json(body: bytes) -> bool:
    return _INSTANCES.match(body, 0, _BEGINNING_BYTES) is not None


def _raw_is_quick(body: bytes) -> bool:
    """Bytes cost nothing, whatever there is of them."""
    return not _begins_as_json(body) or JSON.is_quick(body)


def _text_is_quick(body: bytes) -> bool:
    return len(body) <= _MOST_QUICK_TEXT and _raw_is_quick(body)


def _form_is_quick(body: bytes) -> bool:
    return len(body) <= _MOST_QUICK_FORM


JSON: Final = BodyFormat(read_json)
RAW: Final = BodyFormat(read_raw, _raw_is_quick)
TEXT: Final = BodyFormat(read_raw, _text_is_quick)
FORM: Final = BodyFormat(read_form, _form_is_quick)


def says_json(content_type: str) -> bool:
    """Whether a type says that the body is JSON, whatever the method takes."""
    if content_type in _JSON_TYPES:
        return True
    kind, _ = parse_options_header(content_type)
    return kind in _JSON_TYPES or kind.endswith("+json")


def form_of(content_type: str, method: MethodSignature) -> tuple[BodyFormat, Any]:
    """How the body of a request is read, and what its reader is told.

    Args:
        content_type: Of the request; empty where it has none.
        method: What it asks for.

    Raises:
        InvalidInput: The type is not said as it should be.
    """
    types = method.number_types
    if content_type in _JSON_TYPES or says_json(content_type):
        return JSON, types
    kind, options = parse_options_header(content_type)
    names = method.input_names
    if kind == _FORM:
        boundary = options.get("boundary", "")
        if not 0 < len(boundary) <= 70 or not boundary.isascii() or not boundary.isprintable():
            raise InvalidInput(
                f"http message invalid, Content-Type {_FORM} should have a boundary of 1 to 70 characters, but got "
                f"{excerpt(content_type)}"
            )
        return FORM, {"boundary": boundary, "inputs": names, "types": types}
    if len(names) != 1:
        return JSON, types
    if not kind.startswith("text/"):
        return RAW, {"name": names[0], "dtype": DataType.BYTES, "types": types}
    _check_charset(options.get("charset"), content_type)
    return TEXT, {"name": names[0], "dtype": DataType.STRING, "types": types}


def _parts_of(body: bytes, boundary: str) -> Iterator[tuple[MultipartSegment, list[bytes]]]:
    """The parts of a form in order: head, and pieces of content.

    Raises:
        MultipartError: The body is no form, or ends within one.
    """
    content: list[bytes] = []
    with PushMultipartParser(boundary, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                part, content = event, []
            elif event:
                content.append(bytes(event))
            else:
                yield part, content


def _name_of(part: MultipartSegment, inputs: Sequence[str], before: Mapping[str, Any]) -> str:
    """The input that a part is for.

    Raises:
        InvalidInput: It is for none, or for one that has its part.
    """
    name = part.name or ""
    shown = excerpt(name)
    if name not in inputs:
        raise InvalidInput(f"Parser request failed, form has a part '{shown}', {_expected(inputs)}")
    if name in before:
        raise InvalidInput(f"Parser request failed, form has two parts '{shown}'")
    return name


def _read_part(name: str, part: MultipartSegment, content: bytes, model_type: DataType | None) -> JsonTensor:
    """The value of a part: bytes of a file, a JSON value, or text.

    Raises:
        InvalidInput: It is no value.
    """
    kind = part.content_type or ""
    is_json = bool(kind) and says_json(kind)
    if not is_json and (part.filename is not None or not (kind.startswith("text/") or not kind)):
        return JsonTensor(DataType.BYTES, (), content)
    try:
        value = parse_body(content)
    except InvalidInput as cause:
        if is_json:
            raise InvalidInput(f"Parser request failed, part '{name}': {cause}") from cause
        _check_charset(part.charset, kind)
        _check_text(content, f"Part '{name}'")
        return JsonTensor(DataType.STRING, (), content)
    try:
        return read_value(name, value, model_type)
    except InvalidInput as cause:
        raise InvalidInput(f"Parser request failed, {cause}") from cause


def _expected(inputs: Sequence[str]) -> str:
    return f"expected are {', '.join(inputs) or 'none'}"


def _check_charset(charset: str | None, content_type: str) -> None:
    if charset is not None and charset.lower() not in _UTF8:
        raise InvalidInput(
            f"http message invalid, text should be UTF-8, but got Content-Type {excerpt(content_type)}"
        )


def _check_text(content: bytes, what: str) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as cause:
        raise InvalidInput(f"http message invalid, {what} should be text in UTF-8: {cause}") from cause


def _types(numbers: Mapping[str, int]) -> Mapping[str, DataType]:
    """Types by input; as JSON has them, they are numbers."""
    return {name: DataType(number) for name, number in numbers.items()} if numbers else _NO_TYPES
