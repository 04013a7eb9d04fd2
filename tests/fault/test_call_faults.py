"""Calls of methods between servables where something goes wrong: workers that are killed, requests that are given up,
queues that are full, calls that cannot work, and very many of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.gate import Gate
from tests.support.http_requests import HttpReply, send
from tests.support.serving import RunningServer, add_servable, running_script, serving
from tests.support.watch import kill, wait_until_gone

# Two servables, in a chain of four methods: first.m1 -> second.m2 -> first.m3 -> second.m4.
FIRST = """\
import os

import numpy as np

from mindspore_serving.server import register


def plus_one(x):
    return x + 1


def kills(x):
    if x == -1:
        os._exit(9)
    return x


@register.register_method(output_names=["y"])
def m1(x):
    x = register.add_stage(plus_one, x, outputs_count=1)
    return register.call("second", "m2", x)


@register.register_method(output_names=["y"])
def m3(x):
    x = register.call("second", "m4", x)
    return register.add_stage(plus_one, x, outputs_count=1)


@register.register_method(output_names=["y"])
def held(x):
    return register.call("second", "held", x)


@register.register_method(output_names=["y"])
def deadly(x):
    return register.call("second", "deadly", x)


@register.register_method(output_names=["y"])
def deadly_itself(x):
    x = register.call("second", "m4", x)
    return register.add_stage(kills, x, outputs_count=1)


@register.register_method(output_names=["y"])
def plain(x):
    return register.add_stage(plus_one, x, outputs_count=1)


answered = register.PipelineServable("second", "round")


@register.register_pipeline(output_names=["y"])
def round(x):
    return answered.run(x)
"""
SECOND = """\
import os

import numpy as np

from mindspore_serving.server import register

{gate}


def tenfold(x):
    return x * 10


def waits(x):
    pass_gate()
    return x * 10


def kills(x):
    if x == -1:
        os._exit(9)
    return x * 10


@register.register_method(output_names=["y"])
def m2(x):
    return register.call("first", "m3", x)


@register.register_method(output_names=["y"])
def m4(x):
    return register.add_stage(tenfold, x, outputs_count=1)


@register.register_method(output_names=["y"])
def held(x):
    return register.add_stage(waits, x, outputs_count=1)


@register.register_method(output_names=["y"])
def deadly(x):
    return register.add_stage(kills, x, outputs_count=1)


asked = register.PipelineServable("first", "round")


@register.register_pipeline(output_names=["y"])
def round(x):
    return x if x % 2 else asked.run(x)
"""


@contextmanager
def two_servables(folder: Path, first: str = "", second: str = "") -> Iterator[tuple[RunningServer, Gate]]:
    """Both servables, with further options of each; and the gate of `held`."""
    with Gate(folder / "gate") as gate:
        add_servable(folder, "first", FIRST, ())
        add_servable(folder, "second", SECOND.format(gate=gate.source), ())
        configs = [
            f'".", "first", num_parallel_workers=1{first}',
            f'".", "second", num_parallel_workers=1{second}',
        ]
        with serving(folder, configs) as running:
            yield running, gate


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Gate]]:
    """Both servables, with one slot in each copy."""
    with two_servables(tmp_path_factory.mktemp("f"), ", slots_per_copy=1", ", slots_per_copy=1") as both:
        yield both


def ask(
    server: RunningServer, method: str, *values: int, servable: str = "first", timeout: float = 60
) -> Any:
    with Client(server.grpc, servable, method) as client:
        reply = client.infer([{"x": np.int64(value)} for value in values], timeout=timeout)
    if not isinstance(reply, list):
        reply = [reply]
    return [one.get("error") or int(one["y"]) for one in reply]


def worker_of(server: RunningServer, servable: str) -> int:
    found = [
        pid
        for pid in server.workers()
        if f"--servable_name={servable} " in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    ]
    assert len(found) == 1
    return found[0]


def in_thread(pool: ThreadPoolExecutor, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return pool.submit(function, *args, **kwargs)


def test_500_requests_at_once_four_calls_deep_in_one_slot_each(pair: tuple[RunningServer, Gate]) -> None:
    server, _ = pair
    with Client(server.grpc, "first", "m1") as client:
        waiting = [client.infer_async([{"x": np.int64(value)}], timeout=120) for value in range(500)]
        assert [int(one.result()[0]["y"]) for one in waiting] == [
            (value + 1) * 10 + 1 for value in range(500)
        ]


def test_many_methods_at_once_in_both_directions(pair: tuple[RunningServer, Gate]) -> None:
    server, _ = pair

    def check(value: int) -> bool:
        method, servable, right = [
            ("m1", "first", (value + 1) * 10 + 1),
            ("m2", "second", value * 10 + 1),
            ("m3", "first", value * 10 + 1),
            ("m4", "second", value * 10),
            ("plain", "first", value + 1),
        ][value % 5]
        return ask(server, method, value, value, servable=servable, timeout=120) == [right, right]

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(check, range(400)))


def test_other_methods_run_while_calls_wait(pair: tuple[RunningServer, Gate]) -> None:
    server, gate = pair
    with ThreadPoolExecutor(4) as pool:
        held = [in_thread(pool, ask, server, "held", value) for value in range(4)]
        first = gate.hold()
        assert ask(server, "plain", 1, 2) == [2, 3]
        first.release()
        with gate.let_all_pass():
            assert [one.result(60) for one in held] == [[0], [10], [20], [30]]


def test_a_request_that_is_gone_is_not_run_where_it_waits(pair: tuple[RunningServer, Gate]) -> None:
    server, gate = pair
    with ThreadPoolExecutor(4) as pool:
        running = in_thread(pool, ask, server, "held", 1)
        first = gate.hold()
        gone = in_thread(pool, ask, server, "held", 2, timeout=0.5)
        assert "deadline" in gone.result(60)[0].lower()
        last = in_thread(pool, ask, server, "held", 3)
        first.release()
        # Whoever comes to the gate next is the last one: the one that is gone has left the queue.
        gate.hold().release()
        assert (running.result(60), last.result(60)) == ([10], [30])
        assert ask(server, "plain", 1) == [2]


def test_a_deadline_over_rest_ends_a_request_that_waits_in_a_call(pair: tuple[RunningServer, Gate]) -> None:
    server, gate = pair
    body = '{"instances": [{"x": 1}]}'
    reply: HttpReply = send(server.rest, "POST", "/model/first:held", body, {"X-Request-Timeout-Ms": "300"})
    assert reply.status == 504
    gate.hold().release()
    with gate.let_all_pass():
        assert ask(server, "held", 5) == [50]


def test_pipelines_that_call_each_other_in_a_circle_hold_up_nobody(pair: tuple[RunningServer, Gate]) -> None:
    """Each takes one instance at a time, so two requests from both ends would wait for each other."""
    server, _ = pair
    assert ask(server, "round", 1) == [1]  # from now on `first` calls `second`

    def check(value: int) -> bool:
        [outcome] = ask(server, "round", value, servable=("first", "second")[value // 2 % 2], timeout=120)
        if value % 2:
            return bool(outcome == value)
        return outcome.endswith(
            "The call is refused, methods that call each other in a circle may wait for each other for ever: "
            "first.round -> second.round -> first.round"
        )

    server.read_output()  # what the failures write has room then
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(check, range(16)))
    assert ask(server, "m1", 1) == [21]


# ---- workers that die


def test_workers_that_are_killed(tmp_path: Path) -> None:
    with two_servables(tmp_path) as (server, gate), ThreadPoolExecutor(8) as pool:
        # the worker that is called: its instances are run again by the next one
        assert ask(server, "m1", 1) == [21]
        waiting = [in_thread(pool, ask, server, "held", value) for value in range(3)]
        gate.hold()
        inner = worker_of(server, "second")
        kill(inner)
        wait_until_gone(inner)
        with gate.let_all_pass():
            assert [one.result(60) for one in waiting] == [[0], [10], [20]]
        # the worker that calls: what it has called is given up, and it is run again
        waiting = [in_thread(pool, ask, server, "held", value) for value in range(3)]
        gate.hold()
        outer = worker_of(server, "first")
        kill(outer)
        wait_until_gone(outer)
        with gate.let_all_pass():
            assert [one.result(60) for one in waiting] == [[0], [10], [20]]
        assert ask(server, "m1", 1) == [21]
        assert len(server.workers()) == 2


def test_an_instance_that_kills_workers_is_the_only_one_that_fails(tmp_path: Path) -> None:
    with two_servables(tmp_path) as (server, _):
        assert ask(server, "m1", 1) == [21]
        first, dead, last = ask(server, "deadly", 1, -1, 2)
        assert (first, last) == (10, 20)
        assert "2 workers were lost while they served this instance" in dead
        assert "Call Method 'second.deadly' Failed, method: 'deadly'" in dead


def test_one_that_kills_the_worker_that_calls_is_the_only_one_that_fails(tmp_path: Path) -> None:
    with two_servables(tmp_path) as (server, _):
        assert ask(server, "m1", 1) == [21]
        first, last = ask(server, "deadly_itself", 1, 2)
        assert (first, last) == (10, 20)


# ---- limits


def test_a_full_queue_of_the_called_servable_refuses_clients_and_no_calls(tmp_path: Path) -> None:
    with (
        two_servables(tmp_path, second=", max_enqueued_requests=1, slots_per_copy=1") as (server, gate),
        ThreadPoolExecutor(8) as pool,
    ):
        direct = in_thread(pool, ask, server, "held", 1, servable="second")
        first = gate.hold()
        calls = [in_thread(pool, ask, server, "held", value) for value in (2, 3)]
        [refused] = ask(server, "m4", 1, servable="second")
        assert "enqueued requests count exceeds the limit 1, servable: second" in refused
        first.release()
        with gate.let_all_pass():
            assert [one.result(60) for one in (direct, *calls)] == [[10], [20], [30]]


def test_waiting_for_a_call_is_not_part_of_the_time_of_a_stage(tmp_path: Path) -> None:
    with (
        two_servables(tmp_path, first=", stage_timeout_ms=300") as (server, gate),
        ThreadPoolExecutor(1) as pool,
    ):
        outer = worker_of(server, "first")
        waiting = in_thread(pool, ask, server, "held", 1)
        held = gate.hold()
        for _ in range(
            3
        ):  # each goes through the same worker, and shows that it lives; together longer than the limit
            assert ask(server, "plain", 1) == [2]
            assert "deadline" in ask(server, "held", 5, timeout=0.3)[0].lower()
        held.release()
        with gate.let_all_pass():
            assert waiting.result(60) == [10]
        assert worker_of(server, "first") == outer


# ---- calls that cannot work


def _refusal(folder: Path, **configs: str) -> str:
    """What a start script prints that starts these servables, whose calls cannot work."""
    for name, config in configs.items():
        add_servable(folder, name, "from mindspore_serving.server import register\n\n\n" + config, ())
    script = folder / "start.py"
    starts = ", ".join(
        f'server.ServableStartConfig(".", "{name}", num_parallel_workers=1)' for name in configs
    )
    script.write_text(f"from mindspore_serving import server\n\nserver.start_servables([{starts}])\n")
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait(90) != 0
        return running.output


_METHOD = """\
@register.register_method(output_names=["y"])
def {name}({inputs}):
    return {value}


"""


def _method(name: str, value: str, inputs: str = "x") -> str:
    return _METHOD.format(name=name, value=value, inputs=inputs)


@pytest.mark.parametrize(
    ("configs", "text"),
    [
        (
            {"a": _method("m", 'register.call("b", "n", x)')},
            r"Method 'a\.m' calls 'b\.n', but this server starts no servable 'b', only \['a'\]",
        ),
        (
            {"a": _method("m", 'register.call("b", "n", x)'), "b": _method("n", "x, y", "x, y")},
            r"Method return output size 2 not match registered 1",
        ),
        (
            {"a": _method("m", 'register.call("b", "n", x)'), "b": _method("n", "x", "x, y")},
            r"Method 'a\.m' calls 'b\.n' with 1 inputs, but that has 2: \['x', 'y'\]",
        ),
        (
            {
                "a": _method("m", 'register.call("b", "n", x)'),
                "b": _method("n", 'register.call("a", "m", x)'),
            },
            r"Methods call each other in a circle, which would never end: a\.m -> b\.n -> a\.m",
        ),
    ],
)
def test_calls_that_cannot_work_are_refused_at_the_start(
    tmp_path: Path, configs: dict[str, str], text: str
) -> None:
    assert re.search(text, _refusal(tmp_path, **configs))
