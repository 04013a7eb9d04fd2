"""What was counted: read by metadata pages, metrics and the like, written by dispatch alone (ADR 51)."""

from __future__ import annotations

from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics


class Statistics:
    """What was counted of each method.

    Args:
        dispatcher: Who counts.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def of(self, servable: str, version: int, method: str) -> MethodStatistics:
        """What was counted of a method; zeros where nobody has asked for it.

        Args:
            servable: Its name.
            version: Version number.
            method: Name of the method.
        """
        return self._dispatcher.statistics(servable, version, method)
