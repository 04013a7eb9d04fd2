"""The memory of requests that have not arrived yet: each connection may hold most of a body, and there are many."""

from __future__ import annotations

from mindspore_serving.server.host.memory_limit import share_of_memory

_LEAST_BYTES = 256 << 20


class UnfinishedBodies:
    """Bytes of bodies of which more is to come, or that wait to be read, of all connections of a server.

    Args:
        most_bytes: What they may come to.
    """

    __slots__ = ("_bytes", "most_bytes")

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<UnfinishedBodies {self._bytes} of {self.most_bytes} bytes>"

    @property
    def refusal(self) -> str:
        """What is told where there is no room."""
        return f"Serving Error: bytes of unfinished requests exceed the limit {self.most_bytes}"

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._bytes

    @property
    def exceeded(self) -> bool:
        """Whether there is more than there may be."""
        return self._bytes > self.most_bytes

    def change(self, by: int) -> bool:
        """Count bytes that have come, or, below 0, that have gone.

        Args:
            by: How many.

        Returns:
            Whether there is room for what has come.
        """
        self._bytes += by
        return by <= 0 or not self.exceeded


def room_for_bodies(body_bytes: int) -> int:
    """Bytes for unfinished bodies: an eighth of the memory that the server may use.

    Args:
        body_bytes: The largest body, for which there is room in any case.
    """
    return max(share_of_memory(), _LEAST_BYTES, body_bytes)
