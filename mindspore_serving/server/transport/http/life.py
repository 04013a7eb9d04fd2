"""What a connection waits for, and whether it goes on: as data, which its parts share."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()
    """The first byte of a request."""
    RECEIVING = auto()
    """The rest of a request."""
    ANSWERING = auto()
    """Who answers, or the client to take its reply."""
    LINGERING = auto()
    """The client to stop sending; the last reply is written."""
    CLOSING = auto()
    """The last bytes to leave."""
    CLOSED = auto()


# To look up a member of an enum takes ten times as long.
IDLE: Final = Phase.IDLE
RECEIVING: Final = Phase.RECEIVING
ANSWERING: Final = Phase.ANSWERING
LINGERING: Final = Phase.LINGERING
CLOSING: Final = Phase.CLOSING
CLOSED: Final = Phase.CLOSED


class Life:
    """The life of one connection.

    Args:
        now: Time of the clock.

    Attributes:
        phase: What it waits for.
        since: When that began, or when the client last took something of its reply.
        finishing: No request is read any more: the reply in flight is the last one.
        has_unread: The client has sent what nobody reads. It would lose its last reply if the connection were closed
            at once.
        draining: The server ends: the request in flight, or the next one, is the last one.
        has_answered: A request was answered. Until then, a client is about to send its first one.
    """

    __slots__ = ("draining", "finishing", "has_answered", "has_unread", "phase", "since")

    def __init__(self, now: float) -> None:
        self.phase = IDLE
        self.since = now
        self.finishing = False
        self.has_unread = False
        self.draining = False
        self.has_answered = False

    def __repr__(self) -> str:
        return f"<Life {self.phase.name}{' finishing' if self.finishing else ''}>"

    def begin(self, phase: Phase, now: float) -> None:
        """Wait for something else from now on."""
        self.phase = phase
        self.since = now

    def refuse_more(self) -> None:
        """Read nothing more: what comes from now on, or was not read, is thrown away."""
        self.finishing = self.has_unread = True
