"""A tensor as it was sent, in either of the services, by JSON or by protobuf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypedDict

from mindspore_serving.tensor import Array

Elements: TypeAlias = "Sequence[Any] | Array | memoryview | bytes"
"""Elements one by one, or an array of them; bytes in `tensor_content` and `byte_data`."""


@dataclass(slots=True)
class SentTensor:
    """A tensor.

    Attributes:
        name: What the model's file calls it.
        alias: What people call it; "" where nothing is said.
        elem_type: Number of the type of its elements, see `elements`.
        shape: As it was sent: sizes may be negative, or not fit the data.
        lod: How many numbers say where its sequences end.
        fields: The elements by field, those that have any.
    """

    name: str
    alias: str
    elem_type: int
    shape: tuple[int, ...]
    lod: int = 0
    fields: Mapping[str, Elements] = field(default_factory=dict)


class KnownInput(NamedTuple):
    """What is known of an input of a method.

    Attributes:
        name: Its name.
        file_name: What the model's file calls it; "" where that is not known.
        dtype: Number of our data type; that of UNKNOWN where any is taken.
        shape: Of one instance, -1 for any size; None where any shape is taken.
        shared: Whether all instances have one value in common.
    """

    name: str
    file_name: str
    dtype: int
    shape: Sequence[int] | None
    shared: bool


class Known(TypedDict):
    """What is known of a method, a JSON document: for the process that reads large bodies.

    Attributes:
        inputs: Each a `KnownInput`.
        rows: Whether the first size of a tensor counts instances.
    """

    inputs: Sequence[Sequence[Any]]
    rows: bool
