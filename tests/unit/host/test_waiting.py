"""Waits that end in time, and never swallow a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from mindspore_serving.server.host.waiting import within
from tests.support.virtual_time import run_in_virtual_time


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
