"""What was counted of a method, or of all of them together, in a form that can be kept and subtracted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import sub
from typing import TypeVar

from mindspore_serving.server.dispatch.method_statistics import Histogram, MethodStatistics, Outcome, Phase

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Counted:
    """Numbers that only grow, at one moment; or how much they have grown between two.

    Attributes:
        requests: Requests that have ended, by what became of them.
        instances: Instances, likewise.
        phases: How long requests were in each phase; one in which none was lacks.
        batches: Batches that were run, by number of instances.
        steps: Runs and nanoseconds of each stage and model, by name.
        model_rows: Rows with which models were run.
        padding_rows: Those of them that only fill up a batch.
        cancelled_before_run: Instances whose client had gone before a worker had them.
        refused: Requests that were not admitted, by what refused them.
    """

    requests: Mapping[Outcome, int] = field(default_factory=dict)
    instances: Mapping[Outcome, int] = field(default_factory=dict)
    phases: Mapping[Phase, Histogram] = field(default_factory=dict)
    batches: Mapping[int, int] = field(default_factory=dict)
    steps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    model_rows: int = 0
    padding_rows: int = 0
    cancelled_before_run: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, method: MethodStatistics) -> Counted:
        """What was counted of a method until now."""
        return cls(
            dict(method.requests),
            dict(method.outcomes),
            dict(method.phases),
            {size: times.compute_infer.count for size, times in method.batches.items()},
            {name: (spent.count, spent.ns) for name, spent in method.steps.items()},
            method.model_rows,
            method.padding_rows,
            method.cancelled_before_run,
            dict(method.refused),
        )

    def since(self, earlier: Counted) -> Counted:
        """How much was counted since an earlier moment."""
        if earlier is NOTHING:
            return self
        return Counted(
            _less_counts(self.requests, earlier.requests),
            _less_counts(self.instances, earlier.instances),
            {phase: _less(now, earlier.phases.get(phase)) for phase, now in self.phases.items()},
            _less_counts(self.batches, earlier.batches),
            {name: _less_steps(now, earlier.steps.get(name)) for name, now in self.steps.items()},
            self.model_rows - earlier.model_rows,
            self.padding_rows - earlier.padding_rows,
            self.cancelled_before_run - earlier.cancelled_before_run,
            _less_counts(self.refused, earlier.refused),
        )


NOTHING = Counted()
"""What was counted before the first request."""


def together(parts: Sequence[Counted]) -> Counted:
    """What was counted of several methods in all.

    Steps are left out, as those of two methods have nothing in common; and so are refusals, since there are some of no
    method.
    """
    if not parts:
        return NOTHING
    phases: dict[Phase, list[Histogram]] = {}
    for part in parts:
        for phase, times in part.phases.items():
            phases.setdefault(phase, []).append(times)
    return Counted(
        _all_counts([part.requests for part in parts]),
        _all_counts([part.instances for part in parts]),
        {phase: _all_of(times) for phase, times in phases.items()},
        _all_counts([part.batches for part in parts]),
        {},
        sum([part.model_rows for part in parts]),
        sum([part.padding_rows for part in parts]),
        sum([part.cancelled_before_run for part in parts]),
    )


def _all_counts(parts: Iterable[Mapping[_Key, int]]) -> dict[_Key, int]:
    found: dict[_Key, int] = {}
    for part in parts:
        for key, count in part.items():
            found[key] = found.get(key, 0) + count
    return found


def _less_counts(now: Mapping[_Key, int], earlier: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: count - earlier.get(key, 0) for key, count in now.items()}


def _sums(rows: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*rows, strict=True)))


def _all_of(times: Sequence[Histogram]) -> Histogram:
    """All times of one phase; those with other buckets than the first are left out."""
    bounds = times[0].bounds
    alike = [one for one in times if one.bounds == bounds]
    return Histogram(bounds, _sums(one.counts for one in alike), sum([one.sum_s for one in alike]))


def _less(now: Histogram, earlier: Histogram | None) -> Histogram:
    if earlier is None or earlier.bounds != now.bounds:
        return now
    return Histogram(now.bounds, tuple(map(sub, now.counts, earlier.counts)), now.sum_s - earlier.sum_s)


def _less_steps(now: tuple[int, int], earlier: tuple[int, int] | None) -> tuple[int, int]:
    return now if earlier is None else (now[0] - earlier[0], now[1] - earlier[1])
