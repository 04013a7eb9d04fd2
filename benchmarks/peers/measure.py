"""Ours beside other Python servers: the sum of two arrays, and identity, in numpy in one Python worker.

All servers run at the same time and are loaded in turn, several times over. CPU is that of all processes of a server.
Each server's first reply is parsed and compared with the right values; every later one must be the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.connections import grpc_exchange, rest_exchange
from benchmarks.goals import judged
from benchmarks.load import Load, exchange_load, tree_cpu_seconds
from benchmarks.peers.environment import install, versions
from benchmarks.peers.targets import OURS, PEERS, Contestant, Question, Running
from benchmarks.rows import Record, ending_of, spread_of

_CLIENTS = (1, 8, 32)
_WARM_UP_S = 0.3
_START_LIMIT_S = 60.0
_RETRY_S = 0.1
_LOG_LINES = 3
_ALL_ERRORS = (OSError, EOFError, IndexError, ValueError, RuntimeError, grpc.RpcError)
"""What a load raises when a server breaks off or answers something that is no reply."""


@dataclass(frozen=True)
class Target:
    """A server that has answered rightly.

    Attributes:
        question: What it is sent.
        expected: The reply's bytes.
        pid: Its first process.
    """

    question: Question
    expected: bytes
    pid: int


@dataclass(frozen=True)
class Turn:
    """One server under load once."""

    load: Load
    cpu_us: float


def measure_peers(folder: Path, turns: int, seconds: float) -> list[Record]:
    """Load all servers in turn; prints and returns one row per server, method and number of clients.

    Args:
        folder: An empty folder to work in.
        turns: Turns per server and row.
        seconds: Length of a turn.

    Returns:
        The rows. One of a server that could not be installed, started or loaded has "failed", the reason.
    """
    failures = install(tuple(dict.fromkeys(peer.package for peer in PEERS)))
    rows = [_failed_row(package, reason) for package, reason in failures.items()]
    there = [peer for peer in PEERS if peer.package not in failures]
    for method in ("add", "identity"):
        with contextlib.ExitStack() as stack:
            print(f"Starting {', '.join(peer.name for peer in (OURS, *there))} for {method} ...", flush=True)
            targets: list[Target] = []
            for number, contestant in enumerate((OURS, *there)):
                own_folder = folder / method / str(number)
                own_folder.mkdir(parents=True)
                try:
                    targets += _started(contestant, method, own_folder, stack)
                except (*_ALL_ERRORS, TimeoutError) as error:
                    if contestant is OURS:
                        raise
                    rows.append(_failed_row(f"{contestant.name}, {method}", str(error)))
            for clients in _CLIENTS:
                rows += _rows_of(targets, method, clients, turns, seconds)
    return rows


def _started(contestant: Contestant, method: str, folder: Path, stack: contextlib.ExitStack) -> list[Target]:
    running = stack.enter_context(contestant.start(method, folder))
    return [
        Target(question, _first_reply(question, running), running.process.pid)
        for question in running.questions
    ]


def _first_reply(question: Question, running: Running) -> bytes:
    """Ask until the server answers rightly: it says in no other way that it has started.

    Raises:
        RuntimeError: It has ended, or does not answer rightly within a minute.
    """
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        reason = ""
        try:
            reply = _ask(question)
            if question.request.is_right(reply):
                return reply
            reason = f"it answered {reply!r}"
        except (*_ALL_ERRORS, LookupError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
        if running.process.poll() is not None or time.monotonic() > deadline:
            lines = running.log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if running.log else []
            raise RuntimeError(f"{question.server} does not serve: {reason}; its last lines: {lines}")
        time.sleep(_RETRY_S)


def _ask(question: Question) -> bytes:
    request = question.request
    if request.protocol == "grpc":
        with grpc.insecure_channel(question.address) as channel:
            return bytes(channel.unary_unary(request.path)(request.body, timeout=_START_LIMIT_S))
    connection = http.client.HTTPConnection(question.address, timeout=_START_LIMIT_S)
    try:
        connection.request("POST", request.path, request.body, dict(request.headers))
        return connection.getresponse().read()
    finally:
        connection.close()


def _rows_of(
    targets: Sequence[Target], method: str, clients: int, turns: int, seconds: float
) -> list[Record]:
    taken: dict[int, list[Turn]] = {number: [] for number in range(len(targets))}
    failed: dict[int, str] = {}
    for _ in range(turns):
        for number, target in enumerate(targets):
            if number in failed:
                continue
            try:
                taken[number].append(_turn(target, clients, seconds))
            except _ALL_ERRORS as error:
                failed[number] = f"{type(error).__name__}: {error}"
    ours = {
        target.question.form: taken[number]
        for number, target in enumerate(targets)
        if target.question.server == OURS.name
    }
    rows = []
    for number, target in enumerate(targets):
        question = target.question
        name = f"{question.form} {method}"
        if number in failed:
            rows.append(_failed_row(f"{name}, {question.server}", failed[number]))
            continue
        compared = [] if question.server.startswith(OURS.name) else ours[question.form]
        rows.append(row_of(name, question, clients, taken[number], compared))
    return rows


def _turn(target: Target, clients: int, seconds: float) -> Turn:
    request, address = target.question.request, target.question.address
    if request.protocol == "grpc":
        exchange = grpc_exchange(request.body, target.expected)
    else:
        exchange = rest_exchange(address, request.path, request.body, target.expected, request.headers)

    def load(length: float) -> Load:
        return asyncio.run(exchange_load(request.protocol, address, request.path, exchange, clients, length))

    load(_WARM_UP_S)
    before = tree_cpu_seconds(target.pid)
    result = load(seconds)
    return Turn(result, 1e6 * (tree_cpu_seconds(target.pid) - before) / result.requests)


def row_of(
    name: str, question: Question, clients: int, taken: Sequence[Turn], ours: Sequence[Turn]
) -> Record:
    """One row of the table; prints it.

    Args:
        name: Of the form and the method.
        question: What the server was asked.
        clients: Closed loops.
        taken: Turns of this server.
        ours: Neighbouring turns of ours with the same form of request, for the ratios ours / this server; or none.
    """
    server, protocol = question.server, question.request.protocol
    row: Record = {
        "row": name,
        "clients": clients,
        "server": server,
        "interface": protocol,
        "version": versions().get(server.partition(",")[0].lower()),
        "requests_per_s": round(statistics.median(turn.load.rate for turn in taken)),
        "p50_ms": round(statistics.median(turn.load.p50_ms for turn in taken), 3),
        "p99_ms": round(statistics.median(turn.load.p99_ms for turn in taken), 3),
        "cpu_us": round(statistics.median(turn.cpu_us for turn in taken)),
        "wrong": sum(turn.load.wrong for turn in taken),
    }
    if ours:
        pairs = list(zip(ours, taken, strict=True))
        row["cpu_of_ours"] = spread_of(own.cpu_us / peer.cpu_us for own, peer in pairs)
        row["rate_of_ours"] = spread_of(own.load.rate / peer.load.rate for own, peer in pairs)
    row["goals"] = judged(row)
    print(_line(row), flush=True)
    return row


def _line(row: Record) -> str:
    line = (
        f"{row['row']:18} {row['server']:20} {row['clients']:3} clients  {row['requests_per_s']:>6} req/s  "
        f"p50 {row['p50_ms']:>7} ms  p99 {row['p99_ms']:>7} ms  CPU {row['cpu_us']:>5} us/req"
    )
    if "cpu_of_ours" in row:
        cpu, rate = row["cpu_of_ours"], row["rate_of_ours"]
        line += (
            f"  ours/it: CPU {cpu['median']:.2f} ({cpu['min']:.2f}-{cpu['max']:.2f}), "
            f"rate {rate['median']:.2f} ({rate['min']:.2f}-{rate['max']:.2f})"
        )
    return line + ending_of(row)


def _failed_row(name: str, reason: str) -> Record:
    print(f"{name}: not measured: {reason}", flush=True)
    return {"row": name, "failed": reason, "wrong": 0}
