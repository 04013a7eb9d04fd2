"""Values of any type hint that the channel can send, for property tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import strategies as some

from mindspore_serving.errors import Failure, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.instances import carries_instances
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import NUMPY_OF, DataType, TensorSpec

TEXT = some.text(max_size=8)
U32 = some.integers(0, 2**32 - 1)
I64 = some.integers(-(2**63), 2**63 - 1)


@some.composite
def rows(draw: some.DrawFn) -> Rows:
    """A block of instances."""
    count = draw(some.integers(1, 4))
    specs, columns = [], []
    for name in draw(some.lists(TEXT, max_size=3)):
        dtype = draw(some.sampled_from([kind for kind in DataType if kind is not DataType.UNKNOWN]))
        if dtype.is_text:
            shape: tuple[int, ...] = draw(some.sampled_from([(), (1,)]))
            text = TEXT.map(str.encode) if dtype is DataType.STRING else some.binary(max_size=9)
            columns.append(draw(some.lists(text, min_size=count, max_size=count)))
        else:
            shape = tuple(draw(some.lists(some.integers(0, 3), max_size=3)))
            columns.append(np.zeros((count, *shape), NUMPY_OF[dtype]))
        specs.append(TensorSpec(name, dtype, shape))
    return Rows(tuple(specs), tuple(columns), count)


FAILED = some.builds(
    lambda code, text, status, count: FailedRows(Failure(code, text, status), count),
    some.sampled_from(StatusCode),
    TEXT,
    some.none() | some.integers(400, 599),
    some.integers(1, 3),
)
_SHAPE = some.lists(some.integers(-1, 2**40), max_size=3).map(tuple)
_SPECIAL: dict[Any, some.SearchStrategy[Any]] = {
    bool: some.booleans(),
    float: some.floats(allow_nan=False, allow_infinity=False),
    str: TEXT,
    bytes: some.binary(max_size=30),
    Rows: rows(),
    Group: rows() | FAILED,
    TensorSpec: some.builds(
        TensorSpec,
        TEXT,
        some.sampled_from(DataType),
        _SHAPE,
    ),
    TensorType: some.builds(
        TensorType,
        TEXT,
        some.sampled_from(DataType),
        some.none() | _SHAPE,
        TEXT,
        some.booleans(),
        some.booleans(),
        TEXT,
    ),
}


def values_of(hint: Any, numbers: some.SearchStrategy[int] = I64) -> some.SearchStrategy[Any]:
    """Values of a type hint.

    Args:
        hint: The hint.
        numbers: Values of an int.
    """
    if hint in _SPECIAL:
        return _SPECIAL[hint]
    if hint is int:
        return numbers
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return some.one_of(
            *[some.none() if one is NoneType else values_of(one, numbers) for one in arguments]
        )
    if origin is tuple:
        return some.lists(values_of(arguments[0], numbers), max_size=3).map(tuple)
    if origin is Mapping:
        return some.dictionaries(TEXT, values_of(arguments[1], numbers), max_size=3)
    if issubclass(hint, Enum):
        return some.sampled_from(hint)
    if issubclass(hint, tuple) or dataclasses.is_dataclass(hint):
        parts = {name: values_of(part, numbers) for name, part in get_type_hints(hint).items()}
        return some.builds(hint, **parts)
    raise NotImplementedError(f"values of {hint}")


def messages_of(kind: type) -> some.SearchStrategy[Any]:
    """Messages of a type, with a value in each field."""
    return values_of(kind, U32 if carries_instances(kind) else I64)
