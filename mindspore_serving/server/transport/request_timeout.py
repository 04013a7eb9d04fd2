"""How long a client waits for its reply: the header `X-Request-Timeout-Ms` of HTTP."""

from __future__ import annotations

import re
from typing import Final

from mindspore_serving.errors import InvalidInput

TIMEOUT_FIELD: Final = "x-request-timeout-ms"
MOST_MS = 86_400_000
"""One day."""
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def read_timeout_s(value: str) -> float:
    """Seconds that a request may take.

    Args:
        value: Of the header, in milliseconds.

    Raises:
        InvalidInput: It is no decimal number above 0 and at most `MOST_MS`.
    """
    text = value.strip(" \t")
    milliseconds = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < milliseconds <= MOST_MS:
        raise InvalidInput(
            f"Header X-Request-Timeout-Ms should be a number of milliseconds above 0 and at most {MOST_MS}, "
            f"but got {text!r}"
        )
    return milliseconds / 1000
