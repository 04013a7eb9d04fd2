"""Which CPU cores threads run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mindspore_serving.errors import StartUpError


@contextmanager
def threads_on_cores(cores: tuple[int, ...]) -> Iterator[None]:
    """A context in which started threads, and what they start, run on certain cores only.

    Args:
        cores: Numbers of the cores; none changes nothing.

    Raises:
        StartUpError: The machine has none of these cores.
    """
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cores)
    except (OSError, ValueError, OverflowError) as cause:
        raise StartUpError(
            f"thread_affinity_core_list {list(cores)} cannot be set, this process may use cores {sorted(before)}"
        ) from cause
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
