"""Inputs and outputs of ONNX models, without a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import ModelError, StartUpError
from mindspore_serving.server.backend.onnx.values import input_spec, reader_of
from mindspore_serving.tensor import DataType, TensorSpec


def value(shape: list[Any], kind: str = "tensor(float)") -> SimpleNamespace:
    return SimpleNamespace(name="x", type=kind, shape=shape)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([], ()), (["n", 3, None], (-1, 3, -1)), ([-1, 2], (-1, 2)), ([-5, 2], (-1, 2)), ([2] * 31, (2,) * 31)],
)
def test_shapes(shape: list[Any], expected: tuple[int, ...]) -> None:
    assert input_spec(0, value(shape)) == TensorSpec("x", DataType.FLOAT32, expected)
    assert reader_of(0, value(shape)).spec.shape == expected


def test_shapes_that_cannot_be_served() -> None:
    with pytest.raises(
        StartUpError, match=r"model input 1 'x' is invalid, shape: \[-1, 0\], expected dimensions above"
    ):
        input_spec(1, value(["n", 0]))
    with pytest.raises(StartUpError, match="model input 1 'x' has 32 dimensions, expected at most 31"):
        input_spec(1, value([2] * 32))


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (
            "tensor(bfloat16)",
            "NumPy has no such numbers: let the model have float32 there, and a Cast behind it$",
        ),
        ("optional(tensor(float))", "expected a tensor: change the export$"),
    ],
)
def test_types_that_cannot_be_served(kind: str, remedy: str) -> None:
    with pytest.raises(StartUpError, match=remedy):
        input_spec(0, value([2], kind))


def test_outputs_are_contiguous() -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    read = reader_of(0, value([2, 3], "tensor(int64)")).read(array)
    assert read.flags.c_contiguous
    assert read.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_tables() -> None:
    reader = reader_of(0, value([], "seq(map(int64,tensor(float)))"))
    assert reader.spec == TensorSpec("x", DataType.FLOAT32, (-1, -1))
    assert reader.read([{7: 0.5, 3: 0.25}]).tolist() == [[0.5, 0.25]]
    assert reader.spec.shape == (-1, 2)
    assert reader.read([{3: 1.0, 7: 2.0}, {7: 3.0, 3: 4.0}]).tolist() == [[2, 1], [3, 4]]
    for other in ({7: 1.0}, {7: 1.0, 3: 1.0, 4: 1.0}):
        with pytest.raises(ModelError, match=r"model output 'x' has other classes than \[7, 3\]"):
            reader.read([{7: 0.0, 3: 0.0}, other])
