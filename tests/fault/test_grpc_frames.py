"""Bytes that no client of gRPC should send, and replies that none takes: others do not feel them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.proto.foreign import health_pb2
from tests.support.gated_server import GatedServer, gated_server
from tests.support.grpc_messages import PREDICT
from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    call,
    field,
    frames,
    head_of,
    http2_connection,
    message,
    message_of,
    raw_field,
    settings,
)
from tests.support.traffic import Traffic
from tests.support.watch import wait_until

pytestmark = pytest.mark.both_grpc_servers

SEED = 14
CONNECTIONS = 4000
FIRST = 1000
AT_A_TIME = 64
PATIENCE_S = 30.0
MOST_LINES = 200
LARGE = 50 << 20
WIDE = (1 << 31) - 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatedServer]:
    with gated_server(tmp_path_factory.mktemp("frames"), 10_000) as running:
        yield running


def wrong_reply(client: Client, value: int) -> Any:
    reply = client.infer({"x": np.array(value, np.int64)}, timeout=60)
    return None if isinstance(reply, list) and int(reply[0]["y"]) == 2 * value else reply


# ---- conversations with a fault

READ_AS_HEADERS = (HEADERS, PUSH_PROMISE, CONTINUATION)
"""Without faults for grpc.aio, and no other becomes one: a path that is no text ends its server for a moment."""


@dataclass(frozen=True)
class Sent:
    """A frame as it goes out.

    Attributes:
        kind, flags, stream, content: As in HTTP/2.
        length: What its head says of its content.
    """

    kind: int
    flags: int = 0
    stream: int = 0
    content: bytes = b""
    length: int | None = None

    def as_bytes(self) -> bytes:
        size = len(self.content) if self.length is None else self.length
        return (
            struct.pack(">I", size & 0xFFFFFF)[1:]
            + struct.pack(">BBI", self.kind & 255, self.flags & 255, self.stream & 0xFFFFFFFF)
            + self.content
        )


def calls(*streams: int) -> list[Sent]:
    """Calls that are answered."""
    return [
        sent
        for stream in streams
        for sent in (
            Sent(HEADERS, END_HEADERS, stream, HEAD),
            Sent(DATA, END_STREAM, stream, message("twice", stream)),
        )
    ]


CHECK = message_of(health_pb2.HealthCheckRequest(service="one").SerializeToString())
TALKS = [
    [Sent(SETTINGS), *calls(1, 3, 5)],
    [
        Sent(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 10)),
        Sent(HEADERS, 0, 1, HEAD[:40]),
        Sent(CONTINUATION, 0, 1, HEAD[40:80]),
        Sent(
            CONTINUATION,
            END_HEADERS,
            1,
            HEAD[80:] + field("x-request-id", "one") + field("grpc-timeout", "10S"),
        ),
        *(Sent(DATA, 0, 1, message("twice", 1)[at : at + 9]) for at in range(0, 40, 9)),
        Sent(DATA, END_STREAM, 1),
        Sent(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1000)),
        Sent(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1000)),
    ],
    [
        Sent(SETTINGS),
        Sent(SETTINGS, ACK),
        Sent(PING, 0, 0, b"12345678"),
        *calls(1),
        Sent(RST_STREAM, 0, 1, struct.pack(">I", 8)),
        Sent(PRIORITY, 0, 3, bytes(5)),
        Sent(HEADERS, END_HEADERS, 3, head_of("/grpc.health.v1.Health/Check")),
        Sent(DATA, END_STREAM, 3, CHECK),
        Sent(HEADERS, END_HEADERS, 5, head_of("/grpc.health.v1.Health/Watch")),
        Sent(DATA, END_STREAM, 5, CHECK),
        Sent(GOAWAY, 0, 0, bytes(8)),
    ],
]
NUMBERS = (0, 1, 2, 3, 5, 7, 127, 255, 0x3FFF, 0x4000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FAULTS: list[Callable[[random.Random, Sent], list[Sent]]] = [
    lambda draw, sent: [],
    lambda draw, sent: [sent, sent],
    lambda draw, sent: [sent] * draw.choice((20, 200)),
    lambda draw, sent: [replace(sent, kind=draw.choice((*range(10), 255)))],
    lambda draw, sent: [replace(sent, flags=draw.randrange(256))],
    lambda draw, sent: [replace(sent, stream=draw.choice(NUMBERS))],
    lambda draw, sent: [replace(sent, length=draw.choice(NUMBERS))],
    lambda draw, sent: [replace(sent, content=flipped(draw, sent.content))],
    lambda draw, sent: [replace(sent, content=sent.content[: draw.randrange(len(sent.content) + 1)])],
    lambda draw, sent: [replace(sent, content=sent.content + draw.randbytes(draw.choice((1, 100, 20_000))))],
    lambda draw, sent: [
        sent,
        Sent(draw.randrange(12), draw.randrange(256), draw.choice(NUMBERS), draw.randbytes(20)),
    ],
    lambda draw, sent: [
        sent,
        Sent(SETTINGS, 0, 0, struct.pack(">HI", draw.randrange(8), draw.choice(NUMBERS))),
    ],
    lambda draw, sent: [sent, Sent(WINDOW_UPDATE, 0, sent.stream, struct.pack(">I", draw.choice(NUMBERS)))],
    lambda draw, sent: [sent, Sent(PUSH_PROMISE, END_HEADERS, sent.stream, bytes(4) + HEAD)],
]


def flipped(draw: random.Random, content: bytes) -> bytes:
    """The content with some bits the other way round."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 3, 10)) if changed else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def with_a_fault(draw: random.Random, sent: Sent, of_headers: bool) -> list[Sent]:
    """What goes out in place of a frame; with faults of headers, or without."""
    while True:
        wrong = draw.choice(FAULTS)(draw, sent)
        if of_headers or (sent.kind not in READ_AS_HEADERS and not any(is_headers(one) for one in wrong)):
            return wrong
        if sent.kind in READ_AS_HEADERS:
            return [sent]


def is_headers(sent: Sent) -> bool:
    return sent.kind in READ_AS_HEADERS


def talk_with_faults(draw: random.Random, of_headers: bool) -> bytes:
    """What a client says that makes one to three mistakes, and may break off anywhere."""
    talk = list(draw.choice(TALKS))
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(talk)) if talk else 0
        talk[at : at + 1] = with_a_fault(draw, talk[at] if talk else Sent(SETTINGS), of_headers)
    said = PREFACE + b"".join(sent.as_bytes() for sent in talk)
    if of_headers and draw.random() < 0.1:
        said = flipped(draw, said)
    return said[: draw.randrange(len(said))] if draw.random() < 0.2 else said


async def say_all(port: int, talks: list[bytes]) -> None:
    """Say each on a connection of its own, and wait until the server has ended it."""

    async def say(talk: bytes) -> None:
        async with places:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(OSError):  # the server has ended it before
                writer.write(talk)
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    places = asyncio.Semaphore(AT_A_TIME)
    await asyncio.gather(*map(say, talks))


def test_4000_connections_with_faults_disturb_nobody(server: GatedServer, grpc_library: str) -> None:
    draw = random.Random(SEED)
    talks = [talk_with_faults(draw, grpc_library != "aio") for _ in range(CONNECTIONS)]
    assert len(set(talks)) > CONNECTIONS * 0.6
    said = len(server.running.read_output().splitlines())
    asyncio.run(say_all(server.port, talks[:FIRST]))  # what gRPC allocates for so many at a time, it keeps
    with (
        server.leaving_nothing(),
        Traffic(server.running.grpc, "two", "twice", wrong_reply, threads=2) as traffic,
    ):
        traffic.wait_for(10)
        asyncio.run(say_all(server.port, talks[FIRST:]))
        traffic.wait_for(10)
    assert traffic.wrong == []
    lines = server.running.read_output().splitlines()[said:]
    assert len(lines) < MOST_LINES, lines[:20]


PATHS = (b"/mindspore.serving.proto.MSService/Predic\xf4", b"\xff", b"/\x80/\x80" * 100)
NO_TEXT = [HEAD.replace(field(":path", PREDICT), raw_field(b":path", path)) for path in PATHS]


def end_of_call(server: GatedServer, head: bytes) -> bytes:
    """The metadata by which a call without a message ends."""
    with http2_connection(server.running.grpc) as connection:
        connection.sendall(Sent(HEADERS, END_HEADERS | END_STREAM, 1, head).as_bytes())
        return next(
            (one for one in frames(connection) if one.kind == HEADERS), Frame(HEADERS, 0, 1, b"")
        ).content


def test_a_path_that_is_no_text_is_that_of_no_method(tmp_path: Path, grpc_library: str) -> None:
    with gated_server(tmp_path, 10) as server:
        if grpc_library == "aio":  # whose server ends, and is started again
            for head in NO_TEXT:
                end_of_call(server, head)
                wait_until(lambda: server.ask("one", "twice") == 42, "others are served again")
            return
        with server.leaving_nothing():
            for head in 30 * NO_TEXT:
                assert b"grpc-status\x0212" in end_of_call(server, head)  # UNIMPLEMENTED
            assert len(server.running.read_output().splitlines()) < MOST_LINES


# ---- replies that are not taken


def peak_memory(pid: int) -> int:
    """Most bytes that a process has ever had resident."""
    line = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert line is not None
    return int(line[1]) << 10


@pytest.mark.parametrize("window", [65535, WIDE], ids=["narrow", "wide"])
def test_clients_that_never_take_50_megabytes_disturb_nobody(server: GatedServer, window: int) -> None:
    pid = server.running.process.pid
    more = b"" if window == 65535 else window_of_connection()
    with server.leaving_nothing(150 << 20), contextlib.ExitStack() as stack:
        before = peak_memory(pid)
        stuck = [
            stack.enter_context(http2_connection(server.running.grpc, PREFACE + settings(window) + more))
            for _ in range(4)
        ]
        for connection in stuck:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LARGEST_FRAME)
            connection.sendall(call(1, "large", LARGE))
        with Traffic(server.running.grpc, "two", "twice", wrong_reply, threads=2) as traffic:
            for connection in stuck:  # a part of each reply has come
                wait_until(partial(has_come, connection, 1000), "it is answered")
            traffic.wait_for(200)
        assert traffic.wrong == []
        assert server.ask("one", "twice") == 42
        assert peak_memory(pid) - before < 4 * len(stuck) * LARGE


def has_come(connection: socket.socket, size: int) -> bool:
    """Whether more bytes than that have come, which stay where they are."""
    return len(connection.recv(1 << 16, socket.MSG_PEEK)) > size


def window_of_connection() -> bytes:
    """Lets the server send as much as it likes on a connection."""
    return Sent(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDE - 65535)).as_bytes()
