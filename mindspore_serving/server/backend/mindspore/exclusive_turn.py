"""One graph at a time in a process, with Ctrl+C still Python's afterwards.

MindSpore's graph executor is not safe for threads: two graphs that run at the same time block each other for ever or
crash the process. And with every compilation and every run it puts a handler of its own in place of the one for
SIGINT, which it does not take back, and Python does not notice. The one that was there is put back here, below Python,
because `signal.signal` may only be called in the main thread and models may run in another.

While a graph runs, MindSpore's handler is in place, and turns SIGINT into SIGTERM for its own process. A process that
runs models must therefore handle SIGTERM like SIGINT.
"""

from __future__ import annotations

import signal
import threading
from types import TracebackType

from mindspore_serving.server.backend.kept_signals import KeptSignals


class ExclusiveTurn:
    """A context in which the calling thread, and no other, may use MindSpore. Not re-entrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupt = KeptSignals((signal.SIGINT,))

    def __enter__(self) -> None:
        self._lock.acquire()
        self._interrupt.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._interrupt.__exit__(kind, error, traceback)
        self._lock.release()


TURN = ExclusiveTurn()
"""The turn of this process: MindSpore's state is the process's."""
