"""Which calls are traced: those of a client that traces its own, and those that the sampler chooses.

The sampler is the one of OpenTelemetry's environment variables, which may be one of the user's own. Asking it takes a
few microseconds, so two kinds of calls are told without it, and get the same answer: those that a ratio leaves out, and
those of a client that has decided not to trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import SpanContext, SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mindspore_serving.server.telemetry.tracing.spans import context_in, new_trace_id

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
SPAN_NAME: Final = "serve"
"""What samplers are told: the route is not known yet when a call begins."""
_LONGEST_STATE = 512
"""Characters of `tracestate` that have to be passed on; a longer one is dropped."""
_NOT_SAMPLED = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
_ROOT = re.compile(
    r"(?:ParentBased\{root:)?(?:(AlwaysOffSampler)|TraceIdRatioBased\{([0-9.e-]+)\})(?:,.*|\Z)"
)
_FOLLOWS = "remoteParentNotSampled:AlwaysOffSampler"
_NO_CONTEXT = Context()
_RATIO_BITS = TraceIdRatioBased.TRACE_ID_LIMIT


class Sampled(NamedTuple):
    """A call that is traced.

    Attributes:
        context: Ids of its server span.
        parent: The span of its client; None where it has none.
        attributes: What the sampler adds.
    """

    context: SpanContext
    parent: SpanContext | None
    attributes: Mapping[str, str | int | float | bool]


class Choice:
    """Chooses calls.

    Args:
        sampler: Who decides.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._propagator = TraceContextTextMapPropagator()
        description = sampler.get_description()
        self._follows_client = _FOLLOWS in description
        self._bound = _bound_of(description)

    def __repr__(self) -> str:
        return f"<Choice of {self._sampler.get_description()}>"

    def look_at(self, headers: Mapping[str, str]) -> Sampled | None:
        """Whether a call is traced.

        Args:
            headers: Of the call, by names in lower case.

        Returns:
            How; None where it is not.
        """
        given = headers.get(TRACEPARENT)
        if given is None:
            trace_id = new_trace_id()
            if trace_id & _RATIO_BITS >= self._bound:
                return None
            return self._ask(_NO_CONTEXT, None, trace_id)
        if self._follows_client and _NOT_SAMPLED.fullmatch(given):
            return None
        carrier = {TRACEPARENT: given}
        state = headers.get(TRACESTATE)
        if state and len(state) <= _LONGEST_STATE:
            carrier[TRACESTATE] = state
        context = self._propagator.extract(carrier, _NO_CONTEXT)
        parent = get_current_span(context).get_span_context()
        if not parent.is_valid:
            return self.look_at({})
        return self._ask(context, parent, parent.trace_id)

    def _ask(self, context: Context, parent: SpanContext | None, trace_id: int) -> Sampled | None:
        result: SamplingResult = self._sampler.should_sample(context, trace_id, SPAN_NAME, SpanKind.SERVER)
        if result.decision is not Decision.RECORD_AND_SAMPLE:
            return None
        flags = 0 if parent is None else parent.trace_flags
        own = context_in(trace_id, flags, result.trace_state)
        return Sampled(own, parent, dict(result.attributes or {}))


def _bound_of(description: str) -> int:
    """Ids of new traces from this number on are not sampled, if one knows that from what a sampler calls itself."""
    root = _ROOT.fullmatch(description)
    if root is None:
        return _RATIO_BITS + 1
    if root[1]:
        return 0
    return TraceIdRatioBased.get_bound_for_rate(float(root[2]))
