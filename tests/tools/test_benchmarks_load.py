"""Our own load generator: what it counts, when it sends, and what it makes of replies that are wrong."""

from __future__ import annotations

import asyncio
import math
import statistics
import struct
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from benchmarks.connections import (
    Exchange,
    RefusableRestConnection,
    RestConnection,
    grpc_exchange,
    rest_exchange,
)
from benchmarks.http2 import GrpcConnection, grpc_frame
from benchmarks.load import Samples, closed_loop, percentile, run_clients
from benchmarks.load_process import Job, Kind
from benchmarks.open_loop import OpenLoop, poisson_times
from mindspore_serving.cli.load.connections import Done

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
RIGHT = Exchange(b"request", b"reply")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def take(self) -> bytes:
        """What was written since the last call."""
        taken, self.written = self.written, b""
        return taken


class Fake:
    """A connection whose server answers the n-th request with what a function makes of n."""

    concurrent = False
    lasting = False
    failure = "none"
    error_body = b""
    head = b""

    def __init__(self, answer: Callable[[int], bytes]) -> None:
        self._answer = answer
        self.requests: list[bytes] = []

    def send(self, body: bytes, done: Done) -> None:
        self.requests.append(body)
        asyncio.get_running_loop().call_soon(done, self._answer(len(self.requests)))

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (1, 0.5, 1),
        (2, 0.5, 1),
        (100, 0.5, 50),
        (100, 0.99, 99),
        (1000, 0.999, 999),
        (10, 0.99, 10),
        (3, 1.0, 3),
    ],
)
def test_a_percentile_is_one_of_the_values(count: int, share: float, expected: int) -> None:
    assert percentile(list(range(1, count + 1)), share) == expected


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


def test_samples_are_summed_up_in_milliseconds() -> None:
    load = Samples([0.004, 0.001, 0.002], wrong=1).load(seconds=2.0)
    assert (load.requests, load.wrong, load.rate) == (3, 1, 1.5)
    assert (load.p50_ms, load.p99_ms) == (2.0, 4.0)


def test_a_closed_loop_counts_wrong_replies() -> None:
    good, bad = Fake(lambda _: b"reply"), Fake(lambda n: b"another" if n % 2 else b"reply")
    _, [samples] = asyncio.run(closed_loop([good, bad], [RIGHT], seconds=0.02))
    assert len(samples.latencies) == len(good.requests) + len(bad.requests)
    assert samples.wrong == (len(bad.requests) + 1) // 2 > 0


def test_a_client_of_a_closed_loop_ends_with_its_connection() -> None:
    lost = Fake(lambda n: b"reply" if n < 3 else b"")
    _, [samples] = asyncio.run(closed_loop([lost], [RIGHT], seconds=60.0))
    assert (len(samples.latencies), samples.wrong) == (3, 1)


def test_a_closed_loop_chooses_among_kinds() -> None:
    connection = Fake(lambda _: b"reply")
    large = Exchange(b"large", b"reply")
    _, kinds = asyncio.run(closed_loop([connection], [RIGHT, large], 0.02, shares=(0.9, 0.1)))
    sent = [connection.requests.count(request) for request in (b"request", b"large")]
    assert [len(samples.latencies) for samples in kinds] == sent
    assert sent[0] > sent[1]


def test_clients_of_other_protocols_count_wrong_replies() -> None:
    async def send() -> bytes:
        await asyncio.sleep(0)
        return b"another"

    load = asyncio.run(run_clients(2, 0.01, send, b"reply"))
    assert load.wrong == load.requests > 0


def test_arrivals_are_drawn_from_a_seed() -> None:
    times = poisson_times(rate=1000, seconds=10, seed=1)
    assert (
        times == poisson_times(rate=1000, seconds=10, seed=1) != poisson_times(rate=1000, seconds=10, seed=2)
    )
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 10


def test_arrivals_are_those_of_a_poisson_process() -> None:
    times = poisson_times(rate=1000, seconds=20, seed=1)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.03)


def test_an_open_loop_counts_wrong_replies_and_from_the_due_time() -> None:
    connections = [Fake(lambda _: b"another"), Fake(lambda _: b"reply")]
    arrivals = asyncio.run(OpenLoop(connections, RIGHT, [0.001 * i for i in range(10)]).run())
    assert sum(len(connection.requests) for connection in connections) == len(arrivals.latencies) == 10
    assert arrivals.wrong == len(connections[0].requests) > 0
    for latency, from_send, late in zip(
        arrivals.latencies, arrivals.from_send, arrivals.lateness, strict=True
    ):
        assert latency == pytest.approx(from_send + late)
        assert late >= 0


def test_an_open_loop_tells_refusals_from_replies_that_are_wrong() -> None:
    answers = {2: b"full", 5: b"full", 7: b"nonsense", 8: b""}
    connections = [Fake(lambda n: answers.get(n, RIGHT.reply))]
    exchange = replace(RIGHT, refusal=b"full")
    arrivals = asyncio.run(OpenLoop(connections, exchange, [0.001 * i for i in range(10)]).run())
    assert (len(arrivals.refused), len(arrivals.latencies), arrivals.wrong) == (2, 8, 2)
    assert len(arrivals.lateness) == 10


def test_a_job_crosses_to_the_process_of_the_generator() -> None:
    job = Job(
        "rest",
        "127.0.0.1:1",
        "/a",
        (Kind("body", "reply", 0.9), Kind("x", "y", 0.1)),
        8,
        1.0,
        rate=5.0,
        headers={"Content-Type": "text/plain"},
    )
    assert Job.from_json(job.to_json()) == job


class TestRest:
    def ask(self, *pieces: bytes, kind: type[RestConnection] = RestConnection) -> list[bytes]:
        connection, replies = kind(), list[bytes]()
        connection.connection_made(Transport())
        connection.send(b"", replies.append)
        for piece in pieces:
            connection.data_received(piece)
        return replies

    def test_a_reply_may_come_in_pieces(self) -> None:
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nreply"
        assert self.ask(*(reply[i : i + 1] for i in range(len(reply)))) == [b"reply"]
        assert self.ask(reply) == [b"reply"]
        assert self.ask(reply[:-1]) == []

    def test_another_status_is_no_reply(self) -> None:
        assert self.ask(b"HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\nreply") == [b""]

    def test_a_refusal_may_be_a_reply(self) -> None:
        refusal = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nfull"
        assert self.ask(refusal) == [b""]
        assert self.ask(refusal, kind=RefusableRestConnection) == [b"full"]
        assert self.ask(refusal.replace(b"429", b"500"), kind=RefusableRestConnection) == [b""]

    def test_a_lost_connection_is_no_reply(self) -> None:
        connection, replies = RestConnection(), list[bytes]()
        connection.connection_made(Transport())
        connection.send(b"", replies.append)
        connection.connection_lost(None)
        assert replies == [b""]

    def test_the_request_tells_its_length(self) -> None:
        exchange = rest_exchange("host:1", "/model/add:add", b"{}", b"reply")
        assert exchange.request.startswith(
            b"POST /model/add:add HTTP/1.1\r\nHost: host:1\r\nContent-Length: 2\r\n"
        )
        assert exchange.request.endswith(b"\r\nContent-Type: application/json\r\n\r\n{}")

    def test_the_request_may_have_other_headers(self) -> None:
        headers = {"Content-Type": "text/plain", "Inference-Header-Content-Length": "1"}
        request = rest_exchange("host:1", "/a", b"{}", b"reply", headers).request
        assert request.endswith(
            b"\r\nContent-Type: text/plain\r\nInference-Header-Content-Length: 1\r\n\r\n{}"
        )
        assert b"json" not in request


class TestGrpc:
    def connect(self) -> tuple[GrpcConnection, Transport]:
        connection, transport = GrpcConnection("host:1", "/a.B/C"), Transport()
        connection.connection_made(transport)
        transport.take()
        return connection, transport

    def test_a_message_has_a_prefix(self) -> None:
        assert grpc_frame(b"ab") == b"\0\0\0\0\2ab"
        assert grpc_exchange(b"a", b"b") == Exchange(grpc_frame(b"a"), grpc_frame(b"b"))

    def test_a_reply_ends_with_its_trailers(self) -> None:
        connection, _ = self.connect()
        replies: list[bytes] = []
        connection.send(b"body", replies.append)
        answer = frame(HEADERS, 4, 1, b"x") + frame(DATA, 0, 1, b"re") + frame(DATA, 0, 1, b"ply")
        for i in range(len(answer)):
            connection.data_received(answer[i : i + 1])
        assert replies == []
        connection.data_received(frame(HEADERS, 5, 1, b"x"))
        assert replies == [b"reply"]

    def test_later_requests_name_the_headers_of_the_first(self) -> None:
        connection, transport = self.connect()
        connection.send(b"", lambda _: None)
        first = transport.take()
        connection.send(b"", lambda _: None)
        assert b"/a.B/C" in first
        assert transport.take() == frame(HEADERS, 4, 3, bytes([0x83, 0x86, 0xC1, 0xC0, 0xBF, 0xBE])) + frame(
            DATA, 1, 3
        )

    @pytest.mark.parametrize("failure", [frame(HEADERS, 5, 1, b"x"), frame(RST_STREAM, 0, 1, bytes(4))])
    def test_a_call_that_failed_has_no_reply(self, failure: bytes) -> None:
        connection, _ = self.connect()
        replies: list[bytes] = []
        connection.send(b"body", replies.append)
        connection.data_received(failure)
        assert replies == [b""]

    def test_a_lost_connection_fails_its_calls(self) -> None:
        connection, _ = self.connect()
        replies: list[bytes] = []
        connection.send(b"body", replies.append)
        connection.send(b"body", replies.append)
        connection.connection_lost(None)
        assert replies == [b"", b""]

    def test_a_large_request_waits_for_the_server(self) -> None:
        connection, transport = self.connect()
        body = bytes(100_000)
        connection.send(body, lambda _: None)
        assert sum(self.sizes_of_data(transport.take())) == 65535
        connection.data_received(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100_000)))
        assert self.sizes_of_data(transport.take()) == []
        connection.data_received(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 100_000)))
        assert self.sizes_of_data(transport.take()) == [16384, 16384, 100_000 - 65535 - 2 * 16384]

    def test_the_windows_of_streams_are_a_setting(self) -> None:
        connection, transport = self.connect()
        connection.data_received(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
        assert transport.take() == frame(SETTINGS, 1, 0)
        connection.send(bytes(30), lambda _: None)
        assert self.sizes_of_data(transport.take()) == [10]
        connection.data_received(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 40)))
        assert self.sizes_of_data(transport.take()) == [20]

    def test_a_ping_is_answered(self) -> None:
        connection, transport = self.connect()
        connection.data_received(frame(PING, 0, 0, b"12345678"))
        assert transport.take() == frame(PING, 1, 0, b"12345678")

    @staticmethod
    def sizes_of_data(written: bytes) -> list[int]:
        sizes, at = [], 0
        while at < len(written):
            size = int.from_bytes(written[at : at + 3], "big")
            if written[at + 3] == DATA:
                sizes.append(size)
            at += 9 + size
        return sizes
