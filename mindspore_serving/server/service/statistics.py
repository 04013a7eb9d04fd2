"""What was counted: read by metadata pages, metrics and the like, written by dispatch alone (ADR 51)."""

from __future__ import annotations

import time

from mindspore_serving import __version__
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics
from mindspore_serving.server.service.server_statistics import ServerStatistics


class Statistics:
    """What was counted of each method.

    Args:
        dispatcher: Who counts.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._started = time.time()

    def of(self, servable: str, version: int, method: str) -> MethodStatistics:
        """What was counted of a method; zeros where nobody has asked for it.

        Args:
            servable: Its name.
            version: Version number.
            method: Name of the method.
        """
        return self._dispatcher.statistics(servable, version, method)

    def server(self) -> ServerStatistics:
        """What was counted of the whole server until now. Of the event loop."""
        return ServerStatistics(__version__, self._started, time.time() - self._started)
