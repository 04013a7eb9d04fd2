"""Where spans go, as OpenTelemetry's environment variables say."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final

from opentelemetry.sdk.trace.export import SpanExporter

from mindspore_serving.errors import InvalidParameter, StartUpError

EXPORTER_VARIABLE: Final = "OTEL_TRACES_EXPORTER"
PROTOCOL_VARIABLE: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL_VARIABLE: Final = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
_GROUP = "opentelemetry_traces_exporter"
_OTLP = "otlp"
_NONE = "none"
_OF_PROTOCOL = {
    "http/protobuf": "otlp_proto_http",
    "grpc": "otlp_proto_grpc",
    "http/json": "otlp_json_http",
}


def exporters_of(environment: Mapping[str, str]) -> list[SpanExporter]:
    """The exporters that are asked for; packages may bring more of them.

    Args:
        environment: Where OTEL_TRACES_EXPORTER may name some, separated by commas: `otlp` by default, `console`, `none`
            or one of another package; and OTEL_EXPORTER_OTLP_PROTOCOL what OTLP speaks, `http/protobuf` by default.

    Raises:
        InvalidParameter: There is no such exporter or protocol.
        StartUpError: An exporter cannot be made.
    """
    names = [name.strip() for name in (environment.get(EXPORTER_VARIABLE) or _OTLP).split(",")]
    exporters = []
    for name in dict.fromkeys(names):
        if name and name != _NONE:
            exporters.append(_exporter(_otlp_of(environment) if name == _OTLP else name))
    return exporters


def _otlp_of(environment: Mapping[str, str]) -> str:
    variable = TRACES_PROTOCOL_VARIABLE if environment.get(TRACES_PROTOCOL_VARIABLE) else PROTOCOL_VARIABLE
    protocol = environment.get(variable) or "http/protobuf"
    name = _OF_PROTOCOL.get(protocol)
    if name is None:
        raise InvalidParameter(
            f"Environment variable {variable} should be one of {', '.join(_OF_PROTOCOL)}, but got {protocol!r}"
        )
    return name


def _exporter(name: str) -> SpanExporter:
    found = tuple(entry_points(group=_GROUP, name=name))
    if not found:
        known = sorted({one.name for one in entry_points(group=_GROUP)})
        raise InvalidParameter(
            f"There is no exporter of traces named {name!r}, installed are: otlp, {', '.join(known)}, none. Set "
            f"{EXPORTER_VARIABLE} or {PROTOCOL_VARIABLE}, or install the package that has it"
        )
    try:
        exporter: SpanExporter = found[0].load()()
    except Exception as cause:  # packages of others, and settings of the user: whatever it is stops the start
        raise StartUpError(f"The exporter of traces {name!r} cannot be made: {cause!r}") from cause
    return exporter
