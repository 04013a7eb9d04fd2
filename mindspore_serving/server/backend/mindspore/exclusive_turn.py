"""One graph at a time in a process, with Ctrl+C still Python's afterwards.

MindSpore's graph executor is not safe for threads: two graphs that run at the same time block each other for ever or
crash the process. And with every compilation and every run it puts a handler of its own in place of the one for
SIGINT, which it does not take back, and Python does not notice. The one that was there is put back here, below Python,
because `signal.signal` may only be called in the main thread and models may run in another.

While a graph runs, MindSpore's handler is in place, and turns SIGINT into SIGTERM for its own process. A process that
runs models must therefore handle SIGTERM like SIGINT.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from types import TracebackType

# A library that keeps the interpreter lock: giving it up for so short a call may cost the turn of a thread switch.
_libc = ctypes.PyDLL(None)
_libc.sigaction.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

# Larger than `struct sigaction` of any platform, whose layout does not matter here: it is only kept and given back.
_SIGACTION_BYTES = 512


class ExclusiveTurn:
    """A context in which the calling thread, and no other, may use MindSpore. Not re-entrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = ctypes.create_string_buffer(_SIGACTION_BYTES)
        self._kept_address = ctypes.addressof(self._kept)

    def __enter__(self) -> None:
        self._lock.acquire()
        _libc.sigaction(signal.SIGINT, None, self._kept_address)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _libc.sigaction(signal.SIGINT, self._kept_address, None)
        self._lock.release()


TURN = ExclusiveTurn()
"""The turn of this process: MindSpore's state is the process's."""
