"""The wish to stop the server: from a signal, from `stop`, or because no worker is left.

The kernel may hand a signal to any thread of the process, and Python runs its handlers only when the main thread wakes
up, which it does not while it sleeps in the interpreter's exit. But the C part of a handler writes the signal's number
to the wake-up descriptor at once, in whatever thread. So the thread that waits for the wish reads that descriptor.

SIGHUP is two things. Where the terminal of the process has gone, it is a wish to stop like the others. Otherwise it is
the custom of servers without a terminal: open logs again that were moved away. Who ignores it (nohup) or handles it
keeps that.

The first wish lets requests finish, a second one is urgent. One signal may be seen twice, as its number and because its
handler ran, and either may be missing: so the larger count of both is that of the signals.

A forked child of the user's script takes signals as if there were no server: it shares the descriptor, and would else
stop the server of its parent when it is terminated.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from mindspore_serving import log
from mindspore_serving.server.host.forked_child import SIGNALS, run_in_forked_children

_WISH = b"\0"
_HANDLED = b"\xff"  # as no signal is numbered
_HANG_UP = b"\xfe"
_TERMINAL = "/dev/tty"
_Handler = Callable[[int, FrameType | None], Any] | int | None


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal, which has not hung up."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class StopRequest:
    """Whether the server is to stop, and because of which signal.

    Args:
        on_hang_up: Called at SIGHUP, in the thread that waits; not where that signal is a wish to stop.

    Attributes:
        active: Whether signals are wishes to stop; otherwise they have the effect that they had before.
        wanted: Whether the server is to stop.
        signal: The signal that asked for it, 0 for none.
    """

    def __init__(self, on_hang_up: Callable[[], None] = lambda: None) -> None:
        self.active = False
        self.wanted = False
        self.signal = 0
        self._on_hang_up = on_hang_up
        self._had_terminal = False
        self._earlier: dict[int, _Handler] = {}
        self._generation = 0
        self._reading = threading.Lock()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._forget()
        _living.add(self)

    def _forget(self) -> None:
        self.wanted, self.signal = False, 0
        self._wishes = self._numbers = self._handled = 0

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
            self._forget()
            self.active = True
        if threading.current_thread() is not threading.main_thread():
            log.warning(
                "This start function is not called in the main thread: Ctrl+C and SIGTERM are not handled"
            )
            return self._generation
        for number in (*SIGNALS, signal.SIGHUP):
            handler = signal.getsignal(number)
            if handler != self._on_signal and (number != signal.SIGHUP or handler == signal.SIG_DFL):
                self._earlier[number] = handler
                signal.signal(number, self._on_signal)
        self._had_terminal = _has_terminal()
        earlier = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        if earlier not in (-1, self._writer.fileno()):
            signal.set_wakeup_fd(earlier)  # the user's own, for example of an event loop
        return self._generation

    def want(self) -> None:
        """Wish to stop. Takes no lock, so that any thread and any signal handler may call it."""
        self._tell(_WISH)

    def _tell(self, what: bytes) -> None:
        self.wanted = self.wanted or what != _HANG_UP
        with contextlib.suppress(BlockingIOError):  # full of wishes already
            self._writer.send(what)

    def wait(self, generation: int) -> None:
        """Return once the server that began with `generation` is to stop."""
        with self._reading:
            while generation == self._generation and not self.wanted:
                self._take(self._reader.recv(64))

    def is_urgent(self) -> bool:
        """Whether to stop was wished for more than once."""
        if self._reading.acquire(blocking=False):  # else another thread reads
            try:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        self._take(self._reader.recv(64, socket.MSG_DONTWAIT))
            finally:
                self._reading.release()
        return self._wishes + max(self._numbers, self._handled) > 1

    def _take(self, told: bytes) -> None:
        self._wishes += told.count(_WISH)
        self._handled += told.count(_HANDLED)
        for number in told:
            if number in SIGNALS and self._earlier:
                self._numbers += 1
                self.signal = self.signal or number
                self.wanted = True
        if signal.SIGHUP in self._earlier and (signal.SIGHUP in told or _HANG_UP in told):
            self._hang_up()

    def _hang_up(self) -> None:
        """Act on SIGHUP, of which this may be told twice."""
        if not self._had_terminal or _has_terminal():
            self._on_hang_up()
        elif self.signal != signal.SIGHUP:
            self.signal = self.signal or signal.SIGHUP
            self._wishes += 1
            self.wanted = True

    def end(self) -> None:
        """Let signals have the effect that they had before `begin`."""
        self.active = False

    def withdraw(self) -> None:
        """Undo `begin`, in the main thread: nothing of this object is left, and it is of no further use."""
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
        if self.active and number == signal.SIGHUP:
            self._tell(_HANG_UP)
            return
        if self.active:
            self.signal = self.signal or number
            self._tell(_HANDLED)
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


_living: weakref.WeakSet[StopRequest] = weakref.WeakSet()


def _withdraw_all() -> None:
    for request in list(_living):
        request.withdraw()


run_in_forked_children(_withdraw_all)
