"""What happens to the processes of a server when they are signalled, killed, or misused by stage functions."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.gate import Gate
from tests.support.serving import NO_DRAIN, RunningServer, add_servable, running_script, serving
from tests.support.traffic import Traffic
from tests.support.watch import (
    at_a_terminal,
    kill,
    leftovers,
    lives,
    press_ctrl_c,
    wait_until,
    wait_until_gone,
)

INFO = {"GLOG_v": "1"}

STAGES = """\
import os
import re
import pathlib
import subprocess
import sys
import time

from mindspore_serving.server import register


def method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


def twice(x):
    return x * 2


def die(x):
    if x < 0:
        os._exit(7)
    return x * 2


def die_batch(instances):
    if any(x < 0 for x, in instances):
        os._exit(7)
    return [x * 2 for x, in instances]


def leave(x):
    if x == -1:
        sys.exit(7)
    if x == -2:
        sys.exit()
    if x == -3:
        raise KeyboardInterrupt
    if x == -4:
        raise GeneratorExit
    return x * 2


def leave_batch(instances):
    for x, in instances:
        yield leave(x)


def shout(x):
    for _ in range(200):
        print("x" * 10000)
        sys.stderr.write("y" * 10000 + chr(10))
    os.write(1, b"z" * (1 << 20))
    return x * 2


def spawn(x):
    ignore = "trap '' INT TERM HUP; echo $$ > {0}.part; mv {0}.part {0}; while :; do sleep 1; done"
    script = ignore.format(f"child_{os.getpid()}_{int(x)}")
    subprocess.Popen(["sh", "-c", script], start_new_session=bool(x))
    return x * 2


for name, function, batch_size in (
    ("twice", twice, None),
    ("die", die, None),
    ("die_batch", die_batch, 4),
    ("leave", leave, None),
    ("leave_batch", leave_batch, 4),
    ("shout", shout, None),
    ("spawn", spawn, None),
):
    method(name, function, batch_size)
"""

WAIT = """

def wait(x):
    pass_gate()
    return x * 2


method("wait", wait)
"""


def number(value: int) -> dict[str, Any]:
    return {"x": np.array(value, np.int64)}


def outcomes(replies: Any) -> list[Any]:
    """Value of each instance, or its error text."""
    assert isinstance(replies, list), replies
    return [int(reply["y"]) if "y" in reply else reply["error"] for reply in replies]


def ask(address: str, method: str, *values: int) -> list[Any]:
    """Send one request on a connection of its own."""
    with Client(address, "stages", method) as client:
        return outcomes(client.infer([number(value) for value in values], timeout=30))


@contextmanager
def stages_server(folder: Path, workers: int, **options: Any) -> Iterator[RunningServer]:
    add_servable(folder, "stages", STAGES, ())
    with serving(folder, [f'".", "stages", device_ids={tuple(range(workers))}'], **options) as server:
        yield server


def serve_from_all(server: RunningServer) -> None:
    """Let each worker answer something, so that it counts as one that works."""
    logs = list((server.folder / "serving_logs").glob("*.log"))

    def all_have_served() -> bool:
        assert ask(server.grpc, "twice", *range(200)) == [2 * i for i in range(200)]
        return all("WorkerRequestHandle Time Cost" in log.read_text() for log in logs)

    with ThreadPoolExecutor(4) as pool:

        def many() -> bool:
            return any(list(pool.map(lambda _: all_have_served(), range(8))))

        wait_until(many, "each worker has served")


def twice(client: Client, number_: int) -> Any:
    """Ask for the doubles of some numbers; returns what was wrong."""
    values = list(range(number_, number_ + 1 + number_ % 40))
    replies = client.infer([number(value) for value in values], timeout=30)
    good = isinstance(replies, list) and outcomes(replies) == [2 * value for value in values]
    return None if good else (values, replies)


def traffic_to(server: RunningServer, threads: int = 4) -> Traffic:
    return Traffic(server.grpc, "stages", "twice", twice, threads)


def port_is_closed(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


# ---- an orderly end


@pytest.mark.parametrize("number_", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_everything(tmp_path: Path, number_: signal.Signals) -> None:
    with stages_server(tmp_path, 2) as server:
        assert ask(server.grpc, "twice", 1, 2) == [2, 4]
        workers = server.workers()
        server.signal(number_)
        assert server.wait(10) == 0
        assert not any(map(lives, workers))
        assert leftovers(server) == []
        assert port_is_closed(server.grpc)
        assert port_is_closed(server.rest)
        assert "Traceback" not in server.output


def test_a_signal_under_load_ends_everything(tmp_path: Path) -> None:
    with stages_server(tmp_path, 1) as server, ThreadPoolExecutor(8) as pool:
        serving_now = threading.Barrier(9)

        def ask_until_the_end(_: int) -> Any:
            with Client(server.grpc, "stages", "twice") as client:
                assert outcomes(client.infer(number(1), timeout=30)) == [2]
                serving_now.wait(30)
                while isinstance(reply := client.infer(number(1), timeout=30), list):
                    assert outcomes(reply) == [2]
                return reply

        last = [pool.submit(ask_until_the_end, i) for i in range(8)]
        serving_now.wait(30)
        server.signal(signal.SIGTERM)
        try:
            server.wait(12)
        finally:
            kill(server.process.pid)
        assert leftovers(server) == []
        for reply in last:
            assert "Grpc Error, (14, 'unavailable')" in reply.result()["error"]


@pytest.mark.parametrize("number_", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_that_another_thread_takes_ends_everything(tmp_path: Path, number_: signal.Signals) -> None:
    """The system may hand a signal of the process to any of its threads, and leave the main thread asleep."""
    with stages_server(tmp_path, 1) as server:
        pid = server.process.pid
        thread = max(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())
        assert thread != pid
        assert ctypes.CDLL(None, use_errno=True).tgkill(pid, thread, number_) == 0
        try:
            server.wait(10)
        finally:
            kill(pid)
        assert leftovers(server) == []


@pytest.mark.parametrize("end", ["SIGTERM", "twice"])
def test_requests_under_way_are_answered_when_the_server_ends(tmp_path: Path, end: str) -> None:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "stages", STAGES + gate.source + WAIT, ())
        with (
            serving(tmp_path, ['".", "stages", 0'], settings=NO_DRAIN) as server,
            Client(server.grpc, "stages", "wait") as client,
        ):
            waiting = [client.infer_async(number(i)) for i in range(8)]
            held = gate.hold()
            # An answer to a later call tells that the earlier ones have arrived.
            with Client(server.grpc, "stages", "unknown") as other:
                assert "method is not available" in other.infer(number(1))["error"]
            workers = server.workers()
            server.signal(signal.SIGTERM)
            if end == "twice":
                server.signal(signal.SIGINT)
            server.wait(12)
            for call in waiting:
                reply = call.result()
                assert isinstance(reply, dict), reply
                assert "unavailable" in reply["error"] or "not available" in reply["error"]
            wait_until_gone(*workers)
            assert leftovers(server) == []
            held.release()


def test_a_worker_with_a_batch_ends_in_order_when_the_server_ends(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "stages", STAGES + gate.source + WAIT, ())
        with (
            serving(tmp_path, ['".", "stages", 0'], environment=INFO, settings=NO_DRAIN) as server,
            Client(server.grpc, "stages", "wait") as client,
        ):
            call = client.infer_async(number(1))
            held = gate.hold()
            server.signal(signal.SIGTERM)
            error = call.result()["error"]  # so the batch is nobody's from now on
            assert error.endswith(
                "servable is not available: a worker had this instance, which may have been run"
            )
            held.release()
            server.wait(12)
            assert leftovers(server) == []
            assert [error in line for line in server.lines if "[ERROR]" in line] == [True]
            assert "[ERROR]" not in server.worker_logs()
            assert "was lost" not in server.output
            assert "WorkerRequestHandle Time Cost" in server.worker_logs()  # it answered the batch


def test_a_worker_that_does_not_heed_its_end_is_killed(tmp_path: Path) -> None:
    with stages_server(tmp_path, 2) as server:
        first, second = server.workers()
        # One is stopped altogether; the other serves.
        os.kill(first, signal.SIGSTOP)
        server.signal(signal.SIGTERM)
        server.wait(15)
        assert not lives(first)
        assert not lives(second)
        assert leftovers(server) == []
        said = re.search(
            "Serving: stopping, waiting for .* device[01] \\(process ([0-9]+)\\), which", server.output
        )
        assert said is not None
        assert int(said[1]) == first


@pytest.mark.parametrize(
    "idle",
    ["time.sleep(1000)", "threading.Event().wait()", "while True: pass", "os.read(os.pipe()[0], 1)"],
)
@pytest.mark.parametrize("number_", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_script_that_is_still_busy_ends_too(tmp_path: Path, idle: str, number_: signal.Signals) -> None:
    add_servable(tmp_path, "stages", STAGES, ())
    script = tmp_path / "start_server.py"
    script.write_text(
        "import os, threading, time\n"
        "from mindspore_serving import server\n"
        'server.start_servables(server.ServableStartConfig(".", "stages", 0))\n'
        f'print("up", flush=True)\n{idle}\n'
    )
    with at_a_terminal(script, {}) as running:
        running.wait_for_line("up")
        workers = running.workers()
        if number_ is signal.SIGINT:
            press_ctrl_c(running)
        else:
            running.signal(number_)
        running.wait(12)
        assert not any(map(lives, workers))
        assert leftovers(running) == []


STUBBORN = "import signal\nfor n in (2, 15):\n    signal.signal(n, signal.SIG_IGN)\n"


@pytest.mark.parametrize(
    ("number_", "stubborn"),
    [(signal.SIGINT, ""), (signal.SIGTERM, STUBBORN)],
    ids=["SIGINT", "SIGTERM and workers that ignore it"],
)
def test_a_signal_while_workers_start(tmp_path: Path, number_: signal.Signals, stubborn: str) -> None:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "slow", stubborn + gate.source + "\npass_gate()\n", ())
        add_servable(tmp_path, "stages", STAGES, ())
        script = tmp_path / "start_server.py"
        script.write_text(
            "from mindspore_serving import server\n"
            "server.start_servables([server.ServableStartConfig('.', 'slow', (0, 1)),"
            " server.ServableStartConfig('.', 'stages')])\n"
            'print("up", flush=True)\n'
        )
        with at_a_terminal(script, {}) as running:
            held = [gate.hold(), gate.hold()]
            workers = running.workers()
            assert {each.pid for each in held} <= set(workers)
            if number_ is signal.SIGINT:
                press_ctrl_c(running)
            else:
                running.signal(number_)
            running.wait(15)
            assert "Fail to start workers because of signal SIGINT or SIGTERM" in running.output
            assert "up" not in running.lines
            wait_until_gone(*workers)
            assert leftovers(running) == []
            for each in held:
                each.release()


# ---- the main process is killed


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_workers_end_with_a_killed_main_process(tmp_path: Path, busy: bool) -> None:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "stages", STAGES + gate.source + WAIT, ())
        with (
            serving(tmp_path, ['".", "stages", (0, 1)', '".", "stages", 2, version_number=2']) as server,
            Client(server.grpc, "stages", "wait") as client,
        ):
            call = client.infer_async(number(1))
            held = gate.hold()
            if not busy:
                held.release()
                assert outcomes(call.result()) == [2]
            workers = server.workers()
            assert len(workers) == 3
            memory = shared_memory_of(server.process.pid)
            assert len(memory) == 3
            assert memory == {file for worker in workers for file in shared_memory_of(worker)}
            kill(server.process.pid)
            wait_until_gone(*workers, timeout_s=5)
            wait_until(lambda: leftovers(server) == [], "the sockets are removed")
            assert not any(memory & shared_memory_of(int(pid.name)) for pid in Path("/proc").glob("[0-9]*"))
            if busy:
                assert "unavailable" in call.result()["error"]


def shared_memory_of(pid: int) -> set[int]:
    """The nameless files that a process has open; nobody has those of a process that is gone."""
    files = set()
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            if str(descriptor.readlink()).startswith("/memfd:mindspore_serving"):
                files.add(descriptor.stat().st_ino)
    return files


def test_workers_that_start_end_with_a_killed_main_process(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "slow", gate.source + "\npass_gate()\n", ())
        script = tmp_path / "start_server.py"
        script.write_text(
            "from mindspore_serving import server\n"
            "server.start_servables(server.ServableStartConfig('.', 'slow', (0, 1)))\n"
        )
        with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
            held = [gate.hold(), gate.hold()]
            kill(running.process.pid)
            wait_until_gone(*(each.pid for each in held))


# ---- a signal comes while the server starts


@pytest.mark.parametrize("number_", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_as_the_last_worker_becomes_ready_is_heeded(tmp_path: Path, number_: int) -> None:
    add_servable(tmp_path, "stages", STAGES + f"\nos.kill(os.getppid(), {int(number_)})\n", ())
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        'server.start_servables(server.ServableStartConfig(".", "stages", device_ids=0))\n'
    )
    for _ in range(5):
        with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
            assert running.wait(15) != 0
            assert "Fail to start workers because of signal SIGINT or SIGTERM" in running.output
            assert leftovers(running) == []


# ---- workers are signalled or killed


def test_a_killed_worker_is_replaced_and_no_request_is_lost(tmp_path: Path) -> None:
    with stages_server(tmp_path, 2, environment=INFO) as server:
        serve_from_all(server)
        registrations = "Register success: worker address"
        with traffic_to(server) as traffic:
            traffic.wait_for(20)
            for count in (3, 4):
                victim, survivor = sorted(server.workers())
                kill(victim)
                traffic.wait_for(20)
                assert lives(survivor)
                wait_until(
                    lambda wanted=count: read_on(server).count(registrations) == wanted,
                    f"{count} workers have registered",
                    30,
                )
                wait_until(lambda: len(server.workers()) == 2, "two workers run")
                serve_from_all(server)
                traffic.wait_for(20)
        assert traffic.wrong == []
        assert port_is_closed(server.grpc) is False
        logs = [log.name for log in (tmp_path / "serving_logs").iterdir()]
        assert sorted(logs) == ["log_stages_device0_version1.log", "log_stages_device1_version1.log"]
        # A worker that is started again appends to its log.
        assert server.worker_logs().count("Serving: Start servable success") == 4
        for pid in server.workers():
            os.kill(pid, signal.SIGTERM)
        server.wait(15)
        assert leftovers(server) == []


def read_on(server: RunningServer) -> str:
    """All output so far."""
    while server._read(0.001):
        pass
    return server.output


def test_what_a_killed_worker_held_runs_elsewhere(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "stages", STAGES + gate.source + WAIT, ())
        with (
            serving(tmp_path, ['".", "stages", (0, 1)'], environment=INFO) as server,
            Client(server.grpc, "stages", "wait") as client,
        ):
            serve_from_all(server)
            calls = [client.infer_async(number(i)) for i in range(2)]
            first, second = gate.hold(), gate.hold()
            assert first.pid != second.pid
            kill(first.pid)
            second.release()
            retried = gate.hold()
            assert retried.pid != first.pid
            retried.release()
            assert [outcomes(call.result()) for call in calls] == [[0], [2]]
            wait_until(lambda: len(server.workers()) == 2, "two workers run")


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_before_any_request_the_server_ends(tmp_path: Path, workers: int) -> None:
    with stages_server(tmp_path, workers) as server:
        kill(*server.workers())
        assert server.wait(15) == 1
        assert (
            "Serving server begin to exit: all worker processes that occupy devices have exited"
            in server.output
        )
        assert leftovers(server) == []
        assert port_is_closed(server.grpc)


@pytest.mark.parametrize("number_", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("served", [False, True], ids=["unused", "served"])
def test_a_signal_to_the_only_worker_ends_the_server(
    tmp_path: Path, number_: signal.Signals, served: bool
) -> None:
    with stages_server(tmp_path, 1) as server:
        if served:
            assert ask(server.grpc, "twice", 1) == [2]
        [worker] = server.workers()
        os.kill(worker, number_)
        assert server.wait(15) == 1
        with Client(server.grpc, "stages", "twice") as client:
            assert "Grpc Error, (14, 'unavailable')" in client.infer(number(1))["error"]
        assert leftovers(server) == []


def test_a_signalled_worker_is_not_replaced(tmp_path: Path) -> None:
    with stages_server(tmp_path, 2, environment=INFO) as server:
        serve_from_all(server)
        first, second = server.workers()
        with traffic_to(server) as traffic:
            traffic.wait_for(10)
            os.kill(first, signal.SIGTERM)
            wait_until_gone(first)
            traffic.wait_for(100)
        assert traffic.wrong == []
        assert server.workers() == [second]
        assert read_on(server).count("Register success: worker address") == 2


def test_a_worker_that_cannot_be_started_again_harms_nobody(tmp_path: Path) -> None:
    with stages_server(tmp_path, 2, environment=INFO) as server:
        serve_from_all(server)
        (tmp_path / "stages" / "servable_config.py").write_text("raise ValueError('edited in the meantime')")
        first, second = server.workers()
        with traffic_to(server) as traffic:
            kill(first)
            server.wait_for_line("edited in the meantime", 20)
            traffic.wait_for(20)
        assert traffic.wrong == []
        wait_until(lambda: server.workers() == [second], "the worker that failed has ended")


def test_the_only_worker_is_replaced_after_it_had_served(tmp_path: Path) -> None:
    with stages_server(tmp_path, 1) as server:
        assert ask(server.grpc, "twice", 1) == [2]
        [first] = server.workers()
        kill(first)
        wait_until(lambda: server.workers() not in ([], [first]), "a new worker runs")

        def answered() -> bool:
            with Client(server.grpc, "stages", "twice") as client:
                return client.infer(number(4)) != {
                    "error": "Request servable(stages) method(twice) , servable is not available"
                }

        wait_until(answered, "the new worker serves")
        assert ask(server.grpc, "twice", 4) == [8]


# ---- stage functions that misbehave


@pytest.mark.parametrize("method", ["die", "die_batch"])
@pytest.mark.parametrize("place", [0, 3, 9])
def test_an_instance_that_kills_its_worker_fails_alone(tmp_path: Path, method: str, place: int) -> None:
    # However long a restart takes on a busy machine, the last copy is left to the others.
    with stages_server(tmp_path, 2, environment={**INFO, "SERVING_SUSPECT_WAIT_S": "60"}) as server:
        serve_from_all(server)
        values = list(range(1, 11))
        values[place] = -1
        with traffic_to(server, 2) as traffic:
            traffic.wait_for(5)
            with Client(server.grpc, "stages", method) as client:
                replies = client.infer([number(value) for value in values], timeout=30)
            traffic.wait_for(5)
        assert isinstance(replies, list), replies
        found = outcomes(replies)
        assert isinstance(found.pop(place), str)
        values.pop(place)
        assert found == [2 * value for value in values]
        assert traffic.wrong == []
        wait_until(lambda: len(server.workers()) == 2, "two workers run")
        assert ask(server.grpc, method, 1, 2, 3) == [2, 4, 6]


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with stages_server(tmp_path_factory.mktemp("one"), 1) as server:
        assert ask(server.grpc, "twice", 1) == [2]
        yield server


@pytest.mark.parametrize("method", ["leave", "leave_batch"])
@pytest.mark.parametrize(
    "odd", [-1, -2, -3, -4], ids=["exit 7", "exit", "KeyboardInterrupt", "GeneratorExit"]
)
def test_a_stage_that_wants_to_leave_fails_alone(one_worker: RunningServer, method: str, odd: int) -> None:
    workers = one_worker.workers()
    found = ask(one_worker.grpc, method, 1, 2, odd, 3, 4, 5)
    failure = found.pop(2)
    assert (
        f"Call Function 'stages.{method}' Failed, method: '{method}', stage index(begin with 1): 1" in failure
    )
    assert found == [2, 4, 6, 8, 10]
    assert ask(one_worker.grpc, method, 7) == [14]
    assert one_worker.workers() == workers


def test_a_worker_that_prints_a_lot(tmp_path: Path) -> None:
    with stages_server(tmp_path, 1) as server:
        assert ask(server.grpc, "shout", *range(5)) == [0, 2, 4, 6, 8]
        log = tmp_path / "serving_logs" / "log_stages_device0_version1.log"
        assert log.stat().st_size > 5 * 5_000_000


@pytest.mark.parametrize("session", [0, 1], ids=["same session", "own session"])
@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_children_of_stages_end_with_the_server(tmp_path: Path, session: int, end: str) -> None:
    with stages_server(tmp_path, 1) as server:
        assert ask(server.grpc, "spawn", session) == [2 * session]
        child = child_of_stage(tmp_path)
        server.signal(signal.Signals[end])
        server.wait(15)
        ended_with(child)


def test_children_of_stages_end_with_their_worker(tmp_path: Path) -> None:
    with stages_server(tmp_path, 2) as server:
        assert ask(server.grpc, "spawn", 0) == [0]
        child = child_of_stage(tmp_path)
        [note] = tmp_path.glob("child_*")
        kill(int(note.name.split("_")[1]))
        ended_with(child)
        assert ask(server.grpc, "twice", 3) == [6]


def child_of_stage(folder: Path) -> int:
    """Process id of the child that a stage has started."""
    wait_until(lambda: [p for p in folder.glob("child_*") if p.suffix != ".part"], "the child has started")
    [note] = folder.glob("child_*")
    return int(note.read_text())


def ended_with(child: int) -> None:
    try:
        wait_until_gone(child, timeout_s=10)
    finally:
        kill(child)
