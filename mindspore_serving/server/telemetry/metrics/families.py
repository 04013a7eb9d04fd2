"""Kinds of metrics: those that `prometheus_client` offers to custom collectors, and how they take what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.utils import floatToGoString

from mindspore_serving.server.dispatch.method_statistics import Duration, Histogram

__all__ = [
    "NS",
    "CounterMetricFamily",
    "GaugeMetricFamily",
    "HistogramMetricFamily",
    "Metric",
    "SummaryMetricFamily",
    "add_duration",
    "add_histogram",
    "add_sizes",
]

NS: Final = 1e-9
"""Seconds of a nanosecond."""


def add_histogram(
    family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram, per_second: float = 1.0
) -> None:
    """Add a histogram of durations.

    Args:
        family: To which.
        labels: Values of its labels.
        histogram: In seconds.
        per_second: How many units of the family a second has.
    """
    bounds = [_bound(bound * per_second) for bound in histogram.bounds]
    buckets = list(zip((*bounds, "+Inf"), map(float, accumulate(histogram.counts)), strict=True))
    family.add_metric(labels, buckets, histogram.sum_s * per_second)


def add_sizes(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    bounds: Sequence[int],
) -> None:
    """Add a histogram of sizes.

    Args:
        family: To which.
        labels: Values of its labels.
        sizes: Each size, and how often it was.
        bounds: Upper bounds of buckets, ascending.
    """
    buckets = [
        (_bound(bound), float(sum(count for size, count in sizes if size <= bound))) for bound in bounds
    ]
    buckets.append(("+Inf", float(sum(count for _, count in sizes))))
    family.add_metric(labels, buckets, float(sum(size * count for size, count in sizes)))


def add_duration(family: SummaryMetricFamily, labels: Sequence[str], duration: Duration) -> None:
    """Add how often something took time, and how long in all, in seconds.

    Args:
        family: To which.
        labels: Values of its labels.
        duration: How often and how long.
    """
    family.add_metric(labels, duration.count, duration.ns * NS)


def _bound(value: float) -> str:
    """An upper bound as a label."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]
