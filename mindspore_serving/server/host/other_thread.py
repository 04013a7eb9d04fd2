"""Work that would keep the event loop for long is done in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


async def in_thread(function: Callable[[], _T]) -> _T:
    """What a function returns that is called in another thread.

    `asyncio.to_thread` does not do here: once the start script has come to its end, which the server outlives, Python
    takes no more work for pools of threads.

    Args:
        function: What is called. It goes on where the wait for it is cancelled.

    Raises:
        Exception: What the function raises.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: Exception | None) -> None:
        if outcome.done():  # nobody waits any more
            return
        if error is None:
            outcome.set_result(value)  # type: ignore[arg-type]  # None where that is what was returned
        else:
            outcome.set_exception(error)

    def run() -> None:
        value, failed = None, None
        try:
            value = function()
        except Exception as error:  # whatever it is, who waits gets it
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, value, failed)

    threading.Thread(target=run, name="serving work", daemon=True).start()
    return await outcome
