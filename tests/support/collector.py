"""A collector of traces: it receives OTLP over HTTP and over gRPC, on the official protobufs.

python -m tests.support.collector          # listens at 127.0.0.1:4318 (HTTP) and 4317 (gRPC), prints each trace
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

WAIT_S = 60.0
_PATH = "/v1/traces"


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as a collector has it.

    Attributes:
        name: Its name.
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: Likewise; "" for none.
        kind: `SERVER` or `INTERNAL`.
        begun_ns: Nanoseconds since 1970.
        ended_ns: Likewise.
        attributes: Its attributes.
        links: (trace_id, span_id) of other spans.
        status: `UNSET`, `OK` or `ERROR`.
        message: Why it has failed.
        trace_state: As sent.
        resource: What the server says of itself.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    begun_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    links: Sequence[tuple[str, str]]
    status: str
    message: str
    trace_state: str
    resource: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> tuple[str, str]:
        """What links name it by."""
        return self.trace_id, self.span_id


class Collector:
    """Receives spans.

    Attributes:
        spans: All so far, in order of arrival.
    """

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self._changed = threading.Condition()

    def take(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Take what an exporter has sent."""
        spans = list(_spans_of(request))
        with self._changed:
            self.spans += spans
            self._changed.notify_all()

    def wait_for(
        self, done: Callable[[list[ReceivedSpan]], bool], timeout_s: float = WAIT_S
    ) -> list[ReceivedSpan]:
        """All spans, once they are what a test waits for."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not done(self.spans):
                left = deadline - time.monotonic()
                assert left > 0, "these spans have come:\n" + "\n".join(map(str, self.spans))
                self._changed.wait(left)
            return list(self.spans)

    def trace(self, trace_id: str, count: int) -> list[ReceivedSpan]:
        """The spans of a trace, once there are so many, in the order of the tree."""
        spans = self.wait_for(lambda spans: sum(span.trace_id == trace_id for span in spans) >= count)
        own = [span for span in spans if span.trace_id == trace_id]
        assert len(own) == count, "\n".join(map(str, own))
        return [span for span, _ in in_order(own)]


def in_order(spans: Sequence[ReceivedSpan]) -> Iterator[tuple[ReceivedSpan, int]]:
    """The spans of one trace, each behind its parent, with how deep it is."""
    known = {span.span_id for span in spans}

    def below(parents: Sequence[ReceivedSpan], depth: int) -> Iterator[tuple[ReceivedSpan, int]]:
        for span in sorted(parents, key=lambda one: (one.begun_ns, one.ended_ns)):
            yield span, depth
            yield from below([one for one in spans if one.parent_id == span.span_id], depth + 1)

    yield from below([span for span in spans if span.parent_id not in known], 0)


def as_text(spans: Sequence[ReceivedSpan]) -> str:
    """One trace, as a person reads it."""
    lines = [f"trace {spans[0].trace_id}, {spans[0].resource['service.name']}"]
    ordered = list(in_order(spans))
    begun = ordered[0][0].begun_ns
    for span, depth in ordered:
        indent = "  " * depth
        from_ms, to_ms = (span.begun_ns - begun) / 1e6, (span.ended_ns - begun) / 1e6
        failed = f"  {span.status}: {span.message}" if span.status != "UNSET" else ""
        lines.append(f"{indent}{span.name}  {from_ms:.3f} to {to_ms:.3f} ms{failed}")
        lines += [f"{indent}    {name}={value}" for name, value in sorted(span.attributes.items())]
        lines += [f"{indent}    link to span {other} of trace {trace}" for trace, other in span.links]
    return "\n".join(lines)


def _spans_of(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield ReceivedSpan(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _attributes(span.attributes),
                    [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                    span.status.message,
                    span.trace_state,
                    resource,
                )


def _attributes(pairs: Sequence[common_pb2.KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


@contextmanager
def http_collector(port: int = 0) -> Iterator[tuple[Collector, str]]:
    """A collector that listens for OTLP over HTTP; with its URL, for OTEL_EXPORTER_OTLP_ENDPOINT."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == _PATH
            assert self.headers["content-type"] == "application/x-protobuf"
            collector.take(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            reply = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _TraceService(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: Any) -> Any:
        self._collector.take(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def grpc_collector(port: int = 0) -> Iterator[tuple[Collector, str]]:
    """A collector that listens for OTLP over gRPC; with its URL."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_TraceService(collector), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def main() -> None:
    """Print each trace once no span of it has come for a second."""
    with http_collector(4318) as (over_http, url), grpc_collector(4317) as (over_grpc, grpc_url):
        print(f"Collector listens at {url} (http/protobuf) and {grpc_url} (grpc)", flush=True)
        printed, sizes = set[str](), dict[str, int]()
        while True:
            time.sleep(1)
            spans = [*over_http.spans, *over_grpc.spans]
            for trace_id in dict.fromkeys(span.trace_id for span in spans):
                own = [span for span in spans if span.trace_id == trace_id]
                if trace_id not in printed and sizes.get(trace_id) == len(own):
                    printed.add(trace_id)
                    print(as_text(own), flush=True)
                sizes[trace_id] = len(own)


if __name__ == "__main__":
    main()
