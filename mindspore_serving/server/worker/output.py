"""What a worker prints: lost where its log cannot be written, escaped where the log's encoding has no such character.

It is never an error for who prints.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from mindspore_serving import log
from mindspore_serving.private_files import open_own_file
from mindspore_serving.server.host.own_descriptor import identity

_STDOUT, _STDERR = 1, 2


class OutputFile(io.FileIO):
    """Standard output or standard error of a worker, which lead to its log.

    A function that prints does not know that the disk is full, and its instance is as good as any. What is lost is
    reported in the log once there is room again.

    Args:
        descriptor: 1 or 2.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._lost = 0

    def write(self, data: Any, /) -> int:
        """Write all that can be written; returns how much there was, as if nothing were ever lost."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            if self._lost and rest:
                super().write(f"({self._lost} bytes of output could not be written here)\n".encode())
                self._lost = 0
            while rest:
                rest = rest[super().write(rest) or len(rest) :]
        except OSError:
            self._lost += len(rest)
        return size


def keep_printing_harmless() -> None:
    """Let `print` and the log lose what cannot be written, and escape what cannot be encoded, from now on."""
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        output = OutputFile(stream.fileno())
        lines = io.TextIOWrapper(
            output, stream.encoding, "backslashreplace", newline="\n", write_through=True
        )
        setattr(sys, name, lines)


def move_output(path: str | bytes, earlier: tuple[int, int] | None) -> None:
    """Let what goes to the log of this process go to another file from now on. Safe to call again.

    Args:
        path: The other file, made already.
        earlier: Device and inode of the log so far: what user code has closed or led elsewhere stays as it is.
    """
    log.reopen()
    try:
        other = open_own_file(os.fsdecode(path), os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        log.error("The log goes on where it was: %s", error)
        return
    try:
        for descriptor in (_STDOUT, _STDERR):
            if earlier is not None and identity(descriptor) == earlier:
                os.dup2(other, descriptor)
    finally:
        os.close(other)
