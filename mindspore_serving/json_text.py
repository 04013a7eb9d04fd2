"""JSON text to Python values and back, with numbers that are not finite where a dialect has them."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from mindspore_serving.errors import InvalidInput

_NO_MEMORY: Final = "Not enough memory"
_NON_FINITE = (b"NaN", b"Infinity")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NULL: Final = re.compile(b"null")


def load_json(text: bytes | memoryview) -> Any:
    """The document that JSON text holds.

    Args:
        text: UTF-8.

    Raises:
        orjson.JSONDecodeError: It is no JSON.
        MemoryError: There is no memory to read it. orjson says so as if the text were wrong.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as cause:
        if str(cause).startswith(_NO_MEMORY):
            raise MemoryError from cause
        raise


def load_json_with_nan(body: bytes) -> Any:
    """The JSON document of a body, in which numbers may be `NaN`, `Infinity` and `-Infinity`.

    Args:
        body: UTF-8.

    Raises:
        InvalidInput: It is none.
        MemoryError: There is no memory to read it.
    """
    try:
        return load_json(body)
    except orjson.JSONDecodeError as cause:
        if not any(token in body for token in _NON_FINITE):
            raise InvalidInput(f"JSON Parse error: {cause}") from cause
    try:
        document = json.loads(body)
        if _SURROGATE.search(body):  # half a letter, which orjson refuses by itself
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except RecursionError as cause:
        raise InvalidInput("JSON Parse error: nested too deeply") from cause
    except ValueError as cause:  # no JSON, no UTF-8, or an integer of thousands of digits
        raise InvalidInput(f"JSON Parse error: {cause}") from cause


def float_text(value: npt.NDArray[Any]) -> orjson.Fragment:
    """Floats of which some are not finite: where orjson writes `null`, each is written by its name."""
    odd = value[~np.isfinite(value)].tolist()
    names = iter(["NaN" if one != one else "Infinity" if one > 0 else "-Infinity" for one in odd])
    text = orjson.dumps(value if value.ndim else value[()], option=orjson.OPT_SERIALIZE_NUMPY)
    return orjson.Fragment(_NULL.sub(lambda _: next(names).encode(), text))
