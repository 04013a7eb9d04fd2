"""What happens to the server while it is under load: its workers end, and clients misbehave, in random turns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import struct
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from mindspore_serving.client.python.connection import CHANNEL_OPTIONS, PREDICT_PATH
from mindspore_serving.proto import ms_service_pb2 as pb
from tests.soak.asking import Asker
from tests.soak.hostile import (
    garbage_for_grpc,
    garbage_for_rest,
    half_a_call,
    half_a_request,
    large_message,
    rapid_resets,
    wrong_request,
)
from tests.soak.ledger import LOST_AFTER_S, Ledger, Outcome
from tests.soak.questions import Author, Question
from tests.soak.servables import API_KEY, SERVABLES, WORKER_TIMEOUT_S
from tests.soak.server import SoakServer, Worker, wait_for
from tests.support.grpc_messages import errors
from tests.support.watch import lives

MOST_ENDS = 3
"""Ends of workers of one servable within the period; five would be its last."""
_MOST_ENDS_OF_SINGLE = 1
"""The same where there is only one worker: after ends in quick succession it would be away most of the time."""
_PERIOD_S = 62.0
_SETTLED_S = 10.0
_BACK_S = 1.0
_ENDS_OF_POISON = 2
_GONE_TIMEOUT_S = WORKER_TIMEOUT_S + 25
_ANSWER_S = 20.0
_BURST_GRPC, _BURST_REST = 900, 300
_IDLE_CONNECTIONS = 1000
_AT_A_TIME = 100
_RESETS, _RESETS_LATER = 1000, 20
_MOST_RESETS = 15_000

_KILLED = ("plain", "copies", "steps")
"""The workers of the others end by what they are sent."""

_RANDOM_ID = re.compile(r"\r\nX-Request-Id: [0-9a-f]{16}\r\n", re.IGNORECASE)

Turn = Callable[[], Awaitable[None]]


class Budget:
    """How many workers of a servable may end, so that it is not taken for one that cannot live."""

    def __init__(self) -> None:
        self._ends: defaultdict[str, deque[float]] = defaultdict(deque)

    def allows(self, servable: str, ends: int, now: float) -> bool:
        """Whether that many more may end now."""
        times = self._ends[servable]
        while times and now - times[0] > _PERIOD_S:
            times.popleft()
        most = _MOST_ENDS_OF_SINGLE if SERVABLES[servable].may_be_away else MOST_ENDS
        return len(times) + ends <= most

    def spend(self, servable: str, ends: int, now: float) -> None:
        """Note ends."""
        self._ends[servable].extend([now] * ends)


class Chaos:
    """Disturbs one server.

    Args:
        server: The server.
        ledger: Where its own requests are noted.
        draw: Source of all choices.
        process: Number of this process among those that write questions.

    Attributes:
        turns: How often each thing was done.
        ends: By servable, how many workers were ended.
        poisoned: Instances that were given up because they end workers.
        problems: What was not as it should be.
    """

    def __init__(self, server: SoakServer, ledger: Ledger, draw: random.Random, process: int) -> None:
        self.turns: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.poisoned = 0
        self.problems: list[str] = []
        self._server = server
        self._ledger = ledger
        self._draw = draw
        self._author = Author(draw, process)
        self._asker = Asker(ledger, draw, server.grpc, server.rest)
        self._budget = Budget()
        self._resets = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Disturb until the event; returns when the last turns are over."""
        workers = [self.kill, self.kill, self.kill_reader, self.stop, self.poison, self.hang, self.hang]
        clients = [
            self.garbage,
            self.wrong_requests,
            self.compressed_bombs,
            self.half_open,
            self.idle,
            self.burst,
            self.rapid_reset,
        ]
        try:
            await asyncio.gather(self._deal(workers, (1.0, 6.0), stop), self._deal(clients, (0.3, 3.0), stop))
        finally:
            await self._asker.close()

    async def _deal(self, turns: Sequence[Turn], pause_s: tuple[float, float], stop: asyncio.Event) -> None:
        """All turns in random order, again and again."""
        deck: list[Turn] = []
        while not stop.is_set():
            deck = deck or self._draw.sample(turns, len(turns))
            await deck.pop()()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), self._draw.uniform(*pause_s))

    # ---- workers

    async def kill(self) -> None:
        """A worker is killed."""
        worker = self._victim(1, _KILLED)
        if worker is not None:
            self._note("kill -9", worker.servable, 1)
            self._signal(worker, signal.SIGKILL)

    async def kill_reader(self) -> None:
        """The process that reads large bodies is killed; what it was reading, the next one reads."""
        reader = self._server.body_reader()
        if reader is not None:
            self.turns["kill -9 of the body reader"] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(reader, signal.SIGKILL)

    async def stop(self) -> None:
        """A worker stands still until the main process takes it for hung."""
        worker = self._victim(1, _KILLED)
        if worker is not None:
            self._note("SIGSTOP", worker.servable, 1)
            self._signal(worker, signal.SIGSTOP)
            if not await wait_for(lambda: not lives(worker.pid), _GONE_TIMEOUT_S):
                self.problems.append(f"stopped worker {worker} was not killed within {_GONE_TIMEOUT_S:g} s")

    async def poison(self) -> None:
        """One instance ends each worker that it meets; its neighbours are answered."""
        if self._victim(_ENDS_OF_POISON, ("deadly",)) is None:
            return
        self._note("poison", "deadly", _ENDS_OF_POISON)
        outcome = await self._ask(self._author.poison())
        self.poisoned += outcome is Outcome.EXPECTED_ERROR

    async def hang(self) -> None:
        """A call does not end for one instance; its neighbours are answered.

        Such ends are not counted with those that end a servable, so there may be any number of them.
        """
        if not self._settled("endless", _BACK_S):
            return
        self.turns["endless call"] += 1
        question = self._author.hanging()
        # Alone in its call, the instance is known at once; else the call is ended, and then that instance alone.
        self.ends["endless"] += 1 if question.method == "wait" else 2
        outcome = await self._ask(question)
        if outcome not in (Outcome.EXPECTED_ERROR, Outcome.REFUSED):
            self.problems.append(f"a call that does not end: {outcome.value}, {question}")

    async def _ask(self, question: Question) -> Outcome:
        if self._draw.random() < 0.5:
            return await self._asker.by_grpc(question, "grpc.aio")
        return await self._asker.by_one_connection(question)

    def _victim(self, ends: int, servables: Sequence[str]) -> Worker | None:
        """A worker of a servable whose workers have all been ready for a while; None if there is none."""
        now = time.monotonic()
        allowed = [name for name in servables if self._budget.allows(name, ends, now)]
        found = [mine for mine in (self._settled(name, _SETTLED_S) for name in allowed) if mine]
        return self._draw.choice(self._draw.choice(found)) if found else None

    def _settled(self, servable: str, ready_s: float) -> list[Worker]:
        """All workers of a servable, if each has been ready for that long."""
        mine = [worker for worker in self._server.workers() if worker.servable == servable]
        settled = all(worker.ready_s >= ready_s for worker in mine)
        return mine if settled and len(mine) == SERVABLES[servable].workers else []

    def _note(self, turn: str, servable: str, ends: int) -> None:
        self.turns[turn] += 1
        self.ends[servable] += ends
        self._budget.spend(servable, ends, time.monotonic())

    def _signal(self, worker: Worker, number: int) -> None:
        if lives(worker.pid):
            os.kill(worker.pid, number)

    # ---- clients

    async def garbage(self) -> None:
        """Bytes that are no requests, on both ports."""
        self.turns["garbage"] += 1
        for _ in range(20):
            address, content = self._draw.choice(
                [
                    (self._server.grpc, garbage_for_grpc(self._draw)),
                    (self._server.rest, garbage_for_rest(self._draw)),
                ]
            )
            await self._throw(address, content, self._draw.uniform(0, 0.2))

    async def wrong_requests(self) -> None:
        """Requests that must be refused, each with its HTTP status."""
        self.turns["wrong requests"] += 1
        for _ in range(10):
            name, status, message = wrong_request(self._draw)
            number = self._ledger.asked("REST, wrong", name)
            try:
                head = await asyncio.wait_for(self._head_of_reply(message), LOST_AFTER_S)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                self._ledger.ended(number, Outcome.LOST, f"{name}: {error!r}")
                continue
            fits = head.startswith(f"HTTP/1.1 {status} ") and _RANDOM_ID.search(head) is not None
            line = head.partition("\r\n")[0]
            detail = f"{name}: HTTP status {status} and a request id were expected, got {line!r}"
            away = head.startswith(("HTTP/1.1 429 ", "HTTP/1.1 503 "))
            other = Outcome.REFUSED if away else Outcome.WRONG
            self._ledger.ended(number, Outcome.EXPECTED_ERROR if fits else other, detail)

    async def compressed_bombs(self) -> None:
        """Calls of gRPC that are small on the wire and large once they are decompressed, several at a time."""
        self.turns["compressed bombs"] += 1
        async with grpc.aio.insecure_channel(self._server.grpc, CHANNEL_OPTIONS) as channel:
            predict = channel.unary_unary(PREDICT_PATH, response_deserializer=pb.PredictReply.FromString)
            await asyncio.gather(*(self._bomb(predict, name) for name in ("plain", "copies", "nosuch") * 2))

    async def _bomb(self, predict: Any, servable: str) -> None:
        number = self._ledger.asked("grpc.aio, bomb", servable)
        key = (("x-api-key", API_KEY),)
        try:
            reply = await predict(
                large_message(servable),
                metadata=key,
                compression=grpc.Compression.Gzip,
                timeout=LOST_AFTER_S,
            )
        except grpc.aio.AioRpcError as error:
            refused = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            self._ledger.ended(number, Outcome.REFUSED if refused else Outcome.LOST, repr(error)[:500])
            return
        told = [text for _, text in errors(reply)]
        fits = len(told) == 1 and not reply.instances
        self._ledger.ended(number, Outcome.EXPECTED_ERROR if fits else Outcome.WRONG, f"{told}"[:500])

    async def _head_of_reply(self, message: bytes) -> str:
        reader, writer = await self._connect(self._server.rest)
        try:
            writer.write(message)
            return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        finally:
            writer.close()

    async def half_open(self) -> None:
        """Clients that begin a request and fall silent; their connections end hard."""
        self.turns["half-open"] += 1
        opened = []
        for _ in range(30):
            for address, content in (
                (self._server.grpc, half_a_call()),
                (self._server.rest, half_a_request()),
            ):
                with contextlib.suppress(OSError):
                    _, writer = await self._connect(address)
                    writer.write(content[: self._draw.randint(1, len(content))])
                    opened.append(writer)
        await asyncio.sleep(self._draw.uniform(1, 8))
        for writer in opened:
            _reset(writer)

    async def idle(self) -> None:
        """Very many connections that do nothing."""
        self.turns["idle connections"] += 1
        opened: list[asyncio.StreamWriter] = []
        for address in (self._server.grpc, self._server.rest):
            for _ in range(0, _IDLE_CONNECTIONS, _AT_A_TIME):
                wave = [self._connect(address) for _ in range(_AT_A_TIME)]
                found = await asyncio.gather(*wave, return_exceptions=True)
                opened += [pair[1] for pair in found if isinstance(pair, tuple)]
        if len(opened) < 2 * _IDLE_CONNECTIONS:
            self.problems.append(f"{2 * _IDLE_CONNECTIONS} idle connections were expected, got {len(opened)}")
        await asyncio.sleep(self._draw.uniform(2, 6))
        for writer in opened:
            writer.close()

    async def burst(self) -> None:
        """More requests at once than may wait, at the server or at a servable with a limit of its own."""
        servable = self._draw.choice(["copies", "plain"])
        self.turns[f"burst to {servable}"] += 1
        ask = self._asker
        by_grpc = [ask.by_grpc(self._author.slow(servable), "grpc.aio") for _ in range(_BURST_GRPC)]
        by_rest = [
            ask.by_one_connection(self._author.slow(servable), ask.wishes()) for _ in range(_BURST_REST)
        ]
        outcomes = await asyncio.gather(*by_grpc, *by_rest)
        if Outcome.REFUSED not in outcomes:
            self.problems.append(f"a burst of {len(outcomes)} requests was not refused in part")

    async def rapid_reset(self) -> None:
        """Calls that are reset as soon as they have begun.

        The library of gRPC never frees some hundred bytes of each (github.com/grpc/grpc/issues/43360): in a long run
        they become few, so that memory tells about the server.
        """
        self.turns["rapid reset"] += 1
        for _ in range(3):
            count = _RESETS if self._resets < _MOST_RESETS else _RESETS_LATER
            self._resets += count
            await self._throw(self._server.grpc, rapid_resets(count), 0.5)

    async def _throw(self, address: str, content: bytes, stay_s: float) -> None:
        """Send bytes, read what comes for a while, and leave."""
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            reader, writer = await self._connect(address)
            try:
                writer.write(content)
                await asyncio.wait_for(writer.drain(), _ANSWER_S)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.read(1 << 16), stay_s)
            finally:
                if self._draw.random() < 0.5:
                    _reset(writer)
                writer.close()

    async def _connect(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = address.rpartition(":")
        return await asyncio.wait_for(asyncio.open_connection(host, int(port)), _ANSWER_S)


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
