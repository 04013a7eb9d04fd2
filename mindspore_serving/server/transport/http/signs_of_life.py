"""Whether a process that is to be busy does anything."""

from __future__ import annotations

import psutil


class SignsOfLife:
    """Tells a process that works for long from one that is stopped.

    A thread of the process could not say that it lives: one call of native code holds the interpreter's lock for
    seconds. But who works uses time of a processor. Looks are counted and not seconds, since nothing is known of a time
    in which the one who looks was stopped, too.

    Args:
        most_missed: Looks one after the other that may find nothing new.
    """

    __slots__ = ("_missed", "_most_missed", "_work")

    def __init__(self, most_missed: float) -> None:
        self._most_missed = most_missed
        self._missed = 0
        self._work = -1.0

    def missing(self, work: float) -> bool:
        """Look once.

        Args:
            work: What grows while the process works.

        Returns:
            Whether it has shown none for too long.
        """
        self._missed = self._missed + 1 if work == self._work else 0
        self._work = work
        return self._missed >= self._most_missed


def processor_seconds(pid: int) -> float:
    """Seconds of processors that a process has used; 0 where it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
