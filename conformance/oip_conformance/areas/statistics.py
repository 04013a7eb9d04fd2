"""Statistics, REST and gRPC."""

from __future__ import annotations

import time
from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, Deviation, Tier, expect
from oip_conformance.messages import new
from oip_conformance.rpc import expect_ok
from oip_conformance.server import Server, as_list, as_object, expect_error, offered, ok_json, rpc_offered

AREA = Area("Statistics", "http")

_DURATIONS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)
_COUNTS = ("last_inference", "inference_count", "execution_count")
_REQUESTS = 3


def _entries(server: Server, path: str) -> list[dict[str, Any]]:
    found = as_object(ok_json(offered(server.rest.get(path))), "statistics")
    return [as_object(each, "an entry") for each in as_list(found.get("model_stats"), "model_stats")]


def _of_model(server: Server) -> dict[str, Any]:
    entries = _entries(server, server.path("/stats"))
    mine = [each for each in entries if each.get("name") == server.model]
    expect(len(mine) >= 1, f"an entry of {server.model!r}", entries)
    return mine[0]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _expect_duration(name: str, value: Any) -> None:
    found = as_object(value, name)
    expect(
        _whole(found.get("count")) and _whole(found.get("ns")), f"whole numbers count and ns in {name}", found
    )


@AREA.check(
    "statistics.model", Tier.TRITON, "An entry has the model's name, version and counts.", sources.STATISTICS
)
def model(server: Server) -> None:
    """GET /v2/models/MODEL/stats answers with counts, as whole numbers."""
    entry = _of_model(server)
    for key in _COUNTS:
        expect(_whole(entry.get(key)), f"a whole number {key}", entry.get(key))


@AREA.check(
    "statistics.version",
    Tier.TRITON,
    "perf_analyzer reads the version of each entry as a text.",
    sources.STATISTICS,
)
def version(server: Server) -> None:
    """The version of an entry is a text."""
    found = _of_model(server).get("version")
    expect(isinstance(found, str), "a text version", repr(found))


@AREA.check(
    "statistics.durations",
    Tier.TRITON,
    "inference_stats has a count and nanoseconds of each step.",
    sources.STATISTICS,
)
def durations(server: Server) -> None:
    """inference_stats has count and ns for all eight durations."""
    found = as_object(_of_model(server).get("inference_stats"), "inference_stats")
    for name in _DURATIONS:
        _expect_duration(name, found.get(name))


@AREA.check(
    "statistics.batches", Tier.TRITON, "batch_stats has the steps of each batch size.", sources.STATISTICS
)
def batches(server: Server) -> None:
    """batch_stats has an entry for each batch size that was run."""
    server.still_serves("http")
    listed = as_list(_of_model(server).get("batch_stats"), "batch_stats")
    expect(bool(listed), "an entry after an inference", listed)
    for each in listed:
        entry = as_object(each, "an entry of batch_stats")
        expect(_whole(entry.get("batch_size")), "a whole number batch_size", entry)
        for name in ("compute_input", "compute_infer", "compute_output"):
            _expect_duration(name, entry.get(name))


@AREA.check("statistics.all", Tier.TRITON, "Without a model the reply has all of them.", sources.STATISTICS)
def all_models(server: Server) -> None:
    """GET /v2/models/stats has an entry of the model."""
    names = [each.get("name") for each in _entries(server, "/v2/models/stats")]
    expect(server.model in names, f"an entry of {server.model!r}", names)


@AREA.check(
    "statistics.of_version", Tier.TRITON, "With a version the reply has that one.", sources.STATISTICS
)
def of_version(server: Server) -> None:
    """GET /v2/models/MODEL/versions/VERSION/stats has one entry, of the version."""
    asked = server.versions()[0]
    found = [
        (each.get("name"), each.get("version"))
        for each in _entries(server, server.path("/stats", version=asked))
    ]
    expect(found == [(server.model, asked)], str([(server.model, asked)]), found)


@AREA.check(
    "statistics.unknown", Tier.TRITON, "A failed request has an error status and object.", sources.STATISTICS
)
def unknown(server: Server) -> None:
    """Statistics of an unknown model are refused."""
    _of_model(server)
    expect_error(server.rest.get(server.path("/stats", model="oip-conformance-no-such-model")))


def _rows(server: Server) -> int:
    """Return what one inference adds to inference_count."""
    return server.inputs()[0].shape[0] if server.max_batch_size() else 1


def _after_requests(server: Server, enough: Any) -> dict[str, Any]:
    """Return the statistics when ``enough`` says so; they may follow the replies by a moment."""
    deadline = time.monotonic() + server.target.settle_s
    while True:
        entry = _of_model(server)
        if enough(entry) or time.monotonic() > deadline:
            return entry
        time.sleep(0.05)


@AREA.check(
    "statistics.inference_count",
    Tier.TRITON,
    "inference_count counts each inference of a batch.",
    sources.STATISTICS,
)
def inference_count(server: Server) -> None:
    """inference_count grows by the rows of the requests."""
    before = int(_of_model(server)["inference_count"])
    for _ in range(_REQUESTS):
        server.infer(server.inputs())
    wanted = before + _REQUESTS * _rows(server)
    entry = _after_requests(server, lambda found: found["inference_count"] >= wanted)
    expect(
        entry["inference_count"] == wanted,
        f"inference_count {wanted} after {before}",
        entry["inference_count"],
    )


@AREA.check("statistics.success", Tier.TRITON, "success counts the successful requests.", sources.STATISTICS)
def success(server: Server) -> None:
    """The count of success grows by the requests, and its nanoseconds grow."""
    before = _of_model(server)["inference_stats"]["success"]
    for _ in range(_REQUESTS):
        server.infer(server.inputs())
    wanted = before["count"] + _REQUESTS
    found = _after_requests(server, lambda entry: entry["inference_stats"]["success"]["count"] >= wanted)
    after = found["inference_stats"]["success"]
    expect(
        after["count"] == wanted and after["ns"] > before["ns"],
        f"count {wanted}, more ns than {before}",
        after,
    )


@AREA.check(
    "statistics.executions",
    Tier.TRITON,
    "execution_count counts batches: at most the inferences.",
    sources.STATISTICS,
)
def executions(server: Server) -> None:
    """execution_count grows by the batches: at least 1, at most the rows."""
    most = _REQUESTS * _rows(server)  # a server with several copies of a model may split a request
    before = int(_of_model(server)["execution_count"])
    for _ in range(_REQUESTS):
        server.infer(server.inputs())
    entry = _after_requests(server, lambda found: found["execution_count"] >= before + _REQUESTS)
    grown = entry["execution_count"] - before
    expect(1 <= grown <= most, f"1 to {most} more than {before}", entry["execution_count"])
    expect(entry["execution_count"] <= entry["inference_count"], "no more executions than inferences", entry)


@AREA.check(
    "statistics.last_inference",
    Tier.TRITON,
    "last_inference is in milliseconds since 1970.",
    sources.STATISTICS,
)
def last_inference(server: Server) -> None:
    """last_inference is a time of this day, in milliseconds."""
    server.infer(server.inputs())
    found = _of_model(server)["last_inference"]
    now = time.time() * 1000
    expect(abs(found - now) < 86_400_000, f"about {now:.0f}", found)


@AREA.check(
    "statistics.grpc", Tier.TRITON, "gRPC has the same numbers.", sources.STATISTICS, transport="both"
)
def over_grpc(server: Server) -> None:
    """ModelStatistics has the same counts as REST."""
    entry = _of_model(server)
    found = expect_ok(rpc_offered(server.rpc.call("ModelStatistics", new("NameVersion", name=server.model))))
    if not found.model_stats:
        raise Deviation(f"an entry of {server.model!r}", "none")
    message = found.model_stats[0]
    got = {"name": message.name, "version": message.version, "inference_count": message.inference_count}
    got["success"] = message.inference_stats.success.count
    wanted = {key: entry[key] for key in ("name", "version", "inference_count")}
    wanted["success"] = entry["inference_stats"]["success"]["count"]
    expect(got == wanted, str(wanted), got)


@AREA.check(
    "statistics.grpc_all",
    Tier.TRITON,
    "Without a name the reply has all models.",
    sources.STATISTICS,
    transport="grpc",
)
def all_over_grpc(server: Server) -> None:
    """ModelStatistics without a name has an entry of the model."""
    found = expect_ok(rpc_offered(server.rpc.call("ModelStatistics", b"")))
    names = [each.name for each in found.model_stats]
    expect(server.model in names, f"an entry of {server.model!r}", names)
