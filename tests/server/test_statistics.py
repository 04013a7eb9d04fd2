"""Every number of the statistics of a real server, after requests of every kind: its start script asks for them."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mindspore_serving import server
from mindspore_serving.errors import Outcome
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics, Phase
from mindspore_serving.server.service.server_statistics import ServerStatistics, VersionStatistics
from tests.support.gate import Gate
from tests.support.http_requests import HttpReply, post, raw_connection
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

SERVABLE = """\
import os
import signal

from mindspore_serving.server import register

add = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR")


def check(x):
    if x == -9:
        os.kill(os.getpid(), signal.SIGKILL)
    if x == 0:
        raise register.InvalidInput("x is 0")
    if x < 0:
        raise ValueError("x is below 0")
    return x * 2


def wait(x):
    pass_gate()
    return x


@register.register_method(output_names=["y"])
def checked(x):
    return register.add_stage(check, x, outputs_count=1)


@register.register_method(output_names=["y"])
def summed(x1, x2):
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def held(x):
    return register.add_stage(wait, x, outputs_count=1)
"""
TELL = """\
import pickle
import threading
import time
from pathlib import Path


def tell():
    while True:
        if Path("ask").exists():
            Path("ask").unlink()
            Path("made").write_bytes(pickle.dumps(server.statistics()))
            Path("made").rename("told")
        time.sleep(0.02)


threading.Thread(target=tell, daemon=True).start()
"""
MOST_PENDING = 3


class Served:
    """A server, and what it tells of itself."""

    def __init__(self, server: RunningServer, gate: Gate) -> None:
        self.server = server
        self.gate = gate

    def statistics(self) -> ServerStatistics:
        told = self.server.folder / "told"
        (self.server.folder / "ask").touch()
        wait_until(told.exists, "the start script has told the statistics")
        found: ServerStatistics = pickle.loads(told.read_bytes())
        told.unlink()
        return found

    def version(self) -> VersionStatistics:
        [version] = self.statistics().versions
        return version

    def method(self, name: str) -> MethodStatistics:
        return self.version().methods[name]

    def ask(self, method: str, *values: object) -> HttpReply:
        names = ("x1", "x2") if method == "summed" else ("x",)
        instances = [dict(zip(names, [value] * len(names), strict=True)) for value in values]
        return post(self.server.rest, f"/model/s/version/1:{method}", {"instances": instances})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("statistics")
    gate = Gate(folder / "gate")
    add_servable(folder, "s", f"{gate.source}\n{SERVABLE}")
    config = f'".", "s", device_ids=0, slots_per_copy=1, max_enqueued_requests={MOST_PENDING}'
    environment = {"SERVING_SUSPECT_WAIT_S": "0", "SERVING_LATENCY_BUCKETS": "0.001,1,60"}
    with serving(folder, [config], settings=TELL, environment=environment) as server:
        yield Served(server, gate)


def check_sums(method: MethodStatistics) -> None:
    """Whatever was counted in two ways is the same."""
    ended = method.success.count + method.fail.count
    assert sum(method.requests.values()) == ended
    assert method.requests.get(Outcome.OK, 0) == method.success.count
    assert method.phases[Phase.TOTAL].count == ended
    for phase in (Phase.QUEUE, Phase.INPUT, Phase.COMPUTE, Phase.OUTPUT):
        assert method.phases[phase].count == method.queue.count
    assert method.phases[Phase.DECODE].count == ended
    assert method.phases.keys() >= {Phase.ENCODE} or not method.success.count
    assert {histogram.bounds for histogram in method.phases.values()} == {(0.001, 1.0, 60.0)}
    assert all(histogram.sum_s >= 0 for histogram in method.phases.values())  # a way back may take no time
    assert method.phases[Phase.TOTAL].sum_s > 0


def test_a_server_that_was_asked_nothing(served: Served) -> None:
    found = served.statistics()
    [version] = found.versions
    assert (version.servable, version.version, version.state, version.reason) == ("s", 1, "ready", "")
    assert sorted(version.methods) == ["checked", "held", "summed"]
    assert set(map(repr, version.methods.values())) == {repr(MethodStatistics())}
    assert version.limits == (MOST_PENDING, 0, 0)
    [copy] = version.copies
    assert (copy.worker, copy.device, copy.state) == ("servable s version 1 device0", 0, "ready")
    assert [copy.pid] == served.server.workers()
    assert (copy.slots, copy.slots_used, copy.restarts) == (1, 0, 0)
    assert 1 << 20 < copy.memory_bytes < 1 << 34
    assert 1 << 20 < found.memory_bytes < 1 << 34
    assert (found.refused, found.closing, version.last_restarts) == ({}, "", ())
    ends = {one.kind: one for one in found.front_ends}
    assert {kind: one.address for kind, one in ends.items()} == {
        "grpc": served.server.grpc,
        "rest": served.server.rest,
    }
    with raw_connection(served.server.rest):
        wait_until(lambda: _connections(served, "rest") == 1, "the connection is counted")
    with raw_connection(served.server.grpc):
        wait_until(lambda: _connections(served, "grpc") == 1, "the connection is counted")


def _connections(served: Served, kind: str) -> int:
    [count] = [one.connections for one in served.statistics().front_ends if one.kind == kind]
    return count


def test_instances_by_outcome(served: Served) -> None:
    served.ask("checked", 1)
    served.ask("checked", 1, 0, -1, 2)
    served.ask("checked", -1, 0)
    served.ask("checked", 3, 4)
    method = served.method("checked")
    assert method.requests == {Outcome.OK: 2, Outcome.INVALID: 1, Outcome.STAGE_FAILED: 1}
    assert method.outcomes == {Outcome.OK: 5, Outcome.INVALID: 2, Outcome.STAGE_FAILED: 2}
    assert (method.success.count, method.fail.count, method.instances) == (2, 2, 5)
    assert method.phases[Phase.ENCODE].count == 2
    [(name, step)] = method.steps.items()
    assert (name, step.count) == ("s.check", 4)
    # Each of the four runs is rounded up to a microsecond, and the sum of both down to a nanosecond.
    assert 0 < step.ns <= method.compute_infer.ns + 4 * 1000 + 1
    assert (method.model_rows, method.padding_rows) == (0, 0)
    check_sums(method)
    assert served.version().methods["held"].requests == {}


def test_rows_and_padding_of_a_model_of_fixed_batch(served: Served) -> None:
    served.ask("summed", [1.0, 2.0])
    served.ask("summed", [1.0, 2.0], [3.0, 4.0], [5.0, 6.0])
    served.ask("summed", [1.0, 2.0], [3.0, 4.0])
    served.ask("summed", [1.0, 2.0, 3.0])  # it does not fit, so the model does not run
    method = served.method("summed")
    assert (method.model_rows, method.padding_rows) == (8, 2)
    assert method.outcomes == {Outcome.OK: 6, Outcome.INVALID: 1}
    [(name, step)] = method.steps.items()
    assert (name, step.count) == ("tensor_add.mindir", 4)
    check_sums(method)


def test_what_is_refused(served: Served) -> None:
    for path, body in [
        ("/model/other/version/1:checked", '{"instances":[{"x":1}]}'),
        ("/model/s/version/1:other", '{"instances":[{"x":1}]}'),
        ("/model/s/version/1:held", '{"instances":[{"z":1}]}'),
        ("/model/s/version/1:held", "{"),
    ]:
        assert post(served.server.rest, path, body).status in (400, 404)
    with ThreadPoolExecutor(MOST_PENDING) as clients:
        asked = [clients.submit(served.ask, "held", value) for value in range(1, MOST_PENDING + 1)]
        first = served.gate.hold()
        wait_until(lambda: served.version().pending_requests == MOST_PENDING, "all are pending")
        version = served.version()
        assert (version.pending_instances, version.waiting_instances) == (3, 2)
        assert version.copies[0].slots_used == 1
        assert served.ask("held", 9).status == 429
        first.release()
        with served.gate.let_all_pass():
            assert [one.result().status for one in asked] == [200] * MOST_PENDING
    found = served.statistics()
    assert found.refused == {"unknown_target": 2, "invalid": 2, "requests": 1}
    held = found.versions[0].methods["held"]
    assert held.refused == {"invalid": 2, "requests": 1}
    assert held.requests == {Outcome.OK: MOST_PENDING}
    assert (found.pending_requests, found.pending_instances, found.pending_bytes) == (0, 0, 0)
    check_sums(held)


def test_a_client_that_leaves_before_a_worker_has_its_instances(served: Served) -> None:
    before = served.method("held")
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(served.ask, "held", 1)
        first = served.gate.hold()
        body = b'{"instances":[{"x":5},{"x":6}]}'
        head = b"POST /model/s/version/1:held HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % len(body)
        with raw_connection(served.server.rest) as hasty:
            hasty.sendall(head + body)
            wait_until(lambda: served.version().pending_requests == 2, "it waits")
        wait_until(lambda: served.version().pending_requests == 1, "it is given up")
        first.release()
        assert asked.result().status == 200
    wait_until(lambda: served.method("held").cancelled_before_run, "it is left out of a batch")
    after = served.method("held")
    assert after.requests == {Outcome.OK: MOST_PENDING + 1, Outcome.CANCELLED: 1}
    assert after.outcomes == {Outcome.OK: MOST_PENDING + 1, Outcome.CANCELLED: 2}
    assert (before.cancelled_before_run, after.cancelled_before_run) == (0, 2)
    assert after.executions == before.executions + 1
    check_sums(after)


def test_a_worker_that_is_killed_with_an_instance(served: Served) -> None:
    before = served.method("checked")
    assert served.ask("checked", -9).status == 500
    wait_until(lambda: served.version().copies[0].restarts == 2, "it is started again", 60)
    wait_until(lambda: served.version().state == "ready", "it serves again", 60)
    version = served.version()
    after = version.methods["checked"]
    assert after.requests == {**before.requests, Outcome.LOST: 1}
    assert after.outcomes == {**before.outcomes, Outcome.LOST: 1}
    assert after.executions == before.executions
    assert after.queue.count == before.queue.count + 1
    assert [one.worker for one in version.last_restarts] == ["servable s version 1 device0"] * 2
    assert all("was ended by signal 9 (SIGKILL)" in one.reason for one in version.last_restarts)
    assert served.server.workers() == [version.copies[0].pid]
    check_sums(after)


def test_any_thread_may_ask_before_anything_is_started() -> None:
    found: list[ServerStatistics] = []
    thread = threading.Thread(target=lambda: found.append(server.statistics()))
    thread.start()
    thread.join()
    assert found[0].versions == ()
    assert found[0] == server.statistics()
