"""What OpenTelemetry says goes to Serving's log: a line now and then, however often an export fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from mindspore_serving import log
from mindspore_serving.errors import shortened

LOGGER: Final = "opentelemetry"
SAY_EVERY_S: Final = 30.0
_LONGEST_LINE = 500


class ExportLog(logging.Handler):
    """Takes what OpenTelemetry logs; it may come from any thread.

    Args:
        now: A monotonic clock, in seconds.
        say: Writes a line; gets a format and its values.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, say: Callable[..., None] = log.warning
    ) -> None:
        super().__init__(logging.WARNING)
        self._now = now
        self._say = say
        self._mutex = threading.Lock()
        self._next = 0.0
        self._silent = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or count it."""
        now = self._now()
        with self._mutex:
            if now < self._next:
                self._silent += 1
                return
            self._next = now + SAY_EVERY_S
            silent, self._silent = self._silent, 0
        more = f" ({silent} more lines since the last one)" if silent else ""
        self._say("Traces: %s%s", shortened(record.getMessage(), _LONGEST_LINE), more)

    def open(self) -> None:
        """Take what is logged from now on."""
        logging.getLogger(LOGGER).addHandler(self)

    def close_up(self) -> None:
        """Take nothing more; safe to call twice."""
        logging.getLogger(LOGGER).removeHandler(self)
