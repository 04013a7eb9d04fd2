"""Requests of any form: they are read, or refused with a short text."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as some

from mindspore_serving.proto.foreign import paddle_general_model_pb2 as general_pb2
from tests.fuzz import paddle_body

many = settings(max_examples=150, deadline=None)
CHOICES = some.integers(0, 255)
SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(-300, 300)
    | some.integers(-(2**70), 2**70)
    | some.floats()
    | some.text(max_size=4)
    | some.sampled_from(["AAAA", "/w==", "[1]", "1,2;3", "nan", "array([1.])", "\ud800"])
)
VALUES = some.recursive(SCALARS, lambda inner: some.lists(inner, max_size=4), max_leaves=6)
_LISTS = [
    "float_data",
    "int64_data",
    "int_data",
    "bool_data",
    "uint32_data",
    "data",
    "str_data",
    "lod",
    "shape",
]
FIELDS = some.sampled_from([*_LISTS, "tensor_content", "byte_data"])
TENSORS = some.builds(
    lambda more, number, shape: {"name": "x", "elem_type": number, "shape": shape, **more},
    some.dictionaries(FIELDS, VALUES, max_size=2),
    some.integers(-1, 21),
    some.lists(some.integers(-1, 3), max_size=3),
)


@many
@given(CHOICES, some.lists(TENSORS, max_size=2), VALUES)
def test_any_tensors(choice: int, tensors: list[Any], fetch: Any) -> None:
    for key in ("tensor", "tensors"):
        body = json.dumps({key: tensors, "fetch_var_names": fetch, "log_id": fetch}).encode()
        paddle_body.one_input(bytes([choice]) + body)


@many
@given(CHOICES, some.lists(some.sampled_from(["x", "y", "z"]), max_size=2), some.lists(VALUES, max_size=2))
def test_any_values(choice: int, keys: list[str], values: list[Any]) -> None:
    for texts in (values, [str(value) for value in values]):
        body = json.dumps({"key": keys, "value": texts}).encode()
        paddle_body.one_input(bytes([choice]) + body)


@many
@given(
    CHOICES,
    some.integers(0, 21),
    some.lists(some.integers(-(2**31), 2**31 - 1), max_size=4),
    some.lists(some.integers(0, 4), max_size=3),
    some.binary(max_size=8),
)
@example(0, 12, [], [], b"")  # a text of a pipeline: whatever its shape, it is one row
@example(0, 12, [], [3], b"")
def test_any_messages(choice: int, number: int, numbers: list[int], shape: list[int], raw: bytes) -> None:
    tensor = general_pb2.Tensor(
        elem_type=number, shape=shape, name="x", tensor_content=raw, int_data=numbers, int64_data=numbers[:2]
    )
    message = general_pb2.Request(tensor=[tensor]).SerializeToString()
    paddle_body.one_input(bytes([choice]) + message)
    paddle_body.one_input(bytes([choice]) + message[: len(message) // 2])


@many
@given(some.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    paddle_body.one_input(data)
