"""What a client of gRPC may take, at a server with times that a test can wait for."""

from __future__ import annotations

import contextlib
import gzip
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from tests.support.grpc_messages import PREDICT
from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    Upload,
    call,
    field,
    frame,
    frames,
    headers,
    http2_connection,
    message,
    settings,
)
from tests.support.http_requests import raw_connection
from tests.support.serving import RunningScript, free_port, running_script
from tests.support.watch import wait_until

pytestmark = pytest.mark.both_grpc_servers

# Method `now` is answered at once, `big` with 1 MiB, `later` when a signal comes. No servable is needed to see what
# clients may take.
SCRIPT = """\
import asyncio
import contextlib
import signal
import time
import types

import numpy as np
import uvloop

from mindspore_serving.errors import ServableUnavailable
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.server import GrpcServer
from mindspore_serving.server.dialect.health.grpc import HealthService
from mindspore_serving.server.dialect.native.predict import Predict
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.service import Service
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import DataType, TensorSpec

BIG = [Rows((TensorSpec("y", DataType.UINT8, (1 << 20,)),), (np.zeros((1, 1 << 20), np.uint8),), 1)]
OUTCOME = [FailedRows(ServableUnavailable("gone").failure(), 1)]


class Requests(Dispatcher):
    def __init__(self, loop):
        super().__init__(loop)
        self.waiting = []

    def resolve(self, name, method, version):
        servable = types.SimpleNamespace(pending=None, serves=lambda method: True)
        return Destination(servable, MethodSignature(method, ("x",), 1))

    def check_room(self, destination):
        pass

    def admit(self, destination, blocks, timeout_s=None):
        future = asyncio.get_running_loop().create_future()
        if destination.method.name in ("now", "big"):
            future.set_result(BIG if destination.method.name == "big" else OUTCOME)
        else:
            self.waiting.append(future)
            future.add_done_callback(lambda _: print("cancelled" if future.cancelled() else "done", flush=True))
            print("asked", flush=True)
        return future

    @contextlib.contextmanager
    def reading(self, destination):
        yield types.SimpleNamespace(admit=lambda blocks: self.admit(destination, blocks))

    def answer(self):
        for future in self.waiting:
            if not future.done():
                future.set_result(OUTCOME)


async def run():
    loop = asyncio.get_running_loop()
    requests = Requests(loop)
    stopped = asyncio.Event()
    methods = [*Predict(requests).grpc_methods, *HealthService(Service.of(requests).catalog).grpc_methods]
    server = GrpcServer(methods, {address!r}, GrpcLimits({most_bytes}, {limits}), None)
    await server.start()
    loop.add_signal_handler(signal.SIGUSR1, requests.answer)
    loop.add_signal_handler(signal.SIGUSR2, time.sleep, 3.0)
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    print("listens", flush=True)
    await stopped.wait()
    await server.stop()


uvloop.run(run())
"""


MOST_BYTES = 32 << 20
ARRIVING_BYTES = 64 << 20


@contextlib.contextmanager
def listening(folder: Path, limits: str, most_bytes: int = 2 << 20) -> Iterator[tuple[RunningScript, str]]:
    """A server with limits, as arguments in source; and its address."""
    address = f"127.0.0.1:{free_port()}"
    script = folder / "serve.py"
    script.write_text(SCRIPT.format(address=address, limits=limits, most_bytes=most_bytes))
    with running_script(script) as running:
        running.wait_for_line("listens")
        yield running, address


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server whose times are all short."""
    limits = "100, handshake_s=0.5, idle_s=0.5, ping_after_s=1.0, ping_s=0.5, age_s=1.0, grace_s=0.5"
    with listening(tmp_path_factory.mktemp("impatient"), limits) as (_, address):
        yield address


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with the limits that users get, but for few connections and few calls."""
    with listening(tmp_path_factory.mktemp("patient"), "3, calls=10") as (_, address):
        yield address


@pytest.fixture(scope="module")
def watchful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningScript, str]]:
    """A server where little may arrive and little may be left, with large messages; and its address."""
    limits = f"100, calls=10, arriving_bytes={ARRIVING_BYTES}, untaken_bytes={4 << 20}, pings_apart_s=0.05"
    with listening(tmp_path_factory.mktemp("watchful"), limits, MOST_BYTES) as (running, address):
        yield running, address


def got_reply(got: list[Frame]) -> bool:
    return any(one.kind == DATA for one in got)


def is_answered(address: str) -> bool:
    """Whether another connection gets an answer."""
    with http2_connection(address, PREFACE + settings() + call(1, "now", 1)) as connection:
        return any(one.kind == DATA for one in frames(connection))


WAITING = {
    "nothing": b"",
    "half a greeting": PREFACE[:10],
    "no settings": PREFACE,
    "no call": PREFACE + settings(),
    "a call that was answered": PREFACE + settings() + call(1, "now", 1),
    "half the metadata": PREFACE + settings() + headers(1, flags=0),
    "no message": PREFACE + settings() + headers(1),
    "half a message": PREFACE + settings() + headers(1) + frame(DATA, 0, 1, message("now", 1)[:10]),
    "a message that is never complete": PREFACE
    + settings()
    + headers(1)
    + frame(DATA, 0, 1, struct.pack(">BI", 0, 1 << 19) + b"a" * 1000),
    "a reply that is not taken": PREFACE + settings(window=0) + call(1, "now", 1),
}


@pytest.mark.parametrize("kind", WAITING)
def test_connections_that_lead_to_nothing_end_by_themselves(impatient: str, kind: str) -> None:
    with raw_connection(impatient) as connection:
        connection.sendall(WAITING[kind])
        got = list(frames(connection))  # until the server closes it
    assert got_reply(got) == (kind == "a call that was answered")


def test_a_client_that_does_not_say_that_it_is_there_is_cut_off(tmp_path: Path) -> None:
    with listening(tmp_path, "100, ping_s=0.5") as (running, address):
        greeting = PREFACE + settings() + frame(SETTINGS, ACK)
        with http2_connection(address, greeting + call(1, "later", 1)) as connection:
            running.wait_for_line("asked")
            with contextlib.suppress(ConnectionError):
                while connection.recv(1 << 16):  # no ping is acknowledged
                    pass
        running.wait_for_line("cancelled")


def test_a_call_that_takes_its_time_is_not_cut_off(tmp_path: Path) -> None:
    limits = "100, idle_s=0.3, ping_after_s=1.0, ping_s=20.0, age_s=1.0, grace_s=60.0"
    with (
        listening(tmp_path, limits) as (running, address),
        http2_connection(address, PREFACE + settings() + call(1, "later", 1)) as connection,
    ):
        got = []
        for one in frames(connection):
            got.append(one)
            if one.kind == GOAWAY and one.content[:4] == struct.pack(">I", 1):  # it takes no further call
                running.signal(signal.SIGUSR1)
        assert got_reply(got)
        running.wait_for_line("done")


def test_more_connections_than_the_limit_are_closed_at_once(patient: str) -> None:
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(raw_connection(patient)) for _ in range(5)]
        assert [bool(connection.recv(1, socket.MSG_PEEK)) for connection in connections] == [True] * 3 + [
            False
        ] * 2
        connections[0].sendall(PREFACE + settings() + call(1, "now", 1))
        assert any(one.kind == DATA for one in frames(connections[0]))
        assert not is_answered(patient)
    wait_until(lambda: is_answered(patient), "there is room again")


@pytest.mark.parametrize(("size", "taken"), [(12_000, True), (17_000, False), (1_000_000, False)])
def test_metadata_up_to_the_limit(patient: str, size: int, taken: bool) -> None:
    wait_until(lambda: is_answered(patient), "there is room")
    with grpc.insecure_channel(patient) as channel:
        ask = channel.unary_unary(PREDICT)
        for _ in range(5):  # no matter of chance
            try:
                ask(message("now", 1)[5:], metadata=[("x-a", "b" * size)], timeout=20)
                assert taken
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert not taken
        ask(message("now", 1)[5:], timeout=20)


def test_metadata_without_end_is_not_kept(tmp_path: Path) -> None:
    more = frame(CONTINUATION, 0, 1, field("x-a", "b" * 1000) * 10)
    with listening(tmp_path, "100") as (running, address):
        assert is_answered(address)
        main = psutil.Process(running.process.pid)
        before = main.memory_info().rss
        with http2_connection(address, PREFACE + settings() + headers(1, flags=0)) as connection:
            with contextlib.suppress(ConnectionError):  # it is cut off, or what it sends is thrown away
                for _ in range(100_000):  # 1 GB
                    connection.sendall(more)
            # What the library has read and not looked at yet may be some hundred MB on a busy machine.
            assert main.memory_info().rss - before < 500 << 20
            assert is_answered(address)


def test_more_calls_than_the_limit_are_refused_one_by_one(patient: str) -> None:
    wait_until(lambda: is_answered(patient), "there is room")
    calls = b"".join(call(1 + 2 * i, "later", i) for i in range(15))
    refused: set[int] = set()
    with http2_connection(patient, PREFACE + settings() + calls) as connection:
        for one in frames(connection):
            refused |= {one.stream} if one.kind == RST_STREAM else set()
            if len(refused) == 5:
                break
    assert refused == {21, 23, 25, 27, 29}


@pytest.mark.parametrize("busy", [True, False], ids=["with a call", "without"])
def test_pings_of_a_client(watchful: tuple[RunningScript, str], busy: bool) -> None:
    running, address = watchful
    ping = frame(PING, 0, 0, b"12345678")
    begin = PREFACE + settings() + (call(1, "later", 1) if busy else b"")
    with http2_connection(address, begin) as connection:
        answered = 0
        connection.sendall(ping)
        for one in frames(connection):
            assert one.kind != GOAWAY
            if one.kind == PING and one.flags & ACK:
                answered += 1
                if answered == 6:
                    break
                time.sleep(0.1)  # the time between two pings is what is tested
                connection.sendall(ping)
    with http2_connection(address, begin + 10 * ping) as connection:
        [*_, last] = [one for one in frames(connection) if one.kind == GOAWAY]
        assert last.number == ENHANCE_YOUR_CALM
    running.signal(signal.SIGUSR1)


def test_clients_may_ping_each_5_s() -> None:
    options = dict(GrpcLimits(1, 1).options())
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < 5000
    assert options["grpc.keepalive_permit_without_calls"] == 1


def test_calls_that_cannot_be_read_do_not_fill_the_log(watchful: tuple[RunningScript, str]) -> None:
    running, address = watchful
    before = running.read_output()
    for name in ("grpc-encoding", "grpc-timeout", "te"):
        for _ in range(2):
            with http2_connection(
                address, PREFACE + settings() + headers(1, field(name, "zzz"))
            ) as connection:
                assert any(one.kind in (HEADERS, RST_STREAM, GOAWAY) for one in frames(connection))
    assert running.read_output() == before


def test_calls_may_wait_for_a_server_that_is_suspended(tmp_path: Path) -> None:
    """After a time, gRPC cancels calls that it could not hand over: a minute of suspension is no reason to."""
    assert dict(GrpcLimits(1, 1).options())["grpc.server_max_unrequested_time_in_server"] > 600
    with listening(tmp_path, "100") as (running, address), grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(PREDICT)
        content = message("now", 1)[5:]
        ask(content, timeout=20)
        running.signal(signal.SIGUSR2)  # its event loop stands still
        calls = [ask.future(content, timeout=20) for _ in range(2000)]  # more than wait for the loop
        assert {one.code() for one in calls} == {grpc.StatusCode.OK}


METHODS = (PREDICT, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")


@pytest.mark.parametrize("method", METHODS)
def test_calls_without_a_message_are_answered_and_forgotten(
    watchful: tuple[RunningScript, str], method: str
) -> None:
    _, address = watchful
    with grpc.insecure_channel(address) as channel:
        for _ in range(30):  # three times the calls that a connection may have
            with pytest.raises(grpc.RpcError) as ended:
                list(channel.stream_stream(method)(iter([]), timeout=20))
            assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert ended.value.details() == "The call has no message, expected is one"
        channel.unary_unary(PREDICT)(message("now", 1)[5:], timeout=20)


def test_calls_that_end_with_their_headers_are_answered(watchful: tuple[RunningScript, str]) -> None:
    _, address = watchful
    with http2_connection(address) as connection:
        for stream in range(1, 41, 2):
            connection.sendall(headers(stream, flags=END_HEADERS | END_STREAM))
            assert next(one for one in frames(connection) if one.kind == HEADERS).flags & END_STREAM


COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def big_message(size: int) -> bytes:
    """A request of so many bytes of zeros."""
    request = ms_service_pb2.PredictRequest.FromString(message("now", 1)[5:])
    tensor = request.instances[0].items["x"]
    tensor.data = bytes(size)
    tensor.shape.dims.append(size // 8)
    return bytes(request.SerializeToString())


@pytest.mark.parametrize("coding", COMPRESSIONS)
@pytest.mark.parametrize(
    ("size", "status"), [(8, None), (1 << 20, None), (MOST_BYTES, grpc.StatusCode.RESOURCE_EXHAUSTED)]
)
def test_compressed_messages(
    watchful: tuple[RunningScript, str], coding: str, size: int, status: grpc.StatusCode | None
) -> None:
    _, address = watchful
    with grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
        ask = channel.unary_unary(PREDICT)
        content = big_message(size)
        if status is None:
            assert ask(content, timeout=20, compression=COMPRESSIONS[coding]) == ask(content, timeout=20)
            return
        with pytest.raises(grpc.RpcError) as ended:
            ask(content, timeout=20, compression=COMPRESSIONS[coding])
        assert ended.value.code() is status
        assert ended.value.details() == f"SERVER: Decompressed message larger than max ({MOST_BYTES})"


def test_a_message_that_is_not_what_its_coding_says(watchful: tuple[RunningScript, str]) -> None:
    _, address = watchful
    with grpc.insecure_channel(address) as channel:
        for content in (gzip.compress(b"abc")[:-4], b"\x1f\x8b", b"\x1f\x8b" + bytes(100)):
            with pytest.raises(grpc.RpcError) as ended:
                channel.unary_unary(PREDICT)(content, timeout=20)
            assert ended.value.code() is grpc.StatusCode.INTERNAL
            assert "Unable to decompress request: " in (ended.value.details() or "")


def peak_memory(pid: int) -> int:
    """Most bytes that a process has ever had resident."""
    line = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert line is not None
    return int(line[1]) << 10


def test_messages_that_become_large_are_not_in_memory_together(tmp_path: Path) -> None:
    with listening(tmp_path, f"100, arriving_bytes={ARRIVING_BYTES}", MOST_BYTES) as (running, address):
        assert is_answered(address)
        before = peak_memory(running.process.pid)
        content = gzip.compress(big_message(MOST_BYTES - 1024))
        with grpc.insecure_channel(address) as channel:
            ask = channel.unary_unary(PREDICT)
            calls = [ask.future(content, timeout=60) for _ in range(16)]
            assert {one.result() for one in calls} == {ask(message("now", 1)[5:], timeout=20)}
        assert peak_memory(running.process.pid) - before < 8 * MOST_BYTES


def test_messages_that_arrive_are_bounded_together(watchful: tuple[RunningScript, str]) -> None:
    _, address = watchful
    half = MOST_BYTES // 2 - 100
    with contextlib.ExitStack() as opened:
        uploads = [opened.enter_context(Upload(address, half)) for _ in range(ARRIVING_BYTES // half + 2)]
        wait_until(lambda: any(upload.refusal for upload in uploads), "one is cut off", 60)
        wait_until(lambda: all(upload.refusal or upload.sent > half for upload in uploads), "all sent", 60)
        refused = [upload.refusal for upload in uploads if upload.refusal]
        text = f"Serving Error: bytes of unfinished requests exceed the limit {ARRIVING_BYTES}"
        assert all(text.encode() in refusal for refusal in refused)
        assert len(uploads) - len(refused) >= 2  # those that do not hold too much go on
        assert is_answered(address)
    with grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
        ask = channel.unary_unary(PREDICT)
        assert ask(big_message(MOST_BYTES - 1024), timeout=60) == ask(message("now", 1)[5:], timeout=20)


def test_replies_that_are_not_taken_are_bounded(watchful: tuple[RunningScript, str]) -> None:
    running, address = watchful
    greeting = PREFACE + settings(window=0)
    with http2_connection(address, greeting + call(1, "big", 1)) as first:
        for stream in range(3, 17, 2):
            first.sendall(call(stream, "big", 1))
        refused = 0
        for one in frames(first):
            if one.kind == HEADERS and one.flags & END_STREAM:
                assert b"Serving Error: bytes of replies that were not taken exceed the limit" in one.content
                refused += 1
                if refused == 7:
                    break
        assert is_answered(address)  # others do not feel it
        with http2_connection(address, greeting + call(1, "big", 1)) as second:
            list(frames(first))  # together it is too much: the server closes the older one
            running.wait_for_line("was closed, its client does not take its replies")
            second.sendall(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1 << 22)))
            second.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 22)))
            size = 0
            for one in frames(second):
                size += len(one.content) if one.kind == DATA else 0
                if one.kind == HEADERS and one.flags & END_STREAM:
                    break
            assert size > 1 << 20
    assert is_answered(address)
