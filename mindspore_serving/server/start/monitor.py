"""What keeps the process alive while the server runs, and stops the server when that is wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.host.settings import drain_timeout_s
from mindspore_serving.server.host.stop_request import StopRequest
from mindspore_serving.server.start.orderly_stop import SIGNAL_POLL_S
from mindspore_serving.server.start.start_script import StartScript


class Monitor:
    """A thread that waits for the wish to stop, and another one that watches the start script.

    Args:
        lock: Held while the server is started or stopped.
        request: The wish to stop.
        drain: Lets requests finish, for so many seconds; called without the lock.
        stop: Stops the server; called with the lock.

    Attributes:
        generation: Another number above 0 each time that the server is kept alive; 0 while it is not.
    """

    def __init__(
        self,
        lock: threading.RLock,
        request: StopRequest,
        drain: Callable[[float], None],
        stop: Callable[[], None],
    ) -> None:
        self.generation = 0
        self._lock = lock
        self._request = request
        self._drain = drain
        self._stop = stop
        self._script_is_watched = False
        self._starting = False
        self._ended = threading.Event()
        self._is_waited_for = False

    def wait_for_end(self) -> None:
        """Return when the server has stopped. The signal that stops it then has no further effect on the script.

        Called in the main thread, which takes signals meanwhile.
        """
        self._is_waited_for = True
        while self.generation and not self._ended.wait(SIGNAL_POLL_S):
            continue

    def begin(self) -> int:
        """Keep the process alive until `end`; stop the server at SIGINT and SIGTERM, and if the start script fails.

        Returns:
            The generation.
        """
        with self._lock:
            if self.generation:
                return self.generation
            self._ended.clear()
            self.generation = generation = self._request.begin()
            watched, self._script_is_watched = self._script_is_watched, True
        threading.Thread(
            target=self._wait_for_stop, args=(generation,), name="serving monitor", daemon=False
        ).start()
        if not watched:
            threading.Thread(
                target=self._watch_script, args=(StartScript(),), name="serving script watch"
            ).start()
        return generation

    def end(self) -> None:
        """Keep the process alive no more: the server is stopped. Called with the lock."""
        self.generation = 0
        self._request.end()
        self._request.want()
        self._ended.set()

    def wait_for_start(self, started: Future[None], interrupted: str) -> None:
        """Wait in slices, so that signals are acted on.

        Raises:
            StartUpError: A signal came; the text is `interrupted`.
        """
        self._starting = True
        try:
            while not self._request.wanted:
                try:
                    started.result(SIGNAL_POLL_S)
                    break
                except FutureTimeout:
                    continue
        finally:
            with self._lock:  # a signal from now on is the monitor's
                self._starting = False
                wanted = self._request.wanted
        if wanted:
            started.cancel()
            raise StartUpError(interrupted)

    def _wait_for_stop(self, generation: int) -> None:
        """Body of the thread that keeps the process alive, and stops the server when that is wanted."""
        self._request.wait(generation)
        if not self._is_to_stop(generation):
            return
        self._drain(drain_timeout_s())
        with self._lock:
            if not self._is_to_stop(generation):
                return
            self._stop()
        if not self._is_waited_for:
            self._request.raise_in_main_thread()

    def _is_to_stop(self, generation: int) -> bool:
        """Whether the monitor is to stop what it was made for."""
        with self._lock:
            # It may be stopped already, and started again. While it starts, who starts it finds out and stops it.
            return self.generation == generation and not self._starting

    def _watch_script(self, script: StartScript) -> None:
        """Body of the thread that stops the server when the start script has failed."""
        threading.main_thread().join()  # which is over when the script is
        if script.has_failed() and self.generation:
            log.warning(
                "The start script has ended by an exception or sys.exit: the server stops. A script that comes to its "
                "end, by main() and not by sys.exit(main()), serves on"
            )
            self._request.want()
