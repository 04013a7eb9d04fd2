"""The worker's end of the channel: a blocking socket that the main thread polls."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.frames import TO_WORKER, FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import FromWorker, ToWorker
from mindspore_serving.server.host.own_descriptor import identity, set_apart

_READ_SIZE = 256 << 10
_AT_ONCE_S = 10e-6
"""Who had to wait for a message has waited longer."""
_SEND_TIMEOUT_S = 60.0


class MainConnection:
    """Messages from and to the main process.

    Args:
        descriptor: The worker's end, as it was inherited.
        memory: Shared memory of this worker; None where there is none.
        now: A monotonic clock, in seconds.

    Attributes:
        own_instances: Whether arrays that arrive are copied out of the shared memory, because functions may keep them
            while main writes the next batch of the slot there. Models only read them before their results leave.
        came: Since when the message that `receive` yields may have been there, by that clock. What it
            has not waited for has come at some time since it was called before.

    Raises:
        OSError: The descriptor is none of a socket.
    """

    def __init__(
        self,
        descriptor: int,
        memory: SharedMemory | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.own_instances = False
        self._now = now
        self.came = self._looked = now()
        self._memory = memory
        self._send_lock = threading.Lock()
        self._socket = socket.socket(fileno=set_apart(descriptor))
        # Without a timeout of its own: Python would poll before each call, and `receive` polls already.
        self._socket.setblocking(False)
        self._buffer = memoryview(bytearray(_READ_SIZE))
        self._splitter = FrameSplitter()
        self._wake = set_apart(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        self._nowhere = set_apart(os.open(os.devnull, os.O_RDWR))
        self._own = {fd: identity(fd) for fd in (self._socket.fileno(), self._wake)}
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def send(self, message: FromWorker) -> None:
        """Write one message; may be called from any thread.

        Raises:
            OSError: The main process is gone, or has not read for a minute.
        """
        frame = frame_of(message, self._memory)
        with self._send_lock:
            sent = self._send_some(frame)
            while sent < len(frame):
                sent += self._send_some(memoryview(frame)[sent:])

    def _send_some(self, data: bytes | memoryview) -> int:
        """Write the beginning of something; returns how much of it."""
        while True:
            try:
                return self._socket.send(data)
            except BlockingIOError:
                if not select.select([], [self._socket], [], _SEND_TIMEOUT_S)[1]:
                    raise TimeoutError(f"the main process has not read for {_SEND_TIMEOUT_S:.0f} s") from None

    def release(self, slot: int) -> None:
        """Give back the shared memory of a slot that this worker uses for calls of its own."""
        if self._memory is not None:
            self._memory.release(slot)

    def wake(self) -> None:
        """Make a `receive` that waits return; may be called from any thread and from signal handlers."""
        with contextlib.suppress(OSError):  # who receives finds out
            os.eventfd_write(self._wake, 1)

    def receive(self, timeout_s: float) -> Iterator[ToWorker]:
        """Wait for messages, for `wake`, or for the time to pass.

        Args:
            timeout_s: 0 looks without waiting.

        Yields:
            Each message that has arrived. Arrays in it are writable.

        Raises:
            ChannelError: The main process is gone, or sends what is no message.
        """
        begun = self._now()
        ready = self._poll.poll(timeout_s * 1000)
        now = self._now()
        self.came = now if now - begun > _AT_ONCE_S else self._looked
        self._looked = now
        for fd, _ in ready:
            if fd == self._wake:
                os.eventfd_read(self._wake)
                continue
            size = self._socket.recv_into(self._buffer)
            if not size:
                raise ChannelError("The main process has closed the channel")
            for kind, body in self._splitter.feed(self._buffer[:size]):
                writable = memoryview(bytearray(body))
                yield message_of(kind, writable, TO_WORKER, self._memory, own=self.own_instances)

    def fault(self) -> str:
        """What code of the servable has done to the descriptors of this end; empty if they are as they were."""
        taken = [fd for fd, was in self._own.items() if identity(fd) != was]
        if not taken or self._socket.fileno() < 0:
            return ""
        return f"descriptor {taken[0]} of Serving was closed by a function, or by a library that the servable uses"

    def leave_to_parent(self) -> None:
        """In a forked child: let go of what is the parent's, so that nothing from here reaches the main process.

        The numbers lead nowhere from now on, and are not used for another file, because objects of the parent that are
        left in the child may still close them.
        """
        for fd in self._own:
            os.dup2(self._nowhere, fd, inheritable=False)
        self._memory = None
        self._send_lock = threading.Lock()

    def finish(self, timeout_s: float) -> None:
        """Wait until the main process has read all that was sent, which it shows by closing the channel.

        Closing first would break a message that it is writing, and it would then not read what was sent last.
        """
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(timeout_s)
        with contextlib.suppress(OSError):
            while self._socket.recv_into(self._buffer):
                continue

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        with contextlib.suppress(OSError):  # code of users has closed it
            self._socket.close()
