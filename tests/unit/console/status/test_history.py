"""What was counted a while ago: which readings are kept, and what they cost."""

from __future__ import annotations

import asyncio
import random

import pytest

from mindspore_serving.server.console.status.counted import NOTHING, Counted, together
from mindspore_serving.server.console.status.history import (
    LONGEST_WINDOW_S,
    MOST_KEPT,
    READ_EVERY_S,
    MethodKey,
    Reading,
    StatusHistory,
    kept_places,
)
from mindspore_serving.server.dispatch.method_statistics import Histogram, Outcome, Phase
from mindspore_serving.server.service.server_statistics import ServerStatistics
from tests.unit.console.status.figures import FakeStatistics, counted, histogram, version

PREDICT = MethodKey("add", 1, "predict")


def history_of(source: FakeStatistics, most_kept: int = 100) -> StatusHistory:
    return StatusHistory(source, source.clock, most_kept, source.clock)


def read(history: StatusHistory) -> tuple[ServerStatistics, Reading]:
    return asyncio.run(history.read())


def test_before_the_first_reading_all_was_nothing() -> None:
    source = FakeStatistics()
    history = history_of(source)
    source.now += 4
    source.serve(predict=counted(10))
    _, reading = read(history)
    earlier = history.before(10, reading.at)
    assert (earlier.at, earlier.methods, earlier.total) == (source.began, {}, NOTHING)
    assert sum(reading.total.requests.values()) == sum(reading.methods[PREDICT].requests.values()) == 10  # type: ignore[union-attr]


def test_the_newest_reading_that_is_old_enough() -> None:
    source = FakeStatistics()
    history = history_of(source)
    for second in range(31):
        source.now = source.began + second
        source.serve(predict=counted(second))
        _, reading = read(history)
    earlier = history.before(10, reading.at)
    assert earlier.at == source.began + 20
    assert sum(reading.total.since(earlier.total).requests.values()) == 10
    assert history.before(float("inf"), reading.at).at == source.began


def test_rates_of_all_windows_while_only_the_timer_reads() -> None:
    source = FakeStatistics()
    history = history_of(source)
    for step in range(100):
        source.now = source.began + step * READ_EVERY_S
        _, reading = read(history)
    for seconds, most in ((10, 20.0), (60, 75.0), (300, 370.0)):
        assert seconds <= reading.at - history.before(seconds, reading.at).at <= most


@pytest.mark.parametrize("longest", [0.1, 1.0, 1.05, 3.0, READ_EVERY_S])
@pytest.mark.parametrize("seed", range(4))
def test_few_readings_are_kept_and_no_window_lacks_its_begin(longest: float, seed: int) -> None:
    chosen = random.Random(seed)
    times, now = [0.0], 0.0
    for _ in range(1000):
        now += chosen.choice([longest, chosen.uniform(0.01, longest)])
        times = [times[place] for place in kept_places(times, now)]
        if now - times[-1] >= 0.9:
            times.append(now)
        assert times == sorted(set(times))
        assert len(times) <= 32
        for seconds, most in ((10, 30), (60, 90), (300, 390)):
            if now >= seconds:
                assert now - max(time for time in times if time <= now - seconds) <= most


def test_no_reading_is_kept_much_longer_than_the_longest_window() -> None:
    times, now = [0.0], 0.0
    for _ in range(2000):
        now += 1
        times = [*(times[place] for place in kept_places(times, now)), now]
    assert LONGEST_WINDOW_S <= now - times[0] <= LONGEST_WINDOW_S + 60


def test_what_has_not_changed_is_shared() -> None:
    source = FakeStatistics()
    history = history_of(source)
    source.now += 5
    source.serve(predict=counted(5), other=counted(1))
    read(history)
    source.now += 2
    source.serve(predict=counted(5), other=counted(2))
    read(history)
    first, second = history.readings[-2:]
    assert first.methods[PREDICT] is second.methods[PREDICT]
    assert sum(second.methods[PREDICT._replace(method="other")].requests.values()) == 2  # type: ignore[union-attr]
    assert sum(second.total.requests.values()) == 7


def test_methods_that_nobody_calls_take_nothing() -> None:
    source = FakeStatistics()
    history = history_of(source)
    source.serve(predict=counted(0))
    assert read(history)[1].methods == {}


def test_of_too_many_methods_the_busiest_are_kept_and_the_total_has_all() -> None:
    source = FakeStatistics()
    history = history_of(source, most_kept=3)
    read(history)
    source.now += 10
    source.serve(**{f"m{place}": counted(place) for place in range(1, 11)})
    _, reading = read(history)
    kept = {key.method for key, value in reading.methods.items() if value is not None}
    assert kept == {"m8", "m9", "m10"}
    assert len(reading.methods) == 10
    assert sum(reading.total.requests.values()) == sum(range(11))


def test_a_look_that_takes_long_is_not_repeated_at_once() -> None:
    source = FakeStatistics()
    source.cost_s = 0.1
    history = history_of(source)
    source.serve(predict=counted(1))
    assert read(history) is not read(history)  # the first one has more to do, and says nothing
    looked = read(history)
    source.now += 1.8
    assert read(history) is looked
    source.now += 0.2
    assert read(history) is not looked
    assert source.reads == 3


def test_a_look_that_costs_nothing_is_fresh() -> None:
    source = FakeStatistics()
    history = history_of(source)
    source.serve(predict=counted(1))
    read(history)
    source.serve(predict=counted(2))
    assert sum(read(history)[1].total.requests.values()) == 2
    assert len(history.readings) == 1  # but it is not kept


def test_of_many_busy_methods_little_is_kept() -> None:
    source = FakeStatistics()
    history = StatusHistory(source, source.clock)
    for step in range(4):
        source.now += READ_EVERY_S
        source.versions = [version({f"m{place}": counted(step + 1) for place in range(600)})]
        read(history)
    kept = {id(value) for one in history.readings for value in one.methods.values() if value is not None}
    assert len(history.readings) == 5
    assert len(kept) == 4 * MOST_KEPT


def test_it_reads_by_itself_until_it_is_stopped() -> None:
    source = FakeStatistics()

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        history = history_of(source)
        history.start()
        history.start()
        await history.read()
        assert source.reads == 1
        assert history._timer is not None
        assert 0 < history._timer.when() - loop.time() <= READ_EVERY_S
        history.stop()
        history.stop()
        assert history._timer is None

    asyncio.run(scene())


def test_requests_go_on_while_many_methods_are_read() -> None:
    source = FakeStatistics()
    source.serve(**{f"m{place}": counted(1) for place in range(1000)})

    async def scene() -> None:
        history = history_of(source)
        turns = 0
        reading = [asyncio.ensure_future(history.read()) for _ in range(3)]
        reading[0].cancel()  # a client that has gone does not end it for others
        while not all(one.done() for one in reading):
            turns += 1
            await asyncio.sleep(0)
        assert turns >= 10
        assert source.reads == 1
        assert reading[1].result() is reading[2].result()
        assert sum(reading[1].result()[1].total.requests.values()) == 1000

    asyncio.run(scene())


def test_sums_and_differences() -> None:
    one, more = Counted.of(counted(3, failed=1)), Counted.of(counted(5, failed=2))
    grown = more.since(one)
    assert (sum(grown.requests.values()), sum(grown.instances.values())) == (3, 5)
    assert grown.phases[Phase.TOTAL].counts == (0, 3, 0, 0)
    assert grown.phases[Phase.TOTAL].sum_s == pytest.approx(0.015)
    assert grown.batches == {1: 2}
    assert grown.steps["function f"] == (2, 6_000_000)
    assert (grown.model_rows, grown.padding_rows) == (8, 4)
    both = together([one, more])
    assert both.requests == {Outcome.OK: 8, Outcome.MODEL_FAILED: 3}
    assert both.phases[Phase.TOTAL].counts == (0, 11, 0, 0)
    assert (both.batches, both.model_rows, both.steps) == ({1: 8}, 32, {})
    assert together([]) is NOTHING


def test_other_buckets_are_not_mixed() -> None:
    other = Histogram((1.0,), (7, 0), 1.0)
    now = Counted(phases={Phase.TOTAL: other})
    before = Counted(phases={Phase.TOTAL: histogram(1, 2, 3, 4)})
    assert now.since(before).phases[Phase.TOTAL] is other
    assert together([before, now]).phases[Phase.TOTAL].counts == (1, 2, 3, 4)
