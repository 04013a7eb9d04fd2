"""Measures the server beside floors that cannot be undercut, in turn, with every kind of reply checked.

Without an option that names a suite: requests over gRPC and REST from closed loops (the main table), two copies, other
echoes, the backend alone, a mix of large and small requests, open loops, and workers for Python stages. The whole takes
about 20 minutes with the defaults, and half as long again for each further server; benchmarks/README.md says how to
read it. Absolute figures depend on the machine and on what else it does; the ratios, taken between neighbouring turns,
much less so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.load_tools import HOW_TO_INSTALL, version_of
from benchmarks.machine import commit_of, describe_machine
from benchmarks.report import Table, write_report
from benchmarks.run import CORE_ECHO, Settings, starting
from mindspore_serving.server.host.settings import GRPC_LIBRARIES

_HERE = Path(__file__).resolve().parent

Suite = Callable[[Path, int, float], list[dict[str, Any]]]


def main() -> int:
    """Measure, print, write; returns the exit code."""
    arguments = _parse_arguments()
    settings = Settings(
        arguments.turns,
        arguments.seconds,
        sorted(arguments.clients),
        arguments.load,
        arguments.only,
        arguments.servers,
        arguments.against,
    )
    output = Path(arguments.output or _HERE / "results" / time.strftime("%Y%m%d-%H%M%S"))
    machine = describe_machine()
    suites = [name for name in _SUITES if getattr(arguments, name)]
    begin = time.monotonic()
    if suites:
        facts: dict[str, Any] = {}
        tables: dict[str, Table] = {_SUITES[name]: _run_suite(name, settings) for name in suites}
    else:
        facts, tables = _measure_requests(settings)
    rows = [row for table in tables.values() for row in table]
    if not rows:
        print(f"No row has {arguments.only!r} in its name.", file=sys.stderr)
        return 2
    used: dict[str, Any] = {"turns": settings.turns, "seconds": settings.seconds, "load": settings.load}
    used |= {"servers": settings.servers, "took_minutes": round((time.monotonic() - begin) / 60, 1)}
    if settings.against:
        used["against"] = {"python": settings.against, "commit": commit_of(settings.against)}
    files = write_report(output, {"machine": machine, "settings": used, **facts}, tables)
    print(f"Written: {', '.join(file.name for file in files)} in {output}")
    wrong = sum(row.get("wrong", 0) for row in rows)
    print("All replies were right." if not wrong else f"{wrong} replies were WRONG.")
    return 1 if wrong else 0


_SUITES = {
    "steps": "Steps of a request",
    "python_client": "The Python client",
    "syscalls": "System calls of a request",
    "dialects": "Dialects beside the native one",
    "models": "LeNet and ResNet-50",
    "batching": "Batching",
    "memory": "Memory",
    "capacity": "Many servables, connections and requests",
    "overload": "Overload",
    "peers": "Other servers",
    "lite": "MindSpore Lite",
    "distributed": "Distributed models",
    "calls": "Calls of other servables",
}
"""Titles by option."""

_HELP = {
    "models": "LeNet and ResNet-50 beside the backend alone, with one copy and two, and on each installed library",
    "batching": "how large batches become, and what waiting for more instances brings",
    "memory": "whether memory stays flat over many requests of mixed sizes",
    "capacity": "many servables, idle connections and waiting requests",
    "overload": "what becomes of accepted requests and memory at ten times the capacity",
    "peers": "servers that pip installs, with the same function, in turn",
    "steps": "what each step of a request costs in Python",
    "python_client": "what a call costs the process of the Python client, beside the generated stub of gRPC",
    "syscalls": "system calls, context switches and instructions of a request; needs strace",
    "dialects": "Open Inference Protocol and the REST of TensorFlow Serving beside the native dialect, with the same "
    "tensors; about 5 minutes",
    "lite": "the MindSpore Lite backend beside the MindSpore backend",
    "calls": "two stages in two servables, of which one calls the other, beside the same stages in one; 2 minutes",
    "distributed": "a distributed model on 2 and 4 ranks beside the same ranks without a server",
}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./build.sh bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        metavar="TEXT",
        default="",
        help="the rows with TEXT in their name, case ignored; main suite, --dialects and --syscalls",
    )
    parser.add_argument(
        "--turns", type=int, default=3, help="turns of each server in a row (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        help="length of a turn (default: %(default)s); wrk takes whole seconds only",
    )
    parser.add_argument(
        "--clients",
        type=int,
        nargs="+",
        default=[1, 8, 32, 128],
        help="closed loops; main suite and --dialects (default: 1 8 32 128)",
    )
    parser.add_argument(
        "--load",
        choices=("tools", "own"),
        default="tools",
        help="tools: wrk for REST and h2load for gRPC where they are installed; own: the generator in benchmarks/ "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder for JSON, Markdown and plots (default: benchmarks/results/TIME)",
    )
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=(*GRPC_LIBRARIES, CORE_ECHO),
        default=["core"],
        help="what to measure in turn with the floor: this server with gRPC on the C core, with grpc.aio, and for gRPC "
        "a bare echo on the C core; main suite and --syscalls, and the first one for --dialects (default: core)",
    )
    parser.add_argument(
        "--against",
        metavar="PYTHON",
        default="",
        help="measure in the same turns, as 'before', the MindSpore Serving that this Python has, such as "
        "../before/.venv/bin/python of another checkout; main suite and --syscalls",
    )
    suites = parser.add_argument_group("suites, instead of the main one; several may be named")
    for name, text in _HELP.items():
        suites.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)
    arguments = parser.parse_args()
    if arguments.turns < 1 or arguments.seconds <= 0 or min(arguments.clients) < 1:
        parser.error("--turns, --seconds and --clients take positive numbers")
    if not set(arguments.servers) & set(GRPC_LIBRARIES):
        parser.error(f"--servers takes at least one of {', '.join(GRPC_LIBRARIES)}")
    return arguments


def _measure_requests(settings: Settings) -> tuple[dict[str, Any], dict[str, Table]]:
    """The main suite: facts and tables."""
    from benchmarks import main_table, mix, open_table, parallel

    _note_missing_tools(settings.load)
    rows = sum(len(counts) for _, counts in main_table.planned_rows(settings))
    rows += len(main_table.planned_copies(settings)) + len(main_table.planned_backends(settings))
    rows += main_table.planned_echo_rows(settings)
    rows += mix.planned_mix(settings) + len(open_table.planned_open(settings)) + settings.wants(parallel.ROW)
    if not rows:
        return {}, {}
    with tempfile.TemporaryDirectory() as folder, starting(Path(folder), settings, rows) as run:
        tables: dict[str, Table] = {
            "Requests": main_table.measure_main_table(run),
            "Two copies beside one": main_table.measure_copies(run),
            "Other echoes": main_table.measure_echoes(run),
            "Backend alone": main_table.measure_backends(run),
            "Large and small requests": mix.measure_mix(run),
            "Open loop": open_table.measure_open(run),
        }
        facts, progress = run.facts, run.progress
    if settings.wants(parallel.ROW):
        with tempfile.TemporaryDirectory() as folder:
            tables["Workers for Python stages"] = [
                parallel.measure_parallel(Path(folder), settings.turns, settings.seconds, progress)
            ]
    return facts, tables


def _note_missing_tools(load: str) -> None:
    for tool, command in HOW_TO_INSTALL.items():
        if load == "tools" and version_of(tool) is None:
            print(f"{tool} is not installed (Debian: {command}): our own load generator stands in for it.")


def _run_suite(name: str, settings: Settings) -> list[dict[str, Any]]:
    """One of the other suites; what it needs is imported only now."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "lite":
            from benchmarks.lite import measure_lite

            return measure_lite(settings.turns, settings.seconds)
        if name == "syscalls":
            from benchmarks.syscalls import measure_syscalls

            return measure_syscalls(Path(folder), settings)
        if name == "dialects":
            from benchmarks.dialect_table import measure_dialects

            _note_missing_tools(settings.load)
            return measure_dialects(Path(folder), settings)
        return _suite(name)(Path(folder), settings.turns, settings.seconds)


def _suite(name: str) -> Suite:
    if name == "steps":
        from benchmarks.steps import measure_steps as suite
    elif name == "python_client":
        from benchmarks.python_client import measure_python_client as suite
    elif name == "peers":
        from benchmarks.peers import measure_peers as suite
    elif name == "models":
        from benchmarks.models import measure_models as suite
    elif name == "batching":
        from benchmarks.batching import measure_batching as suite
    elif name == "memory":
        from benchmarks.memory import measure_memory as suite
    elif name == "capacity":
        from benchmarks.capacity import measure_capacity as suite
    elif name == "overload":
        from benchmarks.overload import measure_overload as suite
    elif name == "calls":
        from benchmarks.called_methods import measure_called_methods as suite
    else:
        from benchmarks.distributed import measure_distributed as suite
    return suite


if __name__ == "__main__":
    sys.exit(main())
