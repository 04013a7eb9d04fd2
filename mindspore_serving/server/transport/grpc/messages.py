"""Reads the message of a call of gRPC, which has to fit into what all messages that arrive may take.

gRPC itself decompresses nothing here: it would do so with all messages at once, however large they become.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Callable, Hashable, Iterator

from mindspore_serving.errors import MessageTooLarge
from mindspore_serving.server.transport.content_coding import decompressed_parts
from mindspore_serving.server.transport.grpc.arriving_messages import SLOW_S, ArrivingMessages
from mindspore_serving.server.transport.grpc.library import ServerCall
from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcStatus, client_error
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies

_GZIP = b"gzip"  # or the header of zlib, which is told apart
_GZIP_MAGIC = b"\x1f\x8b"
_ZLIB_HEADER = 0x78
_SHARE_OF_LOOKS = 10
"""Looking at what arrives takes a tenth of the time at most."""


class MessageReader:
    """Reads messages of all calls of one server.

    Args:
        most_bytes: Largest message, decompressed.
        connections: Know how much has arrived.
        room: What messages that arrive may take together.
    """

    def __init__(self, most_bytes: int, connections: TcpConnections, room: UnfinishedBodies) -> None:
        self._most_bytes = most_bytes
        self._room = room
        self._arriving = ArrivingMessages(self._room, connections.received)
        self._cut_off: set[Hashable] = set()
        self._next_look: asyncio.TimerHandle | None = None
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<MessageReader {self._arriving}>"

    async def read(self, call: ServerCall, is_enough: Callable[[bytes], bool] | None) -> bytes | None:
        """The next message of a call, decompressed.

        Args:
            call: Of which.
            is_enough: Whether the call will be refused for what is in the beginning of its message. Asked only about
                large ones that are compressed, of which the rest is then left out. None for never.

        Returns:
            The message; None where the client sends no more.

        Raises:
            GrpcError: There is no room for it, or it cannot be decompressed.
        """
        message = await (self._ready(call) if call.has_message else self._awaited(call))
        if message is None or not _is_compressed(message):
            return message
        return await self._decompressed(message, is_enough)

    async def _ready(self, call: ServerCall) -> bytes | None:
        message = await call.read()
        if message is not None:
            self._arriving.note(call.peer, len(message))
        return message

    async def _awaited(self, call: ServerCall) -> bytes | None:
        reader = asyncio.current_task()
        self._arriving.begin(reader, call.peer, time.monotonic())
        if self._next_look is None:
            self._look_after(SLOW_S)
        size = 0
        try:
            message = await call.read()
            size = 0 if message is None else len(message)
            return message
        except asyncio.CancelledError:
            if reader in self._cut_off:
                raise self._no_room() from None
            raise
        finally:
            self._arriving.end(reader, size)
            self._cut_off.discard(reader)

    @contextlib.contextmanager
    def counted(self, size: int) -> Iterator[None]:
        """Count a message that is not admitted yet among those that arrive.

        Args:
            size: Its bytes.

        Raises:
            GrpcError: There is no room for it.
        """
        alone = self._room.is_empty
        has_room = self._room.change(size)
        try:
            if not has_room and not alone:
                raise self._no_room()
            yield
        finally:
            self._room.change(-size)

    def stop(self) -> None:
        """Look at nothing any more; safe to call twice."""
        if self._next_look is not None:
            self._next_look.cancel()

    def _no_room(self) -> GrpcError:
        return client_error(GrpcStatus.RESOURCE_EXHAUSTED, self._room.refusal)

    def _look_after(self, seconds: float) -> None:
        self._next_look = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """End the calls for whose messages there is no room."""
        began = time.monotonic()
        for reader in self._arriving.look(began):
            assert isinstance(reader, asyncio.Task)
            self._cut_off.add(reader)
            reader.cancel()
        self._next_look = None
        if len(self._arriving):
            self._look_after(max(SLOW_S, _SHARE_OF_LOOKS * (time.monotonic() - began)))

    async def _decompressed(self, message: bytes, is_enough: Callable[[bytes], bool] | None) -> bytes:
        with self.counted(len(message)):
            async with self._one_at_a_time:  # so that others are not in memory meanwhile
                plain = await self._decompress(message, is_enough)
        with self.counted(len(plain)):
            return plain

    async def _decompress(self, message: bytes, is_enough: Callable[[bytes], bool] | None) -> bytes:
        parts: list[bytes] = []
        try:
            for part in decompressed_parts(message, _GZIP, self._most_bytes):
                if is_enough is not None and len(parts) == 1 and is_enough(parts[0]):
                    break
                parts.append(part)
                await asyncio.sleep(0)
        except zlib.error as cause:
            raise client_error(GrpcStatus.INTERNAL, f"Unable to decompress request: {cause}") from cause
        except MessageTooLarge as cause:
            text = f"SERVER: Decompressed message larger than max ({self._most_bytes})"
            raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, text) from cause
        return b"".join(parts)


def _is_compressed(message: bytes) -> bool:
    """Whether a message is compressed, with gzip or deflate.

    gRPC knows, and does not say. No request begins so: of gzip, the first byte is no tag of protobuf; of deflate, it is
    the tag of a field 15 that none has.
    """
    head = message[:2]
    return head == _GZIP_MAGIC or (
        len(head) == len(_GZIP_MAGIC) and head[0] == _ZLIB_HEADER and int.from_bytes(head, "big") % 31 == 0
    )
