"""wrk and h2load: how they are called, and what their output says. Neither looks into replies."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.connections import JSON_HEADERS
from benchmarks.load import percentile

HOW_TO_INSTALL = {
    "wrk": "apt-get install wrk",
    "h2load": "apt-get install nghttp2-client",
}
TOOL_OF = {"grpc": "h2load", "rest": "wrk"}
_POST_SCRIPT = Path(__file__).resolve().parent / "post.lua"
_REPLY_TIMEOUT_S = 60


@dataclass(frozen=True)
class Seen:
    """What a tool saw.

    Attributes:
        requests: Replies.
        failed: Requests without a reply, or with one whose HTTP status was not 200.
        seconds: Wall-clock time.
        received_bytes: For wrk all bytes of all replies, for h2load all bytes of their bodies.
        p50_ms: Median latency.
        p99_ms: 99th percentile.
    """

    requests: int
    failed: int
    seconds: float
    received_bytes: int
    p50_ms: float
    p99_ms: float


def version_of(tool: str) -> str | None:
    """Name and version of an installed tool; None if it is not there."""
    path = shutil.which(tool)
    if path is None:
        return None
    shown = subprocess.run([path, "--version"], capture_output=True, text=True)
    match = re.search(r"\d+(\.\d+)+", shown.stdout + shown.stderr)
    return f"{tool} {match[0]}" if match else tool


def wrk_command(
    url: str, body: Path, clients: int, seconds: float, headers: Mapping[str, str] = JSON_HEADERS
) -> list[str]:
    """Posts a file; wrk knows whole seconds only."""
    length = max(1, round(seconds))
    return [
        "wrk",
        *("--threads", "1", "--connections", str(clients), "--duration", f"{length}s"),
        *("--timeout", f"{_REPLY_TIMEOUT_S}s", "--script", str(_POST_SCRIPT)),
        *(url, "--", str(body), *(f"{name}: {value}" for name, value in headers.items())),
    ]


def parse_wrk(output: str) -> Seen:
    """Reads the line that `post.lua` prints.

    Raises:
        ValueError: There is none.
    """
    match = re.search(r"^figures (.+)$", output, re.MULTILINE)
    if match is None:
        raise ValueError(f"wrk has printed no figures: {output[-500:]!r}")
    duration_us, requests, received, *more = map(float, match[1].split())
    *errors, p50_us, p99_us, _ = more
    return Seen(
        int(requests), int(sum(errors)), duration_us / 1e6, int(received), p50_us / 1000, p99_us / 1000
    )


def h2load_command(url: str, framed_body: Path, clients: int, seconds: float, log: Path) -> list[str]:
    """Calls a gRPC method; each client has a connection, and one call under way on it.

    Args:
        url: `http://host:port/package.Service/Method`.
        framed_body: Five bytes of prefix, and the serialized request.
        clients: Closed loops.
        seconds: Length.
        log: Where each request is to be written down.
    """
    return [
        "h2load",
        *("--threads=1", f"--clients={clients}", "--max-concurrent-streams=1"),
        *(f"--duration={math.ceil(1000 * seconds)}ms", f"--data={framed_body}", f"--log-file={log}"),
        *("--header=content-type: application/grpc", "--header=te: trailers", url),
    ]


def parse_h2load(output: str) -> tuple[int, int, int]:
    """What h2load says at its end.

    Returns:
        Replies, those among them that failed, and the bytes of all bodies.

    Raises:
        ValueError: It does not say so.
    """
    # Those that have no reply, or timed out, are among the failed ones.
    counts = re.search(r"^requests: .* (\d+) done, \d+ succeeded, (\d+) failed", output, re.MULTILINE)
    codes = re.search(r"^status codes: (\d+) 2xx", output, re.MULTILINE)
    data = re.search(r"^traffic: .*\((\d+)\) data$", output, re.MULTILINE)
    if counts is None or codes is None or data is None:
        raise ValueError(f"h2load has not said what it saw: {output[-500:]!r}")
    done, failed = map(int, counts.groups())
    return done, max(failed, done - int(codes[1])), int(data[1])


def read_h2load_log(lines: Sequence[str], begin: float, end: float) -> Seen:
    """The requests of a log that were answered within a time.

    Args:
        lines: Start in microseconds since 1970, HTTP status and duration in microseconds, with tabs between.
        begin: Seconds since 1970.
        end: As `begin`.
    """
    durations, failed = [], 0
    for line in lines:
        start_us, status, duration_us = map(int, line.split("\t")[:3])
        if begin * 1e6 <= start_us + duration_us < end * 1e6:
            durations.append(duration_us)
            failed += status != 200
    durations.sort()
    p50, p99 = (percentile(durations, share) / 1000 for share in (0.5, 0.99))
    return Seen(len(durations), failed, end - begin, 0, p50, p99)
