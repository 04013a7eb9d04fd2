"""Waiting for events and results, and for what may take too long.

Nothing here swallows a cancellation that comes at the moment at which the wait is over, as `asyncio.wait_for` does
before Python 3.12: who has cancelled waits for the end of what then goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def within(timeout_s: float | None, coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine, which is cancelled where it takes too long, or the caller is cancelled.

    Args:
        timeout_s: How long it may take, in seconds; None for any time.
        coroutine: What is waited for.

    Raises:
        asyncio.TimeoutError: It took longer.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # also where nobody asks for what it raised


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> None:
    """Return once the event is set or the time has passed."""
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
