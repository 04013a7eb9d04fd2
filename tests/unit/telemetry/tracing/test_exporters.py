"""Which exporters there are, as the environment says."""

from __future__ import annotations

import re

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.server.telemetry.tracing.exporters import exporters_of

PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
EXPORTER = "OTEL_TRACES_EXPORTER"


@pytest.mark.parametrize(
    ("environment", "kinds"),
    [
        ({}, [HttpExporter]),
        ({EXPORTER: "", PROTOCOL: ""}, [HttpExporter]),
        ({PROTOCOL: "http/protobuf"}, [HttpExporter]),
        ({PROTOCOL: "grpc"}, [GrpcExporter]),
        ({PROTOCOL: "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, [GrpcExporter]),
        ({EXPORTER: "none"}, []),
        ({EXPORTER: "console"}, [ConsoleSpanExporter]),
        ({EXPORTER: "otlp, console,otlp"}, [HttpExporter, ConsoleSpanExporter]),
        ({EXPORTER: "otlp_proto_grpc"}, [GrpcExporter]),
    ],
)
def test_the_environment_says_where_spans_go(environment: dict[str, str], kinds: list[type]) -> None:
    exporters = exporters_of(environment)
    assert [type(one) for one in exporters] == kinds
    for one in exporters:
        one.shutdown()


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({PROTOCOL: "udp"}, f"{PROTOCOL} should be one of http/protobuf, grpc, http/json, but got 'udp'"),
        ({EXPORTER: "zipkin"}, "There is no exporter of traces named 'zipkin', installed are: otlp, console,"),
        ({PROTOCOL: "http/json"}, "There is no exporter of traces named 'otlp_json_http'"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(environment: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        exporters_of(environment)


def test_an_exporter_that_cannot_be_made_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(StartUpError, match="'otlp_proto_grpc' cannot be made: ValueError"):
        exporters_of({PROTOCOL: "grpc"})
