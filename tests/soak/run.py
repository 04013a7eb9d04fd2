"""The course of a soak test: start, a clean round, load and chaos, rest, a clean round, the end."""

from __future__ import annotations

import asyncio
import http.client
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mindspore_serving.server.host.descriptor_limit import descriptor_limit
from tests.soak.asking import GRPC_ROUTES, Asker
from tests.soak.chaos import Chaos
from tests.soak.foreign import ROUTES as FOREIGN_ROUTES
from tests.soak.ledger import LOST_AFTER_S, Ledger, Outcome, Totals
from tests.soak.load_process import LoadProcess
from tests.soak.main_log import findings_in
from tests.soak.prober import Prober
from tests.soak.questions import Author
from tests.soak.servables import SERVABLES, write_servables
from tests.soak.server import Sample, SoakServer, wait_for
from tests.soak.summary import Summary

_SAMPLE_EVERY_S = 1.0
_PROGRESS_EVERY_S = 10.0
_RETURN_TIMEOUT_S = 120.0
_REST_TIMEOUT_S = 60.0
_CALM_SAMPLES = 5
_SETTLING_S = 60.0
_CLEAN_ROUNDS = 3
_LAST_REQUESTS = 300
_NOTICED_S = 3.0


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        seconds: How long there is load.
        seed: Of all choices.
        clients: In all processes together.
        processes: Processes of clients.
        backend: What runs the model.
        grpc: What gRPC is served by: `core` or `aio`.
    """

    seconds: float
    seed: int
    clients: int
    processes: int
    backend: str
    grpc: str

    @property
    def settling_s(self) -> float:
        """Seconds in which memory may grow freely: a tenth, or a minute where that is more, but at most half."""
        return min(max(self.seconds / 10, _SETTLING_S), self.seconds / 2)


class Soak:
    """One run.

    Args:
        plan: What is to be done.
        server: A server that is ready.
    """

    def __init__(self, plan: Plan, server: SoakServer) -> None:
        draw = random.Random(plan.seed)
        self._plan = plan
        self._server = server
        self._ledger = Ledger()
        self._draw = draw
        self._loads = [LoadProcess() for _ in range(plan.processes)]
        self._author = Author(draw, plan.processes + 1)
        self._chaos = Chaos(server, self._ledger, draw, plan.processes)
        self._begin = time.monotonic()
        self._next_line = self._begin
        self._prober = Prober(server.grpc, server.rest)
        self._samples: dict[int, Sample] = {}
        self._problems: list[str] = []

    async def run(self) -> Summary:
        """All of it, but for the start of the server."""
        self._prober.start()
        expected = {name: servable.workers for name, servable in SERVABLES.items()}
        found = dict(Counter(worker.servable for worker in self._server.workers()))
        if found != expected:
            self._problems.append(f"workers to disturb: {expected} were expected, found {found}")
        await self._clean_round("first")
        start = await self._at_rest(None)
        settled, seconds = await self._load()
        if not await wait_for(self._all_back, _RETURN_TIMEOUT_S):
            self._problems.append(f"not all workers are ready after {_RETURN_TIMEOUT_S:g} s")
        await self._clean_round("last")
        end = await self._at_rest(start)
        await asyncio.to_thread(self._prober.stop)
        if not (self._all_back() and self._prober.ready_by_grpc()):
            self._problems.append("the server is not ready at the end")
        await self._end_under_load()
        findings = findings_in(self._server.log())
        turns = self._chaos.turns
        problems = [*self._problems, *self._chaos.problems, *self._prober.problems]
        for load in self._loads:
            problems += load.problems
        return Summary(
            asdict(self._plan),
            seconds,
            self._totals(),
            turns,
            self._chaos.ends,
            self._server.restarts(),
            self._chaos.poisoned,
            turns["SIGSTOP"],
            self._chaos.ends["endless"],
            self._prober.probes,
            start,
            settled,
            end,
            self._samples,
            findings,
            problems,
        )

    def close(self) -> None:
        """End what is left when something went wrong."""
        for load in self._loads:
            load.kill()
        self._prober.close()

    async def _clean_round(self, name: str) -> None:
        """Ask every method by every transport, with nothing else under way; only right replies will do."""
        ledger = Ledger()
        asker = Asker(ledger, self._draw, self._server.grpc, self._server.rest)
        for question in [q for _ in range(_CLEAN_ROUNDS) for q in self._author.one_of_each()]:
            for route in GRPC_ROUTES:
                await asker.by_grpc(question, route)
            await asker.by_one_connection(question)
            if ledger.totals.lost:
                break  # each further one may take as long
        for question in self._author.rows_of_each():
            for route in FOREIGN_ROUTES:
                await asker.by_foreign(question, route)
        await asker.close()
        totals = ledger.totals
        if totals.answered != totals.asked or totals.duplicated:
            self._problems.append(f"the {name} clean round: {dict(totals.outcomes)}, {totals.samples}")

    async def _end_under_load(self) -> None:
        """SIGTERM while requests are under way: these are answered, new ones are refused, and the server ends."""
        ledger = Ledger()
        asker = Asker(ledger, self._draw, self._server.grpc, self._server.rest)
        questions = [self._author.slow() for _ in range(_LAST_REQUESTS)]
        admitted = [
            asyncio.ensure_future(asker.by_one_connection(q) if i % 2 else asker.by_grpc(q, "grpc.aio"))
            for i, q in enumerate(questions)
        ]
        # They are sent together and served one after another: once a part is answered, all have arrived.
        await wait_for(lambda: sum(task.done() for task in admitted) > _LAST_REQUESTS / 4, LOST_AFTER_S)
        self._server.terminate()
        if not await wait_for(lambda: self._said_by_rest().get("reason") == "draining", _NOTICED_S):
            self._problems.append(f"the server did not say that it drains within {_NOTICED_S:g} s of SIGTERM")
        new = [asker.by_grpc(question, route) for route in GRPC_ROUTES for question in questions[:2]]
        new += [asker.by_one_connection(question) for question in questions[:2]]
        refused = Counter(await asyncio.gather(*new))
        answered = Counter(await asyncio.gather(*admitted))
        await asker.close()
        samples = ledger.totals.samples
        if set(refused) != {Outcome.REFUSED}:
            self._problems.append(f"requests to a server that drains: {dict(refused)}, {samples}")
        if set(answered) != {Outcome.RIGHT}:
            self._problems.append(f"requests under way at SIGTERM: {dict(answered)}, {samples}")
        self._problems += await self._server.wait_until_ended()

    def _said_by_rest(self) -> dict[str, Any]:
        """What REST says about readiness; nothing where that cannot be had."""
        try:
            return self._prober.readiness()
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return {}

    def _all_back(self) -> bool:
        """Whether the server is ready, and each of its workers is."""
        said = self._said_by_rest()
        states = [worker["status"] for one in said.get("servables", {}).values() for worker in one["workers"]]
        expected = sum(servable.workers for servable in SERVABLES.values())
        return said.get("status") == "ready" and states == ["ready"] * expected

    async def _load(self) -> tuple[Sample, float]:
        """Load and chaos; returns the most that the server held at first, and how long it took."""
        self._begin = self._next_line = time.monotonic()
        share, rest = divmod(self._plan.clients, self._plan.processes)
        for number, load in enumerate(self._loads):
            seed = self._draw.getrandbits(31)
            await load.start(number, seed, share + (number < rest), self._server.grpc, self._server.rest)
        stop = asyncio.Event()
        chaos = asyncio.ensure_future(self._chaos.run(stop))
        try:
            settled = await self._watch(self._begin + self._plan.settling_s, chaos)
            await self._watch(self._begin + self._plan.seconds, chaos)
        finally:
            stop.set()
        seconds = time.monotonic() - self._begin
        await chaos
        await asyncio.gather(*(load.stop() for load in self._loads))
        self._ledger.close()
        self._say(self._server.sample())
        return settled, seconds

    async def _watch(self, until: float, chaos: asyncio.Future[None]) -> Sample:
        """Look at the server until a time, and say what there is to say.

        Returns:
            The sample with most memory.

        Raises:
            RuntimeError: The server has ended.
        """
        most = self._server.sample()
        while True:
            sample = self._server.sample()
            most = max(most, sample, key=lambda sample: sample.memory_mb)
            if time.monotonic() >= self._next_line:
                self._say(sample)
                self._samples[round(time.monotonic() - self._begin)] = sample
                self._next_line += _PROGRESS_EVERY_S
            left = until - time.monotonic()
            if left <= 0:
                return most
            await asyncio.wait([chaos], timeout=min(left, _SAMPLE_EVERY_S))
            if chaos.done():
                chaos.result()
            if any(load.ended for load in self._loads):
                raise RuntimeError("a process of clients has ended by itself")

    async def _at_rest(self, start: Sample | None) -> Sample:
        """What the server holds when nothing changes any more, and, after the load, is as at the start."""
        same = 0
        last = self._server.sample()
        deadline = time.monotonic() + _REST_TIMEOUT_S
        while time.monotonic() < deadline:
            await asyncio.sleep(_SAMPLE_EVERY_S)
            sample = self._server.sample()
            same = same + 1 if _holdings(sample) == _holdings(last) else 0
            last = sample
            if same >= _CALM_SAMPLES and (start is None or _holdings(sample) <= _holdings(start)):
                break
        return last

    def _totals(self) -> Totals:
        totals = Totals()
        for each in (self._ledger.totals, *(load.totals for load in self._loads)):
            totals.add(each)
        return totals

    def _say(self, sample: Sample) -> None:
        """A line of progress."""
        totals = self._totals()
        print(
            f"{time.monotonic() - self._begin:6.0f} s  answered {totals.answered}, refused "
            f"{totals.count(Outcome.REFUSED)}, failed {totals.count(Outcome.FAILED)}, lost "
            f"{totals.count(Outcome.LOST)}, wrong {totals.wrong}; workers ended {self._chaos.ends.total()}; main "
            f"{sample.memory_mb:.0f} MB, {sample.descriptors} descriptors, {sample.children} workers",
            flush=True,
        )


def _holdings(sample: Sample) -> tuple[int, int]:
    return sample.descriptors, round(sample.shared_mb)


async def soak(plan: Plan, folder: Path) -> Summary:
    """Run a soak test.

    Args:
        plan: What is to be done.
        folder: An empty folder, for servables, start script and logs.

    Raises:
        RuntimeError: The server does not start, or it has ended, or a part of the test itself has failed.
    """
    descriptor_limit.raise_to_hard()
    write_servables(folder, plan.backend)
    server = SoakServer(folder, plan.backend, plan.grpc)
    run = Soak(plan, server)
    try:
        await server.wait_until_ready()
        return await run.run()
    finally:
        run.close()
        server.kill()
