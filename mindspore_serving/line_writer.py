"""Lines that a thread of their own writes, so that whoever has one never waits: not for a disk, and not for a pipe.

What waits is bounded. Where the disk or the reader of a pipe hangs, lines are dropped and counted; the first line after
that says how many.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mindspore_serving.private_files import LOG, open_own_file

PIPE_BYTES: Final = 4096
"""Bytes that a pipe takes at once where it says that it can be written; other writers never get between them."""
_PAUSE_S: Final = 0.02
"""After each write: under load, lines are written together."""
_BATCH_BYTES: Final = 1 << 16
"""Written at a time, at least."""
_AGAIN_S: Final = 1.0
"""After a write that has failed, as on a full disk."""


class LineWriter:
    """Writes lines in a thread of its own, which starts with the first line.

    Args:
        write: Writes whole lines; may block. An OSError means that they are lost.
        lost: Makes the line that says how many were lost.
        most_bytes: Bytes that may wait, beside those that are being written.
        on_error: Told of the first of errors in a row, in the thread.
        name: Of the thread.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        lost: Callable[[int], bytes],
        *,
        most_bytes: int = 8 << 20,
        on_error: Callable[[OSError], None] = lambda _: None,
        name: str = "serving lines",
    ) -> None:
        self._write = write
        self._make_lost_line = lost
        self._most_bytes = most_bytes
        self._on_error = on_error
        self._name = name
        self._lines: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._waiting_bytes = 0
        self._lost = 0
        self._failed = False
        self._nudged = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<LineWriter {self._name}, {self._waiting_bytes} bytes waiting, {self._lost} lost>"

    @property
    def is_idle(self) -> bool:
        """Whether all lines were written."""
        return self._idle.is_set()

    def put(self, line: bytes) -> None:
        """Have a line written; from any thread. Where too much waits, the oldest lines that wait are lost instead.

        Args:
            line: With its end.
        """
        with self._lock:
            if self._closing:
                self._lost += 1
                return
            lines = self._lines
            lines.append(line)
            self._waiting_bytes += len(line)
            while self._waiting_bytes > self._most_bytes and len(lines) > 1:
                self._waiting_bytes -= len(lines.popleft())
                self._lost += 1
            if self._thread is None:
                self._start()
            if self._idle.is_set():
                self._idle.clear()
                self._wake.set()

    def nudge(self) -> None:
        """Have `write` called soon, also where no line waits: a file that was moved away is there again."""
        with self._lock:
            if self._thread is None:
                self._start()
            self._nudged = True
            self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all lines are written; returns whether they are."""
        return self._idle.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Take no more lines, and let those that wait be written; safe to call twice.

        Args:
            timeout_s: How long that may take; what is left then is lost.
        """
        with self._lock:
            self._closing = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout_s)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Body of the thread."""
        while True:
            self._wake.wait()
            lines, nudged, lost = self._take()
            if lines or nudged:
                # Lost ones waited in front of these.
                self._try_to_write(
                    (self._make_lost_line(lost) if lost else b"") + b"".join(lines), len(lines)
                )
            elif self._closing:
                return

    def _take(self) -> tuple[list[bytes], bool, int]:
        """The next lines, whether to write in any case, and how many lines were lost before them."""
        taken: list[bytes] = []
        with self._lock:
            size, lines = 0, self._lines
            while lines and size < _BATCH_BYTES:
                line = lines.popleft()
                size += len(line)
                taken.append(line)
            self._waiting_bytes -= size
            nudged, self._nudged = self._nudged, False
            lost = 0
            if taken:
                lost, self._lost = self._lost, 0
            elif not nudged:
                self._idle.set()
                if not self._closing:
                    self._wake.clear()
        return taken, nudged, lost

    def _try_to_write(self, data: bytes, count: int) -> None:
        try:
            self._write(data)
        except OSError as error:
            with self._lock:
                self._lost += count
            if not self._failed:
                self._failed = True
                self._on_error(error)
            self._pause(_AGAIN_S)
        else:
            self._failed = False
            if not self._lines:
                self._pause(_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        if not self._closing:
            time.sleep(seconds)


class LineFile:
    """A file that lines are appended to. It is opened again where it was moved away.

    Args:
        path: The file, made where there is none.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = self._open()

    def __repr__(self) -> str:
        return f"<LineFile {self._path}>"

    def _open(self) -> int:
        return open_own_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, LOG)

    def write(self, lines: bytes) -> None:
        """Append lines.

        Raises:
            OSError: They, or a part of them, cannot be written.
        """
        if self._was_moved():
            with contextlib.suppress(OSError):  # where it cannot be opened, it goes on where it is
                opened = self._open()
                os.close(self._descriptor)
                self._descriptor = opened
        left = memoryview(lines)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _was_moved(self) -> bool:
        try:
            return not os.path.samestat(Path(self._path).stat(), os.fstat(self._descriptor))
        except OSError:
            return True

    def close(self) -> None:
        """Close it; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def write_to_pipe(descriptor: int, lines: bytes) -> None:
    """Write to what may be a pipe or a terminal, also where that is not blocking; waits for its reader.

    It is written in parts that end at the end of a line where they can: whoever else writes there does not get between
    the beginning and the end of a line of at most `PIPE_BYTES`.

    Raises:
        OSError: It is closed.
    """
    at = 0
    while at < len(lines):
        end = len(lines)
        if end - at > PIPE_BYTES:
            cut = lines.rfind(b"\n", at, at + PIPE_BYTES) + 1
            end = cut if cut > at else at + PIPE_BYTES
        wait_until_writable(descriptor)
        with contextlib.suppress(BlockingIOError):
            at += os.write(descriptor, lines[at:end])


def wait_until_writable(descriptor: int, timeout_s: float | None = None) -> bool:
    """Wait until a descriptor takes `PIPE_BYTES` without blocking; returns whether it does. Files always do."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
