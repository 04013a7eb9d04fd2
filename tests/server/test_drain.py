"""A server that is asked to end finishes the requests that it has admitted, and takes no others."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server import stop
from mindspore_serving.server.master.context import set_drain_timeout_s
from tests.support.gate import Gate
from tests.support.http_requests import HttpReply, post, raw_connection, read_raw_reply, read_reply
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving
from tests.support.watch import kill, leftovers, wait_until, wait_until_gone

STOPPING = "Serving Error: the server is stopping and takes no more requests"
UNAVAILABLE = "Request servable(held) method(wait)  version(1) , servable is not available"
MAY_HAVE_RUN = f"{UNAVAILABLE}: a worker had this instance, which may have been run"
PATH = "/model/held:wait"

CONFIG = """\

from mindspore_serving.server import register


def double(x):
    pass_gate()
    return x * 2


@register.register_method(output_names=["y"])
def wait(x):
    return register.add_stage(double, x, outputs_count=1)


def double_all(instances):
    return [x * 2 for x, in instances]


@register.register_method(output_names=["y"])
def batches(x):
    return register.add_stage(double_all, x, outputs_count=1, batch_size=100)
"""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "held", gate.source + CONFIG, ())
        yield gate


def seconds(limit: float) -> str:
    """What a start script says to drain for that long."""
    return f"server.master.context.set_drain_timeout_s({limit})"


def number(value: int) -> dict[str, Any]:
    return {"x": np.array(value, np.int64)}


def begin_rest(server: RunningServer, value: int, method: str = "wait") -> http.client.HTTPConnection:
    """Send a request over REST, whose reply is read later, and wait until the server has read it."""
    connection = http.client.HTTPConnection(server.rest, timeout=20)
    body = {"instances": [{"x": value}]}
    connection.request("POST", f"/model/held:{method}", json.dumps(body).encode())
    # The event loop reads this later one no earlier.
    assert post(server.rest, "/model/held:no", body).status == 404
    return connection


def is_draining(server: RunningServer) -> bool:
    """Whether the server refuses requests because it ends."""
    reply = post(server.rest, "/model/held:unknown", {"instances": [{"x": 1}]})
    return reply.status == 503 and reply.error == STOPPING


def drain(server: RunningServer) -> None:
    """Ask the server to end, and wait until it has heard it."""
    server.signal(signal.SIGTERM)
    wait_until(lambda: is_draining(server), "the server drains")


def has_ended_well(server: RunningServer) -> bool:
    """Whether the server has ended by itself, with nothing left behind."""
    assert server.wait(10) == 0
    assert leftovers(server) == []
    assert "Traceback" not in server.output
    for address in (server.grpc, server.rest):
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0
    return True


def two_under_way(server: RunningServer, client: Client, gate: Gate) -> tuple[Any, Any, Any]:
    """A call and a REST request that wait for the only worker, and the first of them at the gate."""
    call = client.infer_async(number(1))
    held = gate.hold()
    return call, held, begin_rest(server, 2)


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("number_", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_what_was_admitted_is_answered_and_the_rest_refused(
    tmp_path: Path, gate: Gate, number_: signal.Signals
) -> None:
    with (
        serving(tmp_path, ['".", "held", 0'], settings=seconds(60)) as server,
        Client(server.grpc, "held", "wait") as client,
        raw_connection(server.rest) as idle,
    ):
        idle.sendall(b"POST /model/held:no HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        assert read_raw_reply(idle).status == 400
        call, held, rest = two_under_way(server, client, gate)
        server.signal(number_)
        assert idle.recv(1) == b""  # closed at once, as the next request could not be answered
        wait_until(lambda: is_draining(server), "the server drains")
        refused = post(server.rest, PATH, {"instances": [{"x": 1}]})
        assert (refused.status, refused.error) == (503, STOPPING)
        assert refused.headers["connection"] == "close"
        with Client(server.grpc, "held", "wait") as new:
            for caller in (client, new):
                error = caller.infer(number(1))["error"]
                assert error.startswith("Grpc Error, (14, 'unavailable')")
                assert STOPPING in error
        held.release()
        gate.hold().release()
        assert answers(call) == [2]
        with closing(rest):
            assert reply_of(rest) == (200, {"instances": [{"y": 4}]}, "close")
        assert has_ended_well(server)


def answers(call: Any) -> list[int]:
    """The results of a call."""
    reply = call.result()
    assert isinstance(reply, list), reply
    return [int(row["y"]) for row in reply]


def reply_of(connection: http.client.HTTPConnection) -> tuple[int, Any, str]:
    reply: HttpReply = read_reply(connection)
    return reply.status, json.loads(reply.text), reply.headers.get("connection", "")


@pytest.mark.both_grpc_servers
def test_a_second_signal_ends_the_wait(tmp_path: Path, gate: Gate) -> None:
    with (
        serving(tmp_path, ['".", "held", 0'], settings=seconds(600)) as server,
        Client(server.grpc, "held", "wait") as client,
    ):
        call, held, rest = two_under_way(server, client, gate)
        workers = server.workers()
        drain(server)
        server.signal(signal.SIGTERM)
        assert call.result()["error"] == MAY_HAVE_RUN
        with closing(rest):
            assert reply_of(rest) == (500, {"error_msg": MAY_HAVE_RUN}, "close")
        said = "Serving: stopping, 2 requests have 600 s to finish. Ctrl+C or SIGTERM once more ends this at once"
        assert said in server.read_output()
        # The worker is still at the gate, and gets no time to leave it.
        wait_until_gone(*workers, timeout_s=4)
        held.release()
        assert has_ended_well(server)


@pytest.mark.both_grpc_servers
def test_what_takes_longer_than_it_may_is_answered_with_an_error(tmp_path: Path, gate: Gate) -> None:
    """What no worker has had may be sent again; of the rest, which may have been run, this is not said."""
    with (
        serving(tmp_path, ['".", "held", 0'], settings=seconds(0.5)) as server,
        Client(server.grpc, "held", "wait") as client,
    ):
        call, held, rest = two_under_way(server, client, gate)
        untouched = begin_rest(server, 3)  # the worker has its two batches
        server.signal(signal.SIGTERM)
        assert call.result()["error"] == MAY_HAVE_RUN
        with closing(rest), closing(untouched):
            assert reply_of(rest)[:2] == (500, {"error_msg": MAY_HAVE_RUN})
            assert reply_of(untouched)[:2] == (503, {"error_msg": UNAVAILABLE})
        held.release()
        with gate.let_all_pass():
            assert has_ended_well(server)
        assert "Serving: stopping, 3 requests have not finished and get an error" in server.lines


def test_what_a_worker_held_that_dies_meanwhile_goes_to_another(tmp_path: Path, gate: Gate) -> None:
    with (
        serving(tmp_path, ['".", "held", (0, 1)'], settings=seconds(60)) as server,
        Client(server.grpc, "held", "wait") as client,
    ):
        call = client.infer_async(number(3))
        held = gate.hold()
        drain(server)
        kill(held.pid)
        again = gate.hold()
        assert again.pid != held.pid
        again.release()
        assert answers(call) == [6]
        assert has_ended_well(server)


def test_the_wait_ends_with_the_last_worker(tmp_path: Path, gate: Gate) -> None:
    with (
        serving(tmp_path, ['".", "held", 0'], settings=seconds(600)) as server,
        Client(server.grpc, "held", "wait") as client,
    ):
        call, held, rest = two_under_way(server, client, gate)
        drain(server)
        os.kill(held.pid, signal.SIGTERM)
        held.release()
        assert call.result() in ({"error": MAY_HAVE_RUN}, [{"y": 2}])
        with closing(rest):
            assert reply_of(rest)[:2] == (500, {"error_msg": MAY_HAVE_RUN})
        server.wait(10)
        assert leftovers(server) == []


def test_a_batch_waits_for_no_more_instances(tmp_path: Path, gate: Gate) -> None:
    config = '".", "held", 0, max_batch_delay_ms=60000'
    with (
        serving(tmp_path, [config], settings=seconds(60)) as server,
        closing(begin_rest(server, 1, "batches")) as rest,
    ):
        server.signal(signal.SIGTERM)
        assert reply_of(rest) == (200, {"instances": [{"y": 2}]}, "close")
        assert has_ended_well(server)


SCRIPT = """\
import pathlib
import time

from mindspore_serving import server


def wait_for(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.01)


for turn in range(2):
    server.start_servables(server.ServableStartConfig(".", "held", 0))
    server.start_grpc_server({grpc!r})
    server.start_restful_server({rest!r})
    print("up", turn, flush=True)
    wait_for(f"stop{{turn}}")
    server.stop(drain_timeout_s=60)
    print("down", turn, flush=True)
"""


@pytest.mark.both_grpc_servers
def test_stop_lets_requests_finish_if_it_is_told_so(tmp_path: Path, gate: Gate) -> None:
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    script = tmp_path / "start.py"
    script.write_text(SCRIPT.format(grpc=grpc, rest=rest))
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        server = RunningServer(running.process, tmp_path, running.lines, grpc=grpc, rest=rest)
        for turn in range(2):
            server.wait_for_line(f"up {turn}")
            with Client(grpc, "held", "wait") as client:
                call = client.infer_async(number(1))
                held = gate.hold()
                (tmp_path / f"stop{turn}").touch()
                wait_until(lambda: is_draining(server), "the server drains")
                assert f"down {turn}" not in server.lines
                held.release()
                assert answers(call) == [2]
            server.wait_for_line(f"down {turn}")
        assert has_ended_well(server)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (-1, "Parameter 'drain_timeout_s' should be a number of seconds, at least 0, but got -1"),
        ("1", "Parameter 'drain_timeout_s' should be int or float, but actually <class 'str'>"),
    ],
)
@pytest.mark.parametrize("function", [set_drain_timeout_s, lambda limit: stop(drain_timeout_s=limit)])
def test_a_time_that_cannot_be_waited(function: Callable[[Any], None], limit: Any, text: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        function(limit)
    assert str(refused.value) == text
