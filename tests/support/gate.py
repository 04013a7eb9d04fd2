"""Holds stage functions until a test lets them go on, over a Unix socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

TIMEOUT_S = 60.0

# For a servable_config.py: `pass_gate()` tells the test its process id, and waits until it may go on.
PASS_GATE = """\
import os
import socket


def pass_gate():
    with socket.socket(socket.AF_UNIX) as gate:
        gate.settimeout(60)
        gate.connect({path!r})
        gate.sendall(b"%d\\n" % os.getpid())
        gate.recv(1)
"""


class Held:
    """A stage function that waits."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(TIMEOUT_S)
        with connection.makefile("rb") as lines:
            self.pid = int(lines.readline())

    def release(self) -> None:
        self._connection.close()


class Gate:
    """Where stage functions wait.

    Args:
        path: Of the socket; not longer than about 100 characters.
    """

    def __init__(self, path: Path) -> None:
        self.source = PASS_GATE.format(path=str(path))
        self._path = str(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._listener.settimeout(TIMEOUT_S)

    def hold(self) -> Held:
        """Wait for the next stage function that comes to the gate."""
        return Held(self._listener.accept()[0])

    def open(self) -> None:
        """Let everybody through from now on."""

        def let_through() -> None:
            with contextlib.suppress(OSError):  # nobody has come for long, or the gate is gone
                while True:
                    self.hold().release()

        threading.Thread(target=let_through, daemon=True).start()

    @contextlib.contextmanager
    def let_all_pass(self) -> Iterator[None]:
        """Within the block nobody is held."""
        thread = threading.Thread(target=self._release_until_told)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(self._path)
                last.sendall(b"0\n")
                thread.join()

    def _release_until_told(self) -> None:
        while True:
            held = self.hold()
            held.release()
            if held.pid == 0:
                return

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
