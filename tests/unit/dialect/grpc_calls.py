"""Calls of gRPC as the handlers of dialects see them, without gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from mindspore_serving.server.transport.grpc_routes import GrpcReply, GrpcStatus, client_error


class FakeCall:
    """A call.

    Args:
        largest_reply: Bytes that a message of the reply may have.
        has_room: Whether there is room for a message that is counted.

    Attributes:
        arriving: Bytes that are counted now.
        counted_sizes: All that were counted.
        held: Bytes of replies that are held now.
        most_held: Bytes of replies that may be held.
    """

    def __init__(self, largest_reply: int = 1 << 30, has_room: bool = True) -> None:
        self.peer = "ipv4:127.0.0.1:1"
        self.metadata: Sequence[tuple[str, str | bytes]] = ()
        self.timeout_s: float | None = None
        self.is_own_user = True
        self.largest_reply = largest_reply
        self.stopping = asyncio.Event()
        self.arriving = 0
        self.counted_sizes: list[int] = []
        self.held = 0
        self.most_held = 1 << 30
        self._has_room = has_room

    def peer_is_own_user(self) -> bool:
        """As `GrpcCall.peer_is_own_user`."""
        return self.is_own_user

    @contextlib.contextmanager
    def counted(self, size: int) -> Iterator[None]:
        """As `GrpcCall.counted`."""
        if not self._has_room:
            raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, "no room")
        self.counted_sizes.append(size)
        self.arriving += size
        try:
            yield
        finally:
            self.arriving -= size

    def check_replies(self) -> None:
        """As `GrpcCall.check_replies`."""
        if self.held >= self.most_held:
            raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, "replies are not taken")

    def hold_reply(self, size: int) -> None:
        """As `GrpcCall.hold_reply`."""
        self.held += size

    def answered(self, reply: GrpcReply) -> None:
        """As `GrpcCall.answered`."""

    def release_reply(self, size: int) -> None:
        """As `GrpcCall.release_reply`."""
        self.held -= size
