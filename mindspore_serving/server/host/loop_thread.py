"""The event loop of the main process: one thread for the life of the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

import uvloop

_STOP_S = 10.0

_T = TypeVar("_T")


class LoopThread:
    """Runs an event loop in a thread of its own.

    The thread is a daemon: it must not keep a script alive that only started a front end. What has to be ended in order
    is ended by `stop` of the server, which runs at exit at the latest.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="serving loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def stop(self) -> None:
        """Cancel what runs on the loop, and end the thread; safe to call twice.

        A loop that still has something to do while the interpreter finalizes crashes the process.
        """
        if self._thread.is_alive():
            with contextlib.suppress(FutureTimeout):
                self.run(_cancel_all_tasks(), _STOP_S)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(_STOP_S)

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, _T], timeout_s: float) -> _T:
        """Run a coroutine on the loop and wait for its result.

        Raises:
            concurrent.futures.TimeoutError: It took longer than `timeout_s`.
        """
        return self.submit(coroutine).result(timeout_s)


async def _cancel_all_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
