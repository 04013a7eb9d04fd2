"""Waiting: what comes first, what becomes of the rest, and cancellations, which are never swallowed."""

from __future__ import annotations

import asyncio
import time

import pytest

from mindspore_serving.server.host.waiting import result_until, wait_for_any, wait_for_event, within
from tests.support.virtual_time import run_in_virtual_time


class Late(Exception):
    """Not in time."""


@pytest.mark.parametrize("until", [None, 0.0])
def test_a_result_that_is_there_is_never_late(until: float | None) -> None:
    async def test() -> int:
        future = asyncio.get_running_loop().create_future()
        future.set_result(5)
        return await result_until(until, Late(), future)

    assert asyncio.run(test()) == 5


def test_an_error_is_raised_as_it_is() -> None:
    async def test() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(KeyError("a"))
        await result_until(None, None, future)

    with pytest.raises(KeyError):
        asyncio.run(test())


def test_what_does_not_come_in_time_is_abandoned() -> None:
    async def test() -> None:
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(Late):
            await result_until(time.monotonic() - 1, Late(), future)
        assert future.cancelled()

    asyncio.run(test())


def test_what_nobody_waits_for_any_more_is_abandoned() -> None:
    async def test() -> None:
        future = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(result_until(None, None, future))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert future.cancelled()

    asyncio.run(test())


def test_one_of_several_events_is_enough() -> None:
    async def test() -> None:
        events = asyncio.Event(), asyncio.Event()
        events[1].set()
        await wait_for_any(*events)
        await wait_for_event(events[1], 3600)
        await wait_for_event(events[0], 0)
        assert len(asyncio.all_tasks()) <= 1 + len(events)

    asyncio.run(test())


async def _after(delay_s: float, ended: list[float]) -> str:
    try:
        await asyncio.sleep(delay_s)
    finally:
        ended.append(asyncio.get_running_loop().time())
    return "result"


@pytest.mark.parametrize("limit_s", [2.0, None])
def test_what_is_in_time_has_its_result(limit_s: float | None) -> None:
    assert run_in_virtual_time(within(limit_s, _after(1, []))) == "result"


def test_what_takes_too_long_is_cancelled() -> None:
    ended: list[float] = []
    with pytest.raises(asyncio.TimeoutError):
        run_in_virtual_time(within(2, _after(5, ended)))
    assert ended == [2]


def test_what_is_raised_is_passed_on() -> None:
    async def fails() -> None:
        raise KeyError("reason")

    with pytest.raises(KeyError, match="reason"):
        run_in_virtual_time(within(2, fails()))


@pytest.mark.parametrize("turns", range(6))
def test_a_cancellation_counts_whenever_it_comes(turns: int) -> None:
    async def test() -> None:
        waits = asyncio.create_task(within(2, _after(1, ended)))
        await asyncio.sleep(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        was_over = waits.done()
        waits.cancel()
        await asyncio.wait([waits])
        assert waits.cancelled() is not was_over
        assert ended == [1]

    ended: list[float] = []
    run_in_virtual_time(test())
