"""Traces of a server: told of calls by transports, and of requests by dispatch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind

from mindspore_serving import __version__, log
from mindspore_serving.server.dispatch.client_call import ClientCall
from mindspore_serving.server.telemetry.tracing.call_trace import TracedCall
from mindspore_serving.server.telemetry.tracing.export_log import ExportLog
from mindspore_serving.server.telemetry.tracing.exporters import exporters_of
from mindspore_serving.server.telemetry.tracing.sampling import Choice, Sampled
from mindspore_serving.server.telemetry.tracing.server_span import attributes_of, name_of, status_of
from mindspore_serving.server.telemetry.tracing.spans import Spans, traceparent_of
from mindspore_serving.server.transport.observers import EndedCall

FLUSH_LIMIT_S: Final = 3.0
"""When the server stops, the spans that are left have so long to reach the collector."""
DEFAULT_SERVICE: Final = "mindspore-serving"
_NAME_VARIABLE = "OTEL_SERVICE_NAME"
_RESOURCE_VARIABLE = "OTEL_RESOURCE_ATTRIBUTES"


class TracedClientCall(TracedCall):
    """A call with what is told of it at its end.

    Args:
        spans: Makes its spans.
        sampled: Its ids.
    """

    __slots__ = ("sampled",)

    def __init__(self, spans: Spans, sampled: Sampled) -> None:
        super().__init__(spans, sampled.context)
        self.sampled = sampled


class Tracing:
    """An observer of calls, and the exporters behind it.

    Args:
        choice: Which calls are traced.
        resource: What the server is.
        processors: Take spans, and give them away in threads of their own.
        export_log: Takes what OpenTelemetry logs.
        flush_limit_s: How long `stop` waits for what is left.
    """

    def __init__(
        self,
        choice: Choice,
        resource: Resource,
        processors: Sequence[SpanProcessor],
        export_log: ExportLog | None = None,
        flush_limit_s: float = FLUSH_LIMIT_S,
    ) -> None:
        self._choice = choice
        self._processors = processors
        self._export_log = export_log
        self._flush_limit_s = flush_limit_s
        self._spans = Spans(resource, _giver(processors))

    def __repr__(self) -> str:
        return f"<Tracing {self._choice}>"

    def begins(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        """See `CallObserver`: decide whether the call is traced."""
        sampled = self._choice.look_at(headers)
        if sampled is None:
            return
        call.trace = TracedClientCall(self._spans, sampled)
        call.trace_id = f"{sampled.context.trace_id:032x}"
        call.traceparent = traceparent_of(sampled.context)

    def ended(self, ended: EndedCall) -> None:
        """See `CallObserver`: make the span of a call that is traced.

        A question for the server's health has none, unless its client traces it.
        """
        trace = ended.call.trace
        if not isinstance(trace, TracedClientCall):
            return
        sampled = trace.sampled
        if ended.probe and sampled.parent is None:
            return
        self._spans.give(
            name_of(ended),
            sampled.context,
            sampled.parent,
            (ended.call.began, ended.ended),
            trace.span.offset_ns,
            {**sampled.attributes, **attributes_of(ended)},
            kind=SpanKind.SERVER,
            links=trace.span.links,
            status=status_of(ended),
        )

    async def stop(self) -> None:
        """Give the spans away that are left, within a limit of time. Safe to call twice.

        An exporter that hangs is left behind in its thread, which keeps no process alive.
        """
        processors, self._processors = self._processors, ()
        if not processors:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            for processor in processors:
                processor.shutdown()
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="end of traces", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), self._flush_limit_s)
        except asyncio.TimeoutError:
            log.warning("Traces: spans that were left were not exported within %g s", self._flush_limit_s)
        if self._export_log is not None:
            self._export_log.close_up()


def tracing_of(environment: Mapping[str, str]) -> Tracing:
    """Traces as OpenTelemetry's environment variables want them, which the SDK reads itself.

    Args:
        environment: The environment of this process.

    Raises:
        InvalidParameter: A variable has a value that it cannot have.
        StartUpError: An exporter cannot be made.
    """
    resource = resource_of(environment)
    exporters = exporters_of(environment)
    export_log = ExportLog()
    export_log.open()
    # The SDK makes samplers of the environment nowhere else, also those of other packages.
    sampler: Sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
    processors = [BatchSpanProcessor(exporter) for exporter in exporters]
    return Tracing(Choice(sampler), resource, processors, export_log)


def resource_of(environment: Mapping[str, str]) -> Resource:
    """What the server is, as OpenTelemetry's variables say; `mindspore-serving` where they do not name it.

    Args:
        environment: The environment of this process.
    """
    named = environment.get(_NAME_VARIABLE) or "service.name=" in environment.get(_RESOURCE_VARIABLE, "")
    own = {"service.version": __version__} | ({} if named else {SERVICE_NAME: DEFAULT_SERVICE})
    return Resource.create(own)


def _giver(processors: Sequence[SpanProcessor]) -> Callable[[ReadableSpan], None]:
    if len(processors) == 1:  # the common case
        return processors[0].on_end

    def give(span: ReadableSpan) -> None:
        for processor in processors:
            processor.on_end(span)

    return give
