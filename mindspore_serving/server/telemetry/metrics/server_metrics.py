"""The metrics of the server, of its front ends, of versions of servables, and of workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mindspore_serving.server.service.server_statistics import ServerStatistics, VersionStatistics
from mindspore_serving.server.telemetry.metrics.families import CounterMetricFamily, GaugeMetricFamily, Metric
from mindspore_serving.server.telemetry.metrics.snapshot import Snapshot, label

_READY: Final = "ready"
_VERSION: Final = ("servable", "version")
_WORKER: Final = (*_VERSION, "worker")
_FRONT_END: Final = ("kind", "address")
_LIMITED: Final = ("requests", "instances", "bytes")


def server_metrics(snapshot: Snapshot, hidden_methods: int) -> Iterator[Metric]:
    """All metrics that are not of a method.

    Args:
        snapshot: What is shown.
        hidden_methods: Methods whose metrics are left out.
    """
    server = snapshot.server
    yield from _life(snapshot)
    yield _gauge(
        "serving_hidden_methods", "Methods whose metrics are left out, as there are many.", hidden_methods
    )
    yield from _load(server)
    yield from _front_ends(server)
    yield from _versions(server.versions)
    yield from _workers(server.versions)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def _life(snapshot: Snapshot) -> Iterator[Metric]:
    server = snapshot.server
    build = GaugeMetricFamily("serving_build_info", "Version of MindSpore Serving.", labels=("version",))
    build.add_metric([label(server.build)], 1)
    yield build
    yield _gauge("serving_ready", "1 where the server is ready, as health checks report it.", snapshot.ready)
    yield _gauge("serving_closing", "1 where the server drains or stops.", bool(server.closing))
    yield _gauge(
        "serving_start_time_seconds", "When the server began, in seconds since 1970.", server.started
    )
    yield _gauge("serving_uptime_seconds", "Seconds since the server began.", server.uptime_s)
    yield _gauge("serving_memory_bytes", "Resident memory of the main process.", server.memory_bytes)


def _load(server: ServerStatistics) -> Iterator[Metric]:
    pending = server.pending_requests, server.pending_instances, server.pending_bytes
    for what, count, limit in zip(_LIMITED, pending, server.limits, strict=True):
        text = f"{what.capitalize()} of requests" if what != "requests" else "Requests"
        yield _gauge(f"serving_pending_{what}", f"{text} that wait or are under way.", count)
        if limit:
            yield _gauge(f"serving_limit_pending_{what}", f"Most {what} that may be pending.", limit)
    refused = CounterMetricFamily(
        "serving_refused_requests",
        "Requests that were refused before they were admitted, by what refused them.",
        labels=("reason",),
    )
    for reason, count in sorted(server.refused.items()):
        refused.add_metric([label(reason)], count)
    yield refused


def _front_ends(server: ServerStatistics) -> Iterator[Metric]:
    connections = GaugeMetricFamily("serving_connections", "Connections that are open.", labels=_FRONT_END)
    most = GaugeMetricFamily(
        "serving_limit_connections", "Most connections that may be open.", labels=_FRONT_END
    )
    for front_end in server.front_ends:
        is_path = front_end.address.startswith("unix:")  # no page shows paths
        labels = [front_end.kind, "unix" if is_path else label(front_end.address)]
        if front_end.connections >= 0:  # gRPC does not tell of a Unix socket
            connections.add_metric(labels, front_end.connections)
        if front_end.most_connections:
            most.add_metric(labels, front_end.most_connections)
    yield from (connections, most)


def _versions(versions: tuple[VersionStatistics, ...]) -> Iterator[Metric]:
    ready = GaugeMetricFamily("serving_version_ready", "1 where a version answers requests.", labels=_VERSION)
    state = GaugeMetricFamily(
        "serving_version_state", "1 for the state of a version.", labels=(*_VERSION, "state")
    )
    requests = GaugeMetricFamily(
        "serving_version_pending_requests",
        "Requests of a version that wait or are under way.",
        labels=_VERSION,
    )
    instances = GaugeMetricFamily(
        "serving_version_pending_instances", "Instances of these requests.", labels=_VERSION
    )
    waiting = GaugeMetricFamily(
        "serving_version_waiting_instances", "Instances that no worker has yet.", labels=_VERSION
    )
    limits = GaugeMetricFamily(
        "serving_version_limit_pending", "Most that may be pending of a version.", labels=(*_VERSION, "of")
    )
    for version in versions:
        labels = _labels_of(version)
        ready.add_metric(labels, version.state == _READY)
        state.add_metric([*labels, version.state], 1)
        requests.add_metric(labels, version.pending_requests)
        instances.add_metric(labels, version.pending_instances)
        waiting.add_metric(labels, version.waiting_instances)
        for what, limit in zip(_LIMITED, version.limits, strict=True):
            if limit:
                limits.add_metric([*labels, what], limit)
    yield from (ready, state, requests, instances, waiting, limits)


def _workers(versions: tuple[VersionStatistics, ...]) -> Iterator[Metric]:
    restarts = CounterMetricFamily(
        "serving_worker_restarts", "How often a worker was started again.", labels=_WORKER
    )
    state = GaugeMetricFamily(
        "serving_worker_state", "1 for the state of a worker.", labels=(*_WORKER, "state")
    )
    memory = GaugeMetricFamily(
        "serving_worker_memory_bytes", "Resident memory of a worker and its children.", labels=_WORKER
    )
    slots = GaugeMetricFamily(
        "serving_worker_slots", "Batches that may be under way at a worker at a time.", labels=_WORKER
    )
    used = GaugeMetricFamily("serving_worker_slots_used", "Batches that are under way.", labels=_WORKER)
    for version in versions:
        for copy in version.copies:
            labels = [*_labels_of(version), label(copy.worker)]
            restarts.add_metric(labels, copy.restarts)
            state.add_metric([*labels, label(copy.state)], 1)
            slots.add_metric(labels, copy.slots)
            used.add_metric(labels, copy.slots_used)
            if copy.memory_bytes:
                memory.add_metric(labels, copy.memory_bytes)
    yield from (restarts, state, memory, slots, used)


def _labels_of(version: VersionStatistics) -> list[str]:
    return [label(version.servable), str(version.version)]
