"""The way of a model key to a child process: a pipe, so that no command line, environment or file ever holds it."""

from __future__ import annotations

import os

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


def read_key(descriptor: int) -> bytes:
    """Take the key out of the pipe that this process has inherited, and close the pipe."""
    try:
        return os.read(descriptor, _LONGEST_KEY)
    finally:
        os.close(descriptor)
