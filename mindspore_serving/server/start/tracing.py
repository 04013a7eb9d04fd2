"""How a start script asks for traces, whose libraries are imported only then."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.start.server import server_of_process
from mindspore_serving.server.start.stop_on_exception import stop_on_exception

if TYPE_CHECKING:
    from mindspore_serving.server.telemetry.tracing.tracing import Tracing

_DISABLED_VARIABLE = "OTEL_SDK_DISABLED"
_INSTALL = "pip install 'mindspore_serving[tracing]'"


@stop_on_exception
def start_tracing() -> None:
    """Trace requests with OpenTelemetry, from now on; before or after the servers are started.

    A call with a header `traceparent` (gRPC: metadata) that says sampled is traced, and belongs to the trace of its
    client; any other one if the sampler chooses it. Spans go to a collector by OTLP, in a thread of their own: one that
    is slow or gone keeps no request waiting.

    There are no parameters: OpenTelemetry's environment variables say where spans go (OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL), which calls are sampled (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG), and what the
    server is called (OTEL_SERVICE_NAME, `mindspore-serving` by default). With OTEL_SDK_DISABLED=true nothing is traced.

    Raises:
        RuntimeError: The packages of the extra `tracing` are not installed, a variable has a value that it cannot have,
            or tracing is started already. The whole server is stopped before this is raised.
    """
    if os.environ.get(_DISABLED_VARIABLE, "").strip().lower() == "true":
        log.warning("Traces: there are none, because %s is true", _DISABLED_VARIABLE)
        return
    server_of_process.start_tracing(lambda: _tracing_of(os.environ))


def _tracing_of(environment: Mapping[str, str]) -> Tracing:
    """Traces as the environment wants them.

    Raises:
        StartUpError: Packages are missing, or an exporter cannot be made.
        InvalidParameter: A variable has a value that it cannot have.
    """
    try:
        from mindspore_serving.server.telemetry.tracing.tracing import tracing_of
    except ImportError as cause:
        raise StartUpError(
            f"Traces need packages that cannot be imported: {cause}; install them with: {_INSTALL}"
        ) from cause
    return tracing_of(environment)
