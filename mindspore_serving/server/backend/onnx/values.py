"""Inputs and outputs of a session as a graph has them: their data types, and what is read from outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.run_errors import run_failed
from mindspore_serving.tensor import MAX_DIMENSIONS, Array, DataType, TensorSpec

_DATA_TYPES = {
    "bool": DataType.BOOL,
    "int8": DataType.INT8,
    "uint8": DataType.UINT8,
    "int16": DataType.INT16,
    "uint16": DataType.UINT16,
    "int32": DataType.INT32,
    "uint32": DataType.UINT32,
    "int64": DataType.INT64,
    "uint64": DataType.UINT64,
    "float16": DataType.FLOAT16,
    "float": DataType.FLOAT32,
    "double": DataType.FLOAT64,
    "string": DataType.STRING,
}
_TENSOR = re.compile(r"tensor\((\w+)\)")
_TABLE = re.compile(r"seq\(map\((?:int64|string),tensor\(float\)\)\)")


class OutputReader(Protocol):
    """Reads one output."""

    @property
    def spec(self) -> TensorSpec:
        """The output with the shape that its file declares; -1 stands for a dimension of which that says nothing."""
        ...

    def read(self, value: Any) -> Array:
        """The array of what a run gave."""
        ...


class TensorReader:
    """Reads a tensor.

    Args:
        spec: Of the output.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec

    def read(self, value: Array) -> Array:
        """The array itself."""
        return value if value.flags.c_contiguous else np.ascontiguousarray(value)


class TableReader:
    """Reads a number by class for each row, as classifiers of scikit-learn give it, as an array of [rows, classes].

    Args:
        name: Of the output.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._classes: list[Any] = []

    @property
    def spec(self) -> TensorSpec:
        """The output; its columns are known when something was read."""
        return TensorSpec(self._name, DataType.FLOAT32, (-1, len(self._classes) or -1))

    def read(self, value: Sequence[Mapping[Any, float]]) -> Array:
        """The numbers, in the order that the first row had.

        Raises:
            ModelError: A row has other classes than the first one.
        """
        if not self._classes:
            self._classes = list(value[0])
            log.info("Model output '%s' has a column for each of %s", self._name, self._classes)
        if any(row.keys() != set(self._classes) for row in value):
            raise run_failed(f"model output '{self._name}' has other classes than {self._classes}")
        return np.array([[row[one] for one in self._classes] for row in value], np.float32)


def reader_of(index: int, output: Any) -> OutputReader:
    """How to read an output.

    Args:
        index: Which one.
        output: What the session says of it.

    Raises:
        StartUpError: It cannot be served.
    """
    if _TABLE.fullmatch(output.type):
        return TableReader(output.name)
    return TensorReader(_spec("output", index, output))


def input_spec(index: int, value: Any) -> TensorSpec:
    """An input as its file declares it.

    Args:
        index: Which one.
        value: What the session says of it.

    Raises:
        StartUpError: It cannot be served.
    """
    spec = _spec("input", index, value)
    if 0 in spec.shape:
        raise StartUpError(
            f"The shape of model input {index} '{value.name}' is invalid, shape: {list(spec.shape)}, expected "
            "dimensions above 0, or -1 for any"
        )
    return spec


def _spec(what: str, index: int, value: Any) -> TensorSpec:
    tensor = _TENSOR.fullmatch(value.type)
    if not tensor or tensor[1] not in _DATA_TYPES:
        raise StartUpError(
            f"The data type of model {what} {index} '{value.name}' is unsupported, data type: {value.type}; "
            f"{_remedy(what, value.type)}"
        )
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in value.shape)
    if len(shape) > MAX_DIMENSIONS:
        raise StartUpError(
            f"The shape of model {what} {index} '{value.name}' has {len(shape)} dimensions, expected at most "
            f"{MAX_DIMENSIONS}"
        )
    return TensorSpec(value.name, _DATA_TYPES[tensor[1]], shape)


def _remedy(what: str, kind: str) -> str:
    """What to do about a data type that cannot be served."""
    remedy = "expected a tensor: change the export"
    if kind.startswith("tensor("):
        place = "behind" if what == "input" else "before"
        remedy = f"NumPy has no such numbers: let the model have float32 there, and a Cast {place} it"
    return (
        remedy
        if what == "input"
        else f"{remedy}, or choose other outputs: runtime_options={{'outputs': 'a, b'}}"
    )
