"""Percentiles of times that were counted in buckets: estimates, since a bucket does not tell where in it they lie."""

from __future__ import annotations

import math

from mindspore_serving.server.dispatch.method_statistics import Histogram


def percentile(times: Histogram, share: float) -> float | None:
    """The time that a share of all does not exceed.

    Times are taken to be spread evenly within their bucket. So the estimate is at most one bucket off. Of those in the
    last bucket, which has no end, nothing is known but its begin. The mean, which is exact, bounds what the first
    bucket leaves open: a share of 1 - `share` takes at least the percentile, so that is at most mean / (1 - share).

    Args:
        times: How many fell into which bucket.
        share: From 0 to 1.

    Returns:
        Seconds; None where there are no times, or no buckets.
    """
    count = times.count
    if count <= 0 or not times.bounds:
        return None
    most = times.sum_s / count / (1 - share) if share < 1 else math.inf
    return min(_within_bucket(times, share * count), most)


def _within_bucket(times: Histogram, rank: float) -> float:
    below, lower = 0, 0.0
    for upper, here in zip(times.bounds, times.counts, strict=False):
        if here and below + here >= rank:
            return lower + (upper - lower) * (rank - below) / here
        below += here
        lower = upper
    return lower
