"""Instances of a JSON document: which neighbours make a block, and which error is told first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.native.json_codec import read_instances
from mindspore_serving.tensor import NUMPY_OF, DataType

TOO_LARGE = 1e40


def test_instances_with_as_many_keys_but_others_are_blocks_of_their_own() -> None:
    blocks = read_instances({"instances": [{"a": 1, "b": 2}, {"c": 3, "a": 1}, {"a": 1, "c": 4}]})
    assert [([spec.name for spec in block.specs], block.count) for block in blocks] == [
        (["a", "b"], 1),
        (["a", "c"], 2),
    ]


@pytest.mark.parametrize("other", ["b", "c"])
def test_the_order_of_keys_does_not_matter(other: str) -> None:
    [block] = read_instances({"instances": [{"a": 1, other: 2}, {other: 3, "a": 4}]})
    assert {spec.name: list(column) for spec, column in zip(block.specs, block.columns, strict=True)} == {
        "a": [1, 4],
        other: [2, 3],
    }


def test_where_keys_differ_the_first_instance_that_is_wrong_is_told() -> None:
    with pytest.raises(InvalidInput, match="input b has 1e"):
        read_instances({"instances": [{"a": 1.0, "b": TOO_LARGE}, {"a": TOO_LARGE, "c": 1.0}]})


INTEGERS = [kind for kind, dtype in NUMPY_OF.items() if dtype.kind in "iu"]


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_become_the_type_that_is_declared(kind: DataType, count: int) -> None:
    limits = np.iinfo(NUMPY_OF[kind])
    values = [[int(limits.min), int(limits.max), 0]] * count
    [block] = read_instances({"instances": [{"x": value} for value in values]}, {"x": kind})
    assert (block.specs[0].dtype, block.specs[0].shape) == (kind, (3,))
    assert block.columns[0].tolist() == values  # type: ignore[union-attr]
    for number in (limits.min - 1, int(limits.max) + 1):
        with pytest.raises(
            InvalidInput, match=f"data out of {kind.name.lower()} range: input x has {number}; the meth"
        ):
            read_instances({"instances": [{"x": [0] * count + [int(number)]}]}, {"x": kind})


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.0, DataType.FLOAT32),
        ([1, 2.5], DataType.FLOAT32),
        ([True], DataType.BOOL),
        ("1", DataType.STRING),
        ([[1], [2]], DataType.INT64),
    ],
)
def test_what_is_no_integer_does_not_become_one(value: Any, dtype: DataType) -> None:
    for several in (1, 2):
        [block] = read_instances({"instances": [{"x": value}] * several}, {"x": DataType.INT64})
        assert block.specs[0].dtype is dtype


def test_instances_of_another_form_are_read_one_by_one() -> None:
    values = [1, [1], [1, 2], {"b64": "AQ==", "type": "uint8"}]
    blocks = read_instances({"instances": [{"x": value} for value in values]}, {"x": DataType.UINT8})
    assert [block.specs[0].dtype for block in blocks] == [DataType.UINT8] * 4
