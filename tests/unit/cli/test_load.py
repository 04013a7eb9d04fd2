"""The load generator: latencies, times of requests, replies in pieces, and what is wrong with a reply."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from mindspore_serving.cli.asking.method import Method
from mindspore_serving.cli.asking.native import NativeRest
from mindspore_serving.cli.load.connections import Connection, Done, RestConnection, http_request
from mindspore_serving.cli.load.histogram import Histogram
from mindspore_serving.cli.load.loops import ClosedLoop, OpenLoop, even_times, poisson_times
from mindspore_serving.cli.load.reply_check import ReplyCheck
from mindspore_serving.cli.load.tally import Tally


def histogram(values: Sequence[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_percentiles_are_exact_to_half_a_percent(share: float) -> None:
    draw = random.Random(1)
    values = [draw.lognormvariate(-6, 2) for _ in range(5000)]
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    assert exact <= histogram(values).percentile(share) * (1 + 1e-12) <= exact * 1.0055


def test_a_histogram_of_nothing() -> None:
    empty = Histogram()
    assert math.isnan(empty.percentile(0.5))
    assert set(empty.summary_ms().values()) == {None}
    assert empty.curve_ms() == []


def test_sums_are_exact() -> None:
    summary = histogram([0.001, 0.002, 0.006]).summary_ms()
    assert (summary["mean"], summary["max"]) == (3.0, 6.0)
    assert histogram([0.0]).percentile(0.5) == 0.0


def test_memory_does_not_grow_with_the_number_of_latencies() -> None:
    many = histogram([0.001 + i * 1e-9 for i in range(10_000)])
    assert len(many.curve_ms()) <= 3
    assert many.curve_ms()[-1][0] == 1.0


def test_even_times() -> None:
    assert even_times(4, 1.5) == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_poisson_times_have_their_rate() -> None:
    times = poisson_times(100, 50, seed=3)
    assert times == poisson_times(100, 50, seed=3) != poisson_times(100, 50, seed=4)
    assert all(a < b for a, b in pairwise(times))
    assert len(times) == pytest.approx(5000, rel=0.05)


class Fake:
    """A connection whose server answers at once, or never."""

    concurrent = False
    lasting = True
    failure = "HTTP 503"
    error_body = b"busy"
    head = b""

    def __init__(self, answer: Callable[[int], bytes | None]) -> None:
        self._answer = answer
        self.sent: list[bytes] = []

    def send(self, body: bytes, done: Done) -> None:
        self.sent.append(body)
        reply = self._answer(len(self.sent))
        if reply is not None:
            asyncio.get_running_loop().call_soon(done, reply)

    def close(self) -> None:
        """Nothing is open."""


class Notes:
    def __init__(self) -> None:
        self.rows: list[tuple[int, float, float, float, bytes]] = []
        self.enough = asyncio.Event()
        self.wanted = 1

    def __call__(
        self, request: int, due: float, sent: float, now: float, reply: bytes, connection: Connection
    ) -> None:
        self.rows.append((request, due, sent, now, reply))
        if len(self.rows) >= self.wanted:
            self.enough.set()


def test_an_open_loop_counts_from_the_due_time() -> None:
    notes = Notes()
    connection = Fake(lambda _: b"reply")
    loop = OpenLoop([connection], [b"a", b"b"], iter([0, 1, 0]).__next__, [0.0, 0.001, 0.002], notes, 5.0)
    asyncio.run(loop.run())
    assert [row[:2] for row in notes.rows] == [(0, 0.0), (1, 0.001), (0, 0.002)]
    assert connection.sent == [b"a", b"b", b"a"]
    assert all(due <= sent <= now for _, due, sent, now, _ in notes.rows)
    assert (loop.in_flight, loop.unsent) == (0, 0)


def test_an_open_loop_keeps_what_no_connection_is_free_for() -> None:
    notes = Notes()
    loop = OpenLoop(
        [Fake(lambda n: b"r" if n < 2 else None)], [b"a"], lambda: 0, [0.0, 0.0, 0.0], notes, 0.01
    )
    asyncio.run(loop.run())
    assert (len(notes.rows), loop.in_flight, loop.unsent) == (1, 1, 1)


def test_an_open_loop_that_is_stopped() -> None:
    notes = Notes()
    loop = OpenLoop([Fake(lambda _: b"r")], [b"a"], lambda: 0, [0.0, 3600.0], notes, 5.0)

    async def run() -> None:
        running = asyncio.ensure_future(loop.run())
        await notes.enough.wait()
        loop.stop()
        await running

    asyncio.run(run())
    assert (len(notes.rows), loop.in_flight, loop.unsent) == (1, 0, 0)


def test_a_closed_loop_goes_on_after_an_error_where_the_connection_lasts() -> None:
    notes = Notes()
    fake = Fake(lambda n: b"" if n == 1 else b"reply")
    loop = ClosedLoop([fake], [b"a"], lambda: 0, 3600.0, notes)

    async def run() -> None:
        running = asyncio.ensure_future(loop.run())
        notes.wanted = 3
        await notes.enough.wait()
        loop.stop()
        await running

    asyncio.run(run())
    assert [row[4] for row in notes.rows[:3]] == [b"", b"reply", b"reply"]


def test_a_closed_loop_does_not_wait_for_ever() -> None:
    loop = ClosedLoop([Fake(lambda _: None)], [b"a"], lambda: 0, 0.0, Notes(), grace_s=0.01)
    asyncio.run(loop.run())
    assert loop.in_flight == 1


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody reads it."""

    def close(self) -> None:
        self.is_closed = True


REPLIES = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_replies_in_pieces(reply: bytes, step: int) -> None:
    connection, got = RestConnection(), []
    connection.connection_made(Transport())
    for _ in range(2):
        connection.send(b"", got.append)
        for start in range(0, len(reply), step):
            connection.data_received(reply[start : start + step])
    assert got == [b"hello", b"hello"]
    assert connection.head.startswith(b"HTTP/1.1 200")


def test_an_error_says_its_status_and_text() -> None:
    connection, got = RestConnection(), []
    connection.connection_made(Transport())
    connection.send(b"", got.append)
    connection.data_received(b"HTTP/1.1 429 No\r\nContent-Length: 4\r\n\r\nbusy")
    assert (got, connection.failure, connection.error_body) == ([b""], "HTTP 429", b"busy")
    assert not connection.closed


def test_a_connection_that_the_server_closes() -> None:
    transport, connection, got = Transport(), RestConnection(), []
    connection.connection_made(transport)
    connection.send(b"", got.append)
    connection.data_received(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
    assert (got, transport.is_closed, connection.closed) == ([b"x"], True, True)
    other = RestConnection()
    other.connection_made(Transport())
    other.send(b"", got.append)
    other.connection_lost(None)
    assert (got[1], other.failure) == (b"", "connection lost")


def test_a_request() -> None:
    request = http_request("host:1", "/a", b"body", {"X": "1"})
    assert request == b"POST /a HTTP/1.1\r\nHost: host:1\r\nContent-Length: 4\r\nX: 1\r\n\r\nbody"


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
METHOD = Method("add", "predict")


def reply_of(*values: Any) -> bytes:
    return json.dumps({"instances": list(values)}).encode()


class Answered(Fake):
    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.head = HEAD


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (reply_of({"y": [1.5, 2.5]}), ""),
        (b"", "HTTP 503"),
        (b"not json", "wrong reply: The reply for add.predict cannot be read"),
        (reply_of({"y": [1]}, {"y": [2]}), "wrong reply: 2 results for 1 instances"),
        (reply_of({"error_msg": "no"}), "instance failed: no"),
        (reply_of({"y": [1.5, 2.5, 3.5]}), "wrong reply: other outputs, types or shapes"),
        (reply_of({"z": [1.5, 2.5]}), "wrong reply: other outputs, types or shapes"),
    ],
)
def test_what_is_wrong_with_a_reply(reply: bytes, problem: str) -> None:
    check = ReplyCheck(NativeRest(), METHOD, 1)
    assert check.problem_of(reply_of({"y": [3.5, 4.5]}), Answered()) == ""
    found = check.problem_of(reply, Answered())
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_values_that_are_expected() -> None:
    check = ReplyCheck(NativeRest(), METHOD, 1, [{"y": [1.0, 2.0], "t": "a"}])
    assert check.problem_of(reply_of({"y": [1.00001, 2.0], "t": "a"}), Answered()) == ""
    for wrong in (
        {"y": [1.1, 2.0], "t": "a"},
        {"y": [1.0, 2.0], "t": "b"},
        {"y": [1.0], "t": "a"},
        {"y": [1.0, 2.0]},
    ):
        assert "other values" in check.problem_of(reply_of(wrong), Answered())


def test_bytes_that_were_right_are_not_read_again() -> None:
    check = ReplyCheck(NativeRest(), METHOD, 1)
    for _ in range(3):
        assert check.problem_of(reply_of({"y": [1.5]}), Answered()) == ""
    assert check.looked_at == 3


def test_a_tally_leaves_out_the_warm_up() -> None:
    tally = Tally([ReplyCheck(NativeRest(), METHOD, 1)], warm_up_s=1.0)
    good = reply_of({"y": [1.5]})
    tally.note(0, 0.5, 0.5, 0.6, good, Answered())
    tally.note(0, 1.0, 1.1, 1.3, good, Answered())
    tally.note(0, 1.5, 1.5, 2.5, b"", Answered())
    assert tally.latency.count == 1
    assert tally.latency.most_s == pytest.approx(0.3)
    assert tally.from_send.most_s == pytest.approx(0.2)
    assert tally.lateness.most_s == pytest.approx(0.1)
    assert (tally.errors, tally.texts) == ({"HTTP 503": 1}, {"HTTP 503": "busy"})
    assert tally.seconds == {0: [1, 0], 1: [0, 1]}
    tally.lose(2, "no reply")
    tally.lose(0, "nothing")
    assert tally.errors == {"HTTP 503": 1, "no reply": 2}
