"""A server that is asked in all dialects: a servable with limits and one worker, and one with two workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mindspore_serving.server.host.settings import MEMORY_IDLE_VARIABLE
from tests.support.foreign_ways import OIP, SERVABLE, asking
from tests.support.gate import Gate
from tests.support.grpc_messages import RawClient, errors, request
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

LIMIT = 8
"""Requests that may be pending at `one`."""


@dataclass
class ForeignServer:
    """The servables `one`, with `LIMIT` and one worker, and `two`, without a limit and with two workers.

    Attributes:
        running: The server.
        gate: Where `batches` of both wait.
    """

    running: RunningServer
    gate: Gate

    def is_full(self) -> bool:
        """Whether `one` refuses a further request: one without instances, hence an error anyhow."""
        with RawClient(self.running.grpc) as client:
            [(code, _)] = errors(client.predict(request("one", "twice", [])))
        return code == 1

    def wait_until_full(self) -> None:
        wait_until(self.is_full, "the limit is reached")

    def wait_until_not_full(self) -> None:
        wait_until(lambda: not self.is_full(), "there is room again")

    def batches(self) -> list[list[int]]:
        """The numbers of all batches that came to the gate."""
        return [json.loads(line) for line in (self.running.folder / "batches").read_text().splitlines()]

    def assert_serves(self, *servables: str) -> None:
        """Every transport of Open Inference Protocol answers rightly."""
        asyncio.run(self._ask_all(servables or ("one", "two")))

    async def _ask_all(self, servables: tuple[str, ...]) -> None:
        for way in OIP:
            for servable in servables:
                async with asking(self.running, way, servable) as ask:
                    told = await ask([21, -3])
                assert told.values == (42, -6), (way, servable, told)


@contextlib.contextmanager
def foreign_server(
    folder: Path, *, start_options: str = "", settings: str = "", with_two: bool = True
) -> Iterator[ForeignServer]:
    """Start it.

    Args:
        folder: An empty folder.
        start_options: Arguments of `start_servables`.
        settings: What else the start script says.
        with_two: Whether there is the servable `two`.
    """
    with Gate(folder / "gate") as gate:
        for name in ("one", "two"):
            add_servable(folder, name, gate.source + SERVABLE, ())
        (folder / "batches").touch()
        configs = [f'".", "one", 0, max_enqueued_requests={LIMIT}', '".", "two", (1, 2)'][: 1 + with_two]
        environment = {MEMORY_IDLE_VARIABLE: "1"}  # shared memory goes back soon
        with serving(
            folder, configs, start_options=start_options, settings=settings, environment=environment
        ) as running:
            yield ForeignServer(running, gate)
