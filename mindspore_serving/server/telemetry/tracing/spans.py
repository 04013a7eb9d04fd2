"""Spans that are made after the fact, from times that were taken anyhow.

The SDK's own spans are started and ended, which takes ten times as long, and their ids are not known before. Here a
span is made once, when it is over, and goes to the queue of the exporter.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from mindspore_serving import __version__, log
from mindspore_serving.errors import shortened

MOST_LINKS: Final = 128
"""Links of one span, as is the SDK's default."""
LONGEST_VALUE: Final = 1024
"""Characters of a text that a client has chosen, or an error."""
UNSET: Final = Status(StatusCode.UNSET)
Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class Spans:
    """Makes the spans of one server.

    Args:
        resource: What the server is, for the collector.
        give: Takes each span at once.
        now: A monotonic clock, in seconds.
        now_ns: The time of day, in nanoseconds since 1970.
    """

    def __init__(
        self,
        resource: Resource,
        give: Callable[[ReadableSpan], None],
        now: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._resource = resource
        self._give = give
        self._now = now
        self._now_ns = now_ns
        self._scope = InstrumentationScope("mindspore_serving", __version__)

    def offset_ns(self) -> int:
        """What the monotonic clock is behind the time of day, in nanoseconds: the same for all spans of a call."""
        return self._now_ns() - int(self._now() * 1e9)

    def give(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[float, float],
        offset_ns: int,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[SpanContext] = (),
        status: Status = UNSET,
    ) -> None:
        """Make a span, and hand it on.

        Args:
            name: Its name.
            context: Its ids.
            parent: The span that it is a part of; None for the first one of a trace.
            times: When it began and ended, in seconds of `time.monotonic`.
            offset_ns: As `offset_ns` gave it for the call.
            attributes: What else is known.
            kind: Whether it is that of a server.
            links: Spans of the same or other traces that it has to do with.
            status: Whether it has failed.
        """
        begun, ended = times
        try:
            span = ReadableSpan(
                name,
                context,
                parent,
                self._resource,
                attributes,
                links=[Link(link) for link in links],
                kind=kind,
                status=status,
                start_time=int(begun * 1e9) + offset_ns,
                end_time=int(max(begun, ended) * 1e9) + offset_ns,
                instrumentation_scope=self._scope,
            )
            self._give(span)
        except Exception as error:  # of the library or an exporter: the request goes on
            log.error("Traces: a span was lost: %r", error)


def new_trace_id() -> int:
    """The id of a new trace."""
    return random.getrandbits(128) or 1


def context_in(trace_id: int, flags: int, state: TraceState | None) -> SpanContext:
    """The ids of a new span of a trace.

    Args:
        trace_id: Of the trace.
        flags: Of its parent, or of a new trace.
        state: What other systems have said of the trace.
    """
    span_id = random.getrandbits(64) or 1
    return SpanContext(trace_id, span_id, False, TraceFlags(flags | TraceFlags.SAMPLED), state)


def beside(context: SpanContext) -> SpanContext:
    """The ids of one more span of the same trace."""
    return context_in(context.trace_id, context.trace_flags, context.trace_state)


def traceparent_of(context: SpanContext) -> str:
    """The header `traceparent` of a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def failed(text: str) -> Status:
    """The status of a span that has failed."""
    return Status(StatusCode.ERROR, shortened(text, LONGEST_VALUE))
