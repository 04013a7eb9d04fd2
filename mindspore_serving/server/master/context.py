"""Settings of the main process that a start script may change."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mindspore_serving.check_type import check_int
from mindspore_serving.errors import InvalidParameter

DEFAULT_MAX_ENQUEUED_REQUESTS = 10000
DEFAULT_WORKER_TIMEOUT_S = 20.0
WORKER_TIMEOUT_VARIABLE = "SERVING_WORKER_TIMEOUT_S"

_max_enqueued_requests = DEFAULT_MAX_ENQUEUED_REQUESTS


def set_max_enqueued_requests(max_enqueued_requests: int) -> None:
    """Set how many requests may be unanswered at a time in the whole server.

    A request beyond the limit is refused at once. Takes effect immediately, also on a running server.

    Args:
        max_enqueued_requests: At least 1. The default is 10000.

    Raises:
        RuntimeError: `max_enqueued_requests` is no int, or below 1.
    """
    global _max_enqueued_requests
    check_int("max_enqueued_requests", max_enqueued_requests, 1)
    _max_enqueued_requests = max_enqueued_requests


def max_enqueued_requests() -> int:
    """The limit in force."""
    return _max_enqueued_requests


def worker_timeout_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds without a sign of life after which a worker is taken for hung.

    Args:
        environment: Where SERVING_WORKER_TIMEOUT_S may be set; 20 where it is not.

    Raises:
        InvalidParameter: It is no number, or below 2.
    """
    text = environment.get(WORKER_TIMEOUT_VARIABLE) or str(DEFAULT_WORKER_TIMEOUT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 2 <= seconds < float("inf"):
        raise InvalidParameter(
            f"Environment variable {WORKER_TIMEOUT_VARIABLE} should be a number of seconds, at least 2, "
            f"but got {text!r}"
        )
    return seconds
