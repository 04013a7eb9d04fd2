"""The thread of one pipeline.

The function of a pipeline waits for methods of the same process, and those need the worker's main thread. So pipelines
run beside it: each in a thread of its own, so that one which waits, or never ends, holds up no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from mindspore_serving.server.worker.last_resort import ends_process


class PipelineThread:
    """Runs steps of a pipeline while it has work.

    Args:
        name: Name of the pipeline.
        has_work: Whether instances wait for the pipeline.
        step: Runs some of them.
    """

    def __init__(self, name: str, has_work: Callable[[], bool], step: Callable[[], None]) -> None:
        self._has_work = has_work
        self._step = step
        self._work = threading.Condition()
        self._stopped = False
        # A daemon: the user's function may never end, and the process must.
        self._thread = threading.Thread(target=self._run, name=f"pipeline {name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def notify(self) -> None:
        """Look whether there is work; from any thread."""
        with self._work:
            self._work.notify()

    def stop(self) -> None:
        """Start no further step; safe to call twice."""
        self._stopped = True
        self.notify()

    @ends_process
    def _run(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._stopped or self._has_work())
            if self._stopped:
                return
            self._step()
