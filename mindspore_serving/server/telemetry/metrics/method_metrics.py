"""The metrics of methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mindspore_serving.server.dispatch.method_statistics import Outcome
from mindspore_serving.server.telemetry.metrics.families import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
    add_duration,
    add_histogram,
    add_sizes,
)
from mindspore_serving.server.telemetry.metrics.snapshot import METHOD_LABELS, ShownMethod, label

_SIZES: Final = tuple(1 << i for i in range(11))
"""Upper bounds of sizes of batches."""


def method_metrics(methods: Sequence[ShownMethod]) -> Iterator[Metric]:
    """All metrics of some methods.

    Args:
        methods: Which.
    """
    yield from _outcomes(methods)
    yield _refused(methods)
    yield _phases(methods)
    yield _batches(methods)
    yield _stages(methods)
    yield from _rows(methods)
    yield _last_requests(methods)


def _outcomes(methods: Sequence[ShownMethod]) -> Iterator[Metric]:
    names = (*METHOD_LABELS, "outcome")
    requests = CounterMetricFamily(
        "serving_requests", "Requests that have ended, by what became of them.", labels=names
    )
    instances = CounterMetricFamily(
        "serving_instances", "Instances of requests that have ended, by what became of them.", labels=names
    )
    for method in methods:
        labels, counted = method.labels, method.counted
        for (
            outcome
        ) in Outcome:  # those that every method has begin at 0, so that the first one is an increase
            for family, counts in ((requests, counted.requests), (instances, counted.outcomes)):
                if outcome in counts or outcome is Outcome.OK:
                    family.add_metric([*labels, outcome.value], counts.get(outcome, 0))
    yield requests
    yield instances


def _refused(methods: Sequence[ShownMethod]) -> Metric:
    family = CounterMetricFamily(
        "serving_method_refused_requests",
        "Requests for a method that were not admitted, by what refused them.",
        labels=(*METHOD_LABELS, "reason"),
    )
    for method in methods:
        for reason, count in sorted(method.counted.refused.items()):
            family.add_metric([*method.labels, label(reason)], count)
    return family


def _phases(methods: Sequence[ShownMethod]) -> Metric:
    family = HistogramMetricFamily(
        "serving_phase_duration_seconds",
        "How long requests were in each phase; phase total is all of it.",
        labels=(*METHOD_LABELS, "phase"),
    )
    for method in methods:
        labels = method.labels
        for phase, histogram in method.counted.phases.items():
            add_histogram(family, [*labels, phase.value], histogram)
    return family


def _batches(methods: Sequence[ShownMethod]) -> Metric:
    family = HistogramMetricFamily(
        "serving_batch_size_instances", "Instances of each batch that a worker has run.", labels=METHOD_LABELS
    )
    for method in methods:
        if method.counted.batches:
            sizes = [(size, times.compute_infer.count) for size, times in method.counted.batches.items()]
            add_sizes(family, method.labels, sizes, _SIZES)
    return family


def _stages(methods: Sequence[ShownMethod]) -> Metric:
    family = SummaryMetricFamily(
        "serving_stage_duration_seconds",
        "Time of each stage and of each model in workers, by batch.",
        labels=(*METHOD_LABELS, "stage"),
    )
    for method in methods:
        labels = method.labels
        for stage, duration in method.counted.steps.items():
            add_duration(family, [*labels, label(stage)], duration)
    return family


def _rows(methods: Sequence[ShownMethod]) -> Iterator[Metric]:
    rows = CounterMetricFamily("serving_model_rows", "Rows with which models were run.", labels=METHOD_LABELS)
    padding = CounterMetricFamily(
        "serving_padding_rows",
        "Rows with which models were run only to fill up a batch of fixed size.",
        labels=METHOD_LABELS,
    )
    cancelled = CounterMetricFamily(
        "serving_cancelled_before_run_instances",
        "Instances that no worker had to run, since their client had gone or their time was over.",
        labels=METHOD_LABELS,
    )
    for method in methods:
        labels, counted = method.labels, method.counted
        rows.add_metric(labels, counted.model_rows)
        padding.add_metric(labels, counted.padding_rows)
        cancelled.add_metric(labels, counted.cancelled_before_run)
    yield from (rows, padding, cancelled)


def _last_requests(methods: Sequence[ShownMethod]) -> Metric:
    family = GaugeMetricFamily(
        "serving_last_request_timestamp_seconds",
        "When a request was last sent to a worker, in seconds since 1970.",
        labels=METHOD_LABELS,
    )
    for method in methods:
        if method.counted.last_request_ms:
            family.add_metric(method.labels, method.counted.last_request_ms / 1000)
    return family
