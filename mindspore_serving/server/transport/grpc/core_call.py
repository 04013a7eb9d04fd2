"""One call of gRPC's C core, as a `ServerCall`, and the events of the core that it is told of by `core_poller`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from mindspore_serving.errors import unexpected_failure
from mindspore_serving.server.transport.grpc.core_surface import core
from mindspore_serving.server.transport.grpc.library import CallEnd, CallHandler, CallOver, Metadata
from mindspore_serving.server.transport.grpc_routes import GrpcStatus

_NO_DEADLINE_S: Final = 1e9
"""The core says "none" by a time that is farther away than this."""
_OK: Final = 0


class EventSource(Protocol):
    """What brings the events of calls, in a thread of its own.

    Attributes:
        expecting: Calls whose message has not come, and that the loop does not know, with the time when they came; the
            oldest first. Of its thread.
        leaving: Calls whose client sends no more, with the time since when; the oldest first. If it has gone, the core
            says so next. Of its thread.
        open: Calls that are answered just now. Of the loop.
        is_ending: Whether nothing is to be asked of the core any more.
        loop: Where handlers run.
    """

    expecting: dict[CoreCall, float]
    leaving: dict[CoreCall, float]
    open: set[CoreCall]
    is_ending: bool
    loop: asyncio.AbstractEventLoop

    def tell(self, function: Callable[[Any], None], argument: object = None) -> None:
        """Have something done on the loop."""

    def hold(self) -> None:
        """Let the thread wait until what is ready on the loop now is done."""


class CoreCall:
    """A call of the core; a `ServerCall`.

    Args:
        poller: Brings its events.
        call: Of the core.
        details: Have its deadline.
        metadata: What the client has sent beside its messages.
        handler: How it is answered.

    Attributes:
        peer, metadata: See `ServerCall`.
    """

    __slots__ = (
        "_arrived",
        "_call",
        "_details",
        "_done",
        "_handler",
        "_is_cancelled",
        "_is_known",
        "_is_receiving",
        "_message",
        "_poller",
        "_sent_metadata",
        "_side_has_ended",
        "_task",
        "_trailing",
        "_waiter",
        "_writer",
        "metadata",
        "peer",
    )

    def __init__(
        self, poller: EventSource, call: Any, details: Any, metadata: Metadata, handler: CallHandler
    ) -> None:
        self.metadata = metadata
        self.peer: str = call.peer().decode()
        self._poller = poller
        self._call: Any = call  # None once nothing may be sent or read any more
        self._details = details
        self._handler = handler
        self._task: asyncio.Task[None] | None = None
        self._is_known = False  # whether the loop was told of it; of the thread that polls, as the next one
        self._side_has_ended = False
        self._is_cancelled = False
        self._is_receiving = False
        self._arrived = False  # whether `_message` has come and was not read
        self._message: bytes | None = None
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._writer: asyncio.Future[bool] | None = None
        self._sent_metadata = False
        self._trailing: Sequence[tuple[str, str]] = ()
        self._done: list[Callable[[], None]] = []

    # --- Of the thread that polls ---

    def begin(self) -> None:
        """Ask for its end and its message, or start its task at once where it may not be read."""
        self._call.start_server_batch((core.ReceiveCloseOnServerOperation(0),), self._note_end)
        if self._handler.reads:
            self._is_receiving = True
            self._poller.expecting[self] = time.monotonic()
            self._receive()
        else:
            self._tell_start()

    def go_on(self) -> None:
        """Go on without what was expected: a message that takes long, or the end of a call that sends no more."""
        if not self._is_known:
            self._tell_start()
        elif self._side_has_ended:
            self._poller.tell(self._deliver, None)

    def _tell_start(self) -> None:
        self._is_known = True
        self._poller.tell(self.start)

    def _receive(self) -> None:
        self._call.start_server_batch((core.ReceiveMessageOperation(0),), self._note_message)

    def _note_message(self, event: Any) -> None:
        message = event.batch_operations[0].message() if event.success else None
        self._poller.expecting.pop(self, None)
        if self._is_cancelled:
            return
        if message is None:
            self._side_has_ended = True
            if not self._is_known:
                self._keep(None)
            self._poller.leaving[self] = time.monotonic()
        elif self._is_known:
            self._poller.tell(self._deliver, message)
        else:
            self._keep(message)
            self._tell_start()

    def _note_written(self, event: Any) -> None:
        self._poller.tell(self._deliver_written, event.success)

    def _note_sent(self, event: Any) -> None:
        if self._done:
            self._poller.tell(self._finish)

    def _note_end(self, event: Any) -> None:
        """Note that the call has ended: it was answered, or its client has gone, or its deadline has passed."""
        self._poller.expecting.pop(self, None)
        self._poller.leaving.pop(self, None)
        self._is_cancelled = event.batch_operations[0].cancelled()
        if self._is_known and self._is_cancelled:
            self._poller.tell(self.cancel)

    # --- On the loop ---

    def start(self, _: None) -> None:
        """Start the task that answers it."""
        if self._poller.is_ending:
            self._call = None
            return
        self._poller.open.add(self)
        self._task = self._poller.loop.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            message = await self._handler.answer(self)
            self._send_last(message, _OK, b"")
        except CallEnd as end:
            self._send_last(None, end.status, end.text.encode())
        except (CallOver, asyncio.CancelledError):
            self._give_up()
        except Exception as error:  # a fault of ours: the client gets a status all the same
            self._send_last(None, GrpcStatus.INTERNAL, unexpected_failure(error).text.encode())
        finally:
            self._task = None
            self._poller.open.discard(self)

    def _send_last(self, message: bytes | None, status: int, details: bytes) -> None:
        if message is not None and self._writer is not None:
            self._give_up()  # another one is being written, for nobody any more
            return
        call, self._call = self._call, None
        if call is not None:
            self._poller.hold()
            operations = self._operations(message)
            operations.append(core.SendStatusFromServerOperation(self._trailing, status, details, 0))
            call.start_server_batch(operations, self._note_sent)

    def _operations(self, message: bytes | None) -> list[Any]:
        """What sends a message, and the first metadata before it if they were not sent. New ones for each batch."""
        operations: list[Any] = []
        if not self._sent_metadata:
            self._sent_metadata = True
            operations.append(core.SendInitialMetadataOperation((), 0))
        if message is not None:
            operations.append(core.SendMessageOperation(message, 0))
        return operations

    def _give_up(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._finish(None)

    def cancel(self, _: None = None) -> None:
        """Cancel what answers it: the call has ended."""
        self._call = self._message = None
        self._poller.open.discard(self)
        if self._task is not None:
            self._task.cancel()
        self._finish(None)

    def _finish(self, _: None) -> None:
        done, self._done = self._done, []
        for callback in done:
            callback()

    def _deliver(self, message: bytes | None) -> None:
        self._is_receiving = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(message)
        else:
            self._keep(message)

    def _keep(self, message: bytes | None) -> None:
        self._is_receiving = False
        self._arrived, self._message = True, message

    def _deliver_written(self, success: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is not None and not writer.done():
            writer.set_result(success)

    @property
    def has_message(self) -> bool:
        """Whether a message has come that was not read."""
        return self._arrived

    @property
    def timeout_s(self) -> float | None:
        """Seconds that are left of the client's deadline; None for no limit."""
        left_s: float = self._details.deadline - time.time()
        return None if left_s > _NO_DEADLINE_S else max(left_s, 0.0)

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What TLS knows of the client."""
        if self._call is None:
            return {}
        return {name.decode(): values for name, values in core.auth_context(self._call).items()}

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Say what the client gets beside the status."""
        self._trailing = metadata

    def when_done(self, callback: Callable[[], None]) -> None:
        """Have a callable called once the reply has left, or the call has ended before."""
        self._done.append(callback)

    async def read(self) -> bytes | None:
        """Read the next message; see `ServerCall`."""
        if not self._arrived:
            if self._call is None:
                raise CallOver("The call has ended")
            if not self._is_receiving:
                self._is_receiving = True
                self._receive()
            waiter: asyncio.Future[bytes | None] = self._poller.loop.create_future()
            self._waiter = waiter
            try:
                return await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None  # it has the message, which the handler is to be able to let go of
        message, self._message = self._message, None
        self._arrived = message is None  # the end stays
        return message

    async def write(self, message: bytes) -> None:
        """Send a message; see `ServerCall`."""
        if self._call is None:
            raise CallOver("The call has ended")
        if self._writer is not None:
            self._give_up()
            raise CallOver("Another message is being written")
        writer = self._writer = self._poller.loop.create_future()
        self._call.start_server_batch(self._operations(message), self._note_written)
        if not await writer:
            raise CallOver("The client has gone")


def refuse(call: Any, status: GrpcStatus, text: str) -> None:
    """End a call that nobody answers. Of the thread that polls."""
    operations = (
        core.SendInitialMetadataOperation((), 0),
        core.ReceiveCloseOnServerOperation(0),
        core.SendStatusFromServerOperation((), status, text.encode(), 0),
    )
    call.start_server_batch(operations, _nothing)


def _nothing(event: Any) -> None:
    """Take an event that nobody waits for."""
