"""The one object that front ends get."""

from __future__ import annotations

from dataclasses import dataclass

from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Service:
    """What front ends, and those who bring workers, know of the server.

    Attributes:
        dispatcher: Runs requests.
        catalog: Tells what there is to run, and how it is.
        statistics: Tells what was counted.
    """

    dispatcher: Dispatcher
    catalog: Catalog
    statistics: Statistics

    @classmethod
    def of(cls, dispatcher: Dispatcher) -> Service:
        """A service with a catalog and statistics of its own."""
        catalog = Catalog(dispatcher)
        return cls(dispatcher, catalog, Statistics(dispatcher, catalog))
