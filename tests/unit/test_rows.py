"""Instances as they travel: parts of them, their size, and those that have no result."""

from __future__ import annotations

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, StageError
from mindspore_serving.rows import FailedRows, Reply, Rows, failures_in
from mindspore_serving.tensor import DataType, TensorSpec

SPECS = (TensorSpec("x", DataType.INT32, (2,)), TensorSpec("s", DataType.STRING, ()))
ROWS = Rows(SPECS, (np.arange(6, dtype=np.int32).reshape(3, 2), [b"", b"ab", b"c"]), 3)
BAD = FailedRows(InvalidInput("bad").failure(), 2)
BROKEN = FailedRows(StageError("broken").failure(), 1)


def test_rows_in_between_share_their_arrays() -> None:
    part = ROWS.take(1, 3)
    array, texts = part.columns
    assert (part.specs, part.count, texts) == (SPECS, 2, [b"ab", b"c"])
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [[2, 3], [4, 5]]
    assert np.shares_memory(array, ROWS.columns[0])  # type: ignore[arg-type]
    assert ROWS.take(0, 3) is ROWS


def test_bytes_are_those_of_all_columns() -> None:
    assert ROWS.byte_size == 6 * 4 + 3
    assert Rows((), (), 5).byte_size == 0


def test_some_of_those_that_failed() -> None:
    assert BAD.take(0, 2) is BAD
    assert BAD.take(1, 2) == FailedRows(BAD.failure, 1)


@pytest.mark.parametrize(
    ("reply", "failed"),
    [([ROWS], []), ([BAD], [BAD]), ([ROWS, BAD, ROWS, BROKEN], [BAD, BROKEN]), ([ROWS, ROWS], []), ([], [])],
)
def test_instances_without_a_result(reply: Reply, failed: list[FailedRows]) -> None:
    assert failures_in(reply) == failed
