"""Many connections, and clients that take what a server has only some of: calls, connections, descriptors."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mindspore_serving.client import Client
from tests.support.http2_frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    PING,
    PREFACE,
    PRIORITY,
    WINDOW_UPDATE,
    Frame,
    call,
    frame,
    frames,
    headers,
    http2_connection,
    message,
    reset,
    settings,
)
from tests.support.http_requests import post, raw_connection, read_raw_reply
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving
from tests.support.smuggling import HIDDEN, SMUGGLING
from tests.support.traffic import Traffic
from tests.support.watch import wait_until

CONFIG = """\
from mindspore_serving.server import register


def double(x):
    return x * 2


@register.register_method(output_names=["y"])
def twice(x):
    return register.add_stage(double, x, outputs_count=1)
"""
CONFIGS = ['".", "one", 0']
TWICE = "/model/one:twice"
SCRIPT = """\
import resource

resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}))

from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "one", 0))
server.start_grpc_server({grpc!r})
server.start_restful_server({rest!r})
print("up", flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The servable with one worker."""
    folder = tmp_path_factory.mktemp("many")
    add_servable(folder, "one", CONFIG, ())
    with serving(folder, CONFIGS) as running:
        yield running


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """As many descriptors for this process as the system allows; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def number(value: int) -> dict[str, Any]:
    return {"x": np.array(value, np.int64)}


def wrong_reply(client: Client, value: int) -> Any:
    reply = client.infer(number(value), timeout=60)
    return None if isinstance(reply, list) and int(reply[0]["y"]) == 2 * value else reply


def assert_serves(server: RunningServer) -> None:
    with Client(server.grpc, "one", "twice") as client:
        assert wrong_reply(client, 21) is None
    assert post(server.rest, TWICE, {"instances": [{"x": 21}]}).text == '{"instances":[{"y":42}]}'


def doubles(server: RunningServer) -> bool:
    """Whether both front ends take another connection, and answer."""
    try:
        assert_serves(server)
    except (AssertionError, OSError, http.client.HTTPException, json.JSONDecodeError):
        return False
    return True


# ---- HTTP/1.1 that two readers may understand differently


def all_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes its side."""
    received = b""
    while data := connection.recv(1 << 16):
        received += data
    return received


def test_smuggled_requests_are_not_answered(server: RunningServer) -> None:
    for kind, data in SMUGGLING.items():
        with raw_connection(server.rest) as connection:
            connection.sendall(data + HIDDEN)
            got = all_of(connection)
            assert got[:10] == b"HTTP/1.1 4", kind
            assert (got.count(b"HTTP/1.1 "), got.count(b"Connection: close\r\n")) == (1, 1), kind
    assert_serves(server)


# ---- HTTP/2


class Listener:
    """Reads what the server sends, so that it can go on, and keeps a part."""

    def __init__(self, connection: socket.socket, kinds: tuple[int, ...]) -> None:
        self.kept: list[Frame] = []
        self._thread = threading.Thread(target=self._run, args=(connection, kinds))
        self._thread.start()

    def _run(self, connection: socket.socket, kinds: tuple[int, ...]) -> None:
        with contextlib.suppress(OSError):
            self.kept += (one for one in frames(connection) if one.kind in kinds)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


def flood(server: RunningServer, first: bytes, piece: Any, count: int) -> None:
    """Send many pieces on one connection, and wait until the server has read them or closed it."""
    with http2_connection(server.grpc, PREFACE + settings() + first) as connection:
        listener = Listener(connection, (PING, GOAWAY))
        with contextlib.suppress(ConnectionError):
            for at in range(0, count, 100):
                connection.sendall(b"".join(piece(i) for i in range(at, at + 100)))
        with contextlib.suppress(OSError):  # the server has closed it, and it is connected no more
            connection.shutdown(socket.SHUT_WR)  # else the server closes when it has come to this
        listener.join()


FLOODS_OF_CALLS = {
    "calls that are reset": (b"", lambda i: call(2 * i + 1, "twice", i) + reset(2 * i + 1)),
    "calls that are reset before their message": (b"", lambda i: headers(2 * i + 1) + reset(2 * i + 1)),
    "data after the end": (call(1, "twice", 1), lambda i: frame(DATA, END_STREAM, 1, message("twice", 1))),
}
# Both servers leave these to gRPC's C core.
FLOODS_OF_FRAMES = {
    "pings": (b"", lambda i: frame(PING, content=bytes(8))),
    "settings": (b"", lambda i: settings()),
    "settings that change": (b"", lambda i: settings(i % 2 << 16)),
    "windows": (headers(1), lambda i: frame(WINDOW_UPDATE, 0, i % 2, struct.pack(">I", 1))),
    "priorities": (b"", lambda i: frame(PRIORITY, 0, 2 * i + 1, bytes(5))),
    "frames of no kind": (b"", lambda i: frame(200, 0, i % 3, bytes(100))),
    "empty pieces": (headers(1), lambda i: frame(DATA, 0, 1)),
    "empty pieces of metadata": (headers(1, flags=0), lambda i: frame(CONTINUATION, 0, 1)),
    "ends of calls that are not there": (b"", lambda i: reset(1)),
}


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("kind", FLOODS_OF_CALLS)
def test_a_flood_of_calls_disturbs_nobody(server: RunningServer, kind: str) -> None:
    disturb(server, *FLOODS_OF_CALLS[kind])


@pytest.mark.parametrize("kind", FLOODS_OF_FRAMES)
def test_a_flood_of_frames_disturbs_nobody(server: RunningServer, kind: str) -> None:
    disturb(server, *FLOODS_OF_FRAMES[kind])


def disturb(server: RunningServer, first: bytes, piece: Any) -> None:
    """Flood one connection; others have their answers meanwhile."""
    main = psutil.Process(server.process.pid)
    assert_serves(server)
    before = main.memory_info().rss
    with Traffic(server.grpc, "one", "twice", wrong_reply, threads=2) as traffic:
        traffic.wait_for(20)
        flood(server, first, piece, 20_000)
        traffic.wait_for(20)
    assert traffic.wrong == []
    assert main.memory_info().rss - before < 150 << 20  # 20000 calls that wait take more
    assert_serves(server)


# ---- connections


@pytest.mark.both_grpc_servers
def test_connections_above_the_limit_are_turned_away(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", CONFIG, ())
    options = "max_connections=20"
    with serving(tmp_path, CONFIGS, grpc_options=options, rest_options=options) as server:
        with contextlib.ExitStack() as opened:
            inside = [opened.enter_context(raw_connection(server.rest)) for _ in range(20)]
            inside[-1].sendall(b"GET /healthz/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_raw_reply(inside[-1]).status == 200
            outside = [opened.enter_context(raw_connection(server.rest)) for _ in range(200)]
            told = [all_of(connection) for connection in outside]
            assert sum(reply.startswith(b"HTTP/1.1 503 ") for reply in told) == 2
            assert told[0].endswith(b'{"error_msg":"Serving Error: connections count exceeds the limit 20"}')
            assert all(b"\r\nRetry-After: 1\r\n" in reply for reply in told if reply)
            for connection in inside:
                connection.sendall(HIDDEN)
                assert read_raw_reply(connection).text == '{"instances":[{"y":2}]}'
            server.wait_for_line("REST turned away")
            calls = [opened.enter_context(http2_connection(server.grpc)) for _ in range(30)]
            alive = [connection for connection in calls if connection.recv(1, socket.MSG_PEEK)]
            assert len(alive) == 20
            assert not doubles(server)
        wait_until(lambda: doubles(server), "there is room again")
        assert server.read_output().count("REST turned away") < 10


def test_more_connections_than_descriptors(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", CONFIG, ())
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    script = tmp_path / "start_server.py"
    script.write_text(SCRIPT.format(descriptors=256, grpc=grpc, rest=rest))
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("up")
        server = RunningServer(running.process, tmp_path, running.lines, grpc=grpc, rest=rest)
        main = psutil.Process(running.process.pid)
        with contextlib.ExitStack() as opened, Client(grpc, "one", "twice") as client:
            assert wrong_reply(client, 1) is None
            kept = opened.enter_context(raw_connection(rest))
            for address in (rest, grpc):
                for _ in range(300):
                    opened.enter_context(raw_connection(address))
            wait_until(lambda: main.num_fds() < 256 - 20, "some descriptors are left")
            for value in range(20):
                assert wrong_reply(client, value) is None
                kept.sendall(HIDDEN)
                assert read_raw_reply(kept).text == '{"instances":[{"y":2}]}'
            [worker] = running.workers()
            psutil.Process(worker).kill()  # one that takes its place needs descriptors too
            wait_until(lambda: wrong_reply(client, 5) is None, "a new worker serves", 60)
        wait_until(lambda: doubles(server), "there is room again")
        assert running.read_output().count("REST turned away") < 30


def test_5000_idle_and_500_active_connections(many_descriptors: int, server: RunningServer) -> None:
    if many_descriptors < 15_000:
        pytest.skip(f"needs 15000 descriptors, the system allows {many_descriptors}")
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(raw_connection(server.rest)) for _ in range(4000)]
        for _ in range(1000):
            opened.enter_context(http2_connection(server.grpc))
        active = [opened.enter_context(raw_connection(server.rest)) for _ in range(500)]
        for _ in range(3):
            for connection in active:
                connection.sendall(HIDDEN)
            for connection in active:
                assert read_raw_reply(connection).text == '{"instances":[{"y":2}]}'
        assert_serves(server)
        idle[0].sendall(HIDDEN)
        assert read_raw_reply(idle[0]).status == 200
    assert_serves(server)
