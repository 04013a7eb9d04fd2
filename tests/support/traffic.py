"""Requests that go on while something happens to the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mindspore_serving.client import Client
from tests.support.watch import wait_until

JOIN_TIMEOUT_S = 60


class Traffic:
    """Requests one after the other from several threads, until it is closed; keeps what was wrong.

    Args:
        address: Where the gRPC server listens.
        servable: Servable that is asked.
        method: Method that is asked.
        send: Sends one request, given the client and a number that differs from request to request; returns what was
            wrong with the reply, None if nothing was.
        threads: How many.
    """

    def __init__(
        self, address: str, servable: str, method: str, send: Callable[[Client, int], Any], threads: int = 4
    ) -> None:
        self.answered = 0
        self.wrong: list[Any] = []
        self._target = (address, servable, method)
        self._send = send
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(1000 * i,)) for i in range(threads)]

    def _run(self, number: int) -> None:
        with Client(*self._target) as client:
            while not self._stop.is_set():
                wrong = self._send(client, number)
                if wrong is not None:
                    self.wrong.append(wrong)
                self.answered += 1
                number += 1

    def wait_for(self, more: int) -> None:
        """Wait until that many further requests are answered."""
        target = self.answered + more
        wait_until(lambda: self.answered >= target, f"{more} more requests are answered", JOIN_TIMEOUT_S)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
