"""Percentiles of times that were counted in buckets: estimates, since a bucket does not tell where in it they lie."""

from __future__ import annotations

from mindspore_serving.server.dispatch.method_statistics import Histogram


def percentile(times: Histogram, share: float) -> float | None:
    """The time that a share of all does not exceed.

    Times are taken to be spread evenly within their bucket. So the estimate is at most one bucket off. Of those in the
    last bucket, which has no end, nothing is known but its begin.

    Args:
        times: How many fell into which bucket.
        share: From 0 to 1.

    Returns:
        Seconds; None where there are no times, or no buckets.
    """
    count = times.count
    if count <= 0 or not times.bounds:
        return None
    rank = share * count
    below, lower = 0, 0.0
    for upper, here in zip(times.bounds, times.counts, strict=False):
        if here and below + here >= rank:
            return lower + (upper - lower) * (rank - below) / here
        below += here
        lower = upper
    return lower
