"""Writes a line for each call that has ended, unless the disk or a reader hangs."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mindspore_serving import log
from mindspore_serving.line_writer import LineFile, LineWriter, write_to_pipe
from mindspore_serving.server.dispatch.client_call import ClientCall
from mindspore_serving.server.telemetry.access_log.lines import FORMS
from mindspore_serving.server.transport.observers import TRACE_FIELD, EndedCall

STDOUT: Final = "stdout"
_MOST_BYTES: Final = 8 << 20
_CLOSE_S: Final = 2.0
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class AccessLog:
    """A `CallObserver` that writes a line for each call.

    Args:
        form: Name of the format, of `FORMS`.
        file: Path of a file that is appended to, or `STDOUT`.
        probes: Whether probes of the server's health get lines, too.
        now: Seconds since 1970.

    Attributes:
        name: The file, as given.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, form: str, file: str, probes: bool, now: Callable[[], float] = time.time) -> None:
        self._line, lost = FORMS[form]
        self._probes = probes
        self._now = now
        self.name = file
        self._file: LineFile | None = None
        self._stdout = -1
        if file == STDOUT:
            self._stdout = os.dup(1)
        else:
            self._file = LineFile(str(Path(file).absolute()))
        self._writer = LineWriter(
            self._write, lost, most_bytes=_MOST_BYTES, on_error=self._note_error, name="serving access log"
        )

    def __repr__(self) -> str:
        return f"<AccessLog {self.name}, {self._writer}>"

    def begins(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        """Note the trace that a client names, where nobody traces the call."""
        if not call.trace_id:
            given = headers.get(TRACE_FIELD)
            if given and (found := _TRACEPARENT.fullmatch(given)):
                call.trace_id = found[1]

    def ended(self, call: EndedCall) -> None:
        """Have the line of a call written."""
        if self._probes or not call.probe:
            self._writer.put(self._line(call, self._now()))

    def reopen(self) -> None:
        """Open the file again soon, if it was moved away; returns at once."""
        if self._file is not None:
            self._writer.nudge()

    async def stop(self) -> None:
        """Write what waits, for as long as that may take, and write no more. Safe to call twice."""
        await asyncio.to_thread(self._writer.close, _CLOSE_S)
        if not self._writer.is_idle:  # the disk hangs, or nobody reads: its thread holds the descriptor
            log.warning("The end of the access log %s is lost, it could not be written in time", self.name)
            return
        if self._file is not None:
            self._file.close()
        descriptor, self._stdout = self._stdout, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, lines: bytes) -> None:
        if self._file is not None:
            self._file.write(lines)
        elif lines:
            write_to_pipe(self._stdout, lines)

    def _note_error(self, error: OSError) -> None:
        log.error("Lines of the access log %s are lost, it cannot be written: %s", self.name, error)
