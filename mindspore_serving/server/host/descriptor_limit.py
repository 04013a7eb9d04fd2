"""How many descriptors the main process may have open: every connection and every worker takes some.

The usual soft limit, 1024, is there for programs that call `select`, which breaks above it. The main process does not;
its workers may, because they run code of users, and so get the limit back that held before.
"""

from __future__ import annotations

import contextlib
import resource

from mindspore_serving import log


class DescriptorLimit:
    """The soft limit of this process.

    Attributes:
        before: What it was before it was raised; None where it was not.
    """

    def __init__(self) -> None:
        self.before: int | None = None

    def raise_to_hard(self) -> None:
        """Raise it as far as the system lets this process, once; log it where that is not possible."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if self.before is not None or soft == hard:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("The limit of open descriptors stays %s, %s is refused: %s", soft, hard, error)
            return
        self.before = soft
        log.info("The limit of open descriptors was raised from %s to %s", soft, hard)

    def connections(self, most: int) -> int:
        """How many connections a front end may have, so that two of them leave descriptors for workers and files.

        Args:
            most: How many it is to have at most.

        Returns:
            That, or three eighths of the limit of descriptors if this is less.
        """
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or most <= soft * 3 // 8:
            return most
        log.info("Connections are limited to %d instead of %d, descriptors to %d", soft * 3 // 8, most, soft)
        return soft * 3 // 8

    def restore_in(self, pid: int) -> None:
        """Give a child of this process the limit that held before.

        Args:
            pid: Process id of the child; nothing happens if it has ended.
        """
        if self.before is not None:
            with contextlib.suppress(OSError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (self.before, hard))


descriptor_limit = DescriptorLimit()
