"""Figures of a span of time, of what was counted until its end and until its begin."""

from __future__ import annotations

from collections.abc import Mapping

from mindspore_serving.server.console.status.counted import Counted
from mindspore_serving.server.console.status.document import PhaseTimes, StepTimes, Window
from mindspore_serving.server.console.status.percentiles import percentile
from mindspore_serving.server.dispatch.method_statistics import Histogram, Outcome

_SHORTEST_S = 1e-3


def window_of(now: Counted, before: Counted, seconds: float) -> Window:
    """The figures of a span.

    Args:
        now: What was counted until its end.
        before: What was counted until its begin.
        seconds: How long it was.
    """
    grown = now.since(before)
    seconds = max(seconds, _SHORTEST_S)
    batches = sum(grown.batches.values())
    instances_run = sum(size * count for size, count in grown.batches.items())
    return Window(
        seconds=round(seconds, 3),
        requests=_by_outcome(grown.requests),
        instances=_by_outcome(grown.instances),
        refused={why: count for why, count in grown.refused.items() if count},
        requests_per_s=round(sum(grown.requests.values()) / seconds, 3),
        instances_per_s=round(sum(grown.instances.values()) / seconds, 3),
        phases={phase.value: _phase_times(times) for phase, times in grown.phases.items() if times.count},
        batches=batches,
        mean_batch=round(instances_run / batches, 3) if batches else None,
        batch_sizes={str(size): count for size, count in sorted(grown.batches.items()) if count},
        steps=_steps(grown.steps),
        model_rows=grown.model_rows,
        padding_share=round(grown.padding_rows / grown.model_rows, 4) if grown.model_rows else None,
        cancelled_before_run=grown.cancelled_before_run,
    )


def _by_outcome(counts: Mapping[Outcome, int]) -> dict[str, int]:
    return {outcome.value: count for outcome, count in counts.items() if count}


def _phase_times(times: Histogram) -> PhaseTimes:
    p50, p95, p99 = (_ms(percentile(times, share)) for share in (0.5, 0.95, 0.99))
    return PhaseTimes(times.count, round(times.sum_s * 1e3 / times.count, 4), p50, p95, p99)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 4)


def _steps(steps: Mapping[str, tuple[int, int]]) -> tuple[StepTimes, ...]:
    whole = sum(ns for _, ns in steps.values())
    found = [
        StepTimes(name, runs, round(ns / runs / 1e6, 4), round(ns / whole, 4) if whole else 0.0)
        for name, (runs, ns) in steps.items()
        if runs
    ]
    return tuple(sorted(found, key=lambda step: -step.share))
