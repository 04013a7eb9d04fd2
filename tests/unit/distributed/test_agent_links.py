"""The connections between a distributed worker and its agents: each end says what belongs to its conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import ModelError
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.agent_messages import (
    AgentHello,
    AgentReady,
    AgentsAccepted,
    AgentSettings,
    AgentsGathered,
    GraphResult,
    ReloadGraph,
    RunGraph,
    ToAgent,
)
from mindspore_serving.server.channel.cluster_messages import Challenge, JoinRefused, Welcome
from mindspore_serving.server.channel.frames import (
    FROM_AGENT,
    TO_AGENT,
    FrameSplitter,
    frame_of,
    message_of,
)
from mindspore_serving.server.channel.messages import Exiting, Stop
from mindspore_serving.server.cluster.token import proof
from mindspore_serving.server.distributed.agent_port import AGENT_ROLE, WORKER_ROLE, AgentPort, one_row
from mindspore_serving.server.distributed.joining_link import JoiningLink
from mindspore_serving.signature import ModelInfo
from tests.support.channel import foreign_frames
from tests.support.fake_agents import graph_of
from tests.support.wire import Wire

TOKEN = "the token of the tests"
SETTINGS = AgentSettings("sharded", ("10.0.0.9",), (0,), ("",), True, (), 8)


class Agent(JoiningLink):
    """The joining end, which keeps what comes."""

    def __init__(self) -> None:
        super().__init__(TOKEN, 0, "10.0.0.9:1")
        self.decided.add_done_callback(lambda decided: decided.exception())
        self.got: list[ToAgent] = []

    def on_joined_message(self, message: ToAgent) -> None:
        self.got.append(message)

    def on_end(self, reason: str) -> None:
        return


def open_port(settings: AgentSettings = SETTINGS) -> AgentPort:
    port = AgentPort("127.0.0.1:0", TOKEN, settings, 1.0, 10.0, 1)
    port._server = object()  # type: ignore[assignment]  # it listens
    return port


def messages_in(sent: bytes) -> list[ToAgent]:
    return [message_of(kind, body, TO_AGENT) for kind, body in FrameSplitter().feed(sent)]


def join_port(link: Any, wire: Wire, rank: int = 0) -> None:
    shown = proof(TOKEN, AGENT_ROLE, link.nonce, "n")
    link.data_received(frame_of(AgentHello("n", shown, rank, f"10.0.0.9:{rank + 1}")))


def join_worker(link: Any, wire: Wire) -> None:
    link.data_received(frame_of(Challenge("c")))
    [(kind, body)] = FrameSplitter().feed(bytes(wire.sent))
    hello = message_of(kind, body, FROM_AGENT)
    assert isinstance(hello, AgentHello)
    link.data_received(frame_of(Welcome(proof(TOKEN, WORKER_ROLE, "c", hello.nonce))))


ENDS: dict[str, tuple[Any, Callable[[], Any], Any]] = {
    "worker": (FROM_AGENT, lambda: open_port().make_link(), join_port),
    "agent": (TO_AGENT, Agent, join_worker),
}


def fault_after(end: str, frame: bytes, joined: bool) -> str:
    """Why one end closes the connection when the other says something; empty if it does not."""
    _, make, join = ENDS[end]

    async def whole() -> str:
        link, wire = make(), Wire()
        link.connection_made(wire)
        if joined:
            join(link, wire)
            assert link.joined
        assert not wire.closed
        link.data_received(frame)
        return str(link.fault) if wire.closed else ""

    return asyncio.run(whole())


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    ("end", "name"), [(end, name) for end in ENDS for name in foreign_frames(ENDS[end][0])]
)
def test_a_message_of_another_conversation_ends_the_connection(end: str, name: str, joined: bool) -> None:
    expected = ENDS[end][0]
    fault = fault_after(end, foreign_frames(expected)[name], joined)
    assert fault == f"Channel got a {name}, expected one of {expected.names}"


@pytest.mark.parametrize(
    ("end", "message", "joined"),
    [
        ("worker", GraphResult(1, one_row([])), False),
        ("worker", AgentReady((ModelInfo("", (graph_of(),)),)), False),
        ("worker", AgentReady(()), True),
        ("worker", Exiting(), False),
        ("worker", AgentHello("n", "p", 0, "10.0.0.9:1"), True),
        ("agent", RunGraph(1, 0, one_row([])), False),
        ("agent", ReloadGraph(1, 0), False),
        ("agent", Stop(), False),
        ("agent", AgentsAccepted(), False),
        ("agent", Welcome("p"), False),
    ],
)
def test_a_message_at_another_time_ends_the_connection(end: str, message: Any, joined: bool) -> None:
    assert "which is not expected now" in fault_after(end, frame_of(message), joined)


def test_what_comes_after_joining_is_handed_on() -> None:
    async def whole() -> None:
        link, wire = Agent(), Wire()
        link.connection_made(wire)
        join_worker(link, wire)
        told = [AgentsGathered("10.0.0.1:5"), AgentsAccepted(), ReloadGraph(3, 1), JoinRefused("later")]
        link.data_received(b"".join(map(frame_of, told)))
        assert link.got == told
        assert not wire.closed

    asyncio.run(whole())


@pytest.mark.parametrize("fails", [False, True])
def test_a_graph_is_run_by_its_rank(fails: bool) -> None:
    async def whole() -> None:
        port = open_port()
        link, wire = port.make_link(), Wire()
        link.connection_made(wire)
        join_port(link, wire)
        link.data_received(frame_of(AgentReady((ModelInfo("", (graph_of(),)),))))
        wire.sent.clear()
        run = asyncio.create_task(port.run(3, [np.ones((2, 2), np.float32)], 1))
        await asyncio.sleep(0)
        [asked] = messages_in(bytes(wire.sent))
        assert isinstance(asked, RunGraph)
        assert asked.subgraph == 3
        outcome = FailedRows(ModelError("no memory").failure(), 1) if fails else asked.inputs
        link.data_received(frame_of(GraphResult(asked.run_id, outcome)))
        if fails:
            with pytest.raises(ModelError, match="result of rank 0: no memory"):
                await run
            return
        [output] = await run
        assert output.tolist() == [[1, 1], [1, 1]]
        output += 1  # who gets the outputs may write to them
        link.data_received(frame_of(GraphResult(asked.run_id, outcome)))
        assert wire.closed
        assert link.fault == f"rank 0 answers batch {asked.run_id}, which it was not asked"

    asyncio.run(whole())


@pytest.mark.parametrize("input_ranks", [1, 2])
def test_only_ranks_that_take_inputs_get_them_and_the_last_one_gives_the_outputs(input_ranks: int) -> None:
    async def whole() -> None:
        port = open_port(AgentSettings("sharded", ("10.0.0.9",) * 2, (0, 1), ("", ""), True, (), 8))
        links = [port.make_link() for _ in range(2)]
        wires = [Wire(), Wire()]
        for rank, (link, wire) in enumerate(zip(links, wires, strict=True)):
            link.connection_made(wire)
            join_port(link, wire, rank)
            wire.sent.clear()
        run = asyncio.create_task(port.run(0, [np.ones((2, 2), np.float32)], input_ranks))
        await asyncio.sleep(0)
        for rank, (link, wire) in enumerate(zip(links, wires, strict=True)):
            asked = messages_in(bytes(wire.sent))[-1]
            assert isinstance(asked, RunGraph)
            assert len(asked.inputs.columns) == (rank < input_ranks)
            link.data_received(frame_of(GraphResult(asked.run_id, one_row([np.full(1, rank, np.int32)]))))
        [output] = await run
        assert output.tolist() == [1]

    asyncio.run(whole())
