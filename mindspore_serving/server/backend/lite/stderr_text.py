"""What native code prints to stderr for a while, as text; it reaches the real stderr afterwards."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from types import TracebackType

_STDERR = 2
# The descriptor belongs to the process.
_lock = threading.Lock()


class StderrText:
    """A context in which descriptor 2 of the process is a file in memory. Not re-entrant; a second thread waits.

    Lines that other threads print meanwhile are in the text as well, and reach stderr a little later.

    Attributes:
        text: What was printed, complete when the context is left.
    """

    def __init__(self) -> None:
        self.text = ""
        self._real = -1
        self._memory = -1

    def __enter__(self) -> StderrText:
        _lock.acquire()
        sys.stderr.flush()
        self._memory = os.memfd_create("stderr")
        self._real = os.dup(_STDERR)
        os.dup2(self._memory, _STDERR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.stderr.flush()
        os.dup2(self._real, _STDERR)
        os.close(self._real)
        with os.fdopen(self._memory, "rb") as memory:
            memory.seek(0)
            content = memory.read()
        _lock.release()
        self.text = content.decode(errors="replace")
        # Suppressed, because the disk may be full.
        with contextlib.suppress(OSError), os.fdopen(_STDERR, "wb", closefd=False) as stderr:
            stderr.write(content)
