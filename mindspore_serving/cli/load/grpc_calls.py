"""Unary calls of gRPC whose messages are ready to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from mindspore_serving.cli.load.connections import Done


class GrpcCalls:
    """One channel of grpc.aio; any number of calls may be under way.

    Args:
        channel: The channel.
        path: `/package.Service/Method`.
        metadata: Of each call.
    """

    concurrent = True
    lasting = True

    def __init__(self, channel: Any, path: str, metadata: Sequence[tuple[str, str]]) -> None:
        self._channel = channel
        self._call = channel.unary_unary(path)
        self._metadata = tuple(metadata)
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure = ""
        self.error_body = b""
        self.head = b""

    def send(self, body: bytes, done: Done) -> None:
        """Begin a call with a serialized message; `done` gets that of the reply."""
        task = asyncio.get_running_loop().create_task(self._ask(body, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, body: bytes, done: Done) -> None:
        try:
            reply = await self._call(body, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self.failure = error.code().name
            self.error_body = (error.details() or "").encode()
            done(b"")
            return
        done(reply)

    def close(self) -> None:
        """Give up the calls under way; the channel is its owner's."""
        for task in self._tasks:
            task.cancel()
