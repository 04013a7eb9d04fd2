"""Which sizes of dynamic dimensions are not tried again, after a graph has failed with them."""

from __future__ import annotations

import numpy as np

from mindspore_serving.server.backend.mindspore.tried_sizes import TriedSizes
from mindspore_serving.tensor import Array, DataType, TensorSpec

LENGTHS = [TensorSpec("a", DataType.INT32, (-1, -1)), TensorSpec("b", DataType.INT32, (-1, -1))]


def arrays(a: int, b: int, rows: int = 1) -> list[Array]:
    return [np.zeros((rows, a)), np.zeros((rows, b))]


def tried() -> TriedSizes:
    return TriedSizes(LENGTHS, ())


def test_sizes_that_failed_are_refused_for_ten_times_as_long_as_the_repair() -> None:
    sizes = tried()
    assert sizes.refused_for(arrays(3, 4), 0.0) == 0
    sizes.failed(arrays(3, 4), 2.0, 100.0)
    assert sizes.refused_for(arrays(3, 4, rows=7), 101.0) == 19
    assert sizes.refused_for(arrays(3, 4), 120.0) == 0


def test_sizes_that_are_equal_and_different_in_the_same_places_are_refused_with_them() -> None:
    sizes = tried()
    sizes.failed(arrays(3, 4), 1.0, 0.0)
    assert sizes.refused_for(arrays(8, 5), 1.0) == 9
    # 1 goes with any, where arrays are broadcast; and those that are equal are another case.
    for others in (arrays(5, 5), arrays(1, 5), arrays(5, 1)):
        assert sizes.refused_for(others, 1.0) == 0


def test_others_like_those_that_have_run_are_never_refused() -> None:
    sizes = tried()
    sizes.failed(arrays(3, 4), 1.0, 0.0)
    sizes.ran(arrays(3, 5))
    assert sizes.refused_for(arrays(3, 6), 1.0) == 0
    assert sizes.refused_for(arrays(3, 4), 1.0) == 0


def test_where_others_like_them_have_run_sizes_fail_twice_before_they_are_refused() -> None:
    sizes = tried()
    sizes.ran(arrays(3, 5))
    sizes.failed(arrays(3, 4), 1.0, 0.0)  # by a value, maybe
    assert sizes.refused_for(arrays(3, 4), 1.0) == 0
    sizes.failed(arrays(3, 4), 1.0, 2.0)
    assert sizes.refused_for(arrays(3, 4), 3.0) == 9
    assert sizes.refused_for(arrays(3, 6), 3.0) == 0


def test_sizes_that_have_run_are_never_refused() -> None:
    sizes = tried()
    sizes.ran(arrays(3, 4))
    for _ in range(3):
        sizes.failed(arrays(3, 4), 1.0, 0.0)
    assert sizes.refused_for(arrays(3, 4), 1.0) == 0


def test_only_sizes_that_a_client_chooses_count() -> None:
    fixed = TriedSizes([TensorSpec("a", DataType.INT32, (-1, 4))], ())
    fixed.failed([np.zeros((3, 4))], 1.0, 0.0)
    assert fixed.refused_for([np.zeros((3, 4))], 1.0) == 0
    without_batch = TriedSizes([TensorSpec("a", DataType.INT32, (-1, 4))], (0,))
    without_batch.failed([np.zeros((3, 4))], 1.0, 0.0)
    assert without_batch.refused_for([np.zeros((3, 4))], 1.0) == 9


def test_a_bounded_number_is_remembered() -> None:
    sizes = tried()
    for size in range(2, 4000):
        sizes.ran(arrays(size, size))
        for _ in range(2):
            sizes.failed(arrays(size + 1, size + 1), 1.0, 0.0)
    assert repr(sizes) == "<TriedSizes 1024 good, 1024 refused>"
    assert sizes.refused_for(arrays(4000, 4000), 1.0) == 9
