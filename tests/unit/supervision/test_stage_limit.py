"""When a call counts as one that takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mindspore_serving.server.channel.call_page import CallPage, HeldRows, WrittenCall
from mindspore_serving.server.supervision.stage_limit import OverdueCall, StageLimit
from tests.support.virtual_time import run_in_virtual_time

SECOND = 10**9
ROWS = (HeldRows(1, 0, 1),)


@pytest.fixture
def page() -> Iterator[CallPage]:
    page = CallPage.create()
    yield page
    page.close()


def limit_of(page: CallPage, seconds: float = 1) -> StageLimit:
    return StageLimit(page, seconds, lambda _: None, lambda: 0.0)


def looks(limit: StageLimit, *seconds: float) -> list[bool]:
    """Whether a call is overdue at each of these times."""
    return [limit.look(int(each * SECOND)) is not None for each in seconds]


@pytest.mark.parametrize(
    ("limit_s", "period_s"), [(0.001, 0.01), (0.04, 0.01), (0.4, 0.1), (1, 0.25), (3600, 0.25)]
)
def test_how_often_it_looks(page: CallPage, limit_s: float, period_s: float) -> None:
    assert limit_of(page, limit_s).period_s == period_s


def test_a_call_is_overdue_once_it_has_run_for_longer_than_the_limit(page: CallPage) -> None:
    limit = limit_of(page)
    page.begin(0, 10 * SECOND, b"slow", ROWS)
    assert looks(limit, 10.1, 10.35, 10.6, 10.85, 11) == [False] * 5
    assert limit.look(int(11.1 * SECOND)) == OverdueCall(WrittenCall("slow", ROWS), 1.1)


def test_a_call_that_ends_in_time_makes_room_for_the_next(page: CallPage) -> None:
    limit = limit_of(page)
    page.begin(0, 10 * SECOND, b"one", ROWS)
    assert looks(limit, 10.25, 10.5, 10.75) == [False] * 3
    page.begin(0, int(10.9 * SECOND), b"two", ROWS)
    assert looks(limit, 11, 11.25, 11.5, 11.75) == [False] * 4
    page.set_begun(0, 0)
    assert looks(limit, 12, 13) == [False] * 2


def test_time_in_which_nobody_looked_condemns_no_call(page: CallPage) -> None:
    """Both processes were suspended; the worker has half of the limit to go on."""
    limit = limit_of(page)
    page.begin(0, 10 * SECOND, b"one", ROWS)
    assert looks(limit, 100, 100.25, 100.5) == [False, False, True]


def test_looks_at_an_earlier_call_do_not_count(page: CallPage) -> None:
    """Both processes were suspended when the second call had just begun."""
    limit = limit_of(page)
    page.begin(0, 10 * SECOND, b"one", ROWS)
    assert looks(limit, 10.25, 10.5, 10.75) == [False] * 3
    page.begin(0, int(10.9 * SECOND), b"two", ROWS)
    assert looks(limit, 100, 100.25, 100.5) == [False, False, True]


def test_a_call_whose_clock_stands_still_is_not_overdue(page: CallPage) -> None:
    limit = limit_of(page)
    page.begin(0, 10 * SECOND, b"waits", ROWS)
    assert looks(limit, 10.25, 10.5, 10.75) == [False] * 3
    page.set_begun(0, 0)
    assert looks(limit, 11, 12, 13) == [False] * 3
    page.set_begun(0, int(12.5 * SECOND))
    assert looks(limit, 13.4, 13.6) == [False, True]


def test_the_call_that_began_first_is_told(page: CallPage) -> None:
    limit = limit_of(page)
    page.begin(0, int(10.1 * SECOND), b"second", ROWS)
    page.begin(1, 10 * SECOND, b"first", ROWS)
    assert looks(limit, 10.25, 10.5, 10.75) == [False] * 3
    overdue = limit.look(12 * SECOND)
    assert overdue is not None
    assert overdue.call.text == "first"


def test_it_tells_once_and_stops(page: CallPage) -> None:
    async def told() -> list[tuple[float, str]]:
        clock = asyncio.get_running_loop().time
        found: list[tuple[float, str]] = []

        def on_overdue(overdue: OverdueCall) -> None:
            found.append((clock(), overdue.call.text))

        page.begin(0, 1, b"slow", ROWS)
        limit = StageLimit(page, 1, on_overdue, clock)
        limit.start()
        stopped = StageLimit(page, 1, on_overdue, clock)
        stopped.start()
        await asyncio.sleep(0.9)
        stopped.stop()
        stopped.stop()
        await asyncio.sleep(100)
        limit.stop()
        return found

    assert run_in_virtual_time(told()) == [(1.25, "slow")]
