"""The main table: each workload at several numbers of clients, the server under test and its floor in turn."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.asked_process import AskedProcess
from benchmarks.processes import memory_of
from benchmarks.rows import line_of, row_of, spread_of
from benchmarks.run import Run, Settings, warm_up
from benchmarks.targets import Target
from benchmarks.turns import Generator, OwnGenerator, Turn
from benchmarks.workloads import Sample, Workload, workloads

_COPIES = 2
_CLIENTS_OF_COPIES = 32
_CLIENTS_OF_HOPS = (1, 8)


def planned_rows(settings: Settings) -> list[tuple[Workload, list[int]]]:
    """Workloads, and the numbers of clients of each."""
    return [
        (workload, [clients for clients in settings.clients if clients <= workload.most_clients])
        for workload in workloads()
        if settings.wants(workload.name)
    ]


def measure_main_table(run: Run) -> list[dict[str, Any]]:
    """All rows; prints each. One that fails has its error in place of figures, and the others are measured."""
    rows: list[dict[str, Any]] = []
    for workload, counts in planned_rows(run.settings):
        measured = _rows_of(run, workload)
        for clients in counts:
            try:
                rows.append(measured(clients))
            except RuntimeError as error:
                rows.append({"row": workload.name, "clients": clients, "error": str(error), "wrong": 1})
                run.progress(f"{workload.name}, {clients} clients: FAILED: {error}")
    return rows


def _rows_of(run: Run, workload: Workload) -> Callable[[int], dict[str, Any]]:
    """Measures the row of so many clients; server and floor are started with the first one."""

    @functools.cache
    def prepared() -> _Prepared:
        return _prepare(run, workload)

    def row(clients: int) -> dict[str, Any]:
        one = prepared()
        found = _measure_row(run, workload.name, one.sample, one.target, one.floor, one.server, clients)
        rate = max(run.best_rates.get(workload.name, 0.0), found["requests_per_s"])
        run.best_rates[workload.name] = rate
        return found | {"interface": workload.interface, "floor_name": one.floor_name}

    return row


@dataclass(frozen=True)
class _Prepared:
    """What the rows of a workload share; turns take the number of clients."""

    sample: Sample
    target: Target
    server: Callable[[int], Turn]
    floor: Callable[[int], Turn]
    floor_name: str


def _prepare(run: Run, workload: Workload) -> _Prepared:
    sample = workload.sample(run.models)
    target = run.target(workload, sample)
    # Beside a load tool a checking client asks too, which for slow replies would be as good as one more client.
    generator = OwnGenerator() if workload.backend else run.generator(workload)
    seconds = run.settings.seconds * workload.stretch
    if workload.backend:
        process = run.backend(workload.servable)
        floor_name, floor = "backend alone", backend_turns(process, workload.backend, seconds)
    else:
        echoing = run.echo_target(workload, sample)
        floor_name, floor = echoing.server.name, _turns(generator, echoing, seconds)
    return _Prepared(sample, target, _turns(generator, target, seconds), floor, floor_name)


def _measure_row(
    run: Run,
    name: str,
    sample: Sample,
    target: Target,
    floor: Callable[[int], Turn],
    server: Callable[[int], Turn],
    clients: int,
) -> dict[str, Any]:
    warm_up(target, clients)
    pairs = [(floor(clients), server(clients)) for _ in range(run.settings.turns)]
    row = row_of(name, clients, len(sample.instances), pairs, memory_of(target.server.pid))
    run.progress(line_of(row))
    return row


def _turns(generator: Generator, target: Target, seconds: float) -> Callable[[int], Turn]:
    return lambda clients: generator.turn(target, clients, seconds)


def backend_turns(process: AskedProcess, model: str, seconds: float) -> Callable[[int], Turn]:
    """Turns in which the backend is called directly, one full batch after the other; an instance counts as a request.

    Raises:
        RuntimeError: The model gives something else than when it was exported.
    """
    loaded = process.ask(load=model)
    if not loaded["right"]:
        raise RuntimeError(f"{model}: the backend gives something else than when the model was exported")
    process.ask(run=model, seconds=seconds / 4)

    def turn(_: int) -> Turn:
        seen = process.ask(run=model, seconds=seconds)
        instances = seen["calls"] * loaded["rows"]
        cpu_us = seen["cpu_us"] / loaded["rows"]
        return Turn("backend alone", instances, seen["seconds"], seen["ms"], seen["p99_ms"], cpu_us, 0, 1)

    return turn


def planned_copies(settings: Settings) -> list[Workload]:
    """What is asked of two copies."""
    found = {workload.name: workload for workload in workloads()}
    names = ("gRPC identity, 1 instance", "gRPC add, 32 instances")
    return [found[name] for name in names if settings.wants(f"{name}, two copies")]


def measure_copies(run: Run) -> list[dict[str, Any]]:
    """Two copies beside one: rows like those of the main table, with the server of one copy in place of the floor."""
    rows = []
    for workload in planned_copies(run.settings):
        sample = workload.sample(run.models)
        one, two = run.target(workload, sample), run.target(workload, sample, _COPIES)
        generator, seconds = run.generator(workload), run.settings.seconds
        name = f"{workload.name}, two copies"
        base, server = _turns(generator, one, seconds), _turns(generator, two, seconds)
        row = _measure_row(run, name, sample, two, base, server, _CLIENTS_OF_COPIES)
        rows.append(row | {"interface": workload.interface, "floor_name": "one copy"})
    return rows


def measure_against(run: Run) -> list[dict[str, Any]]:
    """The rows of the main table with the server of another environment in place of the floor."""
    rows = []
    for workload, counts in planned_rows(run.settings):
        sample = workload.sample(run.models)
        other, target = run.other_target(workload, sample), run.target(workload, sample)
        generator, seconds = run.generator(workload), run.settings.seconds * workload.stretch
        base, server = _turns(generator, other, seconds), _turns(generator, target, seconds)
        for clients in counts:
            row = _measure_row(run, workload.name, sample, target, base, server, clients)
            rows.append(row | {"interface": workload.interface, "floor_name": other.server.name})
    return rows


def planned_hops(settings: Settings) -> list[Workload]:
    """What is asked of echo servers whose requests pass through a process."""
    found = {workload.name: workload for workload in workloads()}
    names = ("gRPC identity, 1 instance", "REST identity, 1 instance")
    return [found[name] for name in names if settings.wants(_hop_name(name))]


def planned_hop_rows(settings: Settings) -> int:
    """Number of rows of `measure_hops`."""
    return len(_CLIENTS_OF_HOPS) * len(planned_hops(settings))


def measure_hops(run: Run) -> list[dict[str, Any]]:
    """What a second process costs a server that does nothing else: rows of an echo through it, beside one without."""
    rows = []
    for workload in planned_hops(run.settings):
        sample = workload.sample(run.models)
        bare, through = (run.echo_target(workload, sample, hop=hop) for hop in (False, True))
        generator, seconds = run.generator(workload), run.settings.seconds
        base, server = _turns(generator, bare, seconds), _turns(generator, through, seconds)
        for clients in _CLIENTS_OF_HOPS:
            row = _measure_row(run, _hop_name(workload.name), sample, through, base, server, clients)
            rows.append(row | {"floor_name": bare.server.name})
    return rows


def _hop_name(workload: str) -> str:
    return f"{workload}, echo through a process"


def planned_backends(settings: Settings) -> list[str]:
    """Names of the rows of `measure_backends`."""
    return [name for name in _BACKENDS if settings.wants(name)]


def measure_backends(run: Run) -> list[dict[str, Any]]:
    """What the work behind small requests costs when nothing serves it; prints each row."""
    rows = []
    for name in planned_backends(run.settings):
        turn = _BACKENDS[name](run)
        seen = [turn(1) for _ in range(run.settings.turns)]
        rates = spread_of(one.rate for one in seen)
        cpu_us = spread_of(one.cpu_us for one in seen)
        rows.append({"row": name, "instances_per_s": rates, "cpu_us_per_instance": cpu_us, "wrong": 0})
        run.progress(f"{name}: {rates['median']:.0f} instances/s, {cpu_us['median']:.3g} us of CPU time each")
    return rows


def _add_turns(run: Run) -> Callable[[int], Turn]:
    return backend_turns(run.backend("bench"), "add", run.settings.seconds)


def _function_turns(run: Run) -> Callable[[int], Turn]:
    """Calls of a Python function like that of the identity rows, one for each instance, as its worker calls it."""

    def first(x1: object, _: object) -> object:
        return x1

    def turn(_: int) -> Turn:
        begin, calls = time.process_time(), 0
        while time.process_time() < begin + run.settings.seconds:
            for _ in range(1000):
                first(None, None)
            calls += 1000
        elapsed = time.process_time() - begin
        each_us = 1e6 * elapsed / calls
        return Turn("function", calls, elapsed, each_us / 1000, each_us / 1000, each_us, 0, 0)

    return turn


_BACKENDS: dict[str, Callable[[Run], Callable[[int], Turn]]] = {
    "backend alone: add, batches of 32": _add_turns,
    "backend alone: Python identity": _function_turns,
}
