"""Answers the requests of a stream at a time, each as soon as it is done.

Two tasks share a queue of replies: one reads messages and starts their answers, the other one, which is the handler of
the call, gives the replies to the transport. What a client has in flight is bounded by not reading: a request counts
until its reply has been taken. Replies that are to come are taken to be as large as the largest one of the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

from mindspore_serving.server.transport.grpc_routes import GrpcReply

MOST_IN_FLIGHT: Final = 64
"""Requests of one stream."""
Answer: TypeAlias = Callable[[bytes], Coroutine[Any, Any, GrpcReply]]
"""Answers one message; what is wrong with it is said in the reply."""


class RequestStream:
    """The requests of one stream.

    Args:
        messages: The requests, as they are asked for.
        answer: Answers one.
        stopping: Set once no more requests are to be read.
        most_held: Bytes of replies that have not been taken, above which no request is read.
        release: Called with the bytes of replies that are not held any more.
    """

    def __init__(
        self,
        messages: AsyncIterator[bytes],
        answer: Answer,
        stopping: asyncio.Event,
        most_held: int,
        release: Callable[[int], None],
    ) -> None:
        self._messages = messages
        self._answer = answer
        self._stopping = stopping
        self._most_held = most_held
        self._release = release
        self._answers: set[asyncio.Task[GrpcReply]] = set()
        self._replies: asyncio.Queue[asyncio.Task[GrpcReply] | None] = asyncio.Queue()
        self._in_flight = 0
        self._held = 0
        self._largest = 0
        self._room = asyncio.Event()

    def __repr__(self) -> str:
        return f"<RequestStream {self._in_flight} in flight, {self._held} bytes of replies>"

    async def replies(self) -> AsyncGenerator[GrpcReply, None]:
        """The replies, in the order in which they are made.

        The end of this, also where it is closed or cancelled, cancels what is in flight.

        Raises:
            Exception: As `messages`.
        """
        waiting = [self._until_end_of(self._read()), self._until_end_of(self._stopping.wait())]
        reads = True
        try:
            while reads or self._in_flight:
                done = await self._replies.get()
                if done is None:
                    reads = False
                    reader = waiting[0]
                    if not reader.cancel() and not reader.cancelled():
                        reader.result()  # it may have failed
                    continue
                reply = done.result()
                del done
                yield reply
                self._in_flight -= 1
                self._held -= len(reply.message)
                self._release(len(reply.message))
                self._room.set()
        finally:
            tasks: list[asyncio.Task[Any]] = [*waiting, *self._answers]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._held:
                self._release(self._held)

    def _until_end_of(self, waits: Awaitable[object]) -> asyncio.Task[object]:
        """A task after whose end no more requests are read."""

        async def ends() -> object:
            return await waits

        task = asyncio.create_task(ends())
        task.add_done_callback(lambda _: self._replies.put_nowait(None))
        return task

    async def _read(self) -> None:
        """Start the answer to each message, while there is room."""
        while True:
            while self._in_flight >= MOST_IN_FLIGHT or self._expected() > self._most_held:
                self._room.clear()
                await self._room.wait()
            try:
                answer = self._answer(await anext(self._messages))
            except StopAsyncIteration:
                return
            self._in_flight += 1
            task = asyncio.create_task(answer)
            self._answers.add(task)
            task.add_done_callback(self._note_answered)
            del answer, task

    def _expected(self) -> int:
        """Bytes of replies that have not been taken, those that are still to come among them."""
        return self._held + len(self._answers) * self._largest

    def _note_answered(self, task: asyncio.Task[GrpcReply]) -> None:
        self._answers.discard(task)
        if not task.cancelled():
            if task.exception() is None:
                size = len(task.result().message)
                self._held += size
                self._largest = max(self._largest, size)
            self._replies.put_nowait(task)
