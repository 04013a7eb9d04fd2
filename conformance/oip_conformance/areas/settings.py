"""Trace and log settings; they are only read."""

from __future__ import annotations

from oip_conformance import sources
from oip_conformance.check import Area, Tier, expect
from oip_conformance.messages import new
from oip_conformance.rpc import expect_ok
from oip_conformance.server import Server, as_object, offered, ok_json, rpc_offered

AREA = Area("Trace and log settings", "http")


@AREA.check(
    "settings.trace", Tier.TRITON, "The trace settings are an object with trace_level.", sources.TRACE
)
def trace(server: Server) -> None:
    """GET /v2/trace/setting answers with trace_level and trace_rate."""
    found = as_object(ok_json(offered(server.rest.get("/v2/trace/setting"))), "the settings")
    for key in ("trace_level", "trace_rate"):
        expect(key in found, key, found)


@AREA.check("settings.trace_model", Tier.TRITON, "A model has trace settings, too.", sources.TRACE)
def trace_of_model(server: Server) -> None:
    """GET /v2/models/MODEL/trace/setting answers with trace_level."""
    found = as_object(ok_json(offered(server.rest.get(server.path("/trace/setting")))), "the settings")
    expect("trace_level" in found, "trace_level", found)


@AREA.check(
    "settings.log",
    Tier.TRITON,
    "The log settings are an object with log_info and the other levels.",
    sources.LOGGING,
)
def log(server: Server) -> None:
    """GET /v2/logging answers with the levels."""
    found = as_object(ok_json(offered(server.rest.get("/v2/logging"))), "the settings")
    for key in ("log_info", "log_warning", "log_error", "log_verbose_level", "log_format"):
        expect(key in found, key, found)


@AREA.check(
    "settings.trace_grpc",
    Tier.TRITON,
    "TraceSetting without settings reads them.",
    sources.TRACE,
    transport="grpc",
)
def trace_over_grpc(server: Server) -> None:
    """TraceSetting answers with trace_level."""
    found = expect_ok(rpc_offered(server.rpc.call("TraceSetting", new("TraceRequest"))))
    expect("trace_level" in found.settings, "trace_level", sorted(found.settings))


@AREA.check(
    "settings.log_grpc",
    Tier.TRITON,
    "LogSettings without settings reads them.",
    sources.LOGGING,
    transport="grpc",
)
def log_over_grpc(server: Server) -> None:
    """LogSettings answers with log_info."""
    found = expect_ok(rpc_offered(server.rpc.call("LogSettings", new("LogSettings"))))
    expect("log_info" in found.settings, "log_info", sorted(found.settings))
