"""The wish to stop the server: from a signal, from `stop`, or because no worker is left.

The kernel may hand a signal to any thread of the process, and Python runs its handlers only when the main thread wakes
up, which it does not while it sleeps in the interpreter's exit. But the C part of a handler writes the signal's number
to the wake-up descriptor at once, in whatever thread. So the thread that waits for the wish reads that descriptor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from mindspore_serving import log

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], Any] | int | None


class StopRequest:
    """Whether the server is to stop, and because of which signal.

    Attributes:
        active: Whether signals are wishes to stop; otherwise they have the effect that they had before.
        wanted: Whether the server is to stop.
        signal: The signal that asked for it, 0 for none.
    """

    def __init__(self) -> None:
        self.active = False
        self.wanted = False
        self.signal = 0
        self._earlier: dict[int, _Handler] = {}
        self._generation = 0
        self._reading = threading.Lock()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def begin(self) -> int:
        """Forget earlier wishes, and take signals as wishes from now on.

        Returns:
            What `wait` takes, to wait for wishes from now on. Who still waits for earlier ones returns.
        """
        self._generation += 1
        self.want()
        with self._reading:
            with contextlib.suppress(BlockingIOError):
                while self._reader.recv(4096, socket.MSG_DONTWAIT):
                    continue
            self.active, self.wanted, self.signal = True, False, 0
        if threading.current_thread() is not threading.main_thread():
            log.warning(
                "This start function is not called in the main thread: Ctrl+C and SIGTERM are not handled"
            )
            return self._generation
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if handler != self._on_signal:
                self._earlier[number] = handler
                signal.signal(number, self._on_signal)
        earlier = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        if earlier not in (-1, self._writer.fileno()):
            signal.set_wakeup_fd(earlier)  # the user's own, for example of an event loop
        return self._generation

    def want(self) -> None:
        """Wish to stop. Takes no lock, so that any thread and any signal handler may call it."""
        self.wanted = True
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # full of wishes already

    def wait(self, generation: int) -> None:
        """Return once the server that began with `generation` is to stop."""
        with self._reading:
            while generation == self._generation and not self.wanted:
                for number in self._reader.recv(64):
                    if number in _SIGNALS and self._earlier:
                        self.signal = self.signal or number
                        self.wanted = True

    def end(self) -> None:
        """Let signals have the effect that they had before `begin`."""
        self.active = False

    def withdraw(self) -> None:
        """Undo `begin`, in the thread that called it: nothing of this object is left, and it is of no further use."""
        self.end()
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._earlier.items():
                if signal.getsignal(number) == self._on_signal and handler is not None:
                    signal.signal(number, handler)
            earlier = signal.set_wakeup_fd(-1)
            if earlier != self._writer.fileno():
                signal.set_wakeup_fd(earlier)
        self._reader.close()
        self._writer.close()

    def raise_in_main_thread(self) -> None:
        """Let the signal that stopped the server have its earlier effect on a script that is still busy."""
        if self.signal and threading.main_thread().is_alive():
            signal.pthread_kill(threading.main_thread().ident or 0, self.signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.active:
            self.signal = self.signal or number
            self.want()
            return
        if not threading.main_thread().is_alive():
            return  # the script has ended, and so does the process
        earlier = self._earlier.get(number)
        if callable(earlier):
            earlier(number, frame)
        elif number == signal.SIGINT:  # ignored before, as in a script that was started in the background
            signal.default_int_handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
