"""An event loop whose time passes only when nothing else is to be done: hours of waiting take a test no time."""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_LONGEST_S = 100_000.0

_T = TypeVar("_T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: what would pass until the next timer has passed at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; if that is nothing, time goes on by `timeout`."""
        ready = super().select(0)
        if not ready and timeout != 0:
            if timeout is None or self.now > _LONGEST_S:
                raise AssertionError("what the test waits for does not come")
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop. Its time begins at 0; `time` is the clock for code that takes one."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that have passed."""
        return self._jumping.now


def run_in_virtual_time(test: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine, and what it has left behind to its end.

    Args:
        test: The coroutine; `asyncio.get_running_loop().time` is its clock.

    Raises:
        AssertionError: It waits for what never comes, or a callback or a task has failed unnoticed.
    """
    loop = VirtualTimeLoop()
    unnoticed: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unnoticed.append(context))
    gc.freeze()  # what was there before, hundreds of thousands of objects of pytest, is not looked through below
    try:
        result = loop.run_until_complete(test)
        gc.collect()  # tasks whose failure nobody has looked at tell it when they go
        assert unnoticed == []
        return result
    finally:
        gc.unfreeze()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
