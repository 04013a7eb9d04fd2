"""What the benchmark suites of models, batches, memory and the Python client compute from what they measure."""

import numpy as np
import pytest

from benchmarks.batching import BatchSizes
from benchmarks.memory_samples import Sample, after_warm_up, growth_of
from benchmarks.models_plan import NETWORKS, Samples
from benchmarks.python_client import python_client_row
from benchmarks.python_client_process import measure


@pytest.mark.parametrize(
    ("sizes", "growth", "error", "flat"),
    [
        ([50, 50, 50], 0, 0, True),
        ([50, 54, 58], 4, 0, False),
        ([90, 70, 50], -20, 0, True),
        ([50, 60, 58], 4, 3.464, True),
    ],
    ids=["level", "growing", "shrinking", "not sure"],
)
def test_growth_is_a_slope(sizes, growth, error, flat):
    found = growth_of([(100_000 * index, float(size)) for index, size in enumerate(sizes)])
    assert found == pytest.approx((growth, error), abs=1e-3)
    assert found.is_flat is flat


def test_growth_needs_three_samples():
    with pytest.raises(ValueError, match="three samples, got 2"):
        growth_of([(0, 50.0), (1, 50.0)])


def test_warm_up_is_the_first_quarter():
    samples = [Sample(requests, 1.0, (2.0,), 0.0) for requests in range(0, 200_001, 10_000)]
    warm = after_warm_up(samples)
    assert [sample.requests for sample in warm] == list(range(50_000, 200_001, 10_000))


def test_batch_sizes_from_replies():
    sizes = BatchSizes.of_replies({1: 5, 4: 8, 32: 96})
    assert sizes.batches == {1: 5, 4: 2, 32: 3}
    assert not sizes.torn
    assert sizes.mean == pytest.approx(10.9)
    assert [sizes.quantile(share) for share in (0.5, 0.7, 0.9)] == [1, 4, 32]
    assert sizes.full_share == pytest.approx(0.3)


def test_torn_batches_show():
    """Seven replies cannot all come from batches of four."""
    assert BatchSizes.of_replies({4: 7, 2: 2}).torn == [4]


def test_batch_sizes_add_up():
    summed = BatchSizes({1: 2, 8: 1}) + BatchSizes({8: 3}, [5])
    assert (summed.batches, summed.torn) == ({1: 2, 8: 4}, [5])


@pytest.mark.parametrize(
    ("scores", "right"),
    [
        ([[1.0, 2.0], [30.0, 4.0]], True),
        ([[1.0005, 2.0], [30.0, 4.02]], True),
        ([[30.0, 4.0], [1.0, 2.0]], False),
        ([[1.0, 2.0]], False),
        ([[1.0, 2.1], [30.0, 4.0]], False),
        ([[1.0, np.nan], [30.0, 4.0]], False),
    ],
    ids=["equal", "rounded", "rows mixed up", "a row missing", "wrong", "not a number"],
)
def test_scores_are_judged(scores, right):
    expected = np.array([[9.0, 9.0], [1.0, 2.0], [30.0, 4.0]], np.float32)
    samples = Samples(np.zeros((3, 1), np.float32), expected)
    assert samples.are_right(np.array(scores, np.float32), slice(1, 3)) is right


def test_any_batch_fits_into_the_instances():
    for network in NETWORKS:
        assert all(network.instances % rows == 0 for rows in network.batches)


def test_each_reply_of_each_way_is_judged():
    measured = measure({"one": lambda: 1, "other": lambda: 2}, lambda reply: reply == 1, 0.0)
    assert measured.cpu_us.keys() == {"one", "other"}
    assert measured.checked == 2 * measured.wrong > 0


def test_ratios_of_the_ways_are_taken_within_a_turn():
    turns = [
        {"cpu_us": {"client": 30.0, "stub": 20.0, "bytes": 10.0}, "checked": 60, "wrong": 0},
        {"cpu_us": {"client": 80.0, "stub": 100.0, "bytes": 40.0}, "checked": 60, "wrong": 1},
        {"cpu_us": {"client": 20.0, "stub": 20.0, "bytes": 20.0}, "checked": 30, "wrong": 1},
    ]
    row = python_client_row(32, turns)
    assert row["cpu_us"] == {"client": 30.0, "stub": 20.0, "bytes": 20.0}
    assert row["client_over_stub"] == {"median": 1.0, "min": 0.8, "max": 1.5}
    assert row["client_over_bytes"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert (row["checked"], row["wrong"]) == (150, 2)
