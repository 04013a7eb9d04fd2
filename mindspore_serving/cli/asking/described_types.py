"""Types of inputs and outputs, read from what servers say of them; each with the shape of one instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindspore_serving.cli.asking.method import TEXT_OR_BYTES
from mindspore_serving.server.dialect.open_inference.datatypes import BYTES, NUMERIC
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DATA_TYPE_OF, DataType

_NATIVE_TYPES: dict[str | None, DataType] = {
    None: DataType.UNKNOWN,
    "str": DataType.STRING,
    "bytes": DataType.BYTES,
    **{kind.name.lower(): kind for kind in DATA_TYPE_OF.values()},
}
_V1_TYPES = {
    "DT_HALF": DataType.FLOAT16,
    "DT_FLOAT": DataType.FLOAT32,
    "DT_DOUBLE": DataType.FLOAT64,
    "DT_STRING": DataType.BYTES,
    "DT_BOOL": DataType.BOOL,
    **{f"DT_{kind.name}": kind for kind in DATA_TYPE_OF.values() if "INT" in kind.name},
}


def native_type(tensor: Mapping[str, Any]) -> TensorType:
    """An input or output of `GET /model/NAME`."""
    shape = tensor.get("shape")
    return TensorType(
        tensor["name"],
        _NATIVE_TYPES.get(tensor.get("dtype"), DataType.UNKNOWN),
        None if shape is None else tuple(shape),
        tensor.get("content", ""),
        description=tensor.get("description", ""),
    )


def oip_type(tensor: Mapping[str, Any], rows: bool) -> TensorType:
    """A tensor of the Open Inference Protocol.

    Args:
        tensor: As metadata have it.
        rows: Whether tensors of the model have a dimension of rows in front, which no instance has.
    """
    datatype = tensor["datatype"]
    dtype = DataType.BYTES if datatype == BYTES else NUMERIC.get(datatype, DataType.UNKNOWN)
    shape = tuple(int(dim) for dim in tensor["shape"])
    shared = rows and shape[:1] != (-1,)
    if dtype.is_text:
        return TensorType(tensor["name"], dtype, (), TEXT_OR_BYTES)
    if dtype is DataType.UNKNOWN:
        return TensorType(tensor["name"], dtype)
    return TensorType(tensor["name"], dtype, shape[1:] if rows and not shared else shape, shared=shared)


def v1_type(name: str, tensor: Mapping[str, Any]) -> TensorType:
    """An input or output of a `signature_def` of TensorFlow Serving, without its dimension of rows.

    Args:
        name: Its name.
        tensor: Its `dtype` and `tensor_shape`.
    """
    shape = tensor.get("tensor_shape", {})
    dims = None if shape.get("unknown_rank") else tuple(int(one["size"]) for one in shape.get("dim", ()))
    return TensorType(
        name, _V1_TYPES.get(tensor.get("dtype", ""), DataType.UNKNOWN), None if dims is None else dims[1:]
    )
