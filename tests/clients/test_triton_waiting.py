"""Clients of tritonclient that wait, stop waiting, or ask whether the connection is still there."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from tests.clients.servables import held_server
from tests.clients.triton import KINDS, TOO_LATE, Triton
from tests.support.gate import Gate
from tests.support.serving import RunningServer
from tests.support.watch import wait_until

X = np.array([5], np.float32)
SOON_S = 0.2
LONG_S = 60.0


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with Gate(tmp_path_factory.mktemp("gate") / "gate") as made:
        yield made


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[RunningServer]:
    """A server of a method that waits at the gate."""
    folder: Path = tmp_path_factory.mktemp("held")
    with held_server(folder, gate) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_stops_waiting(waiting: RunningServer, gate: Gate, kind: str) -> None:
    options: dict[str, Any] = {"client_timeout": SOON_S}
    at_start: dict[str, Any] = {}
    if kind == "http":
        options, at_start = {}, {"network_timeout": SOON_S}
    elif kind == "http.aio":
        options, at_start = {}, {"conn_timeout": SOON_S}
    with Triton(kind, waiting, **at_start) as triton:
        if triton.http:
            with pytest.raises(TimeoutError):
                triton.infer("held", {"x": X})
        else:
            triton.refused(TOO_LATE, "held", {"x": X}, **options)
    gate.hold().release()
    with Triton(kind, waiting) as triton, gate.let_all_pass():
        assert triton.infer("held", {"x": X}).as_numpy("y") == X


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_waits_longer_than_its_timeout_parameter(
    waiting: RunningServer, gate: Gate, kind: str
) -> None:
    """In microseconds; the copy is busy meanwhile."""
    with Triton("grpc", waiting) as other, Triton(kind, waiting) as triton:
        answers: list[Any] = []
        answered = threading.Event()

        def note(result: Any, error: Any) -> None:
            answers.append(error or result.as_numpy("y").tolist())
            answered.set()

        other.call("async_infer", "held", [other.input("x", X)], note)
        held = gate.hold()
        text = triton.refused(TOO_LATE, "held", {"x": X}, timeout=int(SOON_S * 1e6))
        assert text
        held.release()
        assert answered.wait(LONG_S)
        assert answers == [X.tolist()]
        with gate.let_all_pass():
            assert triton.infer("held", {"x": X}).as_numpy("y") == X


def test_a_call_that_is_cancelled(waiting: RunningServer, gate: Gate) -> None:
    ended: list[Any] = []
    done = threading.Event()

    def note(result: Any, error: Any) -> None:
        ended.append(error)
        done.set()

    with Triton("grpc", waiting) as triton:
        context = triton.call("async_infer", "held", [triton.input("x", X)], note)
        held = gate.hold()
        context.cancel()
        assert done.wait(LONG_S)
        assert ended[0].status() == "StatusCode.CANCELLED"
        held.release()
        with gate.let_all_pass():
            assert triton.infer("held", {"x": X}).as_numpy("y") == X


class CountingRelay(socketserver.ThreadingTCPServer):
    """Passes connections on to a server, and counts them, and those that the server has ended."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.connections = 0
        self.ended = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Relay(socketserver.BaseRequestHandler):
    server: CountingRelay

    def handle(self) -> None:
        self.server.connections += 1
        with socket.create_connection(self.server.target) as upstream:
            back = threading.Thread(target=self._pass_back, args=(upstream,), daemon=True)
            back.start()
            _pass_on(self.request, upstream)
            back.join()

    def _pass_back(self, upstream: socket.socket) -> None:
        _pass_on(upstream, self.request)
        self.server.ended += 1


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side has gone
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay(server: RunningServer) -> Iterator[CountingRelay]:
    with CountingRelay(server.grpc) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def keepalive(every_ms: int) -> Any:
    return tritonclient.grpc.KeepAliveOptions(
        keepalive_time_ms=every_ms,
        keepalive_timeout_ms=20_000,
        keepalive_permit_without_calls=True,
        http2_max_pings_without_data=0,
    )


def test_a_client_that_pings_as_often_as_it_may_keeps_its_connection(relay: CountingRelay) -> None:
    options = keepalive(5_000)
    with tritonclient.grpc.InferenceServerClient(relay.address, keepalive_options=options) as client:
        assert all(client.is_server_live() for _ in range(20))
    assert relay.connections == 1


def test_a_client_that_pings_too_often_connects_again(relay: CountingRelay) -> None:
    """gRPC sends a ping each second at most, and the server takes three that come too soon."""
    options = keepalive(20)
    with tritonclient.grpc.InferenceServerClient(relay.address, keepalive_options=options) as client:
        assert client.is_server_live()
        wait_until(lambda: relay.ended, "the server has hung up")
        wait_until(client.is_server_live, "the client is connected again")
        assert relay.connections == 2
