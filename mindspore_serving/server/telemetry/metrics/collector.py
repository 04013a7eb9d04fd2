"""From a snapshot to metrics, as `prometheus_client` collects them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric, Sample
from prometheus_client.registry import Collector

from mindspore_serving.server.telemetry.metrics.aliases import ALIASES
from mindspore_serving.server.telemetry.metrics.method_metrics import method_metrics
from mindspore_serving.server.telemetry.metrics.server_metrics import server_metrics
from mindspore_serving.server.telemetry.metrics.snapshot import Snapshot

_SAMPLES_AT_ONCE: Final = 64
"""They are written within a millisecond."""
_PAUSE_S: Final = 50e-6


class SnapshotCollector(Collector):
    """Collects the metrics of one snapshot.

    Args:
        snapshot: Of what.
        aliases: Names of the alias sets that are shown as well.
    """

    def __init__(self, snapshot: Snapshot, aliases: Sequence[str]) -> None:
        self._snapshot = snapshot
        self._aliases = aliases

    def collect(self) -> Iterator[Metric]:
        """The metrics; those without any sample are left out."""
        methods, hidden = self._snapshot.methods()
        found = [*server_metrics(self._snapshot, hidden), *method_metrics(methods)]
        for name in self._aliases:
            found += ALIASES[name](methods)
        for metric in found:
            if metric.samples:
                metric.samples = _GivingWay(metric.samples)
                yield metric


class _GivingWay(list[Sample]):
    """Samples which let the event loop run while they are written: else it gets Python's lock each 5 ms only."""

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(super().__iter__()):
            if number % _SAMPLES_AT_ONCE == 0:
                time.sleep(_PAUSE_S)
            yield sample


def registry_of(snapshot: Snapshot, aliases: Sequence[str]) -> CollectorRegistry:
    """A registry of a snapshot, and of this process.

    Args:
        snapshot: What was counted.
        aliases: As of `SnapshotCollector`.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot, aliases))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
