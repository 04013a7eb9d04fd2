"""What this process does on signals, kept while a library puts handlers of its own in place.

It is kept below Python, which does not notice what a library does, and whose `signal.signal` may only be called in the
main thread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from types import TracebackType

# A library that keeps the interpreter lock: giving it up for so short a call may cost the turn of a thread switch.
_libc = ctypes.PyDLL(None)
_libc.sigaction.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

# Larger than `struct sigaction` of any platform, whose layout does not matter here: it is only kept and given back.
_SIGACTION_BYTES = 512


class KeptSignals:
    """A context after which signals have the handlers that they had before. Not re-entrant, and not safe for threads.

    Args:
        numbers: Of the signals.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._kept = [(int(number), ctypes.create_string_buffer(_SIGACTION_BYTES)) for number in numbers]
        self._addresses = [(number, ctypes.addressof(kept)) for number, kept in self._kept]

    def __enter__(self) -> None:
        for number, address in self._addresses:
            _libc.sigaction(number, None, address)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, address in self._addresses:
            _libc.sigaction(number, address, None)
