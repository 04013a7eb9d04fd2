"""Runs a part of a test as another user of this machine."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - another user may not be able to read the library of this one
import os
import traceback
from collections.abc import Callable, Iterator

import pytest

OTHER_USER = 64321
"""Nobody is called so."""
_MOST_DESCRIPTORS = 4096
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@contextlib.contextmanager
def as_other_user() -> Iterator[None]:
    """Within the block this process is another user, as far as files are concerned."""
    os.setegid(OTHER_USER)
    os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def told_by_other_user(work: Callable[[], str]) -> str:
    """What a function returns in a process of another user; the text of what it raises."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # What other threads have open in this moment, as a port that is being looked for, would stay open here.
            os.closerange(3, writer)
            os.closerange(writer + 1, _MOST_DESCRIPTORS)
            os.setgid(OTHER_USER)
            os.setuid(OTHER_USER)
            told = work()
        except BaseException:
            told = traceback.format_exc()
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        told = file.read()
    os.waitpid(pid, 0)
    return told
