"""Files that a running server reads again when they have changed.

Nothing watches them. Who uses what they say asks first whether they have changed; to look costs a few microseconds, and
is done twice a second at most. A file that cannot be used changes nothing: what was read before it stays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

from mindspore_serving import log
from mindspore_serving.errors import ServingError

LOOK_EVERY_S: Final = 0.5
_T = TypeVar("_T")
_Mark: TypeAlias = tuple[int, ...] | None
"""What differs between two contents of a file; None where there is no file."""


class ReloadedFiles(Generic[_T]):
    """What several files say together. May be used from any thread.

    Args:
        what: How log lines call them.
        paths: The files. Changes count from now on, so what they say at first is to be read after this is made.
        read: Reads them. What it raises, OSError, ValueError or ServingError, says that they cannot be used.
        now: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[Path],
        read: Callable[[], _T],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._paths = tuple(paths)
        self._read = read
        self._now = now
        self._lock = threading.Lock()
        self._seen = self._marks()
        self._next_look = 0.0

    def __repr__(self) -> str:
        return f"<ReloadedFiles {self._what}>"

    def look(self) -> _T | None:
        """What they say now, if they have changed and can be used; None otherwise."""
        with self._lock:
            now = self._now()
            if now < self._next_look:
                return None
            self._next_look = now + LOOK_EVERY_S
            marks = (
                self._marks()
            )  # before they are read, so that a change meanwhile is found by the next look
            if marks == self._seen:
                return None
            self._seen = marks
            try:
                value = self._read()
            except (OSError, ValueError, ServingError) as error:
                log.error(
                    "%s: the new content cannot be used, the old one stays in use: %s", self._what, error
                )
                return None
            log.info("%s: the new content is in use", self._what)
            return value

    def _marks(self) -> tuple[_Mark, ...]:
        return tuple(_mark(path) for path in self._paths)


def _mark(path: Path) -> _Mark:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
