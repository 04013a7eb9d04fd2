"""Runs a part of a test in a process of its own, which is no fork of the one of the tests.

That one may have threads of gRPC and their descriptors, and gRPC's own hooks at a fork: a child of it may hang.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

_MOST_S = 60.0


def told_by_fresh_process(work: Callable[..., str], *args: object) -> str:
    """What a function of a module returns in a fresh interpreter; the text of what it raises."""
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
    try:
        told = work(*args)
    except BaseException:
        told = traceback.format_exc()
    writer.send(told)
