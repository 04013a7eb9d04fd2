"""What happens to a distributed servable when one of its processes is signalled, killed, stopped, or fails.

`pytest -s` shows what was seen, as a table.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.channel.agent_messages import GraphResult, ReloadGraph, RunGraph
from tests.support.distributed_scripts import (
    Distributed,
    distributed_scripts,
    distributed_serving,
    error_of,
    sums,
)
from tests.support.fake_agents import (
    FakeAgent,
    arrays_of,
    failed,
    fake_agents,
    graph_of,
    rows_of,
    wait_until_reloaded,
)
from tests.support.watch import lives, wait_until, wait_until_gone

END_S = 30.0
RANKS = 2
VICTIMS = ("one agent", "all agents", "agent start-up", "worker", "main")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True)
class Seen:
    """One row of the table.

    Attributes:
        victim: Who got the signal.
        signal: Which.
        load: Whether requests were under way.
        seconds: Time until no process was left.
        main: Exit status of the server script.
        starter: Exit status of the script that starts agents.
        right: Requests that were answered before.
        last: What the requests under way got.
    """

    victim: str
    signal: str
    load: str
    seconds: str
    main: int
    starter: int
    right: int
    last: str


@pytest.fixture(scope="module")
def table() -> Iterator[list[Seen]]:
    """Collects the rows, and shows them at the end."""
    rows: list[Seen] = []
    yield rows
    print("\n" + " | ".join(field.name for field in fields(Seen)))
    for row in rows:
        print(" | ".join(map(str, astuple(row))))


def victims_of(made: Distributed, victim: str) -> list[int]:
    match victim:
        case "one agent":
            return made.agents()[1:2]
        case "all agents":
            return made.agents()
        case "agent start-up":
            return [made.starter.process.pid]
        case "worker":
            return [made.worker()]
    return [made.server.process.pid]


def ask_until_the_end(made: Distributed, begun: threading.Barrier) -> tuple[int, str]:
    """Send requests until one fails; returns how many were right, and the error."""
    x = np.ones(2, np.float32)
    with Client(made.grpc, "sharded", "add") as client:
        for right in range(1_000_000):
            reply = client.infer([{"x1": x, "x2": x * i} for i in range(5)], timeout=30)
            if isinstance(reply, dict):
                return right, reply["error"]
            errors = [instance["error"] for instance in reply if "error" in instance]
            if errors:
                return right, errors[0]
            assert sums(reply) == [1, 2, 3, 4, 5]
            if right == 5:
                begun.wait(30)
    raise AssertionError("the requests did not come to an end")


def is_free(address: str) -> bool:
    """Whether a server may listen there."""
    ip, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, int(port)))
        except OSError:
            return False
    return True


def addresses(made: Distributed) -> list[str]:
    agents = [f"127.0.0.1:{made.agent_port + rank}" for rank in range(made.ranks)]
    return [made.grpc, made.rest, made.address, *agents]


def strike(made: Distributed, victim: str, number: signal.Signals, load: str) -> Seen:
    """Send a signal to a part of what serves, and watch the end of all of it."""
    threads = 4 if load == "busy" else 0
    begun = threading.Barrier(threads + 1)
    everything = made.processes()
    assert len(everything) == RANKS + 3, everything
    with ThreadPoolExecutor(4) as pool:
        requests = [pool.submit(ask_until_the_end, made, begun) for _ in range(threads)]
        begun.wait(30)
        begin = time.monotonic()
        for pid in victims_of(made, victim):
            os.kill(pid, number)
        wait_until(lambda: not any(map(lives, everything)), f"all of {everything} have ended", END_S)
        seconds = time.monotonic() - begin
        replies = [request.result(40) for request in requests]
    return Seen(
        victim,
        number.name,
        load,
        f"{seconds:.1f} s",
        made.server.wait(),
        made.starter.wait(),
        sum(right for right, _ in replies),
        " / ".join(sorted({error for _, error in replies})),
    )


def watched(folder: Path, victim: str, number: signal.Signals, load: str) -> Seen:
    """A row of the table, after its outcome was found to be what it should be."""
    with distributed_serving(folder, RANKS) as made:
        assert sums(made.ask(3)) == [1, 2, 3]
        row = strike(made, victim, number, load)
        killed = victim if number is signal.SIGKILL else ""
        assert row.main == (-signal.SIGKILL if killed == "main" else int(victim != "main"))
        assert row.starter == (-signal.SIGKILL if killed == "agent start-up" else 0)
        assert all(re.search("available|cancelled", error) for error in row.last.split(" / ") if error)
        assert ended_as_it_should(made, victim, killed)
        wait_until(lambda: all(map(is_free, addresses(made))), "all ports are free", 5)
        return row


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("victim", VICTIMS)
def test_whoever_ends_all_end(tmp_path: Path, table: list[Seen], victim: str, number: signal.Signals) -> None:
    loads = ("idle", "busy")
    with ThreadPoolExecutor(len(loads)) as pool:
        table += pool.map(lambda load: watched(tmp_path / load, victim, number, load), loads)


def ended_as_it_should(made: Distributed, victim: str, killed: str) -> bool:
    """Whether everybody who could has said why."""
    output = made.server.output + made.starter.output
    assert "Traceback" not in output
    assert "Task was destroyed" not in output
    ended = "Serving: all agents of this machine have ended"
    assert killed == "agent start-up" or ended in made.starter.lines
    assert victim == "main" or (
        "Serving server begin to exit: all worker processes that occupy devices have exited"
        in made.server.output
    )
    if killed == "worker":
        assert "device0 died, and its agents with it; it is not started again" in made.server.output
    if victim not in ("main", "worker"):
        reason = "its connection is lost" if killed else "it exits"
        pattern = rf"The agents have failed: agent of rank [01] at 127.0.0.1:\d+: {reason}"
        assert re.search(pattern, made.server.worker_logs())
    return True


def timed(made: Distributed) -> tuple[Any, float]:
    """Outcome of a request, and how long it took."""
    begin = time.monotonic()
    reply = made.ask()
    return reply, time.monotonic() - begin


def test_an_agent_that_is_stopped(tmp_path: Path) -> None:
    """It answers late, and everything goes on; or it does not, and everything ends."""
    with distributed_serving(tmp_path, RANKS, SERVING_AGENT_TIMEOUT_S="1.5") as made:
        assert sums(made.ask(3)) == [1, 2, 3]
        everything, stopped = made.processes(), made.agents()[1]
        os.kill(stopped, signal.SIGSTOP)
        reply, seconds = timed(made)
        os.kill(stopped, signal.SIGCONT)
        assert error_of(reply) == "Failed to wait for result of rank 1", reply
        assert 1 < seconds < 60
        wait_until(lambda: not error_of(made.ask()), "requests are answered again")
        assert sums(made.ask(7)) == [1, 2, 3, 4, 5, 6, 7]
        os.kill(stopped, signal.SIGSTOP)
        with ThreadPoolExecutor(6) as pool:
            replies = [pool.submit(made.ask) for _ in range(6)]
            wait_until_gone(*everything, timeout_s=5 + END_S)
            for each in replies:
                error = error_of(each.result(30))
                assert re.search("Failed to wait for result of rank 1|available", error), error
        assert "rank 1 has not answered for 4.5 s, the ranks are out of step" in made.server.worker_logs()
        assert (made.server.wait(), made.starter.wait()) == (1, 0)


def test_a_worker_that_is_stopped_is_killed_and_its_agents_end(tmp_path: Path) -> None:
    with (
        distributed_serving(tmp_path, RANKS, SERVING_WORKER_TIMEOUT_S="2") as made,
        ThreadPoolExecutor(4) as pool,
    ):
        assert sums(made.ask(3)) == [1, 2, 3]
        everything = made.processes()
        os.kill(made.worker(), signal.SIGSTOP)
        replies = [pool.submit(made.ask) for _ in range(4)]
        wait_until_gone(*everything, timeout_s=2 + END_S)
        for each in replies:
            assert "available" in error_of(each.result(30))
        assert (made.server.wait(), made.starter.wait()) == (1, 0)
        assert re.search("Recv Pong Time Out from .*device0 is killed", made.server.output)


# ---- agents that fail, or say what they should not


SHAPE = (2, 1 << 18)


@contextlib.contextmanager
def faked(folder: Path, ranks: int = 2, **environment: str) -> Iterator[tuple[Distributed, list[FakeAgent]]]:
    """A distributed servable whose agents are fakes."""
    with distributed_scripts(folder, ranks, **environment) as made:
        made.start_server(ready="")
        with fake_agents(made.address, [graph_of(shape=SHAPE)] * ranks) as agents:
            made.wait_until_up()
            yield made, agents


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Distributed, list[FakeAgent]]]:
    with faked(tmp_path_factory.mktemp("fakes")) as pair:
        yield pair


def sums_of(made: Distributed, count: int) -> list[float]:
    return sums(made.ask(count, shape=SHAPE[1:]))


def test_large_instances(fakes: tuple[Distributed, list[FakeAgent]]) -> None:
    made, _ = fakes
    rng = np.random.default_rng(1)
    x = [rng.random((2, SHAPE[1]), np.float32) for _ in range(40)]
    with Client(made.grpc, "sharded", "add") as client:
        reply = client.infer([{"x1": x1, "x2": x2} for x1, x2 in x], timeout=60)
    for (x1, x2), instance in zip(x, reply, strict=True):
        np.testing.assert_array_equal(instance["y"], x1 + x2)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_graph_is_loaded_anew_on_all_ranks_after_one_has_failed(
    fakes: tuple[Distributed, list[FakeAgent]], rank: int
) -> None:
    made, agents = fakes
    reloads = agents[0].count(ReloadGraph)
    agents[rank].answer = lambda batch: failed("out of memory")
    error = error_of(made.ask(shape=SHAPE[1:]))
    assert error == f"Error happened on get result of rank {rank}: out of memory"
    agents[rank].answer = agents[rank].add
    assert sums_of(made, 5) == [1, 2, 3, 4, 5]
    wait_until_reloaded(agents, reloads + 1)


def test_a_failed_batch_fails_alone(fakes: tuple[Distributed, list[FakeAgent]]) -> None:
    made, agents = fakes

    def answer(run: RunGraph) -> Any:
        return failed("no threes") if 3 in arrays_of(run)[1] else agents[1].add(run)

    agents[1].answer = answer
    reply = made.ask(8, shape=SHAPE[1:])
    agents[1].answer = agents[1].add
    bad = [i for i, instance in enumerate(reply) if "error" in instance]
    assert bad == [2, 3]
    assert sums([instance for instance in reply if "y" in instance]) == [1, 2, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [np.zeros(SHAPE, np.float32)] * 2,
        [np.zeros((3, 5), np.float32)],
        [np.zeros(SHAPE, np.int32)],
        [np.zeros((), np.float32)],
    ],
    ids=["none", "two", "shape", "type", "scalar"],
)
def test_outputs_other_than_declared(fakes: tuple[Distributed, list[FakeAgent]], outputs: Any) -> None:
    made, agents = fakes
    agents[1].answer = lambda batch: rows_of(*outputs)
    reply = made.ask(3, shape=SHAPE[1:])
    agents[1].answer = agents[1].add
    assert re.fullmatch(
        r"Error happened on get result of rank 1: its outputs are (.*), expected kMSI_Float32 \[2, 262144\]",
        error_of(reply),
    ), reply
    assert sums_of(made, 3) == [1, 2, 3]


def test_an_agent_that_answers_what_it_was_not_asked(tmp_path: Path) -> None:
    with faked(tmp_path) as (made, agents):
        assert sums_of(made, 3) == [1, 2, 3]
        worker = made.worker()
        agents[0].send(GraphResult(77, rows_of()))
        assert made.server.wait(END_S) == 1
        wait_until_gone(worker)
        assert "rank 0 answers batch 77, which it was not asked" in made.server.worker_logs()
        wait_until(lambda: all(agent.has_lost_its_worker() for agent in agents), "the agents are told")


def test_an_agent_that_cannot_load_its_graph_anew(tmp_path: Path) -> None:
    with faked(tmp_path) as (made, agents):
        agents[0].answer = lambda batch: failed("out of memory")
        agents[1].reload = failed("no memory at all")
        assert "out of memory" in error_of(made.ask(shape=SHAPE[1:]))
        assert re.search("cannot be loaded anew|available", error_of(made.ask(shape=SHAPE[1:])))
        assert made.server.wait(END_S) == 1
        assert (
            "The agents have failed: graph 0 cannot be loaded anew: Error happened on get result of rank 1: no memory "
            "at all"
        ) in made.server.worker_logs()


def test_an_agent_that_never_answers(tmp_path: Path) -> None:
    with faked(tmp_path, SERVING_AGENT_TIMEOUT_S="0.5") as (made, agents):
        agents[1].answer = lambda batch: None
        assert error_of(made.ask(shape=SHAPE[1:])) == "Failed to wait for result of rank 1"
        assert made.server.wait(END_S) == 1
        assert "rank 1 has not answered for 1.5 s, the ranks are out of step" in made.server.worker_logs()
        wait_until(lambda: all(agent.has_lost_its_worker() for agent in agents), "the agents are told")
