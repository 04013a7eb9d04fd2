"""Failed requests in the log of the main process, with what clients do not see, under the id that they do see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from mindspore_serving import log
from mindspore_serving.errors import LONGEST_TEXT, Failure, shortened
from mindspore_serving.rows import FailedRows

MOST_AT_ONCE: Final = 20
"""Failed requests of one level that are logged without a pause; one per second goes on."""
_MOST_REASONS = 3
_LONGEST_NAME = 300
_FAULT_OF_SERVER = 500
_TRACE_INDENT = "\n    "


class FailureLog:
    """Writes failed requests of one front end, so many in a time that nobody can fill the log with them.

    What fails because of the server, HTTP status 500, is an ERROR; anything else a WARNING. Each level has a measure
    of its own, so that bad requests do not hide errors.

    Args:
        now: A monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._errors = _Level(log.error, now)
        self._warnings = _Level(log.warning, now)

    def write(self, name: str, peer: str, target: str, failures: Sequence[FailedRows], count: int) -> None:
        """Log one request, if there is room.

        Args:
            name: Id of the request.
            peer: Address of the client; empty where it is not known, as of a connection that has ended.
            target: What it asked for.
            failures: Why instances have no result, at least one.
            count: Instances of the request; 0 if it failed as a whole.
        """
        worst = max(failures, key=lambda failed: failed.failure.status == _FAULT_OF_SERVER).failure
        level = self._errors if worst.status == _FAULT_OF_SERVER else self._warnings
        left_out = level.take()
        if left_out is None:
            return
        failed = f", {sum(one.count for one in failures)} of {count} instances" if count else ""
        before = f" ({left_out} failed requests before it were not logged)" if left_out else ""
        level.write(
            "Request %s from %s failed with status %s, %s%s%s: %s",
            name,
            peer or "?",
            worst.status,
            one_line(shortened(target, _LONGEST_NAME)),
            failed,
            before,
            _reasons(one.failure for one in failures),
        )


class _Level:
    """Lines of one level: a measure that fills up again with time."""

    def __init__(self, write: Callable[..., Any], now: Callable[[], float]) -> None:
        self.write = write
        self._now = now
        self._room = float(MOST_AT_ONCE)
        self._at = now()
        self._left_out = 0

    def take(self) -> int | None:
        """How many were left out since the last line; None where this one is to be left out, too."""
        now = self._now()
        self._room = min(MOST_AT_ONCE, self._room + now - self._at)
        self._at = now
        if self._room < 1:
            self._left_out += 1
            return None
        self._room -= 1
        left_out, self._left_out = self._left_out, 0
        return left_out


def one_line(text: str) -> str:
    """A text of which nobody can take a part for another line of the log."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _reasons(failures: Iterable[Failure]) -> str:
    """Texts of the first different failures, each with its traceback in lines of its own."""
    different = list(dict.fromkeys(failures))
    lines = [
        one_line(shortened(failure.text, LONGEST_TEXT))
        + "".join(map(_trace_line, failure.trace.splitlines()))
        for failure in different[:_MOST_REASONS]
    ]
    if len(different) > _MOST_REASONS:
        lines.append(f"{len(different) - _MOST_REASONS} more reasons")
    return "\n  and ".join(lines)


def _trace_line(line: str) -> str:
    return _TRACE_INDENT + one_line(line)
