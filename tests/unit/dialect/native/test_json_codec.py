"""Instances of a JSON document: which neighbours make a block, and which error is told first."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.native.json_codec import read_instances

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
