"""Runs a part of a test as another user of this machine."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - another user may not be able to read the library of this one
import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.fresh_process import told_by_fresh_process

OTHER_USER = 64321
"""Nobody is called so."""
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


def told_by_other_user(work: Callable[..., str], *args: object) -> str:
    """What a function of a module returns in a process of another user; the text of what it raises."""
    return told_by_fresh_process(_as_nobody, work, *args)


def _as_nobody(work: Callable[..., str], *args: object) -> str:
    os.setgid(OTHER_USER)
    os.setuid(OTHER_USER)
    return work(*args)
