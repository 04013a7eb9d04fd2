"""What dispatch tells of a call that is traced becomes spans.

    server span of the call
        queue                       of each request of the call, until its first batch was taken
        batch                       in the trace of the first of its requests that is traced, linked with all of these
            stage or model          as long as the worker says
            call                    in place of a stage: of another method, or of a model that another worker
                                    holds, with a queue and batches of its own

A span is given away once it is over. A batch may be over after the requests whose results it has sent early.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from opentelemetry.trace import SpanContext
from opentelemetry.trace.status import Status

from mindspore_serving.errors import Outcome
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.dispatch.copy import SentBatch
from mindspore_serving.server.dispatch.method_counter import MethodCounter
from mindspore_serving.server.dispatch.request import Request
from mindspore_serving.server.telemetry.tracing.spans import MOST_LINKS, UNSET, Spans, beside, failed
from mindspore_serving.signature import CALL_PREFIX

SERVABLE: Final = "serving.servable"
VERSION: Final = "serving.version"
METHOD: Final = "serving.method"
MODEL: Final = "serving.model"
INSTANCES: Final = "serving.instances"
FAILED_INSTANCES: Final = "serving.failed_instances"
OUTCOME: Final = "serving.outcome"
FAULTS: Final = frozenset(Outcome) - {Outcome.OK, Outcome.INVALID, Outcome.CANCELLED}
"""What is no fault of the client."""
_US = 1e-6
_AGAIN = re.compile(r" \(\d+\)$")
_VERSION = re.compile(r" version \d+$")


class OwnSpan:
    """The span that a request has: that of the call of its client, or of the call of another method.

    Attributes:
        context: Its ids.
        offset_ns: As of `Spans.offset_ns`.
        links: Batches of its requests.
    """

    __slots__ = ("context", "links", "offset_ns")

    def __init__(self, context: SpanContext, offset_ns: int) -> None:
        self.context = context
        self.offset_ns = offset_ns
        self.links: list[SpanContext] = []

    def link(self, batch: SpanContext) -> None:
        """Link it with a batch, in which it may have several requests."""
        if len(self.links) < MOST_LINKS and not (self.links and self.links[-1] is batch):
            self.links.append(batch)


class TracedCall:
    """A call of a client; a `CallTrace`.

    Args:
        spans: Makes its spans.
        context: Ids of its server span.

    Attributes:
        span: Its server span.
    """

    __slots__ = ("_spans", "span")

    def __init__(self, spans: Spans, context: SpanContext) -> None:
        self._spans = spans
        self.span = OwnSpan(context, spans.offset_ns())

    def admits(self) -> TracedRequest:
        """See `CallTrace`."""
        return TracedRequest(self._spans, self.span)


class TracedRequest:
    """A request; a `RequestTrace`.

    Args:
        spans: Makes its spans.
        span: Its own.
        parent: Of its own, where it is called by another method: it gives its span away itself.
    """

    __slots__ = ("_batch", "_parent", "_spans", "_taken", "span")

    def __init__(self, spans: Spans, span: OwnSpan, parent: SpanContext | None = None) -> None:
        self.span = span
        self._spans = spans
        self._parent = parent
        self._taken: float | None = None
        self._batch: TracedBatch | None = None  # the last one

    def sent(self, batch: SentBatch, traces: Sequence[object]) -> TracedBatch:
        """See `RequestTrace`."""
        traced = cast("Sequence[TracedRequest]", traces)
        made = TracedBatch(self._spans, self.span, [one.span.context for one in traced])
        for one in traced:
            one._batch = made
            one.span.link(made.context)
            if one._taken is None:
                one._taken = batch.taken
        return made

    def calls(self, servable: str, method: str) -> TracedRequest:
        """See `RequestTrace`."""
        batch, parent = self._batch, self.span.context
        if batch is not None:
            batch.called.add(_label(servable, method))
            if batch.owner is self.span:
                parent = batch.context
        return _called(self._spans, parent, self.span.offset_ns)

    def ended(self, request: Request, now: float) -> None:
        """See `RequestTrace`."""
        attributes = {**_target(request.counter), INSTANCES: request.count}
        own, offset_ns = self.span, self.span.offset_ns
        waited = (request.admitted, now if self._taken is None else self._taken)
        self._spans.give("queue", beside(own.context), own.context, waited, offset_ns, attributes)
        if self._parent is None:
            return
        status = status_of(request)
        if request.failed_instances:
            attributes |= {FAILED_INSTANCES: request.failed_instances, OUTCOME: request.outcome.value}
        counter = request.counter
        self._spans.give(
            f"call {_label(counter.servable, counter.method)}",
            own.context,
            self._parent,
            (request.admitted, now),
            offset_ns,
            attributes,
            links=own.links,
            status=status,
        )


class TracedBatch:
    """A batch; a `BatchTrace`.

    Args:
        spans: Makes its spans.
        owner: Span of the first of its requests that is traced, in whose trace it is.
        links: Spans of all of these.

    Attributes:
        owner: As above.
        context: Its ids.
        called: What was called for it, as its steps are called.
    """

    __slots__ = ("_failed", "_links", "_spans", "_status", "called", "context", "owner")

    def __init__(self, spans: Spans, owner: OwnSpan, links: Sequence[SpanContext]) -> None:
        self.owner = owner
        self.context = beside(owner.context)
        self.called: set[str] = set()
        self._spans = spans
        self._links = list({link.span_id: link for link in links[:MOST_LINKS]}.values())
        self._failed = 0
        self._status = UNSET

    def failed(self, rows: FailedRows) -> None:
        """See `BatchTrace`."""
        self._failed += rows.count
        if rows.failure.outcome in FAULTS and self._status is UNSET:
            self._status = failed(rows.failure.text)

    def run(self, batch: SentBatch) -> None:
        """See `BatchTrace`."""
        self._give(batch, batch.done, self._status)
        begun = batch.taken + batch.input_s
        for step in steps_of(batch, begun, batch.done):
            if not self._is_call(step.name):
                times = (step.begun, step.ended)
                self._spans.give(
                    step.name, beside(self.context), self.context, times, self.owner.offset_ns, {}
                )

    def lost(self, batch: SentBatch, now: float) -> None:
        """See `BatchTrace`."""
        self._give(batch, now, failed(f"{batch.copy_label} was lost"))

    def calls(self, servable: str, method: str) -> TracedRequest:
        """See `BatchTrace`."""
        self.called.add(_label(servable, method))
        return _called(self._spans, self.context, self.owner.offset_ns)

    def _is_call(self, step: str) -> bool:
        """Whether a step, of one or several calls, has spans of its own already."""
        if not self.called:  # the common case
            return False
        calls = _AGAIN.sub("", step).split("+")
        return all(_VERSION.sub("", call) in self.called for call in calls)

    def _give(self, batch: SentBatch, ended: float, status: Status) -> None:
        attributes = {
            **_target(batch.counter),
            INSTANCES: batch.count,
            "serving.requests": batch.requests,
            "serving.worker": batch.copy_label,
        }
        if self._failed:
            attributes[FAILED_INSTANCES] = self._failed
        if batch.model_rows:
            attributes |= {
                "serving.model_rows": batch.model_rows,
                "serving.padding_rows": batch.padding_rows,
            }
        self._spans.give(
            "batch",
            self.context,
            self.owner.context,
            (batch.taken, ended),
            self.owner.offset_ns,
            attributes,
            links=self._links,
            status=status,
        )


class StepTime(NamedTuple):
    """When a batch was in a stage or a model, in seconds of `time.monotonic`."""

    name: str
    begun: float
    ended: float


def steps_of(batch: SentBatch, begun: float, ended: float) -> list[StepTime]:
    """When a batch was in its steps: the worker says how long, so they are laid one behind the other.

    Args:
        batch: It.
        begun: When its first stage began.
        ended: When all was over.
    """
    times, at = [], begun
    for name, us in zip(batch.method.steps, batch.steps, strict=False):
        if us:
            end = min(at + us * _US, ended)
            times.append(StepTime(name, at, end))
            at = end
    return times


def status_of(request: Request) -> Status:
    """Whether a request has failed, through no fault of its client.

    Args:
        request: It, which has ended.
    """
    for group in request.failures:
        if group.failure.outcome in FAULTS:
            return failed(group.failure.text)
    return UNSET


def _called(spans: Spans, parent: SpanContext, offset_ns: int) -> TracedRequest:
    return TracedRequest(spans, OwnSpan(beside(parent), offset_ns), parent)


def _label(servable: str, method: str) -> str:
    """How a called method is named among the steps of a batch; of a model of another worker, the model."""
    return _model_of(method) or f"{servable}.{method}"


def _model_of(method: str) -> str:
    """The model that a method runs for other workers; "" for a method of the user's."""
    if not method.startswith(CALL_PREFIX):
        return ""
    key, _, subgraph = method.removeprefix(CALL_PREFIX).rpartition("_")
    return key if subgraph == "0" else f"{key}#{subgraph}"


def _target(counter: MethodCounter) -> dict[str, str | int | float | bool]:
    model = _model_of(counter.method)
    return {
        SERVABLE: counter.servable,
        VERSION: counter.version,
        **({MODEL: model} if model else {METHOD: counter.method}),
    }
