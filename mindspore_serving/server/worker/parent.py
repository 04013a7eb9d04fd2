"""How a worker learns that the process which started it is gone."""

from __future__ import annotations

import os
import select
import time

_POLL_S = 0.1


class Parent:
    """The process that started this one.

    The kernel tells its end through a descriptor, so that waiting costs nothing. Where the kernel has none to give
    (before Linux 5.3, or forbidden by a sandbox) the parent of this process is looked up again and again.

    Args:
        pid: Its process id.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._end = _end_of(pid)

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Wait for its end, or for the time to pass.

        Returns:
            Whether it is gone.
        """
        # Also where the kernel tells: before it was asked, the parent may have ended, and another have got its number.
        if os.getppid() != self._pid:
            return True
        if self._end is not None:
            return bool(self._end.poll(timeout_s * 1000))
        deadline = time.monotonic() + timeout_s
        while (rest_s := deadline - time.monotonic()) > 0:
            time.sleep(min(_POLL_S, rest_s))
            if os.getppid() != self._pid:
                return True
        return False


def _end_of(pid: int) -> select.poll | None:
    """What becomes ready when a process ends; None where the kernel does not tell."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not in every build of Python
        return None
    end = select.poll()
    end.register(descriptor, select.POLLIN)
    return end
