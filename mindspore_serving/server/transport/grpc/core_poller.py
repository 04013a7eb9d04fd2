"""The thread that waits for events of gRPC's C core, and hands them to the event loop in lots.

The way of a call with one message, which is nearly every call:

1. `Poller` gets the call, finds its handler, and asks the core for its message and its end.
2. It gets the message, and puts the call into the inbox. The event loop is woken once for all that is in there.
3. On the loop a task runs the handler, and sends first metadata, reply and status in one batch.
4. `Poller` gets the end of that batch and of the call. Nobody is woken for them, unless somebody waits.

Under load the two threads take turns. Each wants the interpreter for a moment, again and again, and lets go of it at
each call of the core: if both ran at a time, they would wake each other for each event. So the poller takes all events
that are there before it wakes the loop, as long as that brings several calls together; and while the loop sends
replies, the poller waits until it is done with them (`hold`).

A call whose message takes longer than `_SLOW_S` is put into the inbox without it: its task then waits for it, so that
what arrives is counted. All other calls cost no future.

Why the core, and what may be done if it changes: ADR 49.

What belongs to which thread is said below. They meet in the inbox, which is bounded by what the loop owes the core
(`_owed`), and at the lock by which they take turns; nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mindspore_serving.errors import unexpected_failure
from mindspore_serving.server.transport.grpc.core_call import CoreCall, refuse
from mindspore_serving.server.transport.grpc.core_surface import core
from mindspore_serving.server.transport.grpc.library import UNKNOWN_METHOD, FindHandler
from mindspore_serving.server.transport.grpc_routes import GrpcStatus

_REQUESTED: Final = 64
"""Calls that the core may hand over before it is asked for more."""
_MOST_IN_INBOX: Final = 1024
"""What may wait for the loop; the core is not asked for more calls meanwhile, and refuses those above its own limit."""
_SLOW_S: Final = 0.002
"""A message that has not come by then is waited for by the task of its call."""
_SEVERAL: Final = 1.5
"""Calls that come together on average, from which on it pays to look for more before the loop is woken."""
_WEIGHT: Final = 0.1
_FEW_OPEN: Final = 2
"""Calls under way at a time, up to which nobody waits for the other thread."""
_LARGEST_LOT: Final = 64
"""What is in the inbox at most when the loop is woken."""
_LONGEST_HOLD_S: Final = 0.005
_AT_ONCE: Final = 0.0
"""A time of the wall clock that has passed."""
_GONE_S: Final = 0.05
"""Under load, the time in which the core says of a client that sends no more whether it has gone."""
_LAST_STEPS_S: Final = 5.0
_MOST_FAILURES: Final = 10
"""After a failure the thread goes on, so that calls under way can end; not for ever, if it cannot."""


class Poller:
    """The thread that waits for events of the core, and the inbox through which it hands them to the event loop.

    Args:
        server: Of the core.
        queue: Its completion queue.
        find: Finds what answers a call.
        on_failure: Called on the loop, with the reason, if the thread has failed.
        loop: Where handlers run.

    Attributes:
        expecting, leaving: See `core_call.EventSource`. Of this thread.
        closed: Set once the server has ended all calls and connections. Of the loop.
        ended: Set once the thread is about to end. Of the loop.
        open: Calls that are answered just now. Of the loop.
        is_ending: Whether nothing is to be asked of the core any more. Set by the loop.
    """

    def __init__(
        self,
        server: Any,
        queue: Any,
        find: FindHandler,
        on_failure: Callable[[BaseException], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.expecting: dict[CoreCall, float] = {}
        self.leaving: dict[CoreCall, float] = {}
        self.closed = asyncio.Event()
        self.ended = asyncio.Event()
        self.open: set[CoreCall] = set()
        self.is_ending = False
        self.loop = loop
        self._server = server
        self._queue = queue
        self._find = find
        self._on_failure = on_failure
        self._failed = False
        self._is_closed = False
        self._is_ended = False
        self._inbox: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._is_awake = False
        self._mean_lot = 0.0
        self._turn = threading.Lock()  # the loop has it while the poller is to wait
        self._is_holding = False
        self._owed: deque[None] = deque()
        self._thread = threading.Thread(target=self.run, name="grpc-poller", daemon=True)

    def __repr__(self) -> str:
        state = "failed" if self._failed else "closed" if self.closed.is_set() else "polls"
        return f"<grpc-poller {state}, {len(self.expecting)} expected, {len(self._inbox)} in the inbox>"

    def start(self) -> None:
        """Ask the core for calls, and wait for them."""
        for _ in range(_REQUESTED):
            self._request_call()
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has ended, which it is about to."""
        self._thread.join(_LAST_STEPS_S)

    def tell(self, function: Callable[[Any], None], argument: object = None) -> None:
        """Have something done on the loop, in the order of these calls. Of this thread.

        Args:
            function: What; it should not raise.
            argument: Its argument.
        """
        self._inbox.append((function, argument))

    def _wake_loop(self) -> None:
        """Wake the loop once for all that is in the inbox.

        This is the last thing before the next wait: woken sooner, the loop would have to wait for the interpreter.
        """
        if self._inbox and not self._is_awake:
            self._is_awake = True
            self.loop.call_soon_threadsafe(self._take)

    def hold(self) -> None:
        """Let the thread wait until what is ready on the loop now is done. On the loop.

        Otherwise it would wake at the first of several replies, and then want the interpreter between all others.
        """
        if not self._is_holding and len(self.open) > _FEW_OPEN and self._turn.acquire(blocking=False):
            self._is_holding = True
            self.loop.call_soon(self._let_go)

    def _let_go(self) -> None:
        self._is_holding = False
        self._turn.release()

    def _wait_for_turn(self) -> None:
        if self._turn.locked() and self._turn.acquire(timeout=_LONGEST_HOLD_S):
            self._turn.release()

    def note_closed(self, event: Any) -> None:
        """Note that the server has ended all calls and connections. Of this thread."""
        self._is_closed = True
        self.tell(lambda _: self.closed.set())

    def end_calls(self) -> None:
        """Cancel what answers calls, all of which have ended. On the loop.

        The core does not say so of all of them before it says that it has closed; and after that, to ask it for
        anything would crash the process.
        """
        for call in tuple(self.open):
            call.cancel()

    def _take(self) -> None:
        """Do what is in the inbox. On the loop."""
        self._is_awake = False  # before it is emptied: what comes from now on wakes the loop again
        inbox = self._inbox
        count = len(inbox)
        self._mean_lot += (count - self._mean_lot) * _WEIGHT
        if count > 1:
            self.hold()
        try:
            for _ in range(count):
                function, argument = inbox.popleft()
                function(argument)
        except BaseException:  # one that fails is not to hold up the others until something else happens
            self.loop.call_soon(self._take)
            raise
        while self._owed:
            self._owed.popleft()
            self._request_call()

    def _request_call(self) -> None:
        with contextlib.suppress(ValueError):  # it was told to shut down
            self._server.request_call(self._queue, self._queue, self._note_call)

    def run(self) -> None:
        """Handle events until the server is ended; the body of the thread."""
        for _ in range(_MOST_FAILURES):
            try:
                self._poll()
                break
            except BaseException as error:  # without this thread nothing is answered: the process has to end
                self._note_failure(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends without a stop
            self.loop.call_soon_threadsafe(self.ended.set)

    def _poll(self) -> None:
        """Handle events until the queue is shut down."""
        while True:
            event = self._next_event()
            self._wait_for_turn()
            kind = event.completion_type
            if kind == core.CompletionType.operation_complete:
                event.tag(event)
            elif kind == core.CompletionType.queue_shutdown:
                return
            del event  # and with it the call, which the core ends only when nobody holds it
            if self._is_closed:
                self._end_if_told()
            elif self.expecting or self.leaving:
                self._look(time.monotonic(), kind == core.CompletionType.queue_timeout)

    def _next_event(self) -> Any:
        """Wait for the next event. The loop is woken before, and under load only when there is none at the moment."""
        several = self._mean_lot > _SEVERAL and not self._is_awake and 0 < len(self._inbox) < _LARGEST_LOT
        if several:
            event = self._queue.poll(_AT_ONCE)
            if event.completion_type != core.CompletionType.queue_timeout:
                return event
            del event
        deadline = self._next_look()
        self._wake_loop()
        return self._queue.poll(deadline)

    def _end_if_told(self) -> None:
        """End the server and the queue once the loop asks the core for nothing any more."""
        if self.is_ending and not self._is_ended:
            self._is_ended = True
            self._server.destroy()
            self._queue.shutdown()

    def _next_look(self) -> float | None:
        """When to look at calls at the latest, as the core has it: in seconds of the wall clock; None for never."""
        return time.time() + _SLOW_S if self.expecting or self.leaving or self._is_closed else None

    def _look(self, now: float, is_quiet: bool) -> None:
        """Go on with calls that have waited for long enough.

        Args:
            now: The time.
            is_quiet: Whether there was no event: what the core has to say of them it has said.
        """
        _go_on(self.expecting, now - _SLOW_S)
        _go_on(self.leaving, now if is_quiet else now - _GONE_S)

    def _note_failure(self, error: BaseException) -> None:
        if not self._failed:
            self._failed = True
            self.tell(self._on_failure, error)

    def _note_call(self, event: Any) -> None:
        """Begin a call that the core hands over."""
        if not event.success or self.is_ending:  # the server is shut down
            return
        if len(self._inbox) < _MOST_IN_INBOX:
            self._request_call()
        else:
            self._owed.append(None)
        call, metadata = event.call, event.invocation_metadata
        try:
            handler = self._find(event.call_details.method.decode(errors="replace"), metadata)
        except Exception as error:  # a fault of ours, which is to cost one call and no more
            refuse(call, GrpcStatus.INTERNAL, unexpected_failure(error).text)
            return
        if handler is None:
            refuse(call, GrpcStatus.UNIMPLEMENTED, UNKNOWN_METHOD)
        else:
            CoreCall(self, call, event.call_details, metadata, handler).begin()


def _go_on(calls: dict[CoreCall, float], before: float) -> None:
    """Go on with those of some calls that have waited since before a time, the oldest first."""
    while calls:
        call, since = next(iter(calls.items()))
        if since > before:
            return
        del calls[call]
        call.go_on()
