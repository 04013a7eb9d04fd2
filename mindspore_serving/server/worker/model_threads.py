"""The threads that run models beside the functions of the main thread, where there is a reason to have them.

They only run batches of models; what is finished goes back to the main thread, which moves it on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.last_resort import ends_process


class ModelThreads:
    """Threads that run models of an engine.

    Args:
        engine: What has the work.
        wake: Makes the main thread look what is finished.
        ended: Whether the threads are to end. It may turn true at any time, also in a signal handler.
    """

    def __init__(self, engine: Engine, wake: Callable[[], None], ended: Callable[[], bool]) -> None:
        self._engine = engine
        self._wake = wake
        self._ended = ended
        self._work = threading.Condition()
        self._threads: list[threading.Thread] = []

    def __len__(self) -> int:
        return len(self._threads)

    def start(self, count: int) -> None:
        """Start so many threads."""
        for number in range(count):
            thread = threading.Thread(target=self._run, name=f"models {number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def notify(self) -> None:
        """Let threads that wait look whether there is work, or whether they are to end."""
        with self._work:
            self._work.notify_all()

    def join(self, deadline: float) -> None:
        """Wait until no thread runs a model; they are to end already.

        Args:
            deadline: Until when to wait at most, in seconds of `time.monotonic`.
        """
        self.notify()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @ends_process
    def _run(self) -> None:
        while not self._ended():
            if self._engine.run_model_step():
                self._wake()
                continue
            with self._work:
                self._work.wait_for(lambda: self._engine.has_model_work or self._ended())
