"""Requests of which the JSON is large: read in the process for large bodies, put together again in the main process.

What crosses are rows: of an input of numbers one row of its bytes, of one of BYTES a row for each element. All the rest
of the request is a JSON document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.datatypes import BF16, BYTES, NUMERIC
from mindspore_serving.server.dialect.open_inference.http.request import read_request
from mindspore_serving.server.dialect.open_inference.messages import (
    InferRequest,
    InputTensor,
    RequestedOutput,
)
from mindspore_serving.server.dialect.open_inference.tensors import (
    check_datatype,
    elements_of,
    no_bf16,
)
from mindspore_serving.server.service.elements import check_shape, flattened, numbers_of
from mindspore_serving.server.transport.http_routes import BodyContent
from mindspore_serving.tensor import DataType, TensorSpec

_NOWHERE: Final = "nowhere"
_EMPTY: Final = "empty"
_ROWS: Final = "rows"


def read_large(body: bytes, argument: Any) -> BodyContent:
    """A request, in rows and a document.

    Args:
        body: All of it, decompressed.
        argument: Bytes of the JSON in front of raw tensors; None where all of the body is JSON.

    Raises:
        InvalidInput: The body holds no request.
    """
    asked = read_request(body, argument, "", "")
    blocks: list[Rows] = []
    inputs = []
    for tensor in asked.inputs:
        block, place = _block_of(tensor, len(blocks))
        if block is not None:
            blocks.append(block)
        inputs.append([tensor.name, tensor.datatype, tensor.shape, dict(tensor.parameters), place])
    rest = {
        "id": asked.id,
        "inputs": inputs,
        "outputs": [[output.name, dict(output.parameters)] for output in asked.outputs],
        "parameters": dict(asked.parameters),
    }
    return BodyContent(blocks, rest)


def request_of(content: BodyContent, model: str, version: str) -> InferRequest:
    """What `read_large` has read.

    Args:
        content: From there, by way of a channel or not.
        model: Name of the model.
        version: As it was sent.
    """
    rest = content.rest
    blocks = iter(content.rows)
    return InferRequest(
        model,
        version,
        rest["id"],
        [
            InputTensor(name, datatype, tuple(shape), _data_of(place, blocks), parameters)
            for name, datatype, shape, parameters, place in rest["inputs"]
        ],
        [RequestedOutput(name, parameters) for name, parameters in rest["outputs"]],
        rest["parameters"],
    )


def _block_of(tensor: InputTensor, number: int) -> tuple[Rows | None, str]:
    """The data of a tensor as rows, and where it is."""
    name, data = str(number), tensor.data  # of another name each, so that no two blocks are joined
    if data is None:
        return None, _NOWHERE
    check_datatype(tensor)
    check_shape(tensor.name, tensor.shape)
    if tensor.datatype == BYTES and isinstance(data, list):
        texts = [text for part in elements_of(tensor, data) for text in part]
        if not texts:
            return None, _EMPTY
        return Rows((TensorSpec(name, DataType.STRING, ()),), (texts,), len(texts)), _ROWS
    if isinstance(data, list):
        if tensor.datatype == BF16:
            raise no_bf16(tensor.name)
        elements = flattened(tensor.name, data, tensor.shape)
        raw = numbers_of(tensor.name, elements, NUMERIC[tensor.datatype]).view(np.uint8)
    else:
        raw = np.frombuffer(data, np.uint8)
    if not raw.size:
        return None, _EMPTY
    return Rows((TensorSpec(name, DataType.UINT8, raw.shape),), (raw.reshape(1, -1),), 1), _ROWS


def _data_of(place: str, blocks: Iterator[Rows]) -> memoryview | bytes | list[Any] | None:
    if place == _NOWHERE:
        return None
    if place == _EMPTY:
        return b""
    [column] = next(blocks).columns
    return [text.decode() for text in column] if isinstance(column, list) else column.reshape(-1).data
