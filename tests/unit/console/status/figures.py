"""Figures that tests make themselves: statistics, and documents for rules and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mindspore_serving.server.console.status.document import (
    CopyStatus,
    MethodStatus,
    PhaseTimes,
    StatusDocument,
    VersionStatus,
    Window,
)
from mindspore_serving.server.dispatch.method_statistics import (
    BatchTimes,
    Duration,
    Histogram,
    MethodStatistics,
    Outcome,
    Phase,
)
from mindspore_serving.server.service.server_statistics import ServerStatistics, VersionStatistics

BOUNDS = (0.001, 0.01, 0.1)
HOSTILE = "\"'<script>alert(1)</script>[bold red]\\[/x]\x1b[31m\x07\u202e{}%s"
"""A name of a method as somebody might choose it who means harm."""


def histogram(*counts: int, sum_s: float = 1e9) -> Histogram:
    """Times: how many are below 1 ms, 10 ms, 100 ms, and above; with a mean that bounds nothing."""
    return Histogram(BOUNDS, counts, sum_s)


def counted(ok: int, *, failed: int = 0, phases: Mapping[Phase, Histogram] | None = None) -> MethodStatistics:
    """What was counted of a method with single requests that took 1 to 10 ms."""
    ended = ok + failed
    return MethodStatistics(
        success=Duration(ok, ok * 5_000_000),
        fail=Duration(failed, failed * 5_000_000),
        queue=Duration(ended, 0),
        batches={1: BatchTimes(compute_infer=Duration(ok, ok))},
        requests={Outcome.OK: ok, Outcome.MODEL_FAILED: failed},
        outcomes={Outcome.OK: 2 * ok, Outcome.MODEL_FAILED: failed},
        phases={Phase.TOTAL: histogram(0, ended, 0, 0, sum_s=0.005 * ended)} if phases is None else phases,
        steps={"function f": Duration(ok, ok * 3_000_000), "model m": Duration(ok, ok * 1_000_000)},
        model_rows=4 * ok,
        padding_rows=2 * ok,
    )


def version(
    methods: Mapping[str, MethodStatistics], *, servable: str = "add", number: int = 1, state: str = "ready"
) -> VersionStatistics:
    """A version with these methods."""
    return VersionStatistics(servable, number, state, "", methods=methods)


class FakeStatistics:
    """What was counted, as a test says it, at times that it says.

    Attributes:
        now: The time.
        versions: What there is.
        refused: What was refused.
        reads: How often somebody has looked.
        cost_s: How long a look takes.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.began = self.now
        self.versions: Sequence[VersionStatistics] = ()
        self.refused: dict[str, int] = {}
        self.reads = 0
        self.cost_s = 0.0

    def clock(self) -> float:
        """The time."""
        return self.now

    def server(self) -> ServerStatistics:
        """What was counted until now."""
        self.reads += 1
        at = self.now
        self.now += self.cost_s
        return ServerStatistics(
            "1.2.3",
            1e9,
            at - self.began,
            refused=dict(self.refused),
            versions=tuple(self.versions),
        )

    def serve(self, **methods: MethodStatistics) -> None:
        """One version with these methods."""
        self.versions = (version(methods),)


def phase(count: int, mean_ms: float) -> PhaseTimes:
    return PhaseTimes(count, mean_ms, mean_ms, mean_ms, mean_ms)


COPY = CopyStatus("device0", 0, "ready", 7, 1 << 20, 2, 1, 0)
WINDOW = Window(
    60.0,
    requests={"ok": 100},
    instances={"ok": 100},
    requests_per_s=100 / 60,
    instances_per_s=100 / 60,
    phases={"total": phase(100, 10.0), "queue": phase(100, 2.0), "compute": phase(100, 6.0)},
    batches=25,
    mean_batch=4.0,
    batch_sizes={"4": 25},
    model_rows=100,
    padding_share=0.1,
)
METHOD = MethodStatus("predict", {"1m": WINDOW})
VERSION = VersionStatus("add", 1, "ready", "", 0, 0, 0, (), (COPY,), (), (METHOD,))
DOCUMENT = StatusDocument(
    "1.2.3", 1e9, 4000.0, True, "", 0, 0, 0, 2 << 20, {}, (), (), {"1m": WINDOW, "5m": WINDOW}, (VERSION,)
)


def document_with(window: Window, **of_version: object) -> StatusDocument:
    """A page whose only method has this window."""
    method = replace(METHOD, windows={"1m": window})
    changed = replace(VERSION, methods=(method,), **of_version)  # type: ignore[arg-type]
    return replace(DOCUMENT, versions=(changed,))
