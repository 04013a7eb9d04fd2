"""What a run has shown, and whether that is good."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.checking import STOPPING_TEXT
from tests.soak.ledger import Outcome, Totals
from tests.soak.main_log import Findings
from tests.soak.prober import Probes
from tests.soak.server import Sample

_MEMORY_FACTOR, _MEMORY_ROOM_MB = 1.3, 50.0
_SHARED_ROOM_MB = 1.0
_DESCRIPTORS_ROOM = 8
_MOST_SHOWN = 5
_MOST_KINDS = 15


@dataclass
class Summary:
    """One run.

    Attributes:
        settings: What was asked for.
        seconds: How long there was load.
        totals: What became of all requests.
        turns: How often each disturbance was made.
        ends: By servable, how many workers the test has ended.
        restarts: By servable, how many workers were started again.
        poisoned: Instances that the clients saw given up because they end workers.
        stopped: Workers that were stopped.
        late: Workers that may have been ended because a call took too long.
        probes: What health checks have said.
        start: The server before the load.
        settled: When it held most memory at first (`Plan.settling_s`).
        end: After the load, when all has come to rest.
        samples: By seconds of load, what the server held.
        findings: In the log of the main process.
        problems: What else was not as it should be.
    """

    settings: Mapping[str, Any]
    seconds: float
    totals: Totals
    turns: Mapping[str, int]
    ends: Mapping[str, int]
    restarts: Mapping[str, int]
    poisoned: int
    stopped: int
    late: int
    probes: Probes
    start: Sample
    settled: Sample
    end: Sample
    samples: Mapping[int, Sample]
    findings: Findings
    problems: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Why the run has failed; empty if it has not."""
        return [*self._of_requests(), *self._of_server(), *self._of_log(), *self.problems]

    def _of_requests(self) -> list[str]:
        found = []
        if self.totals.lost:
            found.append(f"{self.totals.lost} requests were lost")
        if self.totals.wrong:
            found.append(f"{self.totals.wrong} replies were wrong, {self.totals.duplicated} of them too many")
        stopping = sum(count for text, count in self.totals.refusals.items() if text.endswith(STOPPING_TEXT))
        if stopping:
            found.append(f"{stopping} requests were refused by a server that stops before it was told to")
        if not self.totals.answered:
            found.append("no request was answered")
        return found

    def _of_server(self) -> list[str]:
        start, end = self.start, self.end
        most_mb = _MEMORY_FACTOR * self.settled.memory_mb + _MEMORY_ROOM_MB
        found = []
        if end.memory_mb > most_mb:
            found.append(
                f"the main process holds {end.memory_mb:.0f} MB, at first it held up to "
                f"{self.settled.memory_mb:.0f} MB; at most {most_mb:.0f} MB were expected"
            )
        if end.shared_mb > start.shared_mb + _SHARED_ROOM_MB:
            found.append(
                f"{end.shared_mb:.1f} MB of shared memory are held, {start.shared_mb:.1f} MB were at the start"
            )
        if end.descriptors > start.descriptors + _DESCRIPTORS_ROOM:
            found.append(f"{end.descriptors} descriptors are open, {start.descriptors} were at the start")
        if end.children != start.children:
            found.append(f"{end.children} workers live, {start.children} did at the start")
        found += [
            f"{count} workers of {name} were started again, the test has ended {self.ends.get(name, 0)}"
            for name, count in self.restarts.items()
            if count > self.ends.get(name, 0)
        ]
        return found

    def _of_log(self) -> list[str]:
        log = self.findings
        found = [f"the main process logged: {surprise}" for surprise in log.surprises]
        if log.poisoned > self.poisoned:
            found.append(
                f"{log.poisoned} instances were given up because workers were lost with them, expected {self.poisoned}"
            )
        if log.silent > self.stopped:
            found.append(f"{log.silent} workers were killed as silent, {self.stopped} were stopped")
        if log.late > self.late:
            found.append(f"{log.late} workers were ended over a call, at most {self.late} were expected")
        return found

    def write(self, path: Path) -> None:
        """Write all of it as JSON."""
        samples = {"start": self.start, "most at first": self.settled, "end": self.end}
        document = {
            "settings": dict(self.settings),
            "seconds": round(self.seconds, 1),
            "requests": {**self.totals.as_json(), "lost": self.totals.lost, "wrong": self.totals.wrong},
            "turns": dict(self.turns),
            "health checks": asdict(self.probes),
            "workers": {"ended": dict(self.ends), "started again": dict(self.restarts)},
            "main process": {name: sample.as_json() for name, sample in samples.items()},
            "samples": {seconds: sample.as_json() for seconds, sample in self.samples.items()},
            "log": dict(self.findings.kinds.most_common()),
            "faults": self.faults(),
        }
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def text(self) -> str:
        """All of it to read."""
        return "\n\n".join(
            [
                _table("Settings", list(self.settings.items())),
                _table("Requests", self._request_rows()),
                _table("Refused because of", sorted(self.totals.refusals.items())),
                _table("By transport", sorted(self.totals.routes.items())),
                _table("Disturbances", sorted(self.turns.items())),
                _table("Health checks", list(asdict(self.probes).items())),
                _table(
                    "Main process before the load, with most memory at first, at the end", self._server_rows()
                ),
                _table("Log of the main process", self.findings.kinds.most_common(_MOST_KINDS)),
                *self._samples(),
                self._verdict(),
            ]
        )

    def _request_rows(self) -> list[tuple[str, object]]:
        totals = self.totals
        return [
            ("asked", totals.asked),
            ("answered", f"{totals.answered}, {totals.answered / max(self.seconds, 1):.0f} per second"),
            ("  instances of these", totals.instances),
            ("  with the error that was expected", totals.count(Outcome.EXPECTED_ERROR)),
            ("  the slowest took", f"{totals.slowest_s:.1f} s: {totals.slowest}"),
            ("refused", totals.count(Outcome.REFUSED)),
            ("given up by their client", totals.count(Outcome.GIVEN_UP)),
            ("failed", totals.count(Outcome.FAILED)),
            ("lost", totals.lost),
            ("wrong", totals.wrong),
        ]

    def _server_rows(self) -> list[tuple[str, object]]:
        samples = [sample.as_json() for sample in (self.start, self.settled, self.end)]
        rows = [(name, ", ".join(f"{sample[name]:g}" for sample in samples)) for name in samples[0]]
        ended, again = sum(self.ends.values()), sum(self.restarts.values())
        return [*rows, ("workers ended, started again", f"{ended}, {again}")]

    def _samples(self) -> list[str]:
        return [
            "\n".join(
                [
                    f"Requests that ended as {name!r}, the first ones:",
                    *(f"  {text}" for text in texts[:_MOST_SHOWN]),
                ]
            )
            for name, texts in self.totals.samples.items()
        ]

    def _verdict(self) -> str:
        faults = self.faults()
        return "\n".join(["FAILED:", *(f"  {fault}" for fault in faults)]) if faults else "PASSED."


def _table(title: str, rows: Sequence[tuple[str, object]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in rows)])
