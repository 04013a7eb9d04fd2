"""Small models, written as ONNX and converted by Lite in the test run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from mindspore_serving.lite.convert import convert
from mindspore_serving.tensor import Array, DataType
from tests.lite.onnx_file import Value, node, write

CHANNELS, SIZE = 3, 6
KERNEL = np.random.default_rng(1).standard_normal((4, CHANNELS, 3, 3)).astype(np.float32)
TABLE = np.arange(8, dtype=np.float32).reshape(4, 2)
SQUARE, PRODUCTS = 1200, 12
"""The model `slow` multiplies matrices for longer than any other test model runs."""


def add(path: Path, rows: int = 2) -> Path:
    both = [Value("x", (rows, 2)), Value("y", (rows, 2))]
    return write(path, [node("Add", "x y", "z")], both, [Value("z", (rows, 2))])


def add_dynamic(path: Path) -> Path:
    return add(path, rows=-1)


def subtract(path: Path) -> Path:
    both = [Value("x", (-1, 2)), Value("y", (-1, 2))]
    return write(path, [node("Sub", "x y", "z")], both, [Value("z", (-1, 2))])


def add_of_eight(path: Path) -> Path:
    return add(path, rows=8)


def centred(path: Path) -> Path:
    """Subtracts the mean over the batch: a row's result depends on the others."""
    nodes = [node("ReduceMean", "x", "m", {"axes": [0], "keepdims": 1}), node("Sub", "x m", "z")]
    return write(path, nodes, [Value("x", (4, 2))], [Value("z", (4, 2))])


def reshaped(path: Path) -> Path:
    """Has the batch size in a constant: other numbers of rows do not fit."""
    shape = np.array([4, 1, 2], np.int64)
    nodes = [node("Reshape", "x s", "z")]
    return write(path, nodes, [Value("x", (4, 2))], [Value("z", (4, 1, 2))], {"s": shape})


def lookup(path: Path) -> Path:
    indices = Value("i", (-1,), DataType.INT32)
    return write(path, [node("Gather", "t i", "z")], [indices], [Value("z", (-1, 2))], {"t": TABLE})


def scaled(path: Path) -> Path:
    """A batch, and two inputs without a batch dimension."""
    inputs = [Value("x", (-1, 2)), Value("scale", (2,)), Value("shift", ())]
    nodes = [node("Mul", "x scale", "m"), node("Add", "m shift", "z")]
    return write(path, nodes, inputs, [Value("z", (-1, 2))])


def two_outputs(path: Path) -> Path:
    nodes = [node("Add", "x x", "double"), node("Mul", "x x", "square")]
    return write(path, nodes, [Value("x", (-1, 2))], [Value("double", (-1, 2)), Value("square", (-1, 2))])


def second_dimension_dynamic(path: Path) -> Path:
    return write(path, [node("Add", "x x", "z")], [Value("x", (2, -1))], [Value("z", (2, -1))])


def sequences(path: Path) -> Path:
    return write(path, [node("Add", "x x", "z")], [Value("x", (-1, -1))], [Value("z", (-1, -1))])


def nonzero(path: Path) -> Path:
    """The shape of its output follows the values."""
    output = Value("y", (2, -1), DataType.INT64)
    return write(path, [node("NonZero", "x", "y")], [Value("x", (-1, 2))], [output])


def convolution(path: Path) -> Path:
    """Three channels, so that NCHW and NHWC differ."""
    image, result = Value("x", (1, CHANNELS, SIZE, SIZE)), Value("z", (1, 4, SIZE - 2, SIZE - 2))
    plain = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    return write(path, [node("Conv", "x k", "z", plain)], [image], [result], {"k": KERNEL})


def slow(path: Path) -> Path:
    shape = (SQUARE, SQUARE)
    names = ["x", *(f"p{i}" for i in range(PRODUCTS))]
    nodes = [node("MatMul", f"{one} x", other) for one, other in pairwise(names)]
    return write(path, nodes, [Value("x", shape)], [Value(names[-1], shape)])


def twice(kind: DataType) -> Callable[[Path], Path]:
    """Adds its input to itself in float32, and gives that in its own type; `reshape` only passes its input on."""

    def make(path: Path) -> Path:
        numbers = {DataType.BOOL: 9, DataType.UINT8: 2, DataType.INT32: 6, DataType.FLOAT32: 1}
        nodes = [node("Cast", "x", "f", {"to": 1}), node("Add", "f f", "s")]
        nodes.append(node("Cast", "s", "z", {"to": numbers[kind]}))
        return write(path, nodes, [Value("x", (2, 2), kind)], [Value("z", (2, 2), kind)])

    return make


def passed_on(kind: DataType) -> Callable[[Path], Path]:
    """Gives its input in another shape."""

    def make(path: Path) -> Path:
        shape = {"s": np.array([2, 1, 2], np.int64)}
        nodes = [node("Reshape", "x s", "z")]
        return write(path, nodes, [Value("x", (2, 2), kind)], [Value("z", (2, 1, 2), kind)], shape)

    return make


def convolved(images: Array) -> Array:
    """What `convolution` gives for images [N, C, H, W]."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, KERNEL)


class Models:
    """Makes each model once.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, make: Callable[[Path], Path], name: str = "", ending: str = ".mindir") -> Path:
        """The converted file of one of the functions above."""
        name = name or make.__name__
        target = self._folder / f"{name}{ending}"
        if not target.exists():
            convert(make(self._folder / f"{name}.onnx"), target)
        return target
