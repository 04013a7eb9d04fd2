"""Examples of methods as tensors, for dialects that write them in their own way.

A method keeps each as the text of an instance: `{"x": [1, 2], "picture": {"b64": "..."}, "t": {"b64": "...",
"type": "int8", "shape": [2]}}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import orjson
import pybase64

from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array, DataType

ExampleValue: TypeAlias = "Array | str | bytes"
_OF_JSON = {"b": DataType.BOOL, "i": DataType.INT32, "f": DataType.FLOAT32}


def examples_of(method: MethodSignature) -> Iterator[Mapping[str, ExampleValue]]:
    """The examples that JSON can hold with plain values: each by input, in the order of the method."""
    for text in method.examples:
        values = orjson.loads(text)
        example = {one.name: _value_of(values[one.name], one.dtype) for one in method.inputs}
        if all(isinstance(value, (str, bytes)) or np.isfinite(value).all() for value in example.values()):
            yield example


def dtype_of(value: ExampleValue) -> DataType:
    """The data type of a value."""
    if isinstance(value, (str, bytes)):
        return DataType.STRING if isinstance(value, str) else DataType.BYTES
    return DATA_TYPE_OF[value.dtype]


def _value_of(value: Any, dtype: DataType) -> ExampleValue:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        data = pybase64.b64decode(value["b64"])
        if "type" not in value:
            return data
        return np.frombuffer(data, NUMPY_OF[DataType[value["type"].upper()]]).reshape(value["shape"])
    array = np.asarray(value)
    return array.astype(NUMPY_OF[dtype if dtype in NUMPY_OF else _OF_JSON[array.dtype.kind]])
