"""Requests of Paddle Serving, as JSON and as messages, of both services: what was read is what the classes have."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mindspore_serving.errors import InvalidInput
from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.proto.foreign import paddle_general_model_pb2 as general_pb2
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.paddle.elements import PIPELINE_TEXT
from mindspore_serving.server.dialect.paddle.general_request import read_json, read_message
from mindspore_serving.server.dialect.paddle.messages import Known
from mindspore_serving.server.dialect.paddle.pipeline_request import message_request, read_pipeline
from mindspore_serving.server.dialect.paddle.tensor_message import decode
from mindspore_serving.tensor import NUMPY_OF, DataType
from tests.fuzz.oracle import demand, demand_text

_TYPES = (
    DataType.UNKNOWN,
    DataType.FLOAT32,
    DataType.INT64,
    DataType.INT8,
    DataType.BOOL,
    DataType.FLOAT16,
    DataType.STRING,
)


def one_input(data: bytes) -> None:
    """Read a request in each way; the first byte says what the method takes."""
    choice = data[0] if data else 0
    body = data[1:]
    dtype = _TYPES[choice % len(_TYPES)]
    shape = ([], [-1], None, [2, 2])[choice // 8 % 4]
    known = Known(inputs=[["x", "y", int(dtype), shape, False]], rows=choice < 128)
    for read in (read_json, read_message, read_pipeline, _read_pipeline_message):
        try:
            content = read(body, known)
        except InvalidInput as error:
            demand_text(error)
            continue
        for rows in content[0]:
            _demand_rows(rows, dtype)
    _compare(body)


def _read_pipeline_message(body: bytes, known: Known) -> Any:
    try:
        request = message_request(body)
        for tensor in request.tensors:
            decode(tensor)
    except UNDECODABLE as error:
        raise InvalidInput(f"no message: {error}"[:500]) from error
    if request.wrong_counts:
        return [], request.wrong_counts
    return [request.instances(known)], None


def _demand_rows(rows: Rows, dtype: DataType) -> None:
    [spec], [column] = rows.specs, rows.columns
    demand(rows.count == len(column) > 0, "as many values as rows", rows)
    demand(spec.name == "x" and (not dtype or spec.dtype is dtype), "what the method takes", spec)
    if isinstance(column, list):
        for text in column:
            text.decode()
        return
    demand(column.shape == (rows.count, *spec.shape), "the shape of rows", spec, column.shape)
    demand(column.dtype == NUMPY_OF[spec.dtype], "the type of elements", spec, column.dtype)
    if spec.dtype is DataType.BOOL:
        demand(bool((column.view(np.uint8) <= 1).all()), "bools are 0 or 1", column)


def _compare(body: bytes) -> None:
    """What is cut out of a message is what the class has read of it."""
    known = Known(inputs=[["x", "y", int(DataType.UNKNOWN), None, False]], rows=True)
    try:
        content = read_message(body, known)
    except InvalidInput:
        return
    request = general_pb2.Request.FromString(body)
    [tensor] = request.tensor
    demand(content.rest["fetch"] == list(request.fetch_var_names), "the same outputs", content.rest)
    demand(content.rest["log_id"] == request.log_id, "the same log_id", content.rest)
    [rows] = content.rows
    said = 1 if tensor.elem_type == PIPELINE_TEXT else tensor.shape[0]  # a text has no shape
    demand(rows.count == said, "as many rows as the shape says", rows)
    document: dict[str, Any] = {"fetch_var_names": list(request.fetch_var_names)}
    demand(bool(json.dumps(document)), "names are text", document)
