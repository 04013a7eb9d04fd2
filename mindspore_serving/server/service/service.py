"""The one object that front ends get."""

from __future__ import annotations

from dataclasses import dataclass, field

from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.statistics import Statistics
from mindspore_serving.server.service.worker_logs import WorkerLogs


@dataclass(frozen=True, slots=True)
class Service:
    """What front ends, and those who bring workers, know of the server.

    Attributes:
        dispatcher: Runs requests.
        catalog: Tells what there is to run, and how it is.
        statistics: Tells what was counted.
        logs: Tells what workers have written to their logs.
    """

    dispatcher: Dispatcher
    catalog: Catalog
    statistics: Statistics
    logs: WorkerLogs = field(default_factory=WorkerLogs)

    @classmethod
    def of(cls, dispatcher: Dispatcher) -> Service:
        """A service with a catalog and statistics of its own."""
        catalog = Catalog(dispatcher)
        return cls(dispatcher, catalog, Statistics(dispatcher, catalog))
