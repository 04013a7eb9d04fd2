"""A process of clients: `python -m tests.soak.load NUMBER SEED CLIENTS GRPC REST`, until its stdin ends.

Each client sends a request, waits for what becomes of it, and goes on. A line of JSON is written every second:
`{"totals": {...}, "pending": n}`, and a last one when all is over.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable

from mindspore_serving.server.host.descriptor_limit import descriptor_limit
from tests.soak.asking import GRPC_ROUTES, Asker
from tests.soak.foreign import ROUTES as FOREIGN_ROUTES
from tests.soak.ledger import LOST_AFTER_S, Ledger, Outcome
from tests.soak.questions import Author
from tests.soak.transports import RestConnection

_REPORT_EVERY_S = 1.0
_THINK_S = 0.03
_AGAIN_S = 0.2
_REST_HABITS = ("one", "several", "packed", "slowly", "leave", "one-shot")
_REST_WEIGHTS = (45, 15, 10, 4, 8, 18)


class Clients:
    """The clients of this process.

    Args:
        number: Of the process.
        seed: Of all choices.
        grpc: Address of the gRPC server.
        rest: Address of the REST server.
    """

    def __init__(self, number: int, seed: int, grpc: str, rest: str) -> None:
        self.ledger = Ledger()
        self._draw = random.Random(seed)
        self._author = Author(self._draw, number)
        self._asker = Asker(self.ledger, self._draw, grpc, rest)
        self._connections: dict[int, RestConnection] = {}

    async def run(self, count: int, stop: asyncio.Event) -> None:
        """Run clients until the event, and until all their requests have ended."""
        kinds = (self._by_rest, self._by_grpc, self._by_foreign)
        clients = [self._run_one(at, kinds[at % len(kinds)], stop) for at in range(count)]
        tasks = [asyncio.ensure_future(client) for client in clients]
        await stop.wait()
        done, _ = await asyncio.wait(tasks, timeout=2 * LOST_AFTER_S)
        for task in done:
            task.result()
        for connection in self._connections.values():
            connection.leave(hard=False)
        await self._asker.close()
        self.ledger.close()

    async def _run_one(self, at: int, ask: Callable[[int], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            await ask(at)
            await asyncio.sleep(self._draw.uniform(0, _THINK_S))

    async def _by_grpc(self, at: int) -> None:
        route = GRPC_ROUTES[at // 3 % len(GRPC_ROUTES)]
        outcome = await self._asker.by_grpc(self._author.any(), route, self._asker.attitude())
        await self._pause_after(outcome)

    async def _by_foreign(self, at: int) -> None:
        route = FOREIGN_ROUTES[at // 3 % len(FOREIGN_ROUTES)]
        outcome = await self._asker.by_foreign(self._author.rows(), route, self._asker.attitude())
        await self._pause_after(outcome)

    async def _by_rest(self, at: int) -> None:
        [habit] = self._draw.choices(_REST_HABITS, _REST_WEIGHTS)
        question = self._author.any()
        if habit == "one-shot":
            await self._pause_after(await self._asker.by_one_connection(question, self._asker.wishes()))
            return
        connection = self._connections.get(at)
        if connection is None or connection.closed:
            try:
                connection = self._connections[at] = await self._asker.open_rest()
            except OSError as error:
                self.ledger.ended(self.ledger.asked("REST, connect", ""), Outcome.FAILED, repr(error))
                await asyncio.sleep(_AGAIN_S)
                return
        if habit == "leave":
            await self._asker.and_leave(connection, question)
        else:
            several = (
                [self._author.any() for _ in range(self._draw.randint(1, 4))] if habit == "several" else []
            )
            await self._asker.on_connection(
                connection, [question, *several], slowly=habit == "slowly", packed=habit == "packed"
            )

    async def _pause_after(self, outcome: Outcome) -> None:
        if outcome is Outcome.REFUSED:
            await asyncio.sleep(_AGAIN_S)


async def run(number: int, seed: int, count: int, grpc: str, rest: str) -> None:
    """Run the clients, and report."""
    descriptor_limit.raise_to_hard()
    clients = Clients(number, seed, grpc, rest)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    running = asyncio.ensure_future(clients.run(count, stop))
    while not running.done():
        await asyncio.wait([running], timeout=_REPORT_EVERY_S)
        ledger = clients.ledger
        print(json.dumps({"totals": ledger.totals.as_json(), "pending": ledger.pending}), flush=True)
        if stop.is_set():
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    await running


if __name__ == "__main__":
    number, seed, count, *addresses = sys.argv[1:]
    asyncio.run(run(int(number), int(seed), int(count), *addresses))
