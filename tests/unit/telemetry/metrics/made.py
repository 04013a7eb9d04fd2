"""Statistics of servers as no server has counted them."""

from __future__ import annotations

from mindspore_serving.server.dispatch.method_statistics import (
    BatchTimes,
    Duration,
    Histogram,
    MethodStatistics,
    Outcome,
    Phase,
)
from mindspore_serving.server.service.server_statistics import (
    CopyStatistics,
    FrontEndStatistics,
    ServerStatistics,
    VersionStatistics,
)

BOUNDS = (0.001, 0.01, 1.0)
HOSTILE = 'a"b\\c\nd{e="f"} 1\n# TYPE x counter\n<script>alert(1)</script>é\udcff'
"""As a folder may be called: quotes, lines, markup, and a byte that is no UTF-8."""


def histogram(*counts: int, sum_s: float = 0.5) -> Histogram:
    return Histogram(BOUNDS, counts, sum_s)


def method(ok: int = 5) -> MethodStatistics:
    return MethodStatistics(
        success=Duration(ok, 9_000_000),
        fail=Duration(4, 1000),
        queue=Duration(ok, 2_000_000),
        compute_infer=Duration(ok, 3_000_000),
        instances=12,
        executions=4,
        last_request_ms=1_700_000_000_500,
        batches={1: _ran(1), 2: _ran(1), 3: _ran(1), 2000: _ran(2)},
        requests={Outcome.OK: ok, Outcome.INVALID: 1, Outcome.CANCELLED: 2, Outcome.MODEL_FAILED: 3},
        outcomes={Outcome.OK: 12, Outcome.DEADLINE: 7},
        phases={Phase.QUEUE: histogram(1, 2, 0, 3), Phase.TOTAL: histogram(0, 0, 5, 1, sum_s=2.5),
                Phase.DECODE: histogram(6, 0, 0, 0)},
        steps={"preprocess": Duration(4, 8_000_000), 'model "a"': Duration(4, 1_500_000_000)},
        model_rows=20,
        padding_rows=8,
        cancelled_before_run=1,
        refused={"requests": 9, "invalid": 1},
    )  # fmt: skip


def _ran(count: int) -> BatchTimes:
    return BatchTimes(compute_infer=Duration(count, 1000))


def version(
    servable: str = "add", number: int = 1, *, methods: dict[str, MethodStatistics] | None = None
) -> VersionStatistics:
    return VersionStatistics(
        servable,
        number,
        "ready",
        "",
        (
            CopyStatistics("add version 1 device0", 0, "ready", 7, 1 << 20, 2, 1, 3),
            CopyStatistics("elsewhere", 1, "starting"),
        ),
        {"sum": method()} if methods is None else methods,
        4,
        9,
        5,
        (100, 0, 1 << 30),
    )


def server(*versions: VersionStatistics, closing: str = "") -> ServerStatistics:
    return ServerStatistics(
        "9.8",
        1_600_000_000.25,
        12.5,
        closing,
        6,
        7,
        8,
        (1000, 0, 1 << 31),
        {"requests": 11, "unknown_target": 2},
        versions,
        (
            FrontEndStatistics("grpc", "unix:/home/somebody/secret.sock", 2, 10),
            FrontEndStatistics("grpc", "127.0.0.1:5500", -1, 0),
            FrontEndStatistics("rest", "127.0.0.1:1500", 3, 100),
        ),
        1 << 27,
    )
