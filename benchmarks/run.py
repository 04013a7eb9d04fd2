"""One run of the main table: how it is measured, and the servers and files that its rows share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.asked_process import AskedProcess
from benchmarks.lite import backend_process
from benchmarks.load import exchange_load
from benchmarks.rows import BEFORE
from benchmarks.targets import (
    Server,
    Subject,
    Target,
    core_echo,
    echo,
    echo_target_of,
    export_models,
    serving,
    target_of,
)
from benchmarks.turns import Generator, choose_generator
from benchmarks.workloads import Sample, Workload, workloads
from mindspore_serving.server.host.settings import GRPC_LIBRARIES, GRPC_VARIABLE

CORE_ECHO = "core-echo"
_LOOPS = ("uvloop", "asyncio")
_CHOICE_CLIENTS = 8
_WARM_UP_S = 0.2
_THREADS_AS_IN_A_WORKER = -1


@dataclass(frozen=True)
class Settings:
    """How the table is measured.

    Attributes:
        turns: Turns of each server in a row.
        seconds: Length of a turn.
        clients: Closed loops of the rows.
        load: `own` or `tools`.
        only: Part of the names of the rows to measure.
        servers: What to measure in turn with the floor: values of SERVING_GRPC, each a server of this source tree, and
            `core-echo`.
        against: Python of another environment, whose MindSpore Serving is measured in the same turns; empty for none.
    """

    turns: int
    seconds: float
    clients: Sequence[int]
    load: str
    only: str = ""
    servers: Sequence[str] = ("core",)
    against: str = ""

    @property
    def subjects(self) -> list[Subject]:
        """What is under test; that of another environment comes last."""
        found = [
            Subject(name, variables={GRPC_VARIABLE: name}) for name in self.servers if name in GRPC_LIBRARIES
        ]
        return [*found, *([Subject(BEFORE, self.against)] if self.against else [])]

    def wants(self, name: str) -> bool:
        """Whether a row is to be measured."""
        return self.only.lower() in name.lower()


@dataclass
class Progress:
    """Prints the line of each row with its number: `[12/88]`."""

    total: int
    done: int = 0

    def __call__(self, line: str) -> None:
        self.done += 1
        print(f"[{self.done}/{self.total}] {line}", flush=True)


@dataclass
class Run:
    """Servers and files, made when they are first asked for.

    Attributes:
        folder: For everything.
        settings: How to measure.
        progress: Told of each row.
        stack: Ends what was started.
        facts: What was found out on the way, for the report.
        best_rates: The highest rate of closed loops so far, by workload and server.
    """

    folder: Path
    settings: Settings
    progress: Progress
    stack: contextlib.ExitStack
    facts: dict[str, Any] = field(default_factory=dict)
    best_rates: dict[tuple[str, str], float] = field(default_factory=dict)
    _servers: dict[tuple[str, int, str], Server] = field(default_factory=dict)
    _floors: dict[tuple[str, bool], Server] = field(default_factory=dict)
    _backends: dict[str, AskedProcess] = field(default_factory=dict)
    _files: int = 0

    @property
    def models(self) -> Path:
        """Where the exported models are."""
        return self.folder / "models"

    def server(self, servable: str, subject: Subject, copies: int = 1) -> Server:
        """A server under test."""
        key = servable, copies, subject.name
        if key not in self._servers:
            print(f"Starting the server {subject.name!r} of {servable!r}, copies: {copies} ...", flush=True)
            folder = self.folder / f"{servable}_{len(self._servers)}"
            server = serving(self.models, folder, servable, subject, copies)
            self._servers[key] = self.stack.enter_context(server)
        return self._servers[key]

    def floor(self, protocol: str, *, hop: bool = False) -> Server:
        """The echo server; with `hop` the one whose requests pass through a second process."""
        if (protocol, hop) not in self._floors:
            # aiohttp gains from uvloop wherever it was measured; what grpc.aio gains depends on its release.
            loop = self._grpc_loop if protocol == "grpc" else "uvloop"
            self._floors[protocol, hop] = self.stack.enter_context(echo(protocol, loop, hop=hop))
        return self._floors[protocol, hop]

    @functools.cached_property
    def core_echo(self) -> Server:
        """The echo on gRPC's C core."""
        return self.stack.enter_context(core_echo())

    def backend(self, servable: str) -> AskedProcess:
        """A process that calls the backend with the models of a servable."""
        if servable not in self._backends:
            process = backend_process("mindspore", _THREADS_AS_IN_A_WORKER, self.models / servable / "1")
            self.stack.callback(process.stop)
            self._backends[servable] = process
        return self._backends[servable]

    def generator(self, workload: Workload) -> Generator:
        """What sends the requests."""
        return choose_generator(workload.protocol, self.settings.load)

    def targets(self, workload: Workload, sample: Sample) -> list[Target]:
        """The same requests to each server; the floor is the first, unless that is the backend."""
        echoes = [] if workload.backend else [self.floor(workload.protocol)]
        if echoes and workload.protocol == "grpc" and CORE_ECHO in self.settings.servers:
            echoes.append(self.core_echo)
        return [
            *(self.echo_target(workload, sample, server) for server in echoes),
            *(self.target(workload, sample, subject) for subject in self.settings.subjects),
        ]

    def target(self, workload: Workload, sample: Sample, subject: Subject, copies: int = 1) -> Target:
        """Requests to a server under test."""
        server = self.server(workload.servable, subject, copies)
        return target_of(workload, sample, server, self._new_folder())

    def echo_target(self, workload: Workload, sample: Sample, server: Server) -> Target:
        """The same requests to an echo."""
        return echo_target_of(workload, sample, server, self._new_folder())

    def _new_folder(self) -> Path:
        self._files += 1
        return self.folder / f"files_{self._files}"

    @functools.cached_property
    def _grpc_loop(self) -> str:
        """The event loop on which grpc.aio needs less CPU time for a small message."""
        workload = workloads()[0]
        sample = workload.sample(self.models)
        costs: dict[str, list[float]] = {loop: [] for loop in _LOOPS}
        with contextlib.ExitStack() as stack:
            targets = {
                loop: echo_target_of(
                    workload, sample, stack.enter_context(echo("grpc", loop)), self._new_folder()
                )
                for loop in _LOOPS
            }
            for _ in range(self.settings.turns):
                for loop, target in targets.items():
                    turn = self.generator(workload).turn(target, _CHOICE_CLIENTS, self.settings.seconds)
                    costs[loop].append(turn.cpu_us)
        medians = {loop: round(statistics.median(cost), 1) for loop, cost in costs.items()}
        chosen = min(medians, key=lambda loop: medians[loop])
        self.facts["floor_of_grpc"] = {"cpu_us": medians, "chosen": chosen}
        shown = ", ".join(f"{cost} us on {loop}" for loop, cost in medians.items())
        print(f"The floor of gRPC: a bare grpc.aio echo takes {shown}; it runs on {chosen}.", flush=True)
        return chosen


@contextlib.contextmanager
def starting(folder: Path, settings: Settings, rows: int) -> Iterator[Run]:
    """Export the models; end all servers at the end.

    Args:
        folder: An empty folder.
        settings: How to measure.
        rows: How many there will be.
    """
    networks = any(workload.backend and settings.wants(workload.name) for workload in workloads())
    print("Exporting the models ...", flush=True)
    export_models(folder / "models", networks)
    with contextlib.ExitStack() as stack:
        yield Run(folder, settings, Progress(rows), stack)


def warm_up(target: Target, clients: int) -> None:
    """Let a server meet a kind of request before it is measured."""
    asyncio.run(
        exchange_load(target.protocol, target.address, target.path, target.exchange, clients, _WARM_UP_S)
    )
