"""Files, folders and sockets that other users of the machine have no business with."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

PRIVATE = 0o600
"""Mode of a file for this user alone."""
LOG = 0o640
"""Mode of a log, which the group may read: tools that collect logs run as another user."""
LOG_FOLDER = 0o750
_PRIVATE_FOLDER = 0o700
_NOT_FOR_OTHERS = 0o077
_ALL_BUT_OWN_ACCESS = 0o177


def opener(mode: int) -> Callable[[str, int], int]:
    """For `open`: makes a new file with this mode, less what the umask takes. A file that is there keeps its own."""

    def open_with_mode(path: str, flags: int) -> int:
        return os.open(path, flags, mode)

    return open_with_mode


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user can enter; one that is there is closed to others if it is this user's.

    Raises:
        OSError: It cannot be made.
    """
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    found = folder.stat()
    if found.st_mode & _NOT_FOR_OTHERS and found.st_uid == os.geteuid():
        folder.chmod(stat.S_IMODE(found.st_mode) & ~_NOT_FOR_OTHERS)


@contextlib.contextmanager
def private_sockets() -> Iterator[None]:
    """Within the block, sockets are bound with mode 0600: whoever may not write to one cannot connect.

    The umask is that of the whole process, so the block should be short.
    """
    previous = os.umask(_ALL_BUT_OWN_ACCESS)
    try:
        yield
    finally:
        os.umask(previous)
