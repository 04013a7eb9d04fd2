"""Where user code raised, as text for the log of the main process.

It costs about a tenth of a millisecond to write, and main logs few failures of many, so only so many are written.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Final

from mindspore_serving.errors import shortened
from mindspore_serving.server.register.user_code import SERVING_FOLDER

LONGEST_TRACE: Final = 4000
"""Characters."""
MOST_AT_ONCE: Final = 20
"""Tracebacks that are written without a pause; as many per second go on."""
_FRAMES = 20
_LONGEST_LINE = 300


class Traces:
    """Writes tracebacks, at most so many in a time. Safe to use from several threads.

    Args:
        now: A monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._left = float(MOST_AT_ONCE)
        self._at = now()

    def of(self, error: BaseException) -> str:
        """The traceback from the first frame of user code on; "" where none is in it, or too many were written.

        Args:
            error: What was raised, with its traceback.
        """
        frames = _user_frames(error.__traceback__)
        return _written(error, frames) if frames is not None and self._may() else ""

    def of_serving(self, error: BaseException) -> str:
        """The whole traceback, of an error that nobody expected; "" where too many were written."""
        return _written(error, error.__traceback__) if self._may() else ""

    def _may(self) -> bool:
        with self._lock:
            now = self._now()
            self._left = min(MOST_AT_ONCE, self._left + (now - self._at) * MOST_AT_ONCE)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True


class InnerTrace(Exception):
    """Stands for an exception of which only the traceback is left, as the cause of another one."""


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    """The frames without those of Serving that come before them."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(SERVING_FOLDER):
        frames = frames.tb_next
    return frames


def _written(error: BaseException, frames: TracebackType | None) -> str:
    try:
        lines = "".join(traceback.format_exception(type(error), error, frames, limit=-_FRAMES)).splitlines()
    except BaseException:  # the user's error may raise whatever is asked of it
        return ""
    text = "\n".join(shortened(line, _LONGEST_LINE) for line in lines).encode(errors="replace").decode()
    # The innermost frames, where it was raised, come last.
    return text if len(text) <= LONGEST_TRACE else f"... {text[-LONGEST_TRACE:]}"
