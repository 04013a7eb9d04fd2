"""What a process holds, seen from outside: whether something that has ended has left anything behind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.watch import wait_until

_LIBRARY_THREADS = 16
"""gRPC keeps threads for a while after they were of use, a few for each core."""


@dataclass(frozen=True)
class Holdings:
    """What a process holds at a time.

    Attributes:
        descriptors: Open descriptors.
        threads: Threads.
        memory: Resident bytes without what is shared.
    """

    descriptors: int
    threads: int
    memory: int


def holdings_of(pid: int) -> Holdings:
    """What a process holds now."""
    folder = Path(f"/proc/{pid}")
    status = (folder / "status").read_text()
    anonymous = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert anonymous is not None
    descriptors, threads = (sum(1 for _ in (folder / kind).iterdir()) for kind in ("fd", "task"))
    return Holdings(descriptors, threads, int(anonymous[1]) << 10)


def wait_until_as_before(pid: int, before: Holdings, memory: int) -> None:
    """Wait until a process holds no more than before, but for the threads that gRPC keeps; fails if it goes on to.

    Args:
        pid: The process.
        before: What it held before.
        memory: Bytes that it may hold beyond that.
    """

    def as_before() -> bool:
        now = holdings_of(pid)
        return (
            now.descriptors <= before.descriptors
            and now.threads <= before.threads + _LIBRARY_THREADS
            and now.memory <= before.memory + memory
        )

    try:
        wait_until(as_before, "nothing is left behind")
    except AssertionError as cause:
        raise AssertionError(f"{cause}: {before} before, {holdings_of(pid)} now") from None
