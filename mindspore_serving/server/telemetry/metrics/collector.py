"""From a snapshot to metrics, as `prometheus_client` collects them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from mindspore_serving.server.telemetry.metrics.aliases import ALIASES
from mindspore_serving.server.telemetry.metrics.method_metrics import method_metrics
from mindspore_serving.server.telemetry.metrics.server_metrics import server_metrics
from mindspore_serving.server.telemetry.metrics.snapshot import Snapshot


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
        yield from (metric for metric in found if metric.samples)


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
