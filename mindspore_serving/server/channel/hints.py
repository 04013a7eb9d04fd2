"""JSON values read by type hints: what arrives has the type that its hint says, or it is refused.

`reader_of` turns a hint into a function once, at import. A hint that it does not know fails there.

| hint | in JSON |
|---|---|
| bool, int, float, str | itself |
| an enum | its value |
| tuple[X, ...] | a list |
| Mapping[str, X] | an object |
| X or None | null, or as X |
| a dataclass | an object; a field that has a default may be left out, an unknown one is refused |
| a NamedTuple | a list of all its fields |

`Rules` make exceptions: documents have some (`document`), messages none.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

import orjson

from mindspore_serving.errors import excerpt
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import MAX_DIMENSIONS, TensorSpec

Read: TypeAlias = Callable[[Any], Any]
"""Takes a JSON value, gives what its hint says, or raises `Unfit`."""

_PLAIN = (bool, int, float, str)


class Unfit(ValueError):
    """A value is not what its hint says.

    Args:
        expected: What it should be.
        got: What it is, to be read after "but is".

    Attributes:
        path: Where it was found, for example `methods[0].name`; empty for the whole value.
    """

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.path = ""
        self._expected = expected
        self._got = got

    def __str__(self) -> str:
        return f"{self.path or 'the value'} should be {self._expected}, but is {self._got}"

    def inside(self, part: str) -> Unfit:
        """This error, seen from the value that has it in `part`."""
        self.path = f"{part}.{self.path}" if self.path and self.path[0] != "[" else part + self.path
        return self


class UnknownHint(TypeError):
    """A hint that no value can be read by; raised at import."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """Where values are read in another way than the table says.

    Attributes:
        complete: Whether every field has to be there, also one that has a default.
        readers: What reads values of these hints.
    """

    complete: bool = False
    readers: Mapping[Any, Read] = dataclasses.field(default_factory=dict)


_NO_EXCEPTION: Final = Rules()


def shown(value: object) -> str:
    """A JSON value in an error text: whole if it is small. A list is not looked into, it may be deep."""
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return excerpt(repr(value))


def json_of(value: object) -> bytes:
    """A value as JSON, as `reader_of` reads it; what is no Unicode, as file names may be, is replaced."""
    try:
        return orjson.dumps(value, default=json_form)
    except orjson.JSONEncodeError:
        return json.dumps(value, default=json_form, ensure_ascii=False).encode(errors="replace")


def json_form(value: object) -> object:
    """A value that an encoder does not know, by others that it knows."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} cannot be sent")


def reader_of(hint: Any, inside: tuple[type, ...] = (), rules: Rules = _NO_EXCEPTION) -> Read:
    """What reads values of a hint.

    Args:
        hint: The hint.
        inside: Types that hold it.
        rules: Where it is read in another way.

    Raises:
        UnknownHint: No value can be read by it.
    """
    if hint in rules.readers:
        return rules.readers[hint]
    if hint in _PLAIN:
        return _plain_reader(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple_reader(reader_of(arguments[0], inside, rules))
    if origin is Mapping and arguments[0] is str:
        return _mapping_reader(reader_of(arguments[1], inside, rules))
    if origin in (UnionType, Union) and len(arguments) == 2 and NoneType in arguments:
        [present] = [one for one in arguments if one is not NoneType]
        return _optional_reader(reader_of(present, inside, rules))
    if isinstance(hint, type) and origin is None and hint not in inside:
        if issubclass(hint, Enum) and all(type(member.value) in (int, str) for member in hint):
            return _enum_reader(hint)
        if dataclasses.is_dataclass(hint):
            return _dataclass_reader(hint, inside, rules)
        if issubclass(hint, tuple) and hasattr(hint, "_fields"):
            return _named_tuple_reader(hint, inside, rules)
    raise UnknownHint(
        f"values of type {hint} cannot be sent: bool, int, float, str, enums, tuple[X, ...], Mapping[str, X], "
        "X | None, dataclasses and NamedTuples can, unless they hold themselves"
    )


def field_readers(
    kind: type,
    inside: tuple[type, ...] = (),
    rules: Rules = _NO_EXCEPTION,
    without: type | None = None,
) -> dict[str, Read]:
    """Readers of the fields of a dataclass or NamedTuple, by name, in order.

    Args:
        kind: The type.
        inside: Types that hold it.
        rules: Where values are read in another way.
        without: Hint of fields that are read otherwise.

    Raises:
        UnknownHint: A field has a hint that no value can be read by.
    """
    readers = {}
    for name, hint in get_type_hints(kind).items():
        try:
            if hint is not without:
                readers[name] = reader_of(hint, (*inside, kind), rules)
        except UnknownHint as error:
            raise UnknownHint(f"{kind.__name__}.{name}: {error}") from None
    return readers


def fields_reader(
    kind: type, readers: Mapping[str, Read], rules: Rules = _NO_EXCEPTION
) -> Callable[[Any], dict[str, Any]]:
    """What reads fields of a dataclass from an object.

    Args:
        kind: The dataclass.
        readers: Reader of each field that the object has.
        rules: Whether all of them have to be there.
    """
    needed = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name in readers and (rules.complete or _has_no_default(field))
    ]

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Unfit("an object", shown(value))
        for name in needed:
            if name not in value:
                raise Unfit("there", "missing").inside(name)
        fields = {}
        for name, part in value.items():
            reader = readers.get(name)
            if reader is None:
                raise Unfit("absent", shown(part)).inside(excerpt(repr(name)))
            try:
                fields[name] = reader(part)
            except Unfit as unfit:
                raise unfit.inside(name) from None
        return fields

    return read


def _dataclass_reader(kind: type, inside: tuple[type, ...], rules: Rules) -> Read:
    read_fields = fields_reader(kind, field_readers(kind, inside, rules), rules)
    check = _CHECKS.get(kind)

    def read(value: Any) -> Any:
        made = kind(**read_fields(value))
        if check is not None:
            check(made)
        return made

    return read


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _plain_reader(kind: type) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not kind:  # a bool is an int for Python
            raise Unfit(kind.__name__, shown(value))
        return value

    return read


def _enum_reader(kind: type[Enum]) -> Read:
    members = {(type(member.value), member.value): member for member in kind}

    def read(value: Any) -> Any:
        member = members.get((type(value), value)) if type(value) in (int, str) else None
        if member is None:
            raise Unfit(f"a value of {kind.__name__}", shown(value))
        return member

    return read


def _optional_reader(reader: Read) -> Read:
    return lambda value: None if value is None else reader(value)


def _tuple_reader(reader: Read) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise Unfit("a list", shown(value))
        return tuple(_each(value, reader))

    return read


def _each(values: list[Any], reader: Read) -> Iterator[Any]:
    for index, value in enumerate(values):
        try:
            yield reader(value)
        except Unfit as unfit:
            raise unfit.inside(f"[{index}]") from None


def _mapping_reader(reader: Read) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise Unfit("an object", shown(value))
        items = {}
        for name, part in value.items():
            try:
                items[name] = reader(part)
            except Unfit as unfit:
                raise unfit.inside(f"[{excerpt(repr(name))}]") from None
        return items

    return read


def _named_tuple_reader(kind: type, inside: tuple[type, ...], rules: Rules) -> Read:
    readers = field_readers(kind, inside, rules)
    check = _CHECKS.get(kind)

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise Unfit(f"a list of {len(readers)}", shown(value))
        parts = []
        for (name, reader), part in zip(readers.items(), value, strict=True):
            try:
                parts.append(reader(part))
            except Unfit as unfit:
                raise unfit.inside(name) from None
        made = kind(*parts)
        if check is not None:
            check(made)
        return made

    return read


def _check_spec(spec: TensorSpec | TensorType) -> None:
    """Refuse a shape that no array can have; -1 is a dimension that varies."""
    if spec.shape is None:
        return
    if len(spec.shape) > MAX_DIMENSIONS:
        raise Unfit(f"at most {MAX_DIMENSIONS} dimensions", str(len(spec.shape))).inside("shape")
    if any(dim < -1 for dim in spec.shape):
        raise Unfit("dimensions of at least -1", shown(min(spec.shape))).inside("shape")


_CHECKS: dict[type, Callable[[Any], None]] = {TensorSpec: _check_spec, TensorType: _check_spec}
"""What types demand of their values beyond their hints."""
