"""The memory of replies that clients have not taken yet: who sends requests and reads no reply may not fill it.

This object only counts and decides; a front end tells it what it has written and what has left, asks it before it
answers a request, and closes the connections that it names. A connection is whatever tells one from another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

from mindspore_serving.server.host.memory_limit import share_of_memory

PATIENCE_S: Final = 30.0
"""Time without progress after which a connection that holds more than its share is closed."""
SHARE_OF_ONE: Final = 2
"""One connection may hold half of what all may."""
_HURRY_S = 1.0
"""The same where all connections together hold more than they may."""


class UntakenReplies:
    """Bytes of replies that were written for clients and have not left, by connection.

    Args:
        most_bytes: What all connections may hold. Above it, no connection gets a further reply.
        most_of_one: What one may hold. Above it, this connection gets no further reply.
        now: A monotonic clock, in seconds.

    Attributes:
        most_bytes: As above.
        most_of_one: As above.
        refused: How many requests were not answered for want of room.
    """

    __slots__ = ("_bytes", "_held", "_now", "most_bytes", "most_of_one", "refused")

    def __init__(self, most_bytes: int, most_of_one: int, now: Callable[[], float] = time.monotonic) -> None:
        self.most_bytes = most_bytes
        self.most_of_one = most_of_one
        self.refused = 0
        self._now = now
        self._bytes = 0
        self._held: dict[Hashable, _Held] = {}

    def __repr__(self) -> str:
        return f"<UntakenReplies {self._bytes} of {self.most_bytes} bytes, {len(self._held)} connections>"

    @property
    def refusal(self) -> str:
        """What a client is told whose request is not answered."""
        return (
            "Serving Error: bytes of replies that were not taken exceed the limit "
            f"{self.most_of_one} of a connection or {self.most_bytes} of all"
        )

    @property
    def crowded(self) -> bool:
        """Whether there may be connections without room: as long as not, nobody needs to be asked about."""
        return self._bytes >= self.most_of_one

    def add(self, connection: Hashable, size: int) -> None:
        """Count a reply that was written, whatever its size: it is there already.

        Args:
            connection: For whom.
            size: Bytes.
        """
        self._bytes += size
        held = self._held.get(connection)
        if held is None:
            self._held[connection] = _Held(size, self._now())
        else:
            held.bytes += size

    def taken(self, connection: Hashable, size: int) -> None:
        """Count bytes that have left; harmless for a connection that was forgotten.

        Args:
            connection: Whose.
            size: Bytes.
        """
        held = self._held.get(connection)
        if held is None:
            return
        size = min(size, held.bytes)
        self._bytes -= size
        held.bytes -= size
        held.since = self._now()
        if not held.bytes:
            del self._held[connection]

    def forget(self, connection: Hashable) -> None:
        """Count what a connection holds no more: it has ended."""
        held = self._held.pop(connection, None)
        if held is not None:
            self._bytes -= held.bytes

    def has_room(self, connection: Hashable) -> bool:
        """Whether a further request of this connection may be answered; if not, it is taken to be refused."""
        if not self.crowded:  # so nearly always
            return True
        held = self._held.get(connection)
        has_room = self._bytes < self.most_bytes and (held is None or held.bytes < self.most_of_one)
        self.refused += not has_room
        return has_room

    def stalled(self) -> list[Hashable]:
        """The connections to close now: they have taken nothing for too long, and hold too much.

        Where all together hold too much, these are those that have taken nothing for the longest time, as many as
        it takes.
        """
        if not self.crowded:
            return []
        now = self._now()
        found: list[Hashable] = []
        left = self._bytes
        for connection, held in sorted(self._held.items(), key=lambda item: item[1].since):
            idle_s = now - held.since
            full = held.bytes >= self.most_of_one and idle_s >= PATIENCE_S
            if full or (left >= self.most_bytes and idle_s >= _HURRY_S):
                found.append(connection)
                left -= held.bytes
        return found


class _Held:
    """What one connection holds: bytes, and since when it has taken none."""

    __slots__ = ("bytes", "since")

    def __init__(self, size: int, since: float) -> None:
        self.bytes = size
        self.since = since


def untaken_replies(reply_bytes: int, now: Callable[[], float] = time.monotonic) -> UntakenReplies:
    """A count for one front end: an eighth of the memory that the server may use, half of that for one connection.

    Args:
        reply_bytes: There is room for as many in any case.
        now: A monotonic clock, in seconds.
    """
    most = max(share_of_memory(), reply_bytes)
    return UntakenReplies(most, max(most // SHARE_OF_ONE, min(reply_bytes, most)), now)
