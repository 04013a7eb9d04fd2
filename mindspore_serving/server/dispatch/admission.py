"""A request that is admitted before its instances: they take longer to read than the event loop may wait (ADR 27)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mindspore_serving.rows import Reply, Rows
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.pending_requests import PendingRequests

if TYPE_CHECKING:
    from mindspore_serving.server.dispatch.dispatcher import Dispatcher


class Admission:
    """A request that is admitted, and whose instances are being read; made by `Dispatcher.reading`.

    Args:
        dispatcher: Who has admitted it.
        destination: Where it goes.
        places: Where it counts as one request.
    """

    def __init__(
        self, dispatcher: Dispatcher, destination: Destination, places: tuple[PendingRequests, ...]
    ) -> None:
        self.destination = destination
        self._dispatcher = dispatcher
        self._places = places

    def admit(
        self,
        blocks: Sequence[Rows],
        timeout_s: float | None = None,
        *,
        priority: int = 0,
        parameters: Mapping[str, Any] | None = None,
    ) -> asyncio.Future[Reply]:
        """Queue the instances; to be called once, also while the server drains.

        Args:
            blocks: As `Dispatcher.admit`.
            timeout_s: As `Dispatcher.admit`.
            priority: As `Dispatcher.admit`.
            parameters: As `Dispatcher.admit`.

        Returns:
            As `Dispatcher.admit`.

        Raises:
            UnknownTarget: The servable has no such version or method any more.
            ServableUnavailable: It has no worker left, or its method has other inputs now.
            QueueFull: Too many instances or bytes are pending, in the server or of the servable.
            InvalidInput: As `Dispatcher.admit`.
        """
        return self._dispatcher.admit_read(self, blocks, timeout_s, priority, parameters)

    def leave_places(self) -> tuple[PendingRequests, ...]:
        """Where it counts as one request; whoever takes that answers for it."""
        places, self._places = self._places, ()
        return places
