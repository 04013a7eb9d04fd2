"""The life of tracing: what the environment says, and its end, which no exporter holds up."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from mindspore_serving import __version__
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.telemetry.tracing.sampling import Choice
from mindspore_serving.server.telemetry.tracing.spans import Spans, context_in, traceparent_of
from mindspore_serving.server.telemetry.tracing.tracing import Tracing, resource_of, tracing_of
from tests.unit.telemetry.tracing.tracing_of import Client, Kept


class Hangs(Kept):
    """An exporter that does not come to its end before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def shutdown(self) -> None:
        super().shutdown()
        self.let_go.wait(60)


class Fails(Kept):
    def on_end(self, span: object) -> None:
        raise MemoryError("no room")


async def test_the_end_waits_for_the_exporter_once(loop: asyncio.AbstractEventLoop) -> None:
    kept = Kept()
    tracing = Tracing(Choice(ALWAYS_ON), Resource({}), [kept])
    await tracing.stop()
    await tracing.stop()
    assert kept.shut_down == 1


async def test_the_end_does_not_wait_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    hangs = Hangs()
    try:
        await Tracing(Choice(ALWAYS_ON), Resource({}), [hangs], flush_limit_s=0.01).stop()
        assert not hangs.let_go.is_set()
    finally:
        hangs.let_go.set()


def test_an_exporter_that_fails_harms_no_call() -> None:
    spans = Spans(Resource({}), Fails().on_end)
    context = context_in(7, 0, None)
    spans.give("x", context, None, (1.0, 2.0), 0, {})
    assert traceparent_of(context).startswith("00-00000000000000000000000000000007-")


def test_several_exporters_get_each_span() -> None:
    first, second = Kept(), Kept()
    client = Client()
    client.tracing = Tracing(Choice(ALWAYS_ON), Resource({}), [first, second])
    client.end(client.call())
    assert [len(first.spans), len(second.spans)] == [1, 1]
    assert first.spans[0].kind is SpanKind.SERVER


def test_times_are_those_of_the_day() -> None:
    kept = Kept()
    spans = Spans(Resource({}), kept.on_end, lambda: 100.0, lambda: 1_800_000_000_000_000_000)
    offset = spans.offset_ns()
    spans.give("x", context_in(7, 0, None), None, (100.5, 101.0), offset, {})
    spans.give("backwards", context_in(7, 0, None), None, (101.0, 100.0), offset, {})
    forwards, backwards = kept.spans
    assert (forwards.start_time, forwards.end_time) == (1_800_000_000_500_000_000, 1_800_000_001_000_000_000)
    assert backwards.start_time == backwards.end_time == forwards.end_time


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "mindspore-serving"),
        ({"OTEL_SERVICE_NAME": "adder"}, "adder"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=other,a=b"}, "other"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b"}, "mindspore-serving"),
    ],
)
def test_the_environment_says_what_the_server_is_called(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    attributes = resource_of(environment).attributes
    assert attributes["service.name"] == name
    assert attributes.get("a") == ("b" if "a=b" in str(environment) else None)
    assert attributes["service.version"] == __version__


def test_what_cannot_be_made_leaves_nothing_behind() -> None:
    with pytest.raises(InvalidParameter):
        tracing_of({"OTEL_TRACES_EXPORTER": "nonsense"})
    assert logging.getLogger("opentelemetry").handlers == []
