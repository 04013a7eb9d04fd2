"""Latencies in buckets whose width grows with them: any number of them in little memory, exact to half a percent."""

from __future__ import annotations

import math
from collections import Counter

_PER_OCTAVE = 128
"""Buckets between a latency and its double: a bucket ends 0.54 % above its begin."""
_LEAST_S = 1e-7


class Histogram:
    """Counts of latencies.

    Attributes:
        count: Number of latencies.
        total_s: Their sum, exact.
        most_s: The longest, exact.
        least_s: The shortest, exact.
    """

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total_s = 0.0
        self.most_s = 0.0
        self.least_s = math.inf

    def add(self, seconds: float) -> None:
        """Add one."""
        self._buckets[math.ceil(math.log2(max(seconds, _LEAST_S)) * _PER_OCTAVE)] += 1
        self.count += 1
        self.total_s += seconds
        self.most_s = max(self.most_s, seconds)
        self.least_s = min(self.least_s, seconds)

    @property
    def mean_s(self) -> float:
        """Their mean; NaN if there are none."""
        return self.total_s / self.count if self.count else math.nan

    def percentile(self, share: float) -> float:
        """The least latency that at least a share of them does not exceed, rounded up to the end of its bucket.

        Args:
            share: From 0 to 1.

        Returns:
            Seconds; NaN if there are none.
        """
        if not self.count:
            return math.nan
        # What rounding adds to the product must not reach for the next value.
        rank = max(1, math.ceil(share * self.count - 1e-9))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(2 ** (bucket / _PER_OCTAVE), self.most_s)
        return self.most_s

    def summary_ms(self) -> dict[str, float | None]:
        """Mean, percentiles and longest, in milliseconds; None if there are none."""
        shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
        values = {"mean": self.mean_s, **{name: self.percentile(share) for name, share in shares.items()}}
        values["max"] = self.most_s if self.count else math.nan
        return {name: None if math.isnan(value) else round(value * 1e3, 4) for name, value in values.items()}

    def curve_ms(self) -> list[tuple[float, float]]:
        """(share, latency in ms) of each bucket that holds any, ascending."""
        points, seen = [], 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            points.append((seen / self.count, min(2 ** (bucket / _PER_OCTAVE), self.most_s) * 1e3))
        return points
