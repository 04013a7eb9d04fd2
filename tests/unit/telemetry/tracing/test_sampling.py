"""Which calls are traced: the quick way and the sampler's own always agree."""

from __future__ import annotations

import random

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mindspore_serving.server.telemetry.tracing import sampling as module
from mindspore_serving.server.telemetry.tracing.sampling import Choice

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
NOT_SAMPLED = f"00-{TRACE}-{SPAN}-00"
RATIO = sampling.TraceIdRatioBased(0.25)
SAMPLERS = [
    sampling.ALWAYS_ON,
    sampling.ALWAYS_OFF,
    sampling.TraceIdRatioBased(0.0),
    sampling.TraceIdRatioBased(1.0),
    sampling.TraceIdRatioBased(1e-9),
    RATIO,
    sampling.DEFAULT_ON,
    sampling.DEFAULT_OFF,
    sampling.ParentBasedTraceIdRatio(0.25),
    sampling.ParentBased(RATIO, remote_parent_not_sampled=sampling.ALWAYS_ON),
    sampling.ParentBased(sampling.ALWAYS_ON, remote_parent_sampled=sampling.ALWAYS_OFF),
]


class OfTheUser(Sampler):
    """A sampler that nobody knows."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def should_sample(
        self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None
    ) -> SamplingResult:
        self.asked.append(trace_id)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {"rule": "mine"}, trace_state)

    def get_description(self) -> str:
        return "OfTheUser"


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda one: one.get_description())
@pytest.mark.parametrize("header", [None, SAMPLED, NOT_SAMPLED])
def test_a_call_is_traced_if_and_only_if_the_sampler_says_so(
    sampler: Sampler, header: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice, chance = Choice(sampler), random.Random(7)
    headers = {} if header is None else {"traceparent": header}
    context = TraceContextTextMapPropagator().extract(headers, Context())
    ids = [chance.getrandbits(128) | 1 for _ in range(200)]
    new_ids = iter(ids)
    monkeypatch.setattr(module, "new_trace_id", lambda: next(new_ids))
    for trace_id in ids:
        expected = sampler.should_sample(
            context, trace_id if header is None else int(TRACE, 16), "serve", SpanKind.SERVER
        )
        traced = choice.look_at(headers)
        assert (traced is not None) == (expected.decision is Decision.RECORD_AND_SAMPLE)
        if traced is not None:
            assert traced.context.trace_id == (trace_id if header is None else int(TRACE, 16))
            assert (traced.parent is None) == (header is None)


def test_a_ratio_traces_its_part_of_the_calls() -> None:
    choice = Choice(sampling.ParentBasedTraceIdRatio(0.25))
    traced = sum(choice.look_at({}) is not None for _ in range(4000))
    assert 800 < traced < 1200


def test_a_traced_call_goes_on_in_the_trace_of_its_client() -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-03", "tracestate": "a=1,b=2"}
    traced = Choice(sampling.DEFAULT_OFF).look_at(headers)
    assert traced is not None and traced.parent is not None
    assert f"{traced.context.trace_id:032x}" == TRACE
    assert f"{traced.parent.span_id:016x}" == SPAN
    assert traced.context.span_id not in (0, traced.parent.span_id)
    assert traced.context.trace_flags == 3
    assert traced.context.trace_state.to_header() == "a=1,b=2"
    assert get_current_span().get_span_context().is_valid is False


def test_a_trace_state_that_is_too_long_is_dropped() -> None:
    headers = {"traceparent": SAMPLED, "tracestate": ",".join(f"k{i}={'x' * 100}" for i in range(6))}
    traced = Choice(sampling.DEFAULT_ON).look_at(headers)
    assert traced is not None
    assert len(traced.context.trace_state) == 0


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-0g",
        "00-" + "é" * 52,
        SAMPLED * 1000,
        f"00-{'0' * 32}-{SPAN}-00",
    ],
)
def test_what_is_no_traceparent_is_as_if_it_were_not_there(header: str) -> None:
    traced = Choice(sampling.DEFAULT_ON).look_at({"traceparent": header})
    assert traced is not None
    assert traced.parent is None
    assert f"{traced.context.trace_id:032x}" != TRACE
    assert Choice(sampling.DEFAULT_OFF).look_at({"traceparent": header}) is None


def test_a_sampler_of_the_user_decides_for_every_call() -> None:
    sampler = OfTheUser()
    choice = Choice(sampler)
    first = choice.look_at({})
    second = choice.look_at({"traceparent": NOT_SAMPLED})
    assert first is not None and second is not None
    assert sampler.asked == [first.context.trace_id, int(TRACE, 16)]
    assert first.attributes == {"rule": "mine"}
    assert second.context.trace_flags == 1
