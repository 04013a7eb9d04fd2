"""Runs a part of a test as another user of this machine."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - another user may not be able to read the library of this one
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import pytest

OTHER_USER = 64321
"""Nobody is called so."""
_MOST_S = 60.0
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
    """What a function of a module returns in a process of another user; the text of what it raises.

    The process is a fresh interpreter and no fork: this one may have threads of gRPC, and descriptors of theirs.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_tell, args=(writer, work, args))
    process.start()
    writer.close()
    try:
        assert reader.poll(_MOST_S), f"nothing was told within {_MOST_S} s"
        told = reader.recv()
    finally:
        process.kill()
        process.join()
    return str(told)


def _tell(writer: Connection, work: Callable[..., str], args: tuple[object, ...]) -> None:
    os.setgid(OTHER_USER)
    os.setuid(OTHER_USER)
    try:
        told = work(*args)
    except BaseException:
        told = traceback.format_exc()
    writer.send(told)
