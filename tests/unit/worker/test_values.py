"""Values inside a worker, and what becomes of them where a method ends."""

from typing import Any

import numpy as np
import pytest

from mindspore_serving.server.worker.values import Values, as_rows, bytes_as_declared
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType, TensorSpec

NO_UTF8 = np.array([255, 0], np.uint8)
TEXT = np.frombuffer("größer".encode(), np.uint8)


def rows_of(dtype: DataType, objects: list[Any]) -> list[tuple[DataType, Any]]:
    values = bytes_as_declared([Values(len(objects), objects=objects)], [TensorType("y", dtype)])
    return [(row.specs[0].dtype, row.columns[0]) for row in as_rows(["y"], values, len(objects))]


def test_arrays_of_uint8_are_the_bytes_that_are_declared_whatever_their_lengths() -> None:
    assert rows_of(DataType.BYTES, [NO_UTF8, TEXT[:0], b"as bytes"]) == [
        (DataType.BYTES, [b"\xff\x00", b"", b"as bytes"])
    ]


def test_arrays_of_uint8_are_the_text_that_is_declared() -> None:
    assert rows_of(DataType.STRING, [TEXT, "text", "größer".encode()]) == [
        (DataType.STRING, ["größer".encode(), b"text", "größer".encode()])
    ]


def test_what_is_no_text_stays_what_it_is() -> None:
    (dtype, column), *_ = rows_of(DataType.STRING, [NO_UTF8])
    assert dtype is DataType.UINT8
    assert column.tolist() == [[255, 0]]


@pytest.mark.parametrize("value", [np.zeros((1, 2), np.uint8), np.zeros(2, np.int8), np.uint8(1)])
def test_other_arrays_are_no_bytes(value: Any) -> None:
    (dtype, _), *_ = rows_of(DataType.BYTES, [value])
    assert not dtype.is_text


def test_what_is_declared_as_an_array_and_what_came_as_bytes_stay() -> None:
    array = Values(1, objects=[NO_UTF8])
    text = Values(1, TensorSpec("b", DataType.BYTES, ()), [b"b"])
    types = [TensorType("y", DataType.UINT8, (-1,)), TensorType("b", DataType.STRING)]
    assert bytes_as_declared([array, text], types) == [array, text]
