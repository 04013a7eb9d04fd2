"""A request of the Open Inference Protocol over HTTP: JSON, with raw tensors behind it.

The first two bytes of an input are the length of the JSON, 65535 for a body that is JSON alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import orjson

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.http.large_request import read_large, request_of
from mindspore_serving.server.dialect.open_inference.http.request import read_request
from mindspore_serving.server.dialect.open_inference.inputs import instances_of
from mindspore_serving.server.dialect.open_inference.messages import InferRequest
from mindspore_serving.server.dialect.open_inference.outputs import wanted_outputs
from mindspore_serving.server.dialect.open_inference.parameters import options_of
from mindspore_serving.server.dialect.open_inference.shared_data import SharedData, UnknownPeer
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.transport.http_routes import BodyContent
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.fuzz.oracle import demand, demand_text

_ALL_JSON = 65535
_FLOATS, _TEXT = TensorType("x", DataType.FLOAT32, (2, -1)), TensorType("x", DataType.STRING, ())
METHODS = [
    MethodSignature("any", ("x",), 1, output_names=("y",), inputs=(TensorType("x"),)),
    MethodSignature("floats", ("x",), 1, output_names=("y",), inputs=(_FLOATS,), rows=True),
    MethodSignature("text", ("x",), 1, output_names=("y",), inputs=(_TEXT,), rows=True),
]
_NOBODY = SharedData(SharedMemoryRegions(), UnknownPeer())
_Result = TypeVar("_Result")


def one_input(data: bytes) -> None:
    """Read a request in both ways, and its tensors for methods of several types."""
    length = int.from_bytes(data[:2], "little")
    at = None if length == _ALL_JSON else max(1, length)
    body = data[2:]
    small = _or_none(lambda: read_request(body, at, "m", ""))
    large = _or_none(lambda: _read_elsewhere(body, at))
    if small is None:
        demand(large is None, "what is refused at once is refused elsewhere", data)
        return
    _or_none(lambda: options_of(small.parameters))
    for method in METHODS:
        _or_none(lambda method=method: wanted_outputs(small.outputs, method))  # type: ignore[misc]
        rows = _or_none(lambda method=method: _instances(small, method))  # type: ignore[misc]
        if rows is None:
            continue
        _demand_rows(rows, body)
        demand(large is not None, "what has instances is read elsewhere", data)
        if large is not None:
            _demand_equal(rows, _instances(large, method))


def _or_none(function: Callable[[], _Result]) -> _Result | None:
    """What a function gives; None where it refuses its input with a text."""
    try:
        return function()
    except InvalidInput as error:
        demand_text(error)
        return None


def _read_elsewhere(body: bytes, at: int | None) -> InferRequest:
    content = read_large(body, at)
    return request_of(BodyContent(content.rows, orjson.loads(orjson.dumps(content.rest))), "m", "")


def _instances(asked: InferRequest, method: MethodSignature) -> Rows:
    return asyncio.run(instances_of(asked.inputs, method, _NOBODY))


def _demand_rows(rows: Rows, body: bytes) -> None:
    [spec], [column] = rows.specs, rows.columns
    demand(len(column) == rows.count, "a column has all rows", rows)
    demand(rows.count <= max(1024, len(body)), "a few bytes are no more rows than that", rows)
    if not isinstance(column, list):
        demand(column.shape == (rows.count, *spec.shape), "a column has the shape of its rows", rows)
        demand(column.nbytes <= 8 * len(body), "a few bytes are no large tensor", rows)


def _demand_equal(rows: Rows, other: Rows) -> None:
    demand(rows.specs == other.specs, "both ways have the same types", (rows, other))
    for one, two in zip(rows.columns, other.columns, strict=True):
        if isinstance(one, list):
            demand(one == two, "both ways have the same texts", (rows, other))
        else:
            demand(
                np.asarray(one).tobytes() == np.asarray(two).tobytes(),
                "both ways have the same numbers",
                other,
            )
