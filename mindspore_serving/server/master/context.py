"""Settings of the main process that a start script may change."""

from __future__ import annotations

from mindspore_serving.check_type import check_int

DEFAULT_MAX_ENQUEUED_REQUESTS = 10000

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
