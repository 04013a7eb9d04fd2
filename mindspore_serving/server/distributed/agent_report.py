"""What an agent tells the process that has started it, through a pipe: that it is ready, or why it is not."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

_READY = b"ready\n"
_FAILED = b"failed "
_LONGEST = 4000
"""Bytes that a pipe takes at once."""


@dataclass(slots=True)
class AgentReport:
    """One end of the pipe.

    Attributes:
        descriptor: Of this end; -1 once it is closed.
    """

    descriptor: int

    @classmethod
    def of_child(cls, descriptor: int) -> AgentReport:
        """The agent's end, which its own children do not inherit."""
        os.set_inheritable(descriptor, False)
        return cls(descriptor)

    def ready(self) -> None:
        """Report that the agent serves."""
        self._write(_READY)

    def failed(self, reason: str) -> None:
        """Report that the agent cannot start."""
        self._write(_FAILED + reason.encode(errors="backslashreplace")[:_LONGEST])

    def close(self) -> None:
        """Close this end; safe to call twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def read(self) -> str | None:
        """What the agent has reported, for the end of the process that has started it.

        Returns:
            None while there is nothing; empty if it is ready; else why it cannot start.
        """
        try:
            data = os.read(self.descriptor, 2 * _LONGEST)
        except BlockingIOError:
            return None
        if not data:
            return None
        return "" if data == _READY else data.removeprefix(_FAILED).decode(errors="replace")

    def _write(self, data: bytes) -> None:
        if self.descriptor >= 0:
            with contextlib.suppress(BrokenPipeError):  # who has started it is gone, and the agent ends too
                os.write(self.descriptor, data)
            self.close()
