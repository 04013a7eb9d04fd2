"""JSON text to Python values, with one error for text that is none and another for memory that is not there."""

from __future__ import annotations

from typing import Any, Final

import orjson

_NO_MEMORY: Final = "Not enough memory"


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
