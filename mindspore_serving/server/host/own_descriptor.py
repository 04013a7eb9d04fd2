"""Descriptors of Serving in processes where code of users may close what is not its own.

A function that closes one number too often, or a range of them, closes what Serving has there. And its next file gets
the lowest free number: what Serving then writes would go into that file. So descriptors of Serving have numbers from
`FIRST` on, which files of users get only if there are hundreds of them.
"""

from __future__ import annotations

import fcntl
import os

FIRST = 200
"""Below 1024, above which `select` breaks, and below any usual limit of descriptors."""


def set_apart(descriptor: int) -> int:
    """Move a descriptor to a number that files of users do not get; it is not inherited by other programs.

    Args:
        descriptor: Closed, unless the limit of descriptors is too low to move it.

    Returns:
        Its new number.
    """
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST)
    except OSError:
        os.set_inheritable(descriptor, False)
        return descriptor
    os.close(descriptor)
    return moved


def identity(descriptor: int) -> tuple[int, int] | None:
    """What tells a file from all others that are open; None for a number that leads nowhere."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
