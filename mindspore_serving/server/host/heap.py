"""How the C library of this process keeps memory that was freed.

For each large tensor, glibc asks the system for pages and gives them back, and the system makes every page anew at the
next one: for images that costs more than serving them. glibc learns to keep blocks of a size once one was freed, up to
32 MiB, and twice that at the end of the heap; here it is told so from the start.

Where there is little memory, such room is missing elsewhere: each thread frees into a heap of its own, from which no
other thread and no other process takes it. There it keeps less, in fewer heaps.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Mapping

from mindspore_serving.server.host.memory_limit import usable_memory

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGEST_BLOCK = 32 << 20
_SHARE_OF_BLOCK = 512
_LITTLE_MEMORY = 4 << 30
_ARENAS = "MALLOC_ARENA_MAX"
_OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory(environment: Mapping[str, str] = os.environ, memory: int | None = None) -> bool:
    """Tell the C library to keep freed blocks of up to 32 MiB, and at most 64 MiB at the end of the heap.

    Args:
        environment: Variables of this process; nothing is changed where the user has set the C library up.
        memory: Bytes that this process may use, by default what the system says. Below 16 GiB, blocks are kept up to a
            512th of it; below 4 GiB, there is one heap for all threads.

    Returns:
        Whether it was told; other C libraries cannot be.
    """
    if any(name in environment for name in _OWN_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    if memory is None:
        memory = usable_memory()
    block = min(_LARGEST_BLOCK, memory // _SHARE_OF_BLOCK)
    told = [mallopt(_M_MMAP_THRESHOLD, block), mallopt(_M_TRIM_THRESHOLD, 2 * block)]
    if memory < _LITTLE_MEMORY and _ARENAS not in environment:
        told.append(mallopt(_M_ARENA_MAX, 1))
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
