"""How long a client waits for its reply: the header `X-Request-Timeout-Ms` of HTTP, and results that come in time."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final, TypeVar

from mindspore_serving.errors import InvalidInput, ServingError

TIMEOUT_FIELD: Final = "x-request-timeout-ms"
MOST_MS = 86_400_000
"""One day."""
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

_T = TypeVar("_T")


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


async def result_until(until: float | None, late: ServingError | None, future: asyncio.Future[_T]) -> _T:
    """The result of a future, which is abandoned if it does not come in time, or the caller is cancelled.

    Args:
        until: Time of `time.monotonic`; None for no limit.
        late: What is raised then.
        future: What is waited for.
    """
    try:
        await asyncio.wait([future], timeout=None if until is None else until - time.monotonic())
        if late is not None and not future.done():
            raise late
        return future.result()
    finally:
        future.cancel()
