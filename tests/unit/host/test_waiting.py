"""Waiting for events and results: what comes first, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import time

import pytest

from mindspore_serving.server.host.waiting import result_until, wait_for_any, wait_for_event


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
