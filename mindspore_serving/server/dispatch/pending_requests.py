"""Which requests are pending, and how many may be at a time (ADR 21).

A request is pending from its admission until it is answered or abandoned, whether it waits or is under way. It counts
for the server and for its servable (each version for itself), and has to fit into the limits of both.
"""

from __future__ import annotations

from mindspore_serving.errors import QueueFull
from mindspore_serving.options import Limits
from mindspore_serving.server.dispatch.request import Request


class PendingRequests:
    """Counts the pending requests of a server, or of one of its servables, and holds their limits.

    Args:
        limits: Most that this may be; changes of them hold at once.
        whose: What refusals say at their end: nothing, or `, servable: {name}`.

    Attributes:
        requests: Number of requests.
        instances: Number of their instances.
        byte_size: Bytes of the tensors of their instances.
    """

    __slots__ = ("_whose", "byte_size", "instances", "limits", "requests")

    def __init__(self, limits: Limits, whose: str = "") -> None:
        self.limits = limits
        self.requests = 0
        self.instances = 0
        self.byte_size = 0
        self._whose = whose

    def __repr__(self) -> str:
        return (
            f"<PendingRequests {self.requests} requests, {self.instances} instances, {self.byte_size} bytes>"
        )

    def check_requests(self) -> None:
        """Check that there is room for one request more.

        Raises:
            QueueFull: There is not.
        """
        if self.requests >= self.limits.requests > 0:
            raise self._full("requests", self.limits.requests)

    def add(self, request: Request, *, placed: bool = False) -> None:
        """Count a request.

        Args:
            request: The request.
            placed: Whether it has had a place among the requests until now, so that there is room for one.

        Raises:
            QueueFull: There are too many requests; or its instances or bytes are too many, and it is not the only one.
                It is not counted.
        """
        limits = self.limits
        if self.requests >= limits.requests > 0 and not placed:
            raise self._full("requests", limits.requests)
        instances = self.instances + request.count
        byte_size = self.byte_size + request.byte_size
        if self.requests:  # alone, a request is taken whatever its size: it could never be served otherwise
            if instances > limits.instances > 0:
                raise self._full("instances", limits.instances)
            if byte_size > limits.byte_size > 0:
                raise self._full("bytes", limits.byte_size)
        self.requests += 1
        self.instances = instances
        self.byte_size = byte_size

    def remove(self, request: Request) -> None:
        """Count a request no more."""
        self.requests -= 1
        self.instances -= request.count
        self.byte_size -= request.byte_size

    def _full(self, what: str, limit: int) -> QueueFull:
        return QueueFull(f"Serving Error: enqueued {what} count exceeds the limit {limit}{self._whose}", what)
