"""Requests that fail as a whole because instances have failed: for dialects without a status of an instance."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from mindspore_serving.errors import Failure, ServingError
from mindspore_serving.rows import FailedRows, Reply, Rows, failures_in


class RowsFailed(ServingError):
    """Rows of a request have no result. So all of the request fails.

    Args:
        reply: The outcome of every row, of which at least one has no result.

    Attributes:
        failures: The rows that have no result.
        count: Number of rows.
    """

    def __init__(self, reply: Reply) -> None:
        self.failures: Sequence[FailedRows] = failures_in(reply)
        self.count = sum(group.count for group in reply)
        self._failure = _failure_of(reply, self.failures, self.count)
        super().__init__(self._failure.text)

    def failure(self) -> Failure:
        """The first failure, with its row, in the words of which the client is told."""
        return self._failure


def _failure_of(reply: Reply, failures: Sequence[FailedRows], count: int) -> Failure:
    first = failures[0].failure
    failed = sum(group.count for group in failures)
    text = first.text
    if count > 1 and (failed < count or len({group.failure.text for group in failures}) > 1):
        row = 0
        for group in reply:
            if isinstance(group, FailedRows):
                break
            row += group.count
        text = f"{failed} of {count} rows failed, the first one is row {row}: {text}"
    return Failure(first.code, text, _status_of(reply, failures), first.trace)


def _status_of(reply: Reply, failures: Sequence[FailedRows]) -> int:
    """HTTP status of the whole: 503, which says that nothing was done, only where that is so of all rows."""
    statuses = [group.failure.status for group in failures]
    own = next((status for status in statuses if status != HTTPStatus.SERVICE_UNAVAILABLE), None)
    if own is not None:
        return own
    done = any(isinstance(group, Rows) for group in reply)
    return HTTPStatus.INTERNAL_SERVER_ERROR if done else HTTPStatus.SERVICE_UNAVAILABLE
