"""Text between instances and graphs: byte strings here, arrays of `str` or `bytes` there, one text for an instance."""

from __future__ import annotations

from typing import Any

import numpy as np

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.run_errors import run_failed
from mindspore_serving.tensor import Array, DataType, TensorSpec


def check_text_shape(what: str, index: int, spec: TensorSpec, batched: bool) -> None:
    """Check that an input or output of text has one for each instance.

    Args:
        what: "input" or "output".
        index: Which one.
        spec: As the graph declares it.
        batched: Whether its first dimension is the batch.

    Raises:
        StartUpError: It may have several.
    """
    own = spec.shape[1:] if batched else spec.shape
    if set(own) - {1, -1}:
        expected = "[-1] or [-1, 1], where the first dimension is the batch" if batched else "[] or [1]"
        raise StartUpError(
            f"The shape of model {what} {index} '{spec.name}' is invalid, shape: {list(spec.shape)}: an instance has "
            f"one text, expected {expected}; export the model with an {what} for each text"
        )


def text_array(dtype: DataType, texts: list[bytes], dimensions: int) -> Array:
    """Texts as a graph takes them.

    Args:
        dtype: STRING or BYTES.
        texts: One for each instance; UTF-8 for STRING.
        dimensions: How many dimensions of size 1 come behind the one that counts instances.

    Returns:
        Array of objects, `str` or `bytes`.
    """
    array = np.empty(len(texts), object)
    array[:] = [text.decode() for text in texts] if dtype is DataType.STRING else texts
    return array.reshape(len(texts), *[1] * dimensions)


def texts_of(index: int, spec: TensorSpec, array: Array) -> list[bytes]:
    """An output of text as byte strings.

    Args:
        index: Which output.
        spec: What the graph says of it.
        array: What it gave, of objects or of a dtype of text; the first dimension counts instances.

    Raises:
        ModelError: It is no text, or not one for each instance.
    """
    if array.size != len(array):
        raise run_failed(
            f"model output {index} has the shape {list(array.shape)}, expected one text for each of {len(array)} "
            "instances"
        )
    return [_text_of(index, spec, value) for value in array.reshape(-1).tolist()]


def _text_of(index: int, spec: TensorSpec, value: Any) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bytes):
            if spec.dtype is DataType.STRING:
                value.decode()
            return value
    except UnicodeError as cause:
        raise run_failed(f"model output {index} is not valid Unicode text: {cause}") from cause
    raise run_failed(f"model output {index} has a value of type {type(value).__name__}, expected text")
