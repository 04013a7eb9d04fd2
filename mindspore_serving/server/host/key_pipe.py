"""The way of a model key to a child process: a pipe, so that no command line, environment or file ever holds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_LONGEST_KEY = 64


def open_key_pipe(key: bytes) -> int:
    """Put a key into a new pipe.

    Args:
        key: The key, 32 bytes at most, which no pipe is too small for.

    Returns:
        The descriptor to read it from. It is for one child to inherit and read; the caller closes its own.
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, key)
    finally:
        os.close(writer)
    return reader


@contextlib.contextmanager
def key_for_child(key: bytes | None, mode: str) -> Iterator[tuple[list[str], list[int]]]:
    """What a child is started with to get a key: arguments that do not tell it, and descriptors to inherit.

    Args:
        key: The key; None for none, which needs neither.
        mode: `AES-GCM` or `AES-CBC`.
    """
    if key is None:
        yield [], []
        return
    pipe = open_key_pipe(key)
    try:
        yield [f"--key_fd={pipe}", f"--dec_mode={mode}"], [pipe]
    finally:
        os.close(pipe)


def read_key(descriptor: int) -> bytes:
    """Take the key out of the pipe that this process has inherited, and close the pipe."""
    try:
        return os.read(descriptor, _LONGEST_KEY)
    finally:
        os.close(descriptor)
