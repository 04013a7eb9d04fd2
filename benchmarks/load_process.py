"""Our own load generator, as a process: `python -m benchmarks.load_process JOB`, where JOB is a JSON file.

It connects, warms up, prints a line, waits for a line, sends its load and prints what it saw as one line of JSON. So
who starts it can look at the server's CPU time right before and after the load itself.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.connections import (
    JSON_HEADERS,
    Connection,
    Exchange,
    connect,
    grpc_exchange,
    rest_exchange,
)
from benchmarks.load import Samples, closed_loop, percentile
from benchmarks.open_loop import Arrivals, OpenLoop, poisson_times

_SHARES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True)
class Kind:
    """One kind of request: files with its body and the right reply, and how often it is chosen."""

    body: str
    reply: str
    share: float = 1.0


@dataclass(frozen=True)
class Job:
    """A load.

    Attributes:
        interface: `grpc` or `rest`.
        address: `host:port`.
        path: For gRPC, of the method.
        kinds: Kinds of requests.
        connections: Connections; for a closed loop, each is a client.
        seconds: Length.
        warm_up_s: Length of a closed loop before it.
        rate: Requests per second of an open loop; None for a closed loop.
        seed: Of what is drawn.
        headers: Of the requests over REST.
    """

    interface: str
    address: str
    path: str
    kinds: tuple[Kind, ...]
    connections: int
    seconds: float
    warm_up_s: float = 0.2
    rate: float | None = None
    seed: int = 0
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)

    def to_json(self) -> str:
        """For `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What `to_json` has written."""
        fields = json.loads(text)
        return cls(**{**fields, "kinds": tuple(Kind(**kind) for kind in fields["kinds"])})


async def _run(job: Job) -> dict[str, Any]:
    exchanges = [_exchange(job, kind) for kind in job.kinds]
    connections = [await connect(job.interface, job.address, job.path) for _ in range(job.connections)]
    try:
        await closed_loop(connections, exchanges[:1], job.warm_up_s)
        print("ready", flush=True)
        sys.stdin.readline()
        before = _own_cpu_seconds()
        figures = await _load(job, exchanges, connections)
        return {**figures, "generator_cpu_s": _own_cpu_seconds() - before}
    finally:
        for connection in connections:
            connection.close()


async def _load(job: Job, exchanges: list[Exchange], connections: list[Connection]) -> dict[str, Any]:
    if job.rate is not None:
        times = poisson_times(job.rate, job.seconds, job.seed)
        return _figures_of_arrivals(await OpenLoop(connections, exchanges[0], times).run())
    shares = [kind.share for kind in job.kinds]
    elapsed, kinds = await closed_loop(connections, exchanges, job.seconds, shares, job.seed)
    everything = Samples([latency for samples in kinds for latency in samples.latencies])
    everything.wrong = sum(samples.wrong for samples in kinds)
    figures = _figures_of_samples(everything, elapsed)
    return {**figures, "kinds": [_figures_of_samples(samples, elapsed) for samples in kinds]}


def _figures_of_samples(samples: Samples, seconds: float) -> dict[str, Any]:
    return {
        "requests": len(samples.latencies),
        "wrong": samples.wrong,
        "seconds": seconds,
        **_percentiles(samples.latencies, "{}_ms"),
    }


def _figures_of_arrivals(arrivals: Arrivals) -> dict[str, Any]:
    return {
        "requests": len(arrivals.latencies),
        "wrong": arrivals.wrong,
        "seconds": arrivals.seconds,
        **_percentiles(arrivals.latencies, "{}_ms"),
        **_percentiles(arrivals.from_send, "{}_from_send_ms"),
        **_percentiles(arrivals.lateness, "late_{}_ms"),
    }


def _percentiles(values: list[float], name: str) -> dict[str, float]:
    ordered = sorted(values)
    return {name.format(key): 1000 * percentile(ordered, share) for key, share in _SHARES.items()}


def _exchange(job: Job, kind: Kind) -> Exchange:
    body, reply = Path(kind.body).read_bytes(), Path(kind.reply).read_bytes()
    if job.interface == "grpc":
        return grpc_exchange(body, reply)
    return rest_exchange(job.address, job.path, body, reply, job.headers)


def _own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    _job = Job.from_json(Path(sys.argv[1]).read_text())
    print(json.dumps(uvloop.run(_run(_job))), flush=True)
