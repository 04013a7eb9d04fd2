"""Values of pipelines, which are texts, to inputs of a method and from its outputs.

| input | text |
|---|---|
| text, or of a type that is not known | as it is |
| numbers | JSON `[[1.5, 2]]`, what NumPy's `repr` gives `array([[1.5, 2. ]], dtype=float32)`, or numbers alone \
`1.5, 2`, with `;` between rows |

Where the first size of tensors counts rows, the value of one row may be without it. Outputs always have it, as JSON; a
text is as it is where there is one row, and JSON where there are several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
import pybase64

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.json_text import load_json_with_nan
from mindspore_serving.server.dialect.paddle.array_text import array_text
from mindspore_serving.server.dialect.paddle.messages import KnownInput
from mindspore_serving.server.dialect.paddle.tensors import array_column, texts_of_client
from mindspore_serving.server.service.columns import Column
from mindspore_serving.server.service.elements import flattened, numbers_of
from mindspore_serving.tensor import MAX_DIMENSIONS, ColumnData, DataType

_ARRAY: Final = re.compile(r"(?:np\.|numpy\.)?array\((.*?)(?:,\s*dtype=[\w'<>|=.]{1,20})?\)", re.DOTALL)
_POINT: Final = re.compile(r"(?<=\d)\.(?![\d])")
_LEADING_POINT: Final = re.compile(r"(?<![\d])\.(?=\d)")
_WORD: Final = re.compile(r"[A-Za-z]{2,8}")
_WORDS: Final = {
    "true": "true",
    "True": "true",
    "false": "false",
    "False": "false",
    "nan": "NaN",
    "NaN": "NaN",
    "inf": "Infinity",
    "Infinity": "Infinity",
}
"""Words between numbers, as JSON has them."""


def value_column(text: str, wanted: KnownInput, rows: bool) -> Column:
    """A value as an input of all instances.

    Args:
        text: It.
        wanted: The input.
        rows: Whether the first size of tensors counts instances.

    Raises:
        InvalidInput: It is not what the input takes.
    """
    dtype = DataType(wanted.dtype)
    rows = rows and not wanted.shared
    if not dtype or dtype.is_text:
        return array_column(texts_of_client(wanted.name, [text]), wanted, rows)
    nested = _numbers_in(wanted.name, text)
    shape = _shape_of(wanted.name, nested)
    flat = flattened(wanted.name, nested if isinstance(nested, list) else [nested], shape)
    array = numbers_of(wanted.name, flat, dtype).reshape(shape)
    is_one_row = rows and array.ndim == len(wanted.shape or ())
    return array_column(array[np.newaxis] if is_one_row else array, wanted, rows)


def _numbers_in(name: str, text: str) -> Any:
    """Numbers in nested lists.

    Raises:
        InvalidInput: There is something else.
    """
    found = _ARRAY.fullmatch(text.strip())
    inner = (found[1] if found else text).strip()
    if not inner.startswith("["):
        rows = [row for row in inner.split(";") if row.strip()]
        inner = (
            f"[[{'],['.join(rows)}]]" if len(rows) > 1 else f"[{''.join(rows)}]" if "," in inner else inner
        )
    try:
        inner = _WORD.sub(lambda word: _WORDS[word[0]], inner)
        return load_json_with_nan(_LEADING_POINT.sub("0.", _POINT.sub(".0", inner)).encode())
    except (KeyError, UnicodeEncodeError, InvalidInput) as cause:
        raise InvalidInput(
            f"Input '{name}' takes numbers, but got '{excerpt(text)}'; expected is JSON as [[1.5, 2]], what "
            "NumPy's repr gives, or numbers with commas in between"
        ) from cause


def _shape_of(name: str, nested: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(nested, list):
        shape.append(len(nested))
        if len(shape) > MAX_DIMENSIONS + 1:
            raise InvalidInput(f"Input '{name}' has more than {MAX_DIMENSIONS} dimensions")
        if not nested:
            break
        nested = nested[0]
    return tuple(shape)


async def output_value(column: ColumnData, dtype: DataType, rows: bool) -> str:
    """An output as the value of a key.

    Args:
        column: Of all instances.
        dtype: Its data type.
        rows: Whether the first size of tensors counts instances.
    """
    if isinstance(column, list):
        texts = _texts(column, dtype)
        return texts[0] if len(texts) == 1 else orjson.dumps(texts).decode()
    return (await array_text(column if rows else column[0:1].reshape(column.shape[1:]))).decode()


def _texts(column: Sequence[bytes], dtype: DataType) -> list[str]:
    """Texts as they are, and bytes that are none in base64."""
    if dtype is DataType.STRING:
        return [text.decode() for text in column]
    try:
        return [text.decode() for text in column]
    except UnicodeDecodeError:
        return [pybase64.b64encode_as_string(text) for text in column]
