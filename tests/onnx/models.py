"""ONNX files for tests, written with the package onnx. Each function takes the path of a file, and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mindspore_serving.tensor import Array

Value = tuple[str, int, Sequence[int | str | None] | None]
"""Name, data type of `TensorProto`, and shape; a name or None stands for a dimension of any size."""
OPSET, IR_VERSION = 17, 8
FLOAT, STRING = TensorProto.FLOAT, TensorProto.STRING


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """An operator, with the names of its inputs and outputs separated by spaces."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    domains: Mapping[str, int] | None = None,
    external: bool = False,
) -> Path:
    """Write a model; with `external`, its constants into `{path}.data`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid(name, version) for name, version in {"": opset, **(domains or {})}.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    if external:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def add(path: Path, columns: int = 2, **options: Any) -> Path:
    """z = x + y, float32 of any number of rows."""
    row = ("n", columns)
    return write(
        path,
        [node("Add", "x y", "z")],
        [("x", FLOAT, row), ("y", FLOAT, row)],
        [("z", FLOAT, row)],
        **options,
    )


def fixed(path: Path, rows: int = 4) -> Path:
    """y = 2 x, float32 [rows, 3]; its first dimension is a number."""
    shape = (rows, 3)
    return write(
        path,
        [node("Mul", "x two", "y")],
        [("x", FLOAT, shape)],
        [("y", FLOAT, shape)],
        {"two": np.float32([2])},
    )


def identity(
    path: Path, data_type: int, shape: Sequence[int | str | None] = ("n", 2), opset: int = OPSET
) -> Path:
    """y is x, of any data type."""
    return write(
        path,
        [node("Identity", "x", "y")],
        [("x", data_type, shape)],
        [("y", data_type, shape)],
        opset=opset,
        ir_version=10 if opset > OPSET else IR_VERSION,
    )


def dense(path: Path, external: bool = False) -> Path:
    """y = x w + 1, where w has float32 [3, 5]."""
    w = np.arange(15, dtype=np.float32).reshape(3, 5)
    return write(
        path,
        [node("Gemm", "x w b", "y")],
        [("x", FLOAT, ("batch", 3))],
        [("y", FLOAT, ("batch", 5))],
        {"w": w, "b": np.ones(5, np.float32)},
        external=external,
    )


def tokens(path: Path) -> Path:
    """Sums and means over sequences of any length: `ids` int64 [n, length], `mask` float32 [n, length]."""
    sequence = ("n", "length")
    return write(
        path,
        [
            node("Cast", "ids", "numbers", to=FLOAT),
            node("Mul", "numbers mask", "masked"),
            node("ReduceSum", "masked axis", "sum", keepdims=0),
        ],
        [("ids", TensorProto.INT64, sequence), ("mask", FLOAT, sequence)],
        [("masked", FLOAT, sequence), ("sum", FLOAT, ("n",))],
        {"axis": np.int64([1])},
    )


def lenet(path: Path, seed: int = 0) -> Path:
    """A convolutional network like LeNet-5: `image` float32 [n, 1, 32, 32], `scores` [n, 10]."""
    random = np.random.default_rng(seed)
    shapes = {"c1": (6, 1, 5, 5), "c2": (16, 6, 5, 5), "d1": (400, 120), "d2": (120, 84), "d3": (84, 10)}
    weights = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        node("Conv", "image c1", "v1"),
        node("Relu", "v1", "v2"),
        node("MaxPool", "v2", "v3", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "v3 c2", "v4"),
        node("Relu", "v4", "v5"),
        node("MaxPool", "v5", "v6", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "v6", "v7"),
        node("MatMul", "v7 d1", "v8"),
        node("Relu", "v8", "v9"),
        node("MatMul", "v9 d2", "v10"),
        node("Relu", "v10", "v11"),
        node("MatMul", "v11 d3", "scores"),
    ]
    return write(
        path,
        nodes,
        [("image", FLOAT, ("n", 1, 32, 32))],
        [("scores", FLOAT, ("n", 10))],
        weights,
    )


def classifier(path: Path) -> Path:
    """A classifier as scikit-learn's converter writes it: `label`, and `probabilities` as one map for each row."""
    graph = helper.make_graph(
        [
            node(
                "LinearClassifier",
                "x",
                "label numbers",
                domain="ai.onnx.ml",
                classlabels_strings=["cat", "dog", "fox"],
                coefficients=[1.0, 0.0, 0.0, 1.0, -1.0, -1.0],
                intercepts=[0.0, 0.0, 0.0],
                post_transform="SOFTMAX",
            ),
            node(
                "ZipMap",
                "numbers",
                "probabilities",
                domain="ai.onnx.ml",
                classlabels_strings=["cat", "dog", "fox"],
            ),
        ],
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, ("n", 2))],
        [
            helper.make_tensor_value_info("label", STRING, ("n",)),
            helper.make_value_info(
                "probabilities",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, ()))
                ),
            ),
        ],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), path)
    return path
