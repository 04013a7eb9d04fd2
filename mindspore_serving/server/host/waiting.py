"""Waiting for events and results."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

_T = TypeVar("_T")


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> None:
    """Return once the event is set or the time has passed.

    Unlike `asyncio.wait_for` before Python 3.12, it never swallows a cancellation that comes at the same moment.
    """
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([waiter], timeout=timeout_s)
    finally:
        waiter.cancel()


async def wait_for_any(*events: asyncio.Event) -> None:
    """Return once one of the events is set."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


async def result_until(until: float | None, late: Exception | None, future: asyncio.Future[_T]) -> _T:
    """The result of a future, which is cancelled if it does not come in time, or the caller is cancelled.

    Args:
        until: Time of `time.monotonic`; None for no limit.
        late: What is raised then.
        future: What is waited for.
    """
    try:
        await asyncio.wait([future], timeout=None if until is None else until - time.monotonic())
        if late is not None and not future.done():
            raise late
        return future.result()
    finally:
        future.cancel()
