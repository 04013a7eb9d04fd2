"""How a process is waited for that has been asked to end, and killed if it does not (ADR 28)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mindspore_serving.server.supervision.child import Child

STOP_GRACE_S = 5.0
HURRIED_GRACE_S = 1.0
"""The same after a second signal, which need not be meant so: some programs pass on a Ctrl+C that all have had already.
Workers that are idle end in order within it."""
_POLL_S = 0.02


class Reaper:
    """Waits for the ends of processes.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._grace_s = STOP_GRACE_S

    def __repr__(self) -> str:
        return f"<Reaper after {self._grace_s:g} s>"

    def hurry(self) -> None:
        """Wait for no process that is busy, also where a wait is under way; may be called from any thread."""
        self._grace_s = HURRIED_GRACE_S

    async def reap(self, child: Child) -> bool:
        """Wait for the end of a process, and bring it about after the grace time.

        Returns:
            Whether it had to be brought about.
        """
        begun = self._clock()
        killed = False
        while child.exit_status() is None:
            if self._clock() > begun + self._grace_s:
                child.kill()
                killed = True
            await asyncio.sleep(_POLL_S)
        child.kill_group()
        return killed
