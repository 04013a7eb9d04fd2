"""Percentiles of buckets, and the figures of a span."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindspore_serving.server.console.status.counted import NOTHING, Counted
from mindspore_serving.server.console.status.percentiles import percentile
from mindspore_serving.server.console.status.windows import window_of
from mindspore_serving.server.dispatch.method_statistics import Histogram, Phase
from tests.unit.console.status.figures import BOUNDS, counted, histogram


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((10, 0, 0, 0), 0.5, 0.0005),
        ((10, 0, 0, 0), 1.0, 0.001),
        ((0, 100, 0, 0), 0.5, 0.0055),
        ((50, 50, 0, 0), 0.5, 0.001),
        ((50, 50, 0, 0), 0.75, 0.0055),
        ((90, 0, 10, 0), 0.95, 0.055),
        ((1, 0, 0, 99), 0.99, 0.1),
    ],
)
def test_percentiles_between_the_bounds_of_a_bucket(
    counts: tuple[int, ...], share: float, expected: float
) -> None:
    assert percentile(histogram(*counts), share) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.0002), (0.8, 0.0005), (0.95, 0.00095)])
def test_the_mean_bounds_what_the_first_bucket_leaves_open(share: float, expected: float) -> None:
    assert percentile(histogram(100, 0, 0, 0, sum_s=0.01), share) == pytest.approx(expected)


def test_what_took_no_time_has_a_percentile_of_0() -> None:
    assert percentile(histogram(3, 0, 0, 0, sum_s=0.0), 0.99) == 0


@pytest.mark.parametrize("times", [histogram(0, 0, 0, 0), Histogram((), (5,), 1.0)])
def test_no_times_have_no_percentile(times: Histogram) -> None:
    assert percentile(times, 0.5) is None


@given(st.lists(st.sampled_from([0.0005, 0.002, 0.05]), min_size=1, max_size=50), st.integers(1, 100))
def test_an_estimate_is_in_the_bucket_of_the_truth(times: list[float], percent: int) -> None:
    counts = [0] * 4
    for one in times:
        counts[sum(one > bound for bound in BOUNDS)] += 1
    true = sorted(times)[-(-percent * len(times) // 100) - 1]
    place = sum(true > bound for bound in BOUNDS)
    found = percentile(histogram(*counts), percent / 100)
    assert found is not None
    assert (BOUNDS[place - 1] if place else 0.0) - 1e-9 <= found <= BOUNDS[place] + 1e-9


def test_the_figures_of_a_span() -> None:
    window = window_of(
        replace(Counted.of(counted(30, failed=2)), refused={"bytes": 5, "invalid": 3}),
        replace(Counted.of(counted(10, failed=1)), refused={"bytes": 1, "invalid": 3}),
        10.0,
    )
    assert (window.seconds, window.requests) == (10.0, {"ok": 20, "model_failed": 1})
    assert (window.requests_per_s, window.instances_per_s) == (2.1, 4.1)
    assert window.refused == {"bytes": 4}
    total = window.phases["total"]
    assert (total.count, total.mean_ms, total.p50_ms) == (21, 5.0, 5.5)
    assert total.p95_ms == pytest.approx(1 + 9 * 0.95)
    assert total.p99_ms == pytest.approx(1 + 9 * 0.99)
    assert (window.batches, window.mean_batch, window.batch_sizes) == (20, 1.0, {"1": 20})
    assert [(step.name, step.runs, step.mean_ms, step.share) for step in window.steps] == [
        ("function f", 20, 3.0, 0.75),
        ("model m", 20, 1.0, 0.25),
    ]
    assert (window.model_rows, window.padding_share) == (80, 0.5)


def test_nothing_in_no_time() -> None:
    window = window_of(NOTHING, NOTHING, 0.0)
    assert (window.requests, window.phases, window.steps) == ({}, {}, ())
    assert (window.requests_per_s, window.mean_batch, window.padding_share) == (0.0, None, None)


def test_phases_without_requests_are_left_out() -> None:
    now = Counted.of(
        counted(5, phases={Phase.TOTAL: histogram(5, 0, 0, 0), Phase.QUEUE: histogram(0, 0, 0, 0)})
    )
    assert set(window_of(now, NOTHING, 1.0).phases) == {"total"}
