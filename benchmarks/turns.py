"""One turn of load on one server: rate, latency and CPU time, with replies checked before, meanwhile and after."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.checking import Checker, wrong_by_size
from benchmarks.load_process import Job, Kind
from benchmarks.load_tools import (
    TOOL_OF,
    h2load_command,
    parse_h2load,
    parse_wrk,
    read_h2load_log,
    version_of,
    wrk_command,
)
from benchmarks.processes import tree_cpu_seconds
from benchmarks.targets import Target, reply_bytes_on_wire

_ROOT = Path(__file__).resolve().parents[1]
_CHECKS_AROUND = 2
_CHECKS_PER_S = 10.0
_LEAD_S = 0.3
"""How long h2load connects and warms the server up before the turn counts, and goes on after it."""


@dataclass(frozen=True)
class Turn:
    """What one turn has shown.

    Attributes:
        generator: What has sent the requests.
        requests: Replies.
        seconds: Wall-clock time.
        p50_ms: Median latency.
        p99_ms: 99th percentile.
        cpu_us: CPU time of the server, all its processes, per request; those of the checks count as requests.
        wrong: Replies that were wrong or did not come.
        checked: Replies of which every byte was compared.
    """

    generator: str
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    wrong: int
    checked: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class Generator(Protocol):
    """Sends requests from closed loops.

    Attributes:
        name: With its version.
    """

    name: str

    def turn(self, target: Target, clients: int, seconds: float) -> Turn:
        """Load a server once.

        Raises:
            RuntimeError: Nothing was answered.
        """


def choose_generator(protocol: str, choice: str) -> Generator:
    """The generator for `grpc` or `rest`; `choice` is `own` or `tools`."""
    version = version_of(TOOL_OF[protocol]) if choice == "tools" else None
    if version is None:
        return OwnGenerator()
    return H2load(version) if protocol == "grpc" else Wrk(version)


class OwnGenerator:
    """Our own, in a process of its own; it compares every reply."""

    name = "own"

    def turn(self, target: Target, clients: int, seconds: float) -> Turn:
        """See `Generator`."""
        seen, cpu_s = run_job(target, closed_job(target, clients, seconds))
        if not seen["requests"]:
            raise RuntimeError(f"{target.url}: no request was answered")
        figures = (seen["requests"], seen["seconds"], seen["p50_ms"], seen["p99_ms"])
        cpu_us = 1e6 * cpu_s / seen["requests"]
        return Turn(self.name, *figures, cpu_us, seen["wrong"], seen["requests"])


def closed_job(target: Target, clients: int, seconds: float) -> Job:
    """A closed loop of one kind of request."""
    kind = Kind(str(target.plain_file), str(target.expected_file))
    return Job(
        target.protocol, target.address, target.path, (kind,), clients, seconds, headers=target.headers
    )


def run_job(
    target: Target, job: Job, watching: contextlib.AbstractContextManager[object] | None = None
) -> tuple[dict[str, Any], float]:
    """Run our own generator.

    Args:
        target: The server.
        job: The load.
        watching: Entered when the generator has connected and warmed up, and left after the last reply.

    Returns:
        What the generator has seen, and the CPU seconds of the server meanwhile.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(job.to_json())
        file.flush()
        command = [sys.executable, "-m", "benchmarks.load_process", file.name]
        process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        with process:
            process.stdout.readline()
            with watching or contextlib.nullcontext():
                before = tree_cpu_seconds(target.server.pid)
                process.stdin.write("\n")
                process.stdin.flush()
                line = process.stdout.readline()
                cpu_s = tree_cpu_seconds(target.server.pid) - before
    if process.returncode:
        raise RuntimeError(f"the load generator ended with exit status {process.returncode}")
    return json.loads(line), cpu_s


class Wrk:
    """wrk, for REST."""

    def __init__(self, name: str) -> None:
        self.name = name

    def turn(self, target: Target, clients: int, seconds: float) -> Turn:
        """See `Generator`."""
        size = reply_bytes_on_wire(target)
        command = wrk_command(target.url, target.plain_file, clients, seconds, target.headers)
        with _Checked(target) as checks:
            before = tree_cpu_seconds(target.server.pid)
            with checks.checker.steadily(_CHECKS_PER_S):
                seen = parse_wrk(_run(command))
            cpu_s = tree_cpu_seconds(target.server.pid) - before
            meanwhile = checks.checker.checked - _CHECKS_AROUND
        _require_replies(target, seen.requests, "")
        wrong = seen.failed + wrong_by_size(seen.received_bytes, seen.requests, size, clients)
        cpu_us = 1e6 * cpu_s / (seen.requests + meanwhile)
        return checks.turn(self.name, seen.requests, seen.seconds, seen.p50_ms, seen.p99_ms, cpu_us, wrong)


class H2load:
    """h2load, for gRPC."""

    def __init__(self, name: str) -> None:
        self.name = name

    def turn(self, target: Target, clients: int, seconds: float) -> Turn:
        """See `Generator`."""
        with tempfile.TemporaryDirectory() as folder, _Checked(target) as checks:
            log = Path(folder) / "log"
            command = h2load_command(target.url, target.body_file, clients, seconds + 2 * _LEAD_S, log)
            with (
                checks.checker.steadily(_CHECKS_PER_S),
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
            ):
                time.sleep(_LEAD_S)
                begin, before = time.time(), tree_cpu_seconds(target.server.pid)
                time.sleep(seconds)
                end, cpu_s = time.time(), tree_cpu_seconds(target.server.pid) - before
                output, _ = process.communicate()
            seen = read_h2load_log(log.read_text().splitlines(), begin, end)
        _require_replies(target, seen.requests, output)
        done, failed, received = parse_h2load(output)
        wrong = failed + wrong_by_size(received, done, len(target.expected) + 5, clients)
        meanwhile = sum(begin <= moment < end for moment in checks.checker.times)
        cpu_us = 1e6 * cpu_s / (seen.requests + meanwhile)
        return checks.turn(self.name, seen.requests, seen.seconds, seen.p50_ms, seen.p99_ms, cpu_us, wrong)


class _Checked:
    """Compares some replies when the block is entered and when it is left."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.checker: Checker = target.checker()

    def __enter__(self) -> _Checked:
        self.checker.check(_CHECKS_AROUND)
        return self

    def __exit__(self, *_: object) -> None:
        self.checker.check(_CHECKS_AROUND)
        self.checker.close()
        if self.checker.first_fault is not None:
            print(f"{self._target.url}: WRONG: {self.checker.first_fault}", flush=True)

    def turn(
        self,
        name: str,
        requests: int,
        seconds: float,
        p50_ms: float,
        p99_ms: float,
        cpu_us: float,
        wrong: int,
    ) -> Turn:
        """What the tool has seen and what the checks have, together."""
        checker = self.checker
        return Turn(name, requests, seconds, p50_ms, p99_ms, cpu_us, wrong + checker.wrong, checker.checked)


def _require_replies(target: Target, requests: int, output: str) -> None:
    if not requests:
        raise RuntimeError(f"{target.url}: no request was answered during the turn. {output[-400:]}")


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
