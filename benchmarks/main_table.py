"""The main table: each workload at several numbers of clients, its floor and the servers under test in turn."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

from benchmarks.asked_process import AskedProcess
from benchmarks.columns import Column, rounds_of
from benchmarks.processes import memory_of
from benchmarks.rows import Record, lines_of, records_of, spread_of
from benchmarks.run import Run, Settings, warm_up
from benchmarks.turns import OwnGenerator, Turn
from benchmarks.workloads import Workload, workloads

BACKEND_ALONE = "backend alone"

_COPIES = 2
_CLIENTS_OF_COPIES = 32
_CLIENTS_OF_ECHOES = (1, 8)


def planned_rows(settings: Settings) -> list[tuple[Workload, list[int]]]:
    """Workloads, and the numbers of clients of each."""
    return [
        (workload, [clients for clients in settings.clients if clients <= workload.most_clients])
        for workload in workloads()
        if settings.wants(workload.name)
    ]


def measure_main_table(run: Run) -> list[Record]:
    """All rows; prints each. One that fails has its error in place of figures, and the others are measured."""
    records: list[Record] = []
    for workload, counts in planned_rows(run.settings):
        measured = _records_of(run, workload)
        for clients in counts:
            try:
                records += measured(clients)
            except RuntimeError as error:
                records.append({"row": workload.name, "clients": clients, "error": str(error), "wrong": 1})
                run.progress(f"{workload.name}, {clients} clients: FAILED: {error}")
    return records


def _records_of(run: Run, workload: Workload) -> Callable[[int], list[Record]]:
    """Measures the row of so many clients; servers are started with the first one."""

    @functools.cache
    def columns() -> list[Column]:
        return _columns(run, workload)

    def row(clients: int) -> list[Record]:
        found = _measure_row(run, workload.name, columns(), clients)
        for record in found:
            key = workload.name, record["server"]
            run.best_rates[key] = max(run.best_rates.get(key, 0.0), record["requests_per_s"])
        return [record | {"interface": workload.interface} for record in found]

    return row


def _columns(run: Run, workload: Workload) -> list[Column]:
    sample = workload.sample(run.models)
    targets = run.targets(workload, sample)
    # Beside a load tool a checking client asks too, which for slow replies would be as good as one more client.
    generator = OwnGenerator() if workload.backend else run.generator(workload)
    seconds, instances = run.settings.seconds * workload.stretch, len(sample.instances)
    columns = [Column.of_target(target, generator, seconds, instances) for target in targets]
    if workload.backend:
        turn = backend_turns(run.backend(workload.servable), workload.backend, seconds)
        columns.insert(0, Column(BACKEND_ALONE, turn))
    return columns


def _measure_row(run: Run, name: str, columns: Sequence[Column], clients: int) -> list[Record]:
    targets = {column.name: column.target for column in columns if column.target is not None}
    for target in targets.values():
        warm_up(target, clients)
    turns = {column.name: functools.partial(_turn, column, clients) for column in columns}
    rounds = rounds_of(turns, run.settings.turns)
    memory = {column: memory_of(target.server.pid) for column, target in targets.items()}
    records = records_of(name, clients, columns, rounds, memory)
    run.progress(lines_of(records))
    return records


def _turn(column: Column, clients: int, _: int) -> Turn:
    return column.turn(clients)


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
        return Turn(BACKEND_ALONE, instances, seen["seconds"], seen["ms"], seen["p99_ms"], cpu_us, 0, 1)

    return turn


def planned_copies(settings: Settings) -> list[Workload]:
    """What is asked of two copies."""
    found = {workload.name: workload for workload in workloads()}
    names = ("gRPC identity, 1 instance", "gRPC add, 32 instances")
    return [found[name] for name in names if settings.wants(f"{name}, two copies")]


def measure_copies(run: Run) -> list[Record]:
    """Two copies beside one: rows like those of the main table, with the server of one copy in place of the floor."""
    records = []
    subject = run.settings.subjects[0]
    for workload in planned_copies(run.settings):
        sample = workload.sample(run.models)
        generator, seconds = run.generator(workload), run.settings.seconds
        columns = [
            Column.of_target(
                run.target(workload, sample, subject, copies), generator, seconds, len(sample.instances), name
            )
            for name, copies in (("one copy", 1), (f"{_COPIES} copies", _COPIES))
        ]
        records += _measure_row(run, f"{workload.name}, two copies", columns, _CLIENTS_OF_COPIES)
    return records


def planned_echoes(settings: Settings) -> list[Workload]:
    """What is asked of other echo servers."""
    found = {workload.name: workload for workload in workloads()}
    names = ("gRPC identity, 1 instance", "REST identity, 1 instance")
    return [found[name] for name in names if settings.wants(_echo_name(name))]


def planned_echo_rows(settings: Settings) -> int:
    """Number of rows of `measure_echoes`."""
    return len(_CLIENTS_OF_ECHOES) * len(planned_echoes(settings))


def measure_echoes(run: Run) -> list[Record]:
    """Other echoes beside the floor: through a second process, and for gRPC on the C core alone."""
    records = []
    for workload in planned_echoes(run.settings):
        sample = workload.sample(run.models)
        servers = [run.floor(workload.protocol, hop=hop) for hop in (False, True)]
        if workload.protocol == "grpc":
            servers.append(run.core_echo)
        generator, seconds = run.generator(workload), run.settings.seconds
        columns = [
            Column.of_target(
                run.echo_target(workload, sample, server), generator, seconds, len(sample.instances)
            )
            for server in servers
        ]
        for clients in _CLIENTS_OF_ECHOES:
            records += _measure_row(run, _echo_name(workload.name), columns, clients)
    return records


def _echo_name(workload: str) -> str:
    return f"{workload}, echoes"


def planned_backends(settings: Settings) -> list[str]:
    """Names of the rows of `measure_backends`."""
    return [name for name in _BACKENDS if settings.wants(name)]


def measure_backends(run: Run) -> list[Record]:
    """What the work behind small requests costs when nothing serves it; prints each row."""
    records = []
    for name in planned_backends(run.settings):
        turn = _BACKENDS[name](run)
        seen = [turn(1) for _ in range(run.settings.turns)]
        rates = spread_of(one.rate for one in seen)
        cpu_us = spread_of(one.cpu_us for one in seen)
        records.append({"row": name, "instances_per_s": rates, "cpu_us_per_instance": cpu_us, "wrong": 0})
        run.progress(f"{name}: {rates['median']:.0f} instances/s, {cpu_us['median']:.3g} us of CPU time each")
    return records


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
