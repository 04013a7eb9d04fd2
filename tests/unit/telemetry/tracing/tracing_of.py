"""Traces whose spans a test sees at once."""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from mindspore_serving.server.dispatch.client_call import ClientCall, current_call
from mindspore_serving.server.telemetry.tracing.sampling import Choice
from mindspore_serving.server.telemetry.tracing.tracing import Tracing
from mindspore_serving.server.transport.observers import EndedCall


class Kept(SpanProcessor):
    """Keeps what it gets.

    Attributes:
        spans: All of it.
        shut_down: How often it was shut down.
    """

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.shut_down = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def shutdown(self) -> None:
        self.shut_down += 1

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def take(self) -> list[ReadableSpan]:
        """What has come since the last time."""
        spans, self.spans = self.spans, []
        return spans


class Client:
    """A client whose calls are observed.

    Args:
        sampler: Decides which calls are traced.

    Attributes:
        kept: The spans.
        tracing: The observer.
    """

    def __init__(self, sampler: Sampler = DEFAULT_ON) -> None:
        self.kept = Kept()
        self.tracing = Tracing(Choice(sampler), Resource({"service.name": "tested"}), [self.kept])

    def call(self, headers: Mapping[str, str] | None = None) -> ClientCall:
        """A new call, which the task answers from now on."""
        call = ClientCall(time.monotonic())
        current_call.set(call)
        self.tracing.begins(call, headers or {})
        return call

    def end(self, call: ClientCall, **known: object) -> None:
        """Tell that a call has ended."""
        self.tracing.ended(ended_call(call, **known))


def ended_call(call: ClientCall, **known: object) -> EndedCall:
    """A call of HTTP that has ended, with what is known of it."""
    values: dict[str, object] = {
        "ended": time.monotonic(),
        "transport": "http",
        "dialect": "native",
        "target": "POST /model/s:m",
        "status": 200,
        "request_id": "",
        "peer": "127.0.0.1",
        "key_name": "",
        "bytes_in": 10,
        "bytes_out": 20,
        "instances": 1,
        "failed_instances": 0,
        "error": "",
        "route": "/model/{target*}",
    }
    return EndedCall(call, **{**values, **known})  # type: ignore[arg-type]
