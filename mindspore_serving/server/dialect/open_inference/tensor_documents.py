"""Inputs and outputs of a method, as metadata and configuration describe them.

Of what a servable does not declare, the datatype is `UNKNOWN` (in the configuration `TYPE_INVALID`), and the shape
`[-1]` stands for any shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mindspore_serving.server.dialect.open_inference.datatypes import BYTES, NAME_OF
from mindspore_serving.signature import MethodSignature, TensorType

_ANY_SHAPE = [-1]


def metadata_of(method: MethodSignature) -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs with whole shapes: -1 in front for the rows, where there are any."""
    return {
        "inputs": [_metadata(one, method.rows) for one in method.inputs],
        "outputs": [_metadata(one, method.rows) for one in method.outputs],
    }


def config_of(method: MethodSignature) -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs with shapes of one row, where there are rows."""
    return {
        "input": [_config(one, method.rows) for one in method.inputs],
        "output": [_config(one, method.rows) for one in method.outputs],
    }


def _metadata(tensor: TensorType, rows: bool) -> dict[str, Any]:
    first = [-1] if rows and not tensor.shared else []
    return {
        "name": tensor.name,
        "datatype": NAME_OF[tensor.dtype],
        "shape": [*first, *_shape(tensor, bool(first))],
    }


def _config(tensor: TensorType, rows: bool) -> dict[str, Any]:
    name = NAME_OF[tensor.dtype]
    kind = "STRING" if name == BYTES else "INVALID" if not tensor.dtype else name
    return {
        "name": tensor.name,
        "data_type": f"TYPE_{kind}",
        "dims": list(_shape(tensor, rows and not tensor.shared)),
    }


def _shape(tensor: TensorType, row: bool) -> Sequence[int]:
    """Shape of one instance's value; that of text is [1] where no rows stand in front of it."""
    if tensor.dtype.is_text:
        return [] if row else [1]
    return _ANY_SHAPE if tensor.shape is None else tensor.shape
