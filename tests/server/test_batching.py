"""Batching and dispatch: order, copies, versions, and the limit of requests under way."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.gate import Gate, Held
from tests.support.grpc_messages import RawClient, errors, instance, request, tensor
from tests.support.http_requests import HttpReply, post
from tests.support.serving import RunningScript, add_servable, free_port, running_script, serving

ROW = np.array([1, 2], np.float32)

COPIES = """\
import os

import numpy as np

from mindspore_serving.server import register

{pass_gate}

model = register.declare_model("tensor_add.mindir", "MindIR")


def where(x):
    return os.getpid()


def device(x):
    return os.environ["SERVING_DEVICE_ID"]


def cores(x):
    return np.array(sorted(os.sched_getaffinity(0)), np.int64)


def wait(x):
    pass_gate()
    return os.getpid()


def wait_for_batch(instances):
    pass_gate()
    return [len(instances)] * len(instances)


@register.register_method(output_names=["y", "pid"])
def add(x1, x2):
    pid = register.add_stage(where, x1, outputs_count=1)
    return register.add_stage(model, x1, x2, outputs_count=1), pid


@register.register_method(output_names=["y"])
def only_model(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["device"])
def device_of(x):
    return register.add_stage(device, x, outputs_count=1)


@register.register_method(output_names=["cores"])
def cores_of(x):
    return register.add_stage(cores, x, outputs_count=1)


@register.register_method(output_names=["pid"])
def waits(x):
    return register.add_stage(wait, x, outputs_count=1)


@register.register_method(output_names=["size"])
def waits_in_batches(x):
    return register.add_stage(wait_for_batch, x, outputs_count=1, batch_size=4)
"""


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with Gate(tmp_path_factory.mktemp("gate") / "gate.sock") as opened:
        yield opened


def add_copies(folder: Path, name: str, pass_gate: str = "", versions: tuple[int, ...] = (1,)) -> None:
    files = [f"{version}/tensor_add.mindir" for version in versions]
    add_servable(folder, name, COPIES.format(pass_gate=pass_gate), files)


def add_instances(start: int, count: int) -> list[dict[str, Any]]:
    return [{"x1": ROW + np.float32(i), "x2": ROW * 1000} for i in range(start, start + count)]


def check_sums(replies: Any, start: int, count: int) -> None:
    assert len(replies) == count
    got = np.array([reply["y"] for reply in replies])
    np.testing.assert_array_equal(got, ROW * 1001 + np.arange(start, start + count).reshape(-1, 1))


# --- Several copies ---


def test_two_copies_share_the_work(tmp_path: Path, gate: Gate) -> None:
    add_copies(tmp_path, "copies", gate.source)
    configs = ['".", "copies", device_ids=(0, 1)']
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serving(tmp_path, configs, environment={"GLOG_v": "1"}))
        waits = stack.enter_context(Client(running.grpc, "copies", "waits"))
        add = stack.enter_context(Client(running.grpc, "copies", "add"))
        assert len(running.workers()) == 2

        # Each call is held by a stage; so the second one must be with the other copy.
        calls = [waits.infer_async({"x": ROW}) for _ in range(2)]
        held = [gate.hold(), gate.hold()]
        assert sorted(one.pid for one in held) == sorted(running.workers())
        for one in held:
            one.release()
        assert sorted(int(call.result()[0]["pid"]) for call in calls) == sorted(running.workers())

        # Large requests keep their order, whoever computes what.
        used: set[int] = set()
        for count in (1, 2, 3, 69, 70, 1000):
            replies: Any = add.infer(add_instances(count, count))
            check_sums(replies, count, count)
            used |= {int(reply["pid"]) for reply in replies}
        assert sorted(used) == sorted(running.workers())

    logs = list((tmp_path / "serving_logs").glob("*.log"))
    assert len(logs) == 2
    assert all("WorkerRequestHandle Time Cost" in log.read_text() for log in logs)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core only")
@pytest.mark.parametrize("share", [True, False])
def test_copies_on_cpu_share_the_cores(tmp_path: Path, share: bool) -> None:
    add_copies(tmp_path, "copies", versions=(1, 2))
    usable = sorted(os.sched_getaffinity(0))
    configs = [
        f'".", "copies", device_ids={devices}, device_type="CPU", version_number={version}'
        for version, devices in ((1, "0"), (2, "(0, 1)"))
    ]
    environment = {"SERVING_ENABLE_CPU_DEVICE": "1", "SERVING_SHARE_CORES": str(int(share))}
    with serving(tmp_path, configs, environment=environment) as running:
        with Client(running.grpc, "copies", "cores_of", version_number=1) as alone:
            assert alone.infer({"x": ROW})[0]["cores"].tolist() == usable
        with Client(running.grpc, "copies", "cores_of", version_number=2) as two:
            seen = {tuple(two.infer({"x": ROW})[0]["cores"].tolist()) for _ in range(10)}
        half = len(usable) // 2
        assert seen == ({tuple(usable[:half]), tuple(usable[half:])} if share else {tuple(usable)})


def test_a_held_copy_does_not_hold_up_the_other(tmp_path: Path, gate: Gate) -> None:
    add_copies(tmp_path, "copies", gate.source)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serving(tmp_path, ['".", "copies", device_ids=(0, 1)']))
        waits = stack.enter_context(Client(running.grpc, "copies", "waits"))
        add = stack.enter_context(Client(running.grpc, "copies", "add"))
        held_call = waits.infer_async({"x": ROW})
        held = gate.hold()
        [free] = set(running.workers()) - {held.pid}
        # The copy that is held gets no more of these than it has slots; one at a time, all go to the free copy.
        replies: Any = add.infer(add_instances(0, 1))
        check_sums(replies, 0, 1)
        assert int(replies[0]["pid"]) == free
        held.release()
        assert int(held_call.result()[0]["pid"]) == held.pid


# --- One copy ---


def test_many_requests_at_once_each_get_their_own_results(tmp_path: Path) -> None:
    add_copies(tmp_path, "copies")
    with serving(tmp_path, ['".", "copies", device_ids=0']) as running:

        def ask(number: int) -> None:
            start, count = number * 1000, number % 70 + 1
            method = "only_model" if number % 2 else "add"
            if number % 3:
                with Client(running.grpc, "copies", method) as client:
                    check_sums(client.infer(add_instances(start, count)), start, count)
            else:
                body = {
                    "instances": [
                        {name: value.tolist() for name, value in one.items()}
                        for one in add_instances(start, count)
                    ]
                }
                reply = post(running.rest, f"/model/copies:{method}", body)
                assert reply.status == 200
                check_sums(json.loads(reply.text)["instances"], start, count)

        with ThreadPoolExecutor(8) as threads:
            assert len(list(threads.map(ask, range(150)))) == 150


def test_waiting_instances_of_several_requests_are_combined(tmp_path: Path, gate: Gate) -> None:
    add_copies(tmp_path, "copies", gate.source)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serving(tmp_path, ['".", "copies", device_ids=0']))
        client = stack.enter_context(Client(running.grpc, "copies", "waits_in_batches"))
        first = client.infer_async({"x": ROW})
        holding = gate.hold()
        more = [client.infer_async([{"x": ROW}] * 3) for _ in range(4)]
        # The answer shows that the server has read what was sent before on the same connection.
        assert "Cannot find input x" in client.infer({"other": ROW})["error"]
        holding.release()
        with gate.let_all_pass():
            assert all(len(call.result()) == 3 for call in more)
        assert [int(reply["size"]) for reply in first.result()] == [1]
        sizes = [int(reply["size"]) for call in more for reply in call.result()]
        assert len(sizes) == 12
        assert max(sizes) <= 4
        assert max(sizes) > 1


@pytest.mark.parametrize("delay_ms", [0, 60_000])
def test_a_delay_lets_batches_fill(tmp_path: Path, delay_ms: int) -> None:
    add_copies(tmp_path, "copies", "def pass_gate():\n    pass")
    config = f'".", "copies", device_ids=0, max_batch_delay_ms={delay_ms}, slots_per_copy=3'
    with (
        serving(tmp_path, [config]) as running,
        Client(running.grpc, "copies", "waits_in_batches") as client,
    ):
        calls = []
        for _ in range(4):
            calls.append(client.infer_async({"x": ROW}))
            # The answer shows that the server has read what was sent before on the same connection.
            assert "Cannot find input x" in client.infer({"other": ROW})["error"]
        sizes = [int(reply["size"]) for call in calls for reply in call.result()]
        if delay_ms:
            assert sizes == [4] * 4
        else:
            assert len(sizes) == 4
        with Client(running.grpc, "copies", "device_of") as other:  # takes one instance: nothing to wait for
            assert other.infer({"x": ROW}, timeout=20) == [{"device": "0"}]


# --- Several versions and servables ---


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Addresses of a server with copies in versions 1, 2 and 10 on devices 1, 2 and 3, and with the servable other."""
    folder = tmp_path_factory.mktemp("versions")
    add_copies(folder, "copies", versions=(1, 2, 10))
    add_copies(folder, "other", versions=(5,))
    configs = [
        '".", "copies", device_ids=2, version_number=2',
        '".", "copies", device_ids=3, version_number=0',
        '".", "copies", device_ids=1, version_number=1',
        '".", "other", device_ids=7',
    ]
    with serving(folder, configs) as running:
        yield running.grpc, running.rest


@pytest.mark.parametrize(
    ("name", "version", "device"),
    [
        ("copies", 1, "1"),
        ("copies", 2, "2"),
        ("copies", 10, "3"),
        ("copies", 0, "3"),
        ("other", 0, "7"),
        ("other", 5, "7"),
    ],
)
def test_versions(versions: tuple[str, str], name: str, version: int, device: str) -> None:
    grpc_address, rest_address = versions
    with Client(grpc_address, name, "device_of", version) as client:
        assert client.infer([{"x": ROW}] * 3) == [{"device": device}] * 3
    body = {"instances": [{"x": 1}]}
    paths = [f"/model/{name}/version/{version}:device_of", f"/version/{version}/model/{name}:device_of"]
    if version == 0:
        paths.append(f"/model/{name}:device_of")
    for path in paths:
        reply = post(rest_address, path, body)
        assert (reply.status, reply.text) == (200, f'{{"instances":[{{"device":"{device}"}}]}}')


@pytest.mark.parametrize(("name", "version"), [("copies", 3), ("copies", 11), ("other", 1), ("other", 10)])
def test_versions_that_do_not_run(versions: tuple[str, str], name: str, version: int) -> None:
    text = f"Request servable({name}) method(device_of)  version({version}) , servable is not available"
    with Client(versions[0], name, "device_of", version) as client:
        assert client.infer({"x": ROW}) == {"error": text}
    reply = post(versions[1], f"/model/{name}/version/{version}:device_of", {"instances": [{"x": 1}]})
    assert (reply.status, reply.error) == (404, text)


# --- The limit of requests under way ---

LIMITED_SCRIPT = """\
from mindspore_serving import server

server.master.context.set_max_enqueued_requests({limit})
server.start_servables(server.ServableStartConfig(".", "copies", device_ids=0))
server.start_grpc_server("127.0.0.1:{grpc}")
server.start_restful_server("127.0.0.1:{rest}")
print("both front ends listen", flush=True)
"""


class Limited:
    """A server that takes `limit` requests at a time, and what asks it."""

    def __init__(self, folder: Path, gate: Gate, limit: int) -> None:
        self.gate = gate
        self.grpc_port, self.rest_port = free_port(), free_port()
        add_copies(folder, "copies", gate.source)
        self.script = folder / "start_server.py"
        self.script.write_text(LIMITED_SCRIPT.format(limit=limit, grpc=self.grpc_port, rest=self.rest_port))

    def run(self) -> contextlib.AbstractContextManager[RunningScript]:
        return running_script(self.script, environment={"SERVING_BACKEND": "stub"})

    def client(self, method: str) -> Client:
        return Client(f"127.0.0.1:{self.grpc_port}", "copies", method)

    def post(self, method: str) -> HttpReply:
        return post(f"127.0.0.1:{self.rest_port}", f"/model/copies:{method}", {"instances": [{"x": 1}]})

    def raw_errors(self, method: str) -> list[tuple[int, str]]:
        with RawClient(f"127.0.0.1:{self.grpc_port}") as client:
            return errors(client.predict(request("copies", method, [instance(x=tensor(ROW))])))


def exceeded(limit: int) -> str:
    return f"Serving Error: enqueued requests count exceeds the limit {limit}"


def test_one_of_two_requests_is_above_the_limit_of_one(tmp_path: Path, gate: Gate) -> None:
    limited = Limited(tmp_path, gate, 1)
    with limited.run() as script, limited.client("waits") as client:
        script.wait_for_line("both front ends listen")
        first = client.infer_async([{"x": ROW}] * 2)
        held = gate.hold()
        # Refused at once, although the first one is still under way; by every front end, for every method.
        assert client.infer({"x": ROW}) == {"error": exceeded(1)}
        assert client.infer([{"x": ROW}] * 3) == {"error": exceeded(1)}
        assert limited.raw_errors("device_of") == [(1, exceeded(1))]
        reply = limited.post("device_of")
        assert (reply.status, reply.error) == (429, exceeded(1))
        assert int(reply.headers["retry-after"]) >= 1
        # What is wrong anyway is told as before.
        assert limited.raw_errors("nosuch") == [
            (2, "Request servable(copies) method(nosuch) , method is not available")
        ]
        held.release()
        gate.hold().release()
        assert [int(one["pid"]) for one in first.result()] == [held.pid] * 2
        # The place is free again, also after errors.
        for _ in range(3):
            assert limited.raw_errors("device_of") == []
            assert limited.post("device_of").status == 200
            assert limited.raw_errors("add")[0][0] == 2


def test_exactly_one_of_two_calls_fails(tmp_path: Path, gate: Gate) -> None:
    limited = Limited(tmp_path, gate, 1)
    with limited.run() as script, limited.client("waits") as client:
        script.wait_for_line("both front ends listen")
        calls = [client.infer_async({"x": ROW}) for _ in range(2)]
        held = gate.hold()
        answered: list[Any] = []
        threads = [threading.Thread(target=lambda c=call: answered.append(c.result())) for call in calls]
        for thread in threads:
            thread.start()
        # The refused call may only be read by the server after the other one is held.
        assert client.infer({"x": ROW}) == {"error": exceeded(1)}
        held.release()
        for thread in threads:
            thread.join(20)
        assert sorted(isinstance(answer, dict) for answer in answered) == [False, True]
        assert {"error": exceeded(1)} in answered


def test_the_limit_counts_requests_and_not_instances(tmp_path: Path, gate: Gate) -> None:
    limited = Limited(tmp_path, gate, 3)
    with limited.run() as script, limited.client("waits") as client:
        script.wait_for_line("both front ends listen")
        held: list[Held] = []
        calls = [client.infer_async([{"x": ROW}] * 10)]
        held.append(gate.hold())
        calls.append(client.infer_async([{"x": ROW}] * 10))
        calls.append(client.infer_async({"x": ROW}))
        # Both were sent before this one on the same connection, so the server counts them first.
        assert client.infer({"x": ROW}) == {"error": exceeded(3)}
        held[0].release()
        with gate.let_all_pass():
            assert [len(call.result()) for call in calls] == [10, 10, 1]
        assert all(int(one["pid"]) == held[0].pid for call in calls for one in call.result())
