"""Copies the logs of child processes to the standard output of this process, for containers.

The logs stay files, which never keep a child waiting: they are read here, and what nobody reads in time is lost in the
copy only.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from mindspore_serving.line_writer import LineWriter, write_to_pipe

_CLOSE_S: Final = 2.0


class GrowingLog(Protocol):
    """A log that a process writes to."""

    name: str

    def new_lines(self) -> bytes:
        """What was written since the last call, up to the end of a line; empty for nothing."""


class LogCopy:
    """Writes the lines of several logs to standard output, each behind the name of its log.

    Args:
        output: Descriptor that is written to, and closed at the end; by default that of standard output.
    """

    def __init__(self, output: int | None = None) -> None:
        self._output = os.dup(1) if output is None else output
        self._writer = LineWriter(
            lambda lines: write_to_pipe(self._output, lines), _lost_line, name="serving log copy"
        )

    def __repr__(self) -> str:
        return f"<LogCopy {self._writer}>"

    def copy(self, log: GrowingLog) -> None:
        """Copy what is new in a log. Called by one thread."""
        label = f"[{log.name.removeprefix('log_').removesuffix('.log')}] ".encode(errors="backslashreplace")
        while lines := log.new_lines():
            for line in lines.splitlines():
                self._writer.put(label + line + b"\n")

    def close(self) -> None:
        """Write what waits, for as long as that may take; safe to call twice."""
        self._writer.close(_CLOSE_S)
        if self._writer.is_idle and self._output >= 0:
            os.close(self._output)
            self._output = -1


def _lost_line(count: int) -> bytes:
    return b"[serving] %d lines of logs are missing here, standard output was not read in time\n" % count
