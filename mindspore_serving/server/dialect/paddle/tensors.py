"""Tensors, as they were sent, to the instances of a method: every check of names, types, shapes and counts.

Paddle Serving itself checks none of this, and reads what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.paddle.elements import (
    CONTENT,
    NUMBERS,
    PIPELINE_BYTES,
    PIPELINE_TEXT,
    TEXT,
    WIDE,
    Element,
)
from mindspore_serving.server.dialect.paddle.messages import Elements, Known, KnownInput, SentTensor
from mindspore_serving.server.dialect.paddle.saved_array import read_saved_array
from mindspore_serving.server.service.columns import Column, rows_of
from mindspore_serving.server.service.elements import NAME_OF, check_shape, numbers_of
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import ITEM_SIZE, NUMPY_OF, Array, DataType, TensorSpec

_TEXT_FIELDS = frozenset(("data", "str_data"))


def known_of(method: MethodSignature) -> Known:
    """What is known of a method, for the readers of requests."""
    return Known(
        inputs=[[one.name, one.file_name, int(one.dtype), one.shape, one.shared] for one in method.inputs],
        rows=method.rows,
    )


def instances_of(tensors: Sequence[SentTensor], known: Known) -> Rows:
    """All instances of a request.

    Args:
        tensors: As they were sent.
        known: What is known of the method.

    Raises:
        InvalidInput: They are not what the method takes; the text says why.
    """
    inputs = [KnownInput(*one) for one in known["inputs"]]
    by_name = _by_input(tensors, inputs)
    return instances_in([column_of(by_name[one.name], one, known["rows"]) for one in inputs])


def instances_in(columns: Sequence[Column]) -> Rows:
    """The instances of columns.

    Raises:
        InvalidInput: They disagree, or there is no instance.
    """
    rows = rows_of(columns)
    if not rows.count:
        raise InvalidInput("The tensors have no rows: their first size is 0, expected at least 1")
    return rows


def input_named(names: Sequence[str], inputs: Sequence[KnownInput]) -> KnownInput | None:
    """The input that a tensor or key is for.

    Args:
        names: What it is called, the likeliest first.
        inputs: Those of the method.
    """
    for name in names:
        for one in inputs:
            if name and name in (one.name, one.file_name):
                return one
    return None


def expected_inputs(inputs: Sequence[KnownInput]) -> str:
    """The inputs of a method in an error text."""
    return f"inputs are {', '.join(one.name for one in inputs) or 'none'}"


def _by_input(tensors: Sequence[SentTensor], inputs: Sequence[KnownInput]) -> Mapping[str, SentTensor]:
    """The tensors by the names of their inputs.

    Raises:
        InvalidInput: One is there twice, or not at all, or is no input of the method.
    """
    found: dict[str, SentTensor] = {}
    for tensor in tensors:
        wanted = input_named((tensor.alias, tensor.name), inputs)
        if wanted is None:
            shown = excerpt(tensor.alias or tensor.name)
            raise InvalidInput(f"Tensor '{shown}' is no input of the method, {expected_inputs(inputs)}")
        if wanted.name in found:
            raise InvalidInput(f"Input '{wanted.name}' is there more than once")
        found[wanted.name] = tensor
    for one in inputs:
        if one.name not in found:
            raise InvalidInput(f"Input '{one.name}' is missing, {expected_inputs(inputs)}")
    return found


def column_of(tensor: SentTensor, wanted: KnownInput, rows: bool) -> Column:
    """A tensor as an input of all instances.

    Args:
        tensor: It.
        wanted: The input.
        rows: Whether the first size counts instances.

    Raises:
        InvalidInput: It is not what the input takes, or not what it says.
    """
    rows = rows and not wanted.shared
    if tensor.lod:
        raise InvalidInput(
            f"Input '{wanted.name}' has lod, which is not supported: pad its sequences to one length, and send that "
            "without lod"
        )
    if tensor.elem_type in (TEXT, PIPELINE_TEXT):
        return _text_column(tensor, wanted, rows)
    if tensor.elem_type == PIPELINE_BYTES:
        array = read_saved_array(wanted.name, _only_field(tensor, wanted, "byte_data"))
        return array_column(array, wanted, rows)
    element = NUMBERS.get(tensor.elem_type)
    if element is None:
        known = ", ".join(f"{number} {NAME_OF[one.dtype]}" for number, one in NUMBERS.items())
        raise InvalidInput(
            f"Input '{wanted.name}' has elem_type {tensor.elem_type}, expected one of {known}, {TEXT} STRING"
        )
    check_shape(wanted.name, tensor.shape)
    _check_type(element.dtype, wanted)
    return array_column(_array_of(tensor, element, wanted).reshape(tensor.shape), wanted, rows)


def array_column(array: Array | list[bytes], wanted: KnownInput, rows: bool) -> Column:
    """An array as an input of all instances.

    Args:
        array: It, of a data type that a method may have; or one text for each instance.
        wanted: The input.
        rows: Whether the first size counts instances.

    Raises:
        InvalidInput: It is not what the input takes.
    """
    if isinstance(array, list):
        kind = DataType(wanted.dtype) or DataType.STRING
        return Column(TensorSpec(wanted.name, kind, ()), array, None if wanted.shared else len(array))
    dtype = _dtype_of(array)
    _check_type(dtype, wanted)
    own = _own_shape(array.shape, wanted, rows)
    values = array if rows else array[np.newaxis]
    return Column(TensorSpec(wanted.name, dtype, own), values, None if wanted.shared else len(values))


def _dtype_of(array: Array) -> DataType:
    return next(kind for kind, dtype in NUMPY_OF.items() if dtype == array.dtype)


def _own_shape(shape: Sequence[int], wanted: KnownInput, rows: bool) -> tuple[int, ...]:
    """The shape of one instance.

    Raises:
        InvalidInput: It is not what the input takes.
    """
    known = TensorType(wanted.name, shape=None if wanted.shape is None else tuple(wanted.shape))
    own = tuple(shape[1:] if rows else shape)
    if (rows and not shape) or not known.takes(own):
        first = ["N"] if rows else []
        sizes = ["..."] if wanted.shape is None else ["any" if size < 0 else size for size in wanted.shape]
        counts = ", of which the first size counts rows" if rows else ""
        raise InvalidInput(
            f"Input '{wanted.name}' has shape {excerpt(str(list(shape)))}, expected "
            f"[{', '.join(map(str, [*first, *sizes]))}]{counts}"
        )
    return own


def _check_type(dtype: DataType, wanted: KnownInput) -> None:
    if wanted.dtype and dtype != wanted.dtype:
        raise InvalidInput(
            f"Input '{wanted.name}' takes {_type_name(wanted.dtype)}, but got {_type_name(dtype)}"
        )


def _type_name(dtype: int) -> str:
    kind = DataType(dtype)
    return "STRING" if kind.is_text else NAME_OF[kind]


def _only_field(tensor: SentTensor, wanted: KnownInput, *allowed: str) -> Any:
    """The elements of a tensor, which are in one field; none where the tensor has none.

    Raises:
        InvalidInput: They are in another field, or in several.
    """
    for name in tensor.fields:
        if name not in allowed:
            raise InvalidInput(
                f"Input '{wanted.name}' of elem_type {tensor.elem_type} has elements in {name}, expected "
                f"{' or '.join(allowed)}"
            )
    if len(tensor.fields) > 1:
        raise InvalidInput(f"Input '{wanted.name}' has elements in {' and in '.join(tensor.fields)}")
    return next(iter(tensor.fields.values()), ())


def _array_of(tensor: SentTensor, element: Element, wanted: KnownInput) -> Array:
    """The elements of a tensor of numbers, as many as its shape says.

    Raises:
        InvalidInput: They are not, or one is not of the type.
    """
    data: Elements = _only_field(tensor, wanted, element.field, CONTENT)
    dtype, count = element.dtype, prod(tensor.shape)
    if isinstance(data, (bytes, memoryview)):
        if len(data) != count * ITEM_SIZE[dtype]:
            raise _wrong_count(tensor, wanted, f"{len(data)} bytes", f"{count * ITEM_SIZE[dtype]}")
        return _checked_bools(wanted.name, np.frombuffer(data, np.uint8), dtype).view(NUMPY_OF[dtype])
    if len(data) != count:
        raise _wrong_count(tensor, wanted, f"{len(data)} elements", str(count))
    if isinstance(data, np.ndarray):
        return _narrowed(wanted.name, data, dtype)
    wide = WIDE[element.field]
    return _narrowed(wanted.name, numbers_of(wanted.name, data, wide), dtype)


def _wrong_count(tensor: SentTensor, wanted: KnownInput, got: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"Input '{wanted.name}' has {got} of data, expected {expected}: its shape is "
        f"{excerpt(str(list(tensor.shape)))}"
    )


def _checked_bools(name: str, values: Array, dtype: DataType) -> Array:
    if dtype is DataType.BOOL and values.size and values.max() > 1:
        raise InvalidInput(
            f"Input '{name}' has {values.max()} as an element, expected 0 or 1, since it is BOOL"
        )
    return values


def _narrowed(name: str, values: Array, dtype: DataType) -> Array:
    """Numbers of a wide field as those of a narrower type.

    Raises:
        InvalidInput: One is out of its range.
    """
    wanted = NUMPY_OF[dtype]
    if values.dtype == wanted:
        return values
    if values.dtype.kind in "iu":
        limits = np.iinfo(wanted)
        outside = (values < limits.min) | (values > limits.max)
    else:
        outside = np.isfinite(values) & (np.abs(values) > np.finfo(wanted).max)
    if outside.any():
        raise InvalidInput(
            f"Input '{name}' has {values[outside][0]} as element {int(outside.argmax())}, which is out of the range of "
            f"{NAME_OF[dtype]}"
        )
    return values.astype(wanted)


def _text_column(tensor: SentTensor, wanted: KnownInput, rows: bool) -> Column:
    """A tensor of text as an input of all instances, one text for each.

    Raises:
        InvalidInput: The method takes no text there, or there are not as many as the shape says.
    """
    _check_is_text(wanted)
    texts = _only_field(tensor, wanted, *_TEXT_FIELDS)
    encoded = texts_of_client(wanted.name, texts)
    if tensor.elem_type == PIPELINE_TEXT:  # which has no shape: all of it is one text
        return array_column([b"".join(encoded)], wanted, rows)
    check_shape(wanted.name, tensor.shape)
    own = tensor.shape[1:] if rows else tensor.shape
    if prod(own) != 1 or (rows and not tensor.shape):
        expected = "[N] or [N, 1]" if rows else "[1]"
        raise InvalidInput(
            f"Input '{wanted.name}' of elem_type {TEXT} has shape {excerpt(str(list(tensor.shape)))}, expected "
            f"{expected}: one text for each row"
        )
    if len(encoded) != prod(tensor.shape):
        raise _wrong_count(tensor, wanted, f"{len(encoded)} texts", str(prod(tensor.shape)))
    return array_column(encoded, wanted, rows)


def _check_is_text(wanted: KnownInput) -> None:
    if wanted.dtype and not DataType(wanted.dtype).is_text:
        raise InvalidInput(f"Input '{wanted.name}' takes {_type_name(wanted.dtype)}, but got STRING")


def texts_of_client(name: str, texts: Sequence[Any]) -> list[bytes]:
    """Texts as UTF-8.

    Args:
        name: Of the input.
        texts: As they were sent.

    Raises:
        InvalidInput: One is none.
    """
    try:
        return [str.encode(text) for text in texts]
    except (TypeError, UnicodeEncodeError):
        raise InvalidInput(f"Input '{name}' has an element that is no text, expected strings") from None
