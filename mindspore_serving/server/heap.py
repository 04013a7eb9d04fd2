"""How the C library of this process keeps memory that was freed.

For each large tensor, glibc asks the system for pages and gives them back, and the system makes every page anew at the
next one: for images that costs more than serving them. glibc learns to keep blocks of a size once one was freed, up to
32 MiB, and twice that at the end of the heap; here it is told so from the start.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Mapping

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
_LARGEST_BLOCK = 32 << 20
_OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell the C library to keep freed blocks of up to 32 MiB, and at most 64 MiB at the end of the heap.

    Args:
        environment: Variables of this process; nothing is changed where the user has set the C library up.

    Returns:
        Whether it was told; other C libraries cannot be.
    """
    if any(name in environment for name in _OWN_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    told = mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK), mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK)
    return all(told)


def give_back_freed_memory() -> None:
    """Give the system back what is free, after a time in which much more was needed than usual; returns at once.

    This takes some milliseconds, and so has a thread of its own: those of an event loop are gone once the start script
    has ended.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return
    threading.Thread(target=trim, args=(0,), daemon=True).start()
