"""Files that users name, with errors that say where they were looked for."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


def read_named_file(name: str) -> bytes:
    """The content of a file.

    Args:
        name: Its path; a relative one begins at the working directory.

    Raises:
        OSError: It cannot be read; the text has the path that was tried, from the root on.
    """
    with _telling_where(name):
        return Path(name).read_bytes()


def find_named_file(name: str) -> None:
    """Look whether a file can be read, without reading it: for libraries whose errors do not name it.

    Args:
        name: As for `read_named_file`.

    Raises:
        OSError: It cannot be read; as `read_named_file`.
    """
    with _telling_where(name):
        Path(name).stat()
        if not os.access(name, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


@contextlib.contextmanager
def _telling_where(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        if Path(name).is_absolute():
            raise
        reason = f"{cause.strerror}; '{name}' is relative to the working directory"
        raise OSError(cause.errno, reason, str(Path(name).absolute())) from cause
