"""What requests that have ended early leave in the queues, and when it is removed (ADR 21)."""

from __future__ import annotations

from mindspore_serving.server.dispatch.pending_requests import PendingRequests
from mindspore_serving.server.dispatch.request import Request
from mindspore_serving.server.dispatch.running_servables import RunningServables


class LeftInQueues:
    """Lets go of what is left.

    Batches leave it out anyhow. But while no copy takes any, what is left would pile up without a limit: so all of it
    is removed as soon as it outweighs what is pending.

    Args:
        pending: The requests that are pending.
        running: Whose queues these are.
    """

    def __init__(self, pending: PendingRequests, running: RunningServables) -> None:
        self._pending = pending
        self._running = running
        self._instances = 0
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<LeftInQueues at most {self._instances} instances, {self._bytes} bytes>"

    def add(self, request: Request) -> None:
        """A request has ended before all of its instances were taken."""
        self._instances += request.count
        self._bytes += request.byte_size
        pending = self._pending
        if self._instances > pending.instances or self._bytes > pending.byte_size:
            self._instances = self._bytes = 0
            for servable in self._running:
                servable.drop_ended()
