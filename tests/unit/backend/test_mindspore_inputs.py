"""When tensors of inputs are kept, and what they hold. Arrays stand for the tensors, which share their memory too."""

from __future__ import annotations

import numpy as np
import pytest

from mindspore_serving.server.backend.mindspore.inputs import KeptTensors, NewTensors, can_be_kept
from mindspore_serving.tensor import Array, DataType, TensorSpec

SMALL = TensorSpec("x", DataType.FLOAT32, (2, 2))
SCALAR = TensorSpec("factor", DataType.INT8, ())


def as_tensor(array: Array) -> Array:
    return array.view()


def floats(*shape: int, start: int = 0) -> Array:
    return (np.arange(np.prod(shape)) + start).astype(np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("specs", "device_type", "expected"),
    [
        ([SMALL, SCALAR], "cpu", True),
        ([], "cpu", True),
        ([SMALL], "gpu", False),
        ([SMALL], "ascend", False),
        ([SMALL, TensorSpec("y", DataType.FLOAT32, (-1, 2))], "cpu", False),
        ([TensorSpec("x", DataType.UINT8, (16, 1024))], "cpu", True),
        ([TensorSpec("x", DataType.FLOAT32, (16, 1024))], "cpu", False),
        ([TensorSpec("x", DataType.UINT8, (16, 1024)), SCALAR], "cpu", False),
    ],
)
def test_small_inputs_of_fixed_shapes_are_kept_on_cpu(
    specs: list[TensorSpec], device_type: str, expected: bool
) -> None:
    assert can_be_kept(specs, device_type) is expected


def test_kept_tensors_are_filled_anew() -> None:
    inputs = KeptTensors(as_tensor, [SMALL, SCALAR])
    first = inputs([floats(2, 2), np.array(3, np.int8)])
    np.testing.assert_array_equal(first[0], floats(2, 2))
    second = inputs([floats(2, 2, start=7), np.array(4, np.int8)])
    assert all(one is two for one, two in zip(first, second, strict=True))
    np.testing.assert_array_equal(second[0], floats(2, 2, start=7))
    np.testing.assert_array_equal(second[1], 4)


def test_kept_tensors_leave_the_arrays_alone() -> None:
    given = [floats(2, 2), np.array(3, np.int8)]
    tensors = KeptTensors(as_tensor, [SMALL, SCALAR])(given)
    assert not any(np.shares_memory(tensor, array) for tensor, array in zip(tensors, given, strict=True))


def test_new_tensors_copy_nothing() -> None:
    given = floats(2, 2)
    [tensor] = NewTensors(as_tensor)([given])
    assert np.shares_memory(tensor, given)
