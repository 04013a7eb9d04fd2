"""The forms of tensors on the wire, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
from oip_conformance.check import Deviation
from oip_conformance.tensors import (
    DATATYPES,
    Tensor,
    filled,
    from_bytes,
    from_json,
    same_values,
    to_bytes,
    to_json,
)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_bytes_come_back(datatype: str) -> None:
    tensor = filled("x", datatype, (2, 3), 1)
    assert same_values(from_bytes("x", datatype, (2, 3), to_bytes(tensor)), tensor)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_json_comes_back(datatype: str) -> None:
    tensor = filled("x", datatype, (2, 3), 1)
    assert same_values(from_json("x", datatype, (2, 3), to_json(tensor, nested=True)), tensor)


def test_bytes_are_little_endian() -> None:
    assert to_bytes(Tensor("x", "UINT16", np.array([0x0102], np.uint16))) == b"\x02\x01"
    assert to_bytes(Tensor("x", "BF16", np.array([1.0], np.float32))) == b"\x80\x3f"
    text = np.array([b"ab"], np.object_)
    assert to_bytes(Tensor("x", "BYTES", text)) == b"\x02\0\0\0ab"


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", [2], b"\0" * 7),
        ("FP32", [2], b"\0" * 12),
        ("FP31", [2], b""),
        ("BYTES", [1], b"\x05\0\0\0a"),
        ("BYTES", [1], b"\x01\0"),
        ("BYTES", [2], b"\x01\0\0\0a"),
    ],
)
def test_wrong_bytes_are_a_deviation(datatype: str, shape: list[int], data: bytes) -> None:
    with pytest.raises(Deviation):
        from_bytes("x", datatype, shape, data)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", ["a"]),
        ("INT8", [1.5]),
        ("INT8", [300]),
        ("BYTES", [1]),
        ("BOOL", [2]),
        ("FP32", [None]),
        ("FP32", 5),
        ("FP32", []),
    ],
)
def test_wrong_json_is_a_deviation(datatype: str, data: object) -> None:
    with pytest.raises(Deviation):
        from_json("x", datatype, [1], data)


def test_other_values_are_not_the_same() -> None:
    one = filled("x", "INT32", (2, 2))
    assert not same_values(one, one.with_array(one.array + 1))
    assert not same_values(one, one.with_array(one.array.reshape(4)))
    assert not same_values(one, Tensor("x", "INT64", one.array.astype(np.int64)))
