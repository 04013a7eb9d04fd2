"""What one scrape shows: taken on the event loop at once, and read in another thread afterwards."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from mindspore_serving.server.dispatch.method_statistics import MethodStatistics
from mindspore_serving.server.service.server_statistics import ServerStatistics, VersionStatistics

MOST_METHODS: Final = 100
"""Methods of versions that a scrape shows: each has some 150 lines, and Prometheus keeps a series for each line."""


class ShownMethod(NamedTuple):
    """A method of a version.

    Attributes:
        version: Whose it is.
        name: Of the method.
        counted: What was counted of it.
    """

    version: VersionStatistics
    name: str
    counted: MethodStatistics

    @property
    def labels(self) -> list[str]:
        """Values of `METHOD_LABELS`."""
        return [label(self.version.servable), str(self.version.version), label(self.name)]


METHOD_LABELS: Final = ("servable", "version", "method")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one scrape shows.

    Attributes:
        server: What was counted.
        ready: Whether the server is ready, as health checks report it.
    """

    server: ServerStatistics
    ready: bool

    def methods(self) -> tuple[Sequence[ShownMethod], int]:
        """The methods that are shown, and how many others there are: those with the fewest requests are left out."""
        found = [
            ShownMethod(version, name, counted)
            for version in self.server.versions
            for name, counted in version.methods.items()
        ]
        hidden = len(found) - MOST_METHODS
        if hidden <= 0:
            return found, 0
        busiest = heapq.nlargest(MOST_METHODS, range(len(found)), lambda i: (_requests(found[i]), -i))
        return [found[i] for i in sorted(busiest)], hidden


def label(text: str) -> str:
    """A value of a label: names of files may have characters that UTF-8 has not."""
    return text.encode(errors="backslashreplace").decode()


def _requests(method: ShownMethod) -> int:
    return sum(method.counted.requests.values())
