"""Ways in which workers die: nothing is lost, the reason is told, and nobody is started again for ever."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.serving import RunningScript, RunningServer, add_servable, running_script, serving
from tests.support.traffic import Traffic
from tests.support.watch import kill, leftovers, wait_until, wait_until_gone

STAGES = """\
import contextlib
import ctypes
import os
import resource
import signal

import numpy as np

from mindspore_serving.server import register

with contextlib.suppress(FileNotFoundError):  # at most one worker finds it
    os.unlink("die_at_start")
    os.kill(os.getpid(), signal.SIGKILL)


def crash(x):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if x == -signal.SIGSEGV:
        ctypes.string_at(0)
    if x == -signal.SIGABRT:
        os.abort()
    if x == -signal.SIGKILL:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * 2


def fill_memory(x):
    if x >= 0:
        return x * 2
    with open("/proc/self/statm") as sizes:
        used = int(sizes.readline().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), most))
    try:
        return np.ones(1 << 30, np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def whose(x):
    return os.getpid()


for function in (crash, fill_memory, whose):

    def method(x):
        return register.add_stage(function, x, outputs_count=1)

    method.__name__ = function.__name__
    register.register_method(output_names=["y"])(method)
"""

LOST = "2 workers were lost while they served this instance"
START = """\
import atexit
import os
import time

from mindspore_serving import server

config = server.ServableStartConfig(".", "stages", 0)
atexit.register(print, "registered before", flush=True)
server.start_servables(config)
atexit.register(print, "registered after", flush=True)
print("up", flush=True)
while not os.path.exists("go on"):
    time.sleep(0.02)
"""


def number(value: int) -> dict[str, Any]:
    return {"x": np.array(value, np.int64)}


def outcomes(replies: Any) -> list[Any]:
    """Value of each instance, or its error text."""
    assert isinstance(replies, list), replies
    return [int(reply["y"]) if "y" in reply else reply["error"] for reply in replies]


def ask(server: RunningServer, method: str, *values: int) -> list[Any]:
    """Send one request on a connection of its own."""
    with Client(server.grpc, "stages", method) as client:
        return outcomes(client.infer([number(value) for value in values], timeout=60))


def doubles(client: Client, first: int) -> Any:
    """Ask for the doubles of some numbers; returns what was wrong."""
    values = list(range(first, first + 1 + first % 20))
    replies = client.infer([number(value) for value in values], timeout=60)
    good = isinstance(replies, list) and outcomes(replies) == [2 * value for value in values]
    return None if good else (values, replies)


def traffic_to(server: RunningServer) -> Traffic:
    return Traffic(server.grpc, "stages", "crash", doubles)


@contextmanager
def stages_server(folder: Path, copies: int, **environment: str) -> Iterator[RunningServer]:
    add_servable(folder, "stages", STAGES, ())
    with serving(folder, [f'".", "stages", {tuple(range(copies))}'], environment=environment) as server:
        yield server


def serve_from_all(server: RunningServer) -> None:
    """Let each worker answer something, so that it counts as one that works."""
    seen: set[int] = set()

    def all_have_served() -> bool:
        seen.update(ask(server, "whose", *range(60)))
        return seen >= set(server.workers())

    wait_until(all_have_served, "each worker has served")


def count_of(running: RunningScript, text: str) -> int:
    """How many lines so far hold the text."""
    while running._read(0.001):
        pass
    return sum(text in line for line in running.lines)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with stages_server(tmp_path_factory.mktemp("three"), 3) as server:
        serve_from_all(server)
        yield server


def test_instances_without_memory_fail_alone(three: RunningServer) -> None:
    workers = three.workers()
    with traffic_to(three) as traffic:
        found = ask(three, "fill_memory", 1, -1, 2, -1, 3)
        traffic.wait_for(5)
    assert traffic.wrong == []
    assert [found[i] for i in (0, 2, 4)] == [2, 4, 6]
    assert all("Unable to allocate 1.00 GiB" in found[i] for i in (1, 3)), found
    assert three.workers() == workers


def test_instances_that_crash_their_workers_fail_alone(three: RunningServer) -> None:
    signals = (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL)
    with traffic_to(three) as traffic:
        for each in signals:  # two workers end over it; the third serves on, until both are back
            traffic.wait_for(5)
            back = count_of(three, "was started again") + 2
            before, failed, after = ask(three, "crash", 1, -each, 2)
            assert (before, after) == (2, 4)
            assert LOST in failed
            wait_until(lambda n=back: count_of(three, "was started again") == n, "both are back", 30)
        traffic.wait_for(5)
    assert traffic.wrong == []
    assert len(three.workers()) == 3
    for each in signals:
        line = three.wait_for_line(f"was ended by signal {int(each)} ({each.name})", 20)
        assert "Worker of servable stages version 1 device" in line
    # What a crash leaves in the log of the worker is shown.
    three.wait_for_line("Fatal Python error: Segmentation fault", 20)
    assert re.search('servable_config.py", line [0-9]+ in crash', three.output)
    assert "is not started again" not in three.output


def test_a_worker_that_stops_reading_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    with stages_server(tmp_path, 2, SERVING_WORKER_TIMEOUT_S="2") as server:
        serve_from_all(server)
        with traffic_to(server) as traffic:
            traffic.wait_for(20)
            stopped = server.workers()[0]
            os.kill(stopped, signal.SIGSTOP)
            line = server.wait_for_line("showed no sign of life for 2 s and was killed", 20)
            assert "memory" not in line
            wait_until_gone(stopped)
            server.wait_for_line("was started again", 20)
            traffic.wait_for(20)
        assert traffic.wrong == []
        assert len(server.workers()) == 2


def test_workers_that_die_too_often_are_given_up_and_the_server_fails(tmp_path: Path) -> None:
    with stages_server(tmp_path, 3) as server:
        serve_from_all(server)
        (tmp_path / "die_at_start").touch()
        kill(*server.workers())
        # Three ends; the fourth is that of the worker which finds the file. It is tried once more.
        wait_until(lambda: count_of(server, "was started again") == 3, "three workers are back", 30)
        assert count_of(server, "has not come back: ") == 1
        assert count_of(server, "(the log is empty") == 1  # what the one before it has written is not shown
        serve_from_all(server)
        victim, *others = server.workers()
        kill(victim)
        line = server.wait_for_line("5 workers of servable stages version 1 have died within 60 s", 20)
        assert "[ERROR]" in line
        assert line.count("was ended by signal 9 (SIGKILL)") == 5
        server.wait_for_line("is not started again: too many workers of its servable have died", 20)
        assert set(ask(server, "whose", *range(60))) <= set(others)
        assert set(server.workers()) == set(others)
        kill(*others)
        assert server.wait() == 1
        assert "all worker processes that occupy devices have exited" in server.output
        assert leftovers(server) == []


@contextmanager
def busy_script_without_workers(folder: Path, rest: str) -> Iterator[RunningScript]:
    """A script that is busy when the only worker dies and the server stops, and then goes on with `rest`."""
    add_servable(folder, "stages", STAGES, ())
    script = folder / "start_server.py"
    script.write_text(START + rest)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("up")
        kill(*running.workers())
        running.wait_for_line("all worker processes that occupy devices have exited")
        wait_until(lambda: leftovers(running) == [], "the server has stopped")
        assert running.process.poll() is None
        (folder / "go on").touch()
        yield running


def test_a_busy_script_fails_when_it_ends(tmp_path: Path) -> None:
    with busy_script_without_workers(tmp_path, 'print("the end", flush=True)') as running:
        assert running.wait() == 1
        assert running.lines[-3:] == ["the end", "registered after", "registered before"]


def test_a_script_that_starts_its_server_again_does_not_fail(tmp_path: Path) -> None:
    rest = 'server.start_servables(config)\nprint("up again", flush=True)'
    with busy_script_without_workers(tmp_path, rest) as running:
        running.wait_for_line("up again")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert running.lines[-2:] == ["registered after", "registered before"]
