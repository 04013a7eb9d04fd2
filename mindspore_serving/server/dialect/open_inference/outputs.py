"""The outcome of a request, as output tensors.

Where one batch has served a request, its outputs are views of what the worker has sent. Those of several batches are
joined. All rows of an output have to agree in data type and shape: otherwise no tensor can hold them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Final, NamedTuple

import numpy as np

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.classification import classes_of
from mindspore_serving.server.dialect.open_inference.datatypes import BYTES, NAME_OF, NUMERIC
from mindspore_serving.server.dialect.open_inference.messages import (
    OutputTensor,
    Parameter,
    RawData,
    RequestedOutput,
)
from mindspore_serving.server.dialect.open_inference.shared_data import REGION
from mindspore_serving.server.service.columns import output_column
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import NUMPY_OF, Array, ColumnData, TensorSpec

CLASSIFICATION: Final = "classification"
_AT_ONCE = 1 << 13
"""Strings that are written without a turn of others: a millisecond."""


class WantedOutput(NamedTuple):
    """One output of the reply.

    Attributes:
        name: Of the output.
        place: Which output of the method it is.
        classes: How many classes each row gets; 0 for the values themselves.
        parameters: As they were sent.
    """

    name: str
    place: int
    classes: int
    parameters: Mapping[str, Parameter]


def wanted_outputs(requested: Sequence[RequestedOutput], method: MethodSignature) -> Sequence[WantedOutput]:
    """The outputs of the reply, in its order.

    Args:
        requested: What the request asks for; nothing for all.
        method: What it asks.

    Raises:
        InvalidInput: The method has no such output, one is asked for twice, or a parameter has no value it may have.
    """
    names = method.output_names
    if not requested:
        return [WantedOutput(name, place, 0, {}) for place, name in enumerate(names)]
    wanted: list[WantedOutput] = []
    seen = set()
    for output in requested:
        if output.name not in names:
            raise InvalidInput(
                f"Output '{excerpt(output.name)}' is unknown, outputs are {', '.join(names) or 'none'}"
            )
        if output.name in seen:
            raise InvalidInput(f"Output '{output.name}' is asked for more than once")
        seen.add(output.name)
        parameters = output.parameters
        wanted.append(WantedOutput(output.name, names.index(output.name), _classes(output), parameters))
        if REGION in parameters and parameters.get("binary_data"):
            raise InvalidInput(
                f"Output '{output.name}' cannot be both in shared memory and in the reply as binary data"
            )
    return wanted


def _classes(output: RequestedOutput) -> int:
    value = output.parameters.get(CLASSIFICATION, 0)
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise InvalidInput(
            f"Output '{output.name}': {CLASSIFICATION} should be the number of classes, a whole number from 0 on, but "
            f"is {excerpt(repr(value))}"
        )
    return value


async def tensors_of(
    blocks: Sequence[Rows], method: MethodSignature, wanted: Sequence[WantedOutput]
) -> list[OutputTensor]:
    """The outputs of a request of which every row has a result.

    Args:
        blocks: The results in order, at least one block.
        method: What has been run.
        wanted: The outputs of the reply.

    Raises:
        InvalidInput: Rows of an output differ, or it has no classes.
    """
    tensors = []
    for output in wanted:
        spec, column = output_column(blocks, output.place, output.name)
        if output.classes:
            tensors.append(await _classified(spec, column, output, method.rows))
            continue
        data = await raw_texts(column) if isinstance(column, list) else raw_numbers(column)
        shape = _shape_of(spec, len(column), method.rows)
        tensors.append(OutputTensor(output.name, NAME_OF[spec.dtype], shape, data))
    return tensors


def empty_tensors(method: MethodSignature, wanted: Sequence[WantedOutput]) -> list[OutputTensor]:
    """The outputs of a request without rows, as far as they are known without running anything.

    Args:
        method: What is asked for.
        wanted: The outputs of the reply.

    Raises:
        InvalidInput: The type of an output is not known.
    """
    tensors = []
    for output in wanted:
        known = method.outputs[output.place]
        if not known.dtype or (known.shape is None and not known.dtype.is_text):
            raise InvalidInput(
                f"The inputs have no rows. The reply would have none, too, but what output '{output.name}' looks like "
                "is not known: the servable does not declare it"
            )
        sizes = [max(size, 0) for size in known.shape or ()]
        datatype = NAME_OF[known.dtype]
        if output.classes:
            datatype, sizes = BYTES, [min(output.classes, prod(sizes))]
        tensors.append(OutputTensor(output.name, datatype, (0, *sizes), b""))
    return tensors


def raw_numbers(column: Array) -> RawData:
    """An array as raw bytes, without a copy."""
    if not column.size:
        return b""
    if not column.flags.c_contiguous:
        column = np.ascontiguousarray(column)
    return column.reshape(-1).view(np.uint8).data


async def raw_texts(texts: Sequence[bytes]) -> RawData:
    """Byte strings as raw bytes: of each its length as uint32, and that many bytes."""
    if len(texts) <= _AT_ONCE:
        return b"".join(_framed(texts))
    parts = []
    for start in range(0, len(texts), _AT_ONCE):
        parts.append(b"".join(_framed(texts[start : start + _AT_ONCE])))
        await asyncio.sleep(0)
    return b"".join(parts)


def _framed(texts: Sequence[bytes]) -> Iterator[bytes]:
    for text in texts:
        yield len(text).to_bytes(4, "little")
        yield text


def _shape_of(spec: TensorSpec, count: int, rows: bool) -> tuple[int, ...]:
    if rows:
        return (count, *spec.shape)
    return spec.shape or (1,) if spec.dtype.is_text else spec.shape


async def _classified(spec: TensorSpec, column: ColumnData, output: WantedOutput, rows: bool) -> OutputTensor:
    if isinstance(column, list):
        raise InvalidInput(f"Output '{output.name}' is {BYTES}, which has no classes")
    values = column.reshape(len(column), -1) if column.size else column.reshape(len(column), 0)
    texts = await classes_of(values, output.classes)
    count = min(output.classes, values.shape[1])
    shape = (len(values), count) if rows else (count,)
    return OutputTensor(output.name, BYTES, shape, await raw_texts(texts))


def numbers_in(tensor: OutputTensor) -> Array:
    """The elements of an output of numbers.

    Args:
        tensor: It, with its data.

    Returns:
        One dimension, a view.
    """
    return np.frombuffer(tensor.data or b"", NUMPY_OF[NUMERIC[tensor.datatype]])
