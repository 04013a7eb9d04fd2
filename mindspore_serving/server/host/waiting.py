"""Waiting with a limit."""

from __future__ import annotations

import asyncio


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> None:
    """Return once the event is set or the time has passed.

    Unlike `asyncio.wait_for` before Python 3.12, it never swallows a cancellation that comes at the same moment.
    """
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([waiter], timeout=timeout_s)
    finally:
        waiter.cancel()
