"""Calls of a blocking channel, for an event loop to wait for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any


class FutureCall:
    """What `AsyncClientResult` asks of a call of grpc.aio, by a call of a blocking channel.

    Args:
        call: The call, as `future` of a method has started it.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        call.add_done_callback(self._note_end)

    def _note_end(self, _: object) -> None:
        """Runs in a thread of gRPC."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._ended.set)

    def cancel(self) -> None:
        """End the call, if it has not ended."""
        self._call.cancel()

    async def code(self) -> Any:
        """Its status, once it has ended."""
        await self._ended.wait()
        return self._call.code()

    async def details(self) -> Any:
        """Its status in words, once it has ended."""
        await self._ended.wait()
        return self._call.details()

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self._ended.wait().__await__()
        return self._call.result()
