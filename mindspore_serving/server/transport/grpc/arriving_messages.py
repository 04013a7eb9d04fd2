"""The memory of messages that arrive over gRPC, which tells of a message only when all of it has come.

What has come of the others is what has come on their connections, less the messages that are complete. Only messages
that take some time are looked at: most are complete before that, and cost an entry of a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies

SLOW_S: Final = 0.02
"""A message that takes longer to arrive is looked at."""
_LARGE_BYTES = 1 << 16
_MOST_SMALL_BYTES = 1 << 20
"""Bytes of small messages after which it is not known any more what had come before them: headers count, too."""
_MOST_KNOWN = 20_000


class ArrivingMessages:
    """Messages that arrive, and how much of them has come.

    Args:
        room: What they may take, together with others.
        received: Bytes that have come on a connection since it began, given its name; None where that is not known.
    """

    def __init__(self, room: UnfinishedBodies, received: Callable[[str], int | None]) -> None:
        self._room = room
        self._received = received
        self._calls: dict[Hashable, tuple[str, float]] = {}
        self._slow: dict[str, _Connection] = {}
        self._known = _KnownConnections()

    def __repr__(self) -> str:
        return f"<ArrivingMessages {len(self._calls)}, {len(self._slow)} slow connections, {self._room}>"

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, call: Hashable, connection: str, now: float) -> None:
        """Note that the message of a call begins to arrive.

        Args:
            call: Which.
            connection: Name of its connection.
            now: Monotonic time, in seconds.
        """
        self._calls[call] = connection, now

    def end(self, call: Hashable, size: int) -> None:
        """Note that a message has arrived, or never will.

        Args:
            call: Which.
            size: Its bytes on the wire; 0 where it has not arrived.
        """
        name, _ = self._calls.pop(call, ("", 0.0))
        if not name:
            return  # it was to be ended, and counts no more
        self._note(name, size)
        slow = self._slow.get(name) if self._slow else None
        if slow is not None:
            slow.delivered += size
            slow.calls.discard(call)
            if not slow.calls:
                self._forget(name)

    def note(self, connection: str, size: int) -> None:
        """Note a message that had arrived before anybody waited for it.

        Args:
            connection: Name of its connection.
            size: Its bytes on the wire.
        """
        self._note(connection, size)
        slow = self._slow.get(connection) if self._slow else None
        if slow is not None:
            slow.delivered += size

    def _note(self, name: str, size: int) -> None:
        if size > _LARGE_BYTES:
            self._known.note_large(name, self._received(name))
        else:
            self._known.note_small(name, size)

    def look(self, now: float) -> list[Hashable]:
        """Count what has come by now.

        Args:
            now: Monotonic time, in seconds.

        Returns:
            The calls to end, for there is no room: those of the connections that have held the most for the longest.
        """
        self._find_slow(now)
        for name, connection in self._slow.items():
            held = connection.held(self._received(name))
            self._room.change(held - connection.bytes)
            connection.bytes = held
        cut: list[Hashable] = []
        while self._room.exceeded and len(self._slow) > 1:  # one alone may be larger than all the room
            name, worst = max(self._slow.items(), key=lambda item: item[1].weight(now))
            if not worst.bytes:
                break
            cut += worst.calls
            for call in worst.calls:
                del self._calls[call]
            self._forget(name)
        return cut

    def _find_slow(self, now: float) -> None:
        for call, (name, began) in self._calls.items():  # the oldest first
            if now - began < SLOW_S:
                return
            if name not in self._slow:
                self._slow[name] = _Connection(began, self._known.before(name))
            self._slow[name].calls.add(call)

    def _forget(self, name: str) -> None:
        self._room.change(-self._slow.pop(name).bytes)


class _KnownConnections:
    """What had come on connections by the end of their last message.

    An entry is what had come by the end of the last large message, and the bytes of small ones since; or None where
    these are so many that their headers count, too. A connection without an entry is new, or thousands of others have
    had messages since its last one.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, int] | None] = {}
        self._earlier: dict[str, tuple[int, int] | None] = {}

    def before(self, name: str) -> int | None:
        """Bytes that had come; None where that is not known."""
        entry = self._entry(name)
        return None if entry is None else sum(entry)

    def note_small(self, name: str, size: int) -> None:
        """Note a small message that is complete."""
        entry = self._entry(name)
        if entry is not None:
            large, small = entry
            entry = (large, small + size) if small + size <= _MOST_SMALL_BYTES else None
        self._set(name, entry)

    def note_large(self, name: str, received: int | None) -> None:
        """Note a large message that is complete, and what has come by now; None where that is not known."""
        self._set(name, None if received is None else (received, 0))

    def _entry(self, name: str) -> tuple[int, int] | None:
        return self._entries[name] if name in self._entries else self._earlier.get(name, (0, 0))

    def _set(self, name: str, entry: tuple[int, int] | None) -> None:
        if len(self._entries) >= _MOST_KNOWN and name not in self._entries:
            self._earlier, self._entries = self._entries, {}
        self._entries[name] = entry


@dataclass(slots=True)
class _Connection:
    """A connection with slow messages.

    Attributes:
        since: When the first of them began.
        before: What had come on the connection before it; None where that is not known, until it is looked at.
        calls: Those of the messages.
        delivered: Bytes of the messages that have been complete since.
        bytes: What the others hold, as it was counted last.
    """

    since: float
    before: int | None
    calls: set[Hashable] = field(default_factory=set)
    delivered: int = 0
    bytes: int = 0

    def held(self, received: int | None) -> int:
        """What its messages hold, given what has come on it."""
        if received is None:
            return self.bytes
        if self.before is None:
            self.before = received
        return max(0, received - self.before - self.delivered)

    def weight(self, now: float) -> float:
        """Who holds the most for the longest has the most."""
        return self.bytes * (now - self.since)
