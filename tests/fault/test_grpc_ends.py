"""Calls of gRPC that end before they are answered: cancelled, late, or with the client that has sent them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.proto.foreign import health_pb2
from tests.support import doomed_client
from tests.support.gated_server import GatedServer, gated_server
from tests.support.grpc_messages import PREDICT, array_of
from tests.support.http2_frames import (
    DATA,
    END_STREAM,
    PREFACE,
    WINDOW_UPDATE,
    call,
    frame,
    headers,
    headers_of,
    http2_connection,
    message,
    message_of,
    reset,
    settings,
)
from tests.support.watch import wait_until

LIMIT = 400
CONNECTIONS = 4
LATE_S = 1.0
MOMENTS, LATEST_S = 3000, 0.05
PATIENCE_S = 60.0
WIDE = 1 << 30


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatedServer]:
    with gated_server(tmp_path_factory.mktemp("plain"), LIMIT) as server:
        yield server


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatedServer]:
    """The same over TLS."""
    with gated_server(tmp_path_factory.mktemp("secure"), LIMIT, tls=True) as server:
        yield server


@contextlib.contextmanager
def held_at_the_gate(server: GatedServer) -> Iterator[None]:
    """Within the block stages wait at the gate, where the first has come; afterwards they pass."""
    held = server.gate.hold()
    try:
        yield
    finally:
        with server.gate.let_all_pass():
            held.release()
            assert server.ask("one", "gated") == 42  # behind all that the worker has


# ---- cancelled


BEGUN: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "before the message": (700, headers),
    "within the message": (
        500,
        lambda stream: headers(stream) + frame(DATA, 0, stream, message("gated", 1)[:9]),
    ),
    "in the queue and in the stage": (LIMIT, lambda stream: call(stream, "gated", 1)),
}


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("when", [*BEGUN, "in the queue and in the stage"])
def test_2000_cancelled_calls_leave_nothing(plain: GatedServer, when: str) -> None:
    count, begun = BEGUN[when]
    streams = range(1, 2 * count // CONNECTIONS, 2)
    with plain.leaving_nothing(), contextlib.ExitStack() as stack:
        connections = [stack.enter_context(http2_connection(plain.running.grpc)) for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.sendall(b"".join(map(begun, streams)))
        if count == LIMIT:
            stack.enter_context(held_at_the_gate(plain))
            wait_until(plain.is_full, "all places are taken")
        for connection in connections:
            connection.sendall(b"".join(map(reset, streams)))
        wait_until(lambda: not plain.is_full(), "all places are free, though nothing was done")
        assert plain.ask("two", "twice") == 42


Ask = Callable[..., grpc.aio.UnaryUnaryCall]
CODES = {"cancelled": grpc.StatusCode.CANCELLED, "late": grpc.StatusCode.DEADLINE_EXCEEDED}


async def ends_rightly(ask: Ask, value: int, end: str, after_s: float) -> bool:
    """Whether a call that is cancelled, or late, after some time ends so, or has the right reply."""
    call = ask(message("twice", value)[5:], timeout=after_s if end == "late" else PATIENCE_S)
    if end == "cancelled":
        await asyncio.sleep(after_s)
        call.cancel()
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        return code is CODES.get(end)
    [reply] = ms_service_pb2.PredictReply.FromString(await call).instances
    return bool(array_of(reply.items["y"]) == 2 * value)


async def end_at_any_moment(address: str, draw: random.Random) -> int:
    """Make calls, some hundred at a time; returns how many have ended rightly."""
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    right = 0
    async with contextlib.AsyncExitStack() as opened:
        channels = [grpc.aio.insecure_channel(address, own_connection) for _ in range(CONNECTIONS)]
        for channel in channels:
            await opened.enter_async_context(channel)
        asks = [channel.unary_unary(PREDICT) for channel in channels]
        for _ in range(0, MOMENTS, LIMIT // 4):
            ends = draw.choices(["answered", *CODES], k=LIMIT // 4)
            calls = [
                ends_rightly(asks[i % CONNECTIONS], i, end, draw.uniform(0, LATEST_S))
                for i, end in enumerate(ends)
            ]
            right += sum(await asyncio.gather(*calls))
    return right


@pytest.mark.both_grpc_servers
def test_calls_that_end_at_any_moment_leave_nothing(plain: GatedServer) -> None:
    with plain.leaving_nothing():
        assert asyncio.run(end_at_any_moment(plain.running.grpc, random.Random(14))) == MOMENTS


# ---- late


async def codes_of_late_calls(address: str) -> set[grpc.StatusCode]:
    """Codes of calls that take nearly all places, and whose time is short."""

    async def code_of(ask: Ask, value: int) -> grpc.StatusCode:
        return await ask(message("gated", value)[5:], timeout=LATE_S).code()

    async with grpc.aio.insecure_channel(address) as channel:
        ask = channel.unary_unary(PREDICT)
        calls = asyncio.gather(*(code_of(ask, value) for value in range(LIMIT - 3)))
        return set(await asyncio.wait_for(calls, PATIENCE_S))


@pytest.mark.both_grpc_servers
def test_calls_whose_time_is_over_leave_nothing(plain: GatedServer) -> None:
    with plain.leaving_nothing(), plain.client("one", "gated") as client:
        patient = client.infer_async({"x": np.array(4, np.int64)})
        with held_at_the_gate(plain):
            tasks = plain.tasks()
            for _ in range(3):  # where a place were not free again, a call would be refused
                codes = asyncio.run(codes_of_late_calls(plain.running.grpc))
                assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
                plain.wait_for_tasks(tasks)  # their handlers have ended
                assert plain.ask("two", "twice") == 42
        assert int(patient.result()[0]["y"]) == 8


# ---- gone


@dataclass(frozen=True)
class Doomed:
    """What a client has done when it ends.

    Attributes:
        sent: What it has sent.
        replied: Whether part of a reply has come.
        fills: Whether the clients have taken all places together.
    """

    sent: bytes
    replied: bool = False
    fills: bool = False


WATCH = "/grpc.health.v1.Health/Watch"
GREETING = PREFACE + settings()
TAKING = PREFACE + settings(WIDE) + frame(WINDOW_UPDATE, 0, 0, WIDE.to_bytes(4, "big"))
DOOMED = {
    "connecting": Doomed(b""),
    "half a handshake": Doomed(bytes.fromhex("160301020001fc0303") + bytes(100)),
    "half a greeting": Doomed(PREFACE[:10]),
    "half the metadata": Doomed(GREETING + headers(1, flags=0)),
    "metadata": Doomed(GREETING + headers(1)),
    "half a message": Doomed(GREETING + headers(1) + frame(DATA, 0, 1, message("gated", 1)[:9])),
    "stage": Doomed(
        GREETING + b"".join(call(1 + 2 * i, "gated", i) for i in range(LIMIT // CONNECTIONS)), fills=True
    ),
    "reply": Doomed(TAKING + call(1, "large", 16 << 20), replied=True),
    "watch": Doomed(
        TAKING
        + headers_of(WATCH, 1)
        + frame(DATA, END_STREAM, 1, message_of(health_pb2.HealthCheckRequest().SerializeToString())),
        replied=True,
    ),
}
WITHOUT_TLS = ("half a handshake",)


@contextlib.contextmanager
def doomed_clients(server: GatedServer, doomed: Doomed, tls: bool) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Clients that have sent what they are to send."""
    authority = server.authority if tls else ""
    arguments = [str(server.port), authority, str(len(doomed.sent)), str(doomed.replied)]
    clients = [
        subprocess.Popen(
            [sys.executable, "-S", "-E", doomed_client.__file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(CONNECTIONS)
    ]
    try:
        for client in clients:
            assert client.stdin is not None
            client.stdin.write(doomed.sent)
            client.stdin.flush()
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == b"sent\n"
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.communicate()


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("where", DOOMED)
def test_clients_that_are_killed_leave_nothing(plain: GatedServer, where: str) -> None:
    end_clients(plain, DOOMED[where], "killed")


@pytest.mark.parametrize("where", ["half the metadata", "half a message", "stage", "reply"])
def test_clients_that_reset_their_connections_leave_nothing(plain: GatedServer, where: str) -> None:
    end_clients(plain, DOOMED[where], "reset")


@pytest.mark.parametrize("where", ["connecting", "half a handshake", "half a message", "stage", "reply"])
def test_clients_with_tls_that_are_killed_leave_nothing(secure: GatedServer, where: str) -> None:
    end_clients(secure, DOOMED[where], "killed", tls=where not in WITHOUT_TLS)


def end_clients(server: GatedServer, doomed: Doomed, kind: str, *, tls: bool = False) -> None:
    """Have clients do something, and end them: nothing of it is left."""
    with server.leaving_nothing(150 << 20), contextlib.ExitStack() as stack:
        with doomed_clients(server, doomed, tls) as clients:
            if doomed.fills:
                stack.enter_context(held_at_the_gate(server))
                wait_until(server.is_full, "all places are taken")
            for client in clients:
                if kind == "reset":
                    client.communicate(b"reset\n", PATIENCE_S)
                else:
                    client.send_signal(signal.SIGKILL)
            for client in clients:
                client.wait(PATIENCE_S)
        wait_until(lambda: not server.is_full(), "all places are free, though nothing was done")


@pytest.mark.both_grpc_servers
def test_nothing_is_pending_after_all_that(tmp_path: Path) -> None:
    """A server that stops says what is pending, and nothing where nothing is."""
    with gated_server(tmp_path, LIMIT) as server:
        tasks = server.tasks()
        with doomed_clients(server, DOOMED["stage"], tls=False) as clients:
            held = server.gate.hold()
            wait_until(server.is_full, "all places are taken")
            for client in clients:
                client.send_signal(signal.SIGKILL)
            server.wait_for_tasks(tasks)  # no call is under way
        server.running.signal(signal.SIGTERM)
        with server.gate.let_all_pass():
            held.release()
            assert server.running.wait() == 0
        assert "Serving: stopping" not in server.running.output
        assert server.running.workers() == []
