"""The input tensors of a request, as instances of the method."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.datatypes import BYTES
from mindspore_serving.server.dialect.open_inference.messages import InputTensor, RawData
from mindspore_serving.server.dialect.open_inference.shared_data import SharedData
from mindspore_serving.server.dialect.open_inference.tensors import (
    check_utf8,
    column_of,
    elements_of,
    text_column,
)
from mindspore_serving.server.service.columns import rows_of
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType


async def instances_of(tensors: Sequence[InputTensor], method: MethodSignature, shared: SharedData) -> Rows:
    """All instances of a request.

    Args:
        tensors: The inputs, as they were sent.
        method: What is asked for.
        shared: Reads what is in shared memory.

    Returns:
        The instances, views of what was sent; of count 0 where the tensors have no rows.

    Raises:
        ServingError: The inputs are not what the method takes.
    """
    types = method.inputs
    by_name = _by_name(tensors, types)
    columns = []
    for wanted in types:
        tensor = by_name[wanted.name]
        rows = method.rows and not wanted.shared
        data = await shared.read(tensor) if tensor.data is None else tensor.data
        if tensor.datatype == BYTES:
            columns.append(text_column(tensor, await _texts(tensor, data, wanted), wanted, rows))
        else:
            columns.append(column_of(tensor, data, wanted, rows))
    return rows_of(columns)


def _by_name(tensors: Sequence[InputTensor], types: Sequence[TensorType]) -> Mapping[str, InputTensor]:
    """The inputs by name.

    Raises:
        InvalidInput: One is there twice, or not at all, or is no input of the method.
    """
    found = {tensor.name: tensor for tensor in tensors}
    if len(found) == len(tensors) == len(types) and all(wanted.name in found for wanted in types):
        return found  # nearly always
    names = [wanted.name for wanted in types]
    seen = set()
    for tensor in tensors:
        if tensor.name not in names:
            raise InvalidInput(f"Input '{excerpt(tensor.name)}' is unknown, {_expected(names)}")
        if tensor.name in seen:
            raise InvalidInput(f"Input '{tensor.name}' is there more than once")
        seen.add(tensor.name)
    missing = next(name for name in names if name not in seen)
    raise InvalidInput(f"Input '{missing}' is missing, {_expected(names)}")


async def _texts(tensor: InputTensor, data: RawData | list[Any], wanted: TensorType) -> list[bytes]:
    """The elements of a tensor of BYTES; others have their turns while there are many to read.

    Raises:
        InvalidInput: They are not what the shape says, or no text where the method takes text.
    """
    texts: list[bytes] = []
    for part in elements_of(tensor, data):
        if texts:
            await asyncio.sleep(0)
        if wanted.dtype is DataType.STRING:
            check_utf8(tensor.name, part, len(texts))
        texts += part
    return texts


def _expected(names: Iterable[str]) -> str:
    return f"inputs are {', '.join(names) or 'none'}"
