"""How a worker learns that the process which started it is gone."""

from __future__ import annotations

import os
import select
import time

from mindspore_serving.server.host.own_descriptor import set_apart

_POLL_S = 0.1


class Parent:
    """The process that started this one.

    Whether it lives is what the system says of the parent of this process, and nothing else: a number that was given to
    another process does not deceive it. The kernel wakes a waiter through a descriptor, so that waiting costs nothing.
    Code of users may close that descriptor, and may get its number for a file of its own: so it only says when to look.
    Where the kernel has none to give (before Linux 5.3, or forbidden by a sandbox) the parent is looked up again and
    again.

    Args:
        pid: Its process id.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._end = _end_of(pid)

    def is_gone(self) -> bool:
        """Whether it has ended; its children have another parent then."""
        return os.getppid() != self._pid

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Wait for its end, or for the time to pass.

        Returns:
            Whether it is gone.
        """
        deadline = time.monotonic() + timeout_s
        while not self.is_gone():
            rest_s = deadline - time.monotonic()
            if rest_s <= 0:
                return False
            if self._end is None:
                time.sleep(min(_POLL_S, rest_s))
            elif self._end.poll(rest_s * 1000) and not self.is_gone():
                time.sleep(min(_POLL_S, rest_s))  # should the next descriptor fare no better
                self._end = _end_of(self._pid)
        return True


def _end_of(pid: int) -> select.poll | None:
    """What becomes ready when a process ends; None where the kernel does not tell."""
    try:
        descriptor = set_apart(os.pidfd_open(pid))
    except (AttributeError, OSError):  # not in every build of Python
        return None
    end = select.poll()
    end.register(descriptor, select.POLLIN)
    return end
