"""Health checks over gRPC and REST, from before the start to the end of real servers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.proto.foreign import health_pb2
from mindspore_serving.server.dialect.health.grpc import MOST_WATCHES
from tests.server.health_checks import ANSWER_TIMEOUT_S, Checks, readiness
from tests.support.gate import Gate
from tests.support.grpc_messages import RawClient
from tests.support.grpc_stub import health_stub
from tests.support.http_requests import HttpReply, post, send
from tests.support.servables import IDENTITY
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving
from tests.support.watch import kill, leftovers, wait_until

RESTART_TIMEOUT_S = 30.0

SLOW = """\
import time

from mindspore_serving.server import register


def spin(x):
    end = time.monotonic() + float(x)
    while time.monotonic() < end:
        pass
    return x


@register.register_method(output_names=["y"])
def work(x):
    return register.add_stage(spin, x, outputs_count=1)
"""

HELD = """\

from mindspore_serving.server import register


def held(x):
    pass_gate()
    return x


@register.register_method(output_names=["y"])
def wait(x):
    return register.add_stage(held, x, outputs_count=1)
"""

FRONT_ENDS_FIRST = """\
from mindspore_serving import server

{gate}

server.start_restful_server({rest!r}, always_ok=True)
server.start_grpc_server({grpc!r})
pass_gate()
server.start_servables([server.ServableStartConfig(".", *given) for given in (("quick", 1), ("slow", 0))])
print("all are ready", flush=True)
"""

FULL_QUEUE = """\
from mindspore_serving import server

server.master.context.set_max_enqueued_requests(1)
server.start_servables(server.ServableStartConfig(".", "held", 0))
server.start_restful_server({rest!r})
server.start_grpc_server({grpc!r})
print("all are ready", flush=True)
"""


def is_ready(rest: str) -> bool:
    return readiness(rest)[0] == 200


def check_live(rest: str) -> None:
    reply = send(rest, "GET", "/healthz/live")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "alive"})


def ask(address: str, servable: str, method: str, value: float) -> float:
    """What a method returns for a number."""
    with Client(address, servable, method) as client:
        [reply] = client.infer({"x": np.array(value, np.float64)}, timeout=60)
        return float(reply["y"])


# ---- from before the start to the end


@pytest.mark.both_grpc_servers
def test_the_server_is_ready_from_the_start_of_the_last_servable_to_its_end(tmp_path: Path) -> None:
    rest, grpc_ = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with Gate(tmp_path / "gate") as gate, Checks(grpc_) as checks:
        add_servable(tmp_path, "quick", IDENTITY, ())
        add_servable(tmp_path, "slow", gate.source + "\npass_gate()\n" + IDENTITY, ())
        script = tmp_path / "start_server.py"
        script.write_text(FRONT_ENDS_FIRST.format(gate=gate.source, rest=rest, grpc=grpc_))
        with running_script(script, environment={"SERVING_BACKEND": "stub"}) as server:
            start = gate.hold()
            check_live(rest)
            nothing = {"status": "not ready", "reason": "no servable is started", "servables": {}}
            assert readiness(rest) == (503, nothing)
            assert checks.check_all("", "quick", "slow") == ["NOT_SERVING", "NOT_FOUND", "NOT_FOUND"]
            overall, slow = checks.watch(""), checks.watch("slow/1")
            assert (overall.next(), slow.next()) == ("NOT_SERVING", "SERVICE_UNKNOWN")

            start.release()
            load = gate.hold()
            assert slow.next() == "NOT_SERVING"
            wait_until(lambda: checks.check("quick") == "SERVING", "the quick servable is ready")
            check_live(rest)
            status, document = readiness(rest)
            assert (status, document["status"]) == (503, "not ready")
            assert document["reason"] == "1 of 2 servables not ready"
            assert document["servables"]["quick/1"]["status"] == "ready"
            assert document["servables"]["slow/1"] == {
                "status": "not ready",
                "reason": "starting",
                "workers": [{"place": "device0", "status": "starting", "reason": "starting"}],
            }
            assert checks.check_all("", "slow", "slow/1", "quick/1") == [*["NOT_SERVING"] * 3, "SERVING"]

            load.release()
            assert (overall.next(), slow.next()) == ("SERVING", "SERVING")
            server.wait_for_line("all are ready")
            status, document = readiness(rest)
            assert (status, document["status"]) == (200, "ready")
            assert "reason" not in document
            services = ("", "quick", "quick/1", "slow", "quick/2", "quick/", "none")
            assert checks.check_all(*services) == [*["SERVING"] * 4, *["NOT_FOUND"] * 3]

            server.signal(signal.SIGTERM)
            assert [overall.next(), overall.next()] == ["NOT_SERVING", "end"]
            assert [slow.next(), slow.next()] == ["NOT_SERVING", "end"]
            server.wait(10)
            assert leftovers(server) == []
            assert "Traceback" not in server.output


# ---- workers that end, hang, or are only slow


def reason_of(rest: str, servable: str) -> str:
    reason: str = readiness(rest)[1]["servables"][servable].get("reason", "")
    return reason


def test_a_servable_whose_only_worker_is_killed_is_not_ready_until_it_is_back(tmp_path: Path) -> None:
    for name in ("one", "two"):
        add_servable(tmp_path, name, IDENTITY, ())
    with serving(tmp_path, ['".", "one", 0', '".", "two", 1']) as server, Checks(server.grpc) as checks:
        before = server.workers()
        for name in ("one", "two"):
            assert ask(server.grpc, name, "identity", 3) == 3
        overall, one, two = (checks.watch(service) for service in ("", "one", "two/1"))
        assert [overall.next(), one.next(), two.next()] == ["SERVING"] * 3
        [victim] = [
            pid for pid in before if b"servable_name=one" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

        kill(victim)
        assert [overall.next(), one.next()] == ["NOT_SERVING"] * 2
        status, document = readiness(server.rest)
        assert (status, document["reason"]) == (503, "1 of 2 servables not ready")
        assert document["servables"]["two/1"]["status"] == "ready"
        ended = re.compile(r"no worker: .*signal")
        wait_until(lambda: ended.match(reason_of(server.rest, "one/1")), "the reason is told")
        check_live(server.rest)
        assert checks.check_all("", "one", "one/1", "two", "two/1") == [
            *["NOT_SERVING"] * 3,
            *["SERVING"] * 2,
        ]

        assert [overall.next(RESTART_TIMEOUT_S), one.next(RESTART_TIMEOUT_S)] == ["SERVING"] * 2
        assert is_ready(server.rest)
        assert ask(server.grpc, "one", "identity", 4) == 4


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with one worker, which may be silent for two seconds."""
    folder = tmp_path_factory.mktemp("impatient")
    add_servable(folder, "slow", SLOW, ())
    with serving(folder, ['".", "slow", 0'], environment={"SERVING_WORKER_TIMEOUT_S": "2"}) as server:
        assert ask(server.grpc, "slow", "work", 0) == 0
        yield server


def heartbeat_age(server: RunningServer) -> float:
    [worker] = readiness(server.rest)[1]["servables"]["slow/1"]["workers"]
    return float(worker["heartbeat_age_s"])


def test_a_stage_that_computes_for_long_does_not_make_its_worker_look_hung(impatient: RunningServer) -> None:
    workers = impatient.workers()
    ages = []
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, impatient.grpc, "slow", "work", 5)
        while not wait([call], 0.1).done:
            assert is_ready(impatient.rest)
            ages.append(heartbeat_age(impatient))
        assert call.result() == 5
    assert impatient.workers() == workers
    assert max(ages) < 2.0
    # Signs of life came while the stage ran: the age fell again and again.
    assert sum(later < earlier for earlier, later in itertools.pairwise(ages)) >= 2


@pytest.mark.both_grpc_servers
def test_a_stopped_worker_makes_its_servable_not_ready_and_its_request_is_tried_again(
    impatient: RunningServer,
) -> None:
    [worker] = impatient.workers()
    with ThreadPoolExecutor(1) as pool, Checks(impatient.grpc) as checks:
        watch = checks.watch("slow")
        assert watch.next() == "SERVING"
        os.kill(worker, signal.SIGSTOP)
        call = pool.submit(ask, impatient.grpc, "slow", "work", 0)
        wait_until(lambda: heartbeat_age(impatient) > 1.5, "the age of the heartbeat shows it")
        assert watch.next() == "NOT_SERVING"
        assert not is_ready(impatient.rest)
        assert watch.next(RESTART_TIMEOUT_S) == "SERVING"
        assert is_ready(impatient.rest)
        assert call.result() == 0
        assert heartbeat_age(impatient) < 2.0
    assert worker not in impatient.workers()


# ---- what is asked, and how


def test_a_full_queue_does_not_matter(tmp_path: Path) -> None:
    rest, grpc_ = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "held", gate.source + HELD, ())
        script = tmp_path / "start_server.py"
        script.write_text(FULL_QUEUE.format(rest=rest, grpc=grpc_))
        with running_script(script, environment={"SERVING_BACKEND": "stub"}) as server:
            server.wait_for_line("all are ready")
            with ThreadPoolExecutor(1) as pool, Checks(grpc_) as checks:
                call = pool.submit(ask, grpc_, "held", "wait", 1)
                held = gate.hold()
                assert post(rest, "/model/held:wait", {"instances": [{"x": 1}]}).status == 429
                check_live(rest)
                assert is_ready(rest)
                assert checks.check("held") == "SERVING"
                held.release()
                assert call.result() == 1


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("plain")
    add_servable(folder, "one", IDENTITY, ())
    with serving(folder, ['".", "one", (0, 1)']) as server:
        yield server


@pytest.mark.parametrize("path", ["/healthz/live", "/healthz/ready", "/healthz/ready?verbose=1#x"])
def test_get_and_head(plain: RunningServer, path: str) -> None:
    get, head = send(plain.rest, "GET", path), send(plain.rest, "HEAD", path)
    for reply in (get, head):
        assert reply.status == 200
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["content-type"] == "application/json"
        assert int(reply.headers["content-length"]) > 0
    assert json.loads(get.body)["status"] in ("alive", "ready")
    assert head.body == b""


def test_the_whole_url_is_a_target_too(plain: RunningServer) -> None:
    assert send(plain.rest, "GET", plain.url("/healthz/live")).status == 200


def test_each_worker_shows_its_heartbeat(plain: RunningServer) -> None:
    _, document = readiness(plain.rest)
    [servable] = document["servables"].values()
    assert [(worker["place"], worker["status"]) for worker in servable["workers"]] == [
        ("device0", "ready"),
        ("device1", "ready"),
    ]
    assert all(0 <= worker["heartbeat_age_s"] < 20 for worker in servable["workers"])


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/healthz/",
        "/healthz/live/",
        "/healthz/livex",
        "/HEALTHZ/live",
        "//healthz/live",
        "/%68ealthz/live",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_paths_are_for_posts(plain: RunningServer, method: str, path: str) -> None:
    assert_other_verb(send(plain.rest, method, path), method)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
def test_other_verbs_are_not_for_health(plain: RunningServer, method: str) -> None:
    for path in ("/healthz/live", "/healthz/ready?x"):
        reply = send(plain.rest, method, path)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert reply.error == "health checks only support GET and HEAD"
        options = send(plain.rest, "OPTIONS", path)
        assert (options.status, options.headers["allow"]) == (200, "GET, HEAD, OPTIONS")


def assert_other_verb(reply: HttpReply, method: str) -> None:
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    if method != "HEAD":
        assert reply.error == "http message only support POST right now"


@pytest.mark.both_grpc_servers
def test_other_calls_and_other_bytes(plain: RunningServer) -> None:
    with RawClient(plain.grpc) as client:
        for call in ("List", "check", ""):
            assert client.failure(b"", f"/grpc.health.v1.Health/{call}")[0] is grpc.StatusCode.UNIMPLEMENTED
        assert client.failure(b"\xff\xff", "/grpc.health.v1.Health/Check")[0] is grpc.StatusCode.INTERNAL
        for length, code in ((1000, grpc.StatusCode.NOT_FOUND), (2000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            content = health_pb2.HealthCheckRequest(service="\u20ac" * (length // 3)).SerializeToString()
            assert client.failure(content, "/grpc.health.v1.Health/Check")[0] is code
    with Checks(plain.grpc) as checks:
        assert checks.check_all("", "one", "none") == ["SERVING", "SERVING", "NOT_FOUND"]


@pytest.mark.both_grpc_servers
def test_watches_have_a_bound_and_those_that_end_make_room(plain: RunningServer) -> None:
    asyncio.run(_watch_too_often(plain.grpc))


async def _watch_too_often(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_stub(channel)

        async def first(call: Any) -> Any:
            return await asyncio.wait_for(call.read(), ANSWER_TIMEOUT_S)

        request = health_pb2.HealthCheckRequest(service="one")
        calls = [stub.Watch(request) for _ in range(MOST_WATCHES)]
        told = await asyncio.gather(*map(first, calls))
        assert {reply.status for reply in told} == {health_pb2.HealthCheckResponse.SERVING}
        with pytest.raises(grpc.aio.AioRpcError, match=f"{MOST_WATCHES} watches") as refused:
            await first(stub.Watch(request))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        calls[0].cancel()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:  # the server learns of the end a moment later
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert (await first(stub.Watch(request))).status == health_pb2.HealthCheckResponse.SERVING
                return
            assert time.monotonic() < deadline
