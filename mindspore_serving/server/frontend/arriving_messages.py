"""The memory of messages that arrive over gRPC, which tells of a message only when all of it has come.

What has come of the others is what has come on their connections, less the messages that are complete. Only messages
that take some time are looked at: most are complete before that, and cost an entry of a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from mindspore_serving.server.frontend.unfinished_bodies import UnfinishedBodies

SLOW_S: Final = 0.02
"""A message that takes longer to arrive is looked at."""


class ArrivingMessages:
    """Messages that arrive, and how much of them has come.

    Args:
        room: What they may take, together with others.
        received: Bytes that have come on a connection since it began, given its name; None where that is not known.
    """

    def __init__(self, room: UnfinishedBodies, received: Callable[[str], int | None]) -> None:
        self._room = room
        self._received = received
        self._calls: dict[Hashable, _Call] = {}
        self._connections: dict[str, _Connection] = {}

    def __repr__(self) -> str:
        return f"<ArrivingMessages {len(self._calls)}, {len(self._connections)} connections, {self._room}>"

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, call: Hashable, peer: Callable[[], str], now: float) -> None:
        """Note that the message of a call begins to arrive.

        Args:
            call: Which.
            peer: Gives the name of its connection.
            now: Monotonic time, in seconds.
        """
        self._calls[call] = _Call(peer, now)

    def end(self, call: Hashable, size: int) -> None:
        """Note that a message has arrived, or never will.

        Args:
            call: Which.
            size: Its bytes on the wire; 0 where it has not arrived.
        """
        ended = self._calls.pop(call)
        if not self._connections:
            return
        name = ended.name or ended.peer()
        connection = self._connections.get(name)
        if connection is None:
            return
        connection.delivered += size
        connection.calls.discard(call)
        if not connection.calls:
            self._forget(name)

    def look(self, now: float) -> list[Hashable]:
        """Count what has come by now.

        Args:
            now: Monotonic time, in seconds.

        Returns:
            The calls to end, for there is no room: those of the connections that have held the most for the longest.
        """
        self._find_slow(now)
        for name, connection in self._connections.items():
            held = connection.held(self._received(name))
            self._room.change(held - connection.bytes)
            connection.bytes = held
        cut: list[Hashable] = []
        while self._room.exceeded and self._connections:
            name, worst = max(self._connections.items(), key=lambda item: item[1].weight(now))
            if not worst.bytes:
                break
            cut += worst.calls
            self._forget(name)
        return cut

    def _find_slow(self, now: float) -> None:
        for call, arriving in self._calls.items():  # the oldest first
            if now - arriving.began < SLOW_S:
                return
            if not arriving.name:
                arriving.name = arriving.peer()
                self._connections.setdefault(arriving.name, _Connection(now)).calls.add(call)

    def _forget(self, name: str) -> None:
        self._room.change(-self._connections.pop(name).bytes)


@dataclass(slots=True)
class _Call:
    """A message that arrives; `name` is that of its connection, once it is slow."""

    peer: Callable[[], str]
    began: float
    name: str = ""


@dataclass(slots=True)
class _Connection:
    """A connection with slow messages.

    Attributes:
        since: When the first of them was found.
        calls: They.
        before: What had come on the connection by then; None until that is known.
        delivered: Bytes of the messages that have been complete since.
        bytes: What the others hold, as it was counted last.
    """

    since: float
    calls: set[Hashable] = field(default_factory=set)
    before: int | None = None
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
        """Who holds much for long goes first, not who has just begun."""
        return self.bytes * (now - self.since)
