"""Outputs of functions become what is declared, or fail."""

from typing import Any

import numpy as np
import pytest

from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.worker.declared_outputs import bytes_as_declared, rows_as_declared
from mindspore_serving.server.worker.values import Values, as_rows
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


def fitted(values: list[Any], dtype: DataType, shape: tuple[int, ...] | None = None) -> Rows | FailedRows:
    [rows] = as_rows(["y"], [Values(len(values), objects=values)], len(values))
    return rows_as_declared(rows, [TensorType("y", dtype, shape, declared=True)])


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.5, 0.1], DataType.FLOAT32, np.array([1.5, 0.1], np.float32)),
        ([3, 4], DataType.INT32, np.array([3, 4], np.int32)),
        ([3, 4], DataType.FLOAT64, np.array([3.0, 4.0])),
        ([True, False], DataType.UINT8, np.array([1, 0], np.uint8)),
        ([float("inf"), float("nan")], DataType.FLOAT16, np.array([np.inf, np.nan], np.float16)),
    ],
)
def test_numbers_are_of_the_type_that_is_declared(values: list[Any], dtype: DataType, expected: Any) -> None:
    rows = fitted(values, dtype, ())
    assert isinstance(rows, Rows)
    assert rows.specs == (TensorSpec("y", dtype, ()),)
    np.testing.assert_array_equal(rows.columns[0], expected, strict=True)


@pytest.mark.parametrize(
    ("values", "dtype", "shape", "text"),
    [
        ([1.5], DataType.INT32, (), "is float64 of shape [], but is declared as int32 of shape []"),
        (
            [np.zeros(3)],
            DataType.FLOAT64,
            (2,),
            "is float64 of shape [3], but is declared as float64 of shape [2]",
        ),
        (["a"], DataType.FLOAT32, None, "is text, but is declared as float32"),
        ([2], DataType.STRING, None, "is int64 of shape [], but is declared as text"),
        (
            [2**40],
            DataType.INT32,
            (),
            "is int64 of shape [], and has numbers that are too large for int32 of shape [], as it is declared",
        ),
        (
            [1e300],
            DataType.FLOAT32,
            None,
            "is float64 of shape [], and has numbers that are too large for float32, as it is declared",
        ),
    ],
)
def test_what_cannot_be_what_is_declared_fails(
    values: list[Any], dtype: DataType, shape: tuple[int, ...] | None, text: str
) -> None:
    failed = fitted(values, dtype, shape)
    assert isinstance(failed, FailedRows)
    assert failed.failure.text == f"Output 'y' {text}"
    assert failed.failure.status == 500


def test_what_is_not_declared_may_be_anything() -> None:
    [rows] = as_rows(["y"], [Values(1, objects=[1.5])], 1)
    assert rows_as_declared(rows, [TensorType("y", DataType.INT32, ())]) is rows
