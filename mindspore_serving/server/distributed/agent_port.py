"""The port of a distributed worker: gathers one agent for each rank, and runs batches on all of them.

A graph that is spread over ranks runs only if all ranks run it: a rank waits within the graph for what the others
compute. So every batch goes to all ranks, in the same order everywhere, and its outcome is that of all of them. After a
rank has failed, nothing is sent until every rank has answered everything, and then all load the graph anew together:
had one rank left out a step, it would from then on talk with the others about different batches. Ranks that do not come
to such an end are given up, and with them the servable.

Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, ModelError
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.channel.agent_messages import (
    AgentFailed,
    AgentHello,
    AgentReady,
    AgentsAccepted,
    AgentSettings,
    AgentsGathered,
    FromAgent,
    GraphResult,
    ReloadGraph,
    RunGraph,
    ToAgent,
)
from mindspore_serving.server.channel.cluster_messages import JoinRefused, Welcome
from mindspore_serving.server.channel.frames import FROM_AGENT, LARGEST_FRAME, frame_of
from mindspore_serving.server.channel.messages import Exiting, Stop
from mindspore_serving.server.cluster.listening_port import AcceptedLink, ListeningPort
from mindspore_serving.server.cluster.token import is_proof, proof
from mindspore_serving.server.host.waiting import wait_for_event
from mindspore_serving.signature import GraphInfo
from mindspore_serving.tensor import DATA_TYPE_OF, Array, TensorSpec

STARTER_RANK = -1
"""Rank in the `AgentHello` of a process that starts agents."""
AGENT_ROLE, WORKER_ROLE = "agent", "distributed worker"
_LIMITS_UNTIL_GIVEN_UP = 3
_MOST_BYTES = LARGEST_FRAME - (1 << 20)
"""Bytes of the inputs or outputs of one batch; the rest of a frame is for what describes them."""
_LOAD_S = 600.0


class AgentLink(AcceptedLink[FromAgent]):
    """The connection to an agent, or to a process that starts agents.

    Args:
        port: Where it came in.
    """

    def __init__(self, port: AgentPort) -> None:
        super().__init__(port, FROM_AGENT)
        self.rank = STARTER_RANK
        self.address = ""
        self.scheduler = ""
        self.graphs: tuple[GraphInfo, ...] = ()
        self._agents = port

    def __repr__(self) -> str:
        return f"<AgentLink {self.name}>"

    @property
    def name(self) -> str:
        """Rank and address."""
        return self.address or self.peer

    @property
    def is_agent(self) -> bool:
        """Whether the peer is an agent that has joined."""
        return self.joined and self.rank != STARTER_RANK

    def on_message(self, message: FromAgent) -> None:
        """Let the agent in, or hand on what it says."""
        if isinstance(message, GraphResult) and self.is_agent:
            self._agents.take_result(self.rank, message)
        elif isinstance(message, AgentHello) and not self.joined:
            self._join(message)
        elif isinstance(message, AgentReady) and message.models and self.is_agent and not self.graphs:
            self.graphs = message.models[0].graphs
            self._agents.on_ready()
        elif isinstance(message, (AgentFailed, Exiting)) and self.joined:
            self._agents.on_failed(self, message.reason if isinstance(message, AgentFailed) else "it exits")
        else:
            raise ChannelError(f"{self!r} sent a {type(message).__name__}, which is not expected now")

    def on_lost(self) -> None:
        """End the servable if an agent is lost."""
        super().on_lost()
        if self.is_agent:
            self._agents.on_failed(self, "its connection is lost")

    def _join(self, hello: AgentHello) -> None:
        port = self._agents
        if not is_proof(hello.proof, port.token, AGENT_ROLE, self.nonce, hello.nonce):
            reason = "the tokens of agent and worker differ, check environment variable SERVING_CLUSTER_TOKEN"
        else:
            reason = port.objection(hello)
        if reason:
            log.error("%r is refused: %s", self, reason)
            self.send(JoinRefused(reason))
            self.close()
            return
        self.rank, self.address, self.scheduler = hello.rank, hello.address, hello.scheduler
        self.trust()
        self.send(Welcome(proof(port.token, WORKER_ROLE, self.nonce, hello.nonce)))
        if self.is_agent:
            port.on_joined(self)
        else:
            self.send(port.settings)


@dataclass(slots=True)
class _Call:
    """Something that all ranks have been asked."""

    number: int
    subgraph: int
    waiting: set[int]
    failures: dict[int, str] = field(default_factory=dict)
    outputs: list[Array] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class AgentPort(ListeningPort):
    """Gathers the agents of a distributed model, and runs batches on them.

    Args:
        address: `ip:port` to listen on.
        token: Shared token.
        settings: What processes that start agents are told.
        silence_s: Seconds of silence after which an agent that has loaded its model is taken for lost.
        answer_s: Seconds within which every rank must have run a batch.
        depth: Batches under way at a time.

    Attributes:
        settings: As given.
        failure: Why the agents were given up; empty while they were not.
        on_change: Called when an agent joins or is ready, and when the agents have failed.
    """

    def __init__(
        self,
        address: str,
        token: str,
        settings: AgentSettings,
        silence_s: float,
        answer_s: float,
        depth: int,
    ) -> None:
        super().__init__("Worker gRPC server", address, token, None, silence_s)
        self.settings = settings
        self.failure = ""
        self.on_change: Callable[[], None] = lambda: None
        self._answer_s = answer_s
        self._agents: dict[int, AgentLink] = {}
        self._turns = asyncio.Semaphore(depth)
        self._recovery = asyncio.Lock()
        self._calls: dict[int, _Call] = {}
        self._failed_graphs: set[int] = set()
        self._last_number = 0
        self._unsettled = False
        self._reloading = False
        self._stopped = False

    @property
    def rank_size(self) -> int:
        """Number of ranks."""
        return len(self.settings.ips)

    @property
    def ready_count(self) -> int:
        """Number of agents that have loaded their models."""
        return sum(bool(agent.graphs) for agent in self._agents.values())

    @property
    def graphs(self) -> list[tuple[GraphInfo, ...]]:
        """Graphs of each rank; only once all agents are ready."""
        return [self._agents[rank].graphs for rank in range(self.rank_size)]

    def make_link(self) -> AgentLink:
        """The protocol of a new connection."""
        return AgentLink(self)

    def allowed_silence_s(self, link: AcceptedLink[Any]) -> float:
        """Seconds of silence after which a peer is dropped; MindSpore lets nobody speak while ranks come together."""
        loads = isinstance(link, AgentLink) and link.is_agent and (self._reloading or not link.graphs)
        return max(_LOAD_S, self._timeout_s) if loads else self._timeout_s

    def objection(self, hello: AgentHello) -> str:
        """Why an agent, or a process that starts agents, is refused; empty if it is not."""
        if self.failure or self._stopped:
            return f"this distributed worker ends: {self.failure or 'it was stopped'}"
        if len(self._agents) == self.rank_size:
            return f"all {self.rank_size} agents are here already"
        if hello.rank in self._agents:
            return f"the agent of rank {hello.rank} is here already, at {self._agents[hello.rank].address}"
        if not STARTER_RANK <= hello.rank < self.rank_size:
            return f"there is no rank {hello.rank}, the rank table has {self.rank_size} ranks"
        return ""

    def on_joined(self, agent: AgentLink) -> None:
        """Count an agent; once all are here, let them load their models."""
        self._agents[agent.rank] = agent
        log.info("Agent of rank %s joined from %s", agent.rank, agent.address)
        if len(self._agents) == self.rank_size:
            self._tell_all(AgentsGathered(self._agents[0].scheduler))
        self.on_change()

    def on_ready(self) -> None:
        """Count an agent that has loaded its models."""
        self.on_change()

    def on_failed(self, link: AgentLink, reason: str) -> None:
        """End everything because of an agent, or of a process that cannot start its agents."""
        if link.is_agent:
            self.fail(f"agent of rank {link.rank} at {link.address}: {reason}")
        elif len(self._agents) < self.rank_size:  # later the agents themselves show whether they fail
            self.fail(f"start-up of agents at {link.address}: {reason}")

    def fail(self, reason: str) -> None:
        """Give the agents up: what waits for them fails, and they are told to exit."""
        if self.failure or self._stopped:
            return
        log.error("The agents have failed: %s", reason)
        self.failure = reason
        for call in self._calls.values():
            call.done.set()
        self._tell_all(Stop())
        self.on_change()

    async def accept(self) -> None:
        """Tell the agents that they fit together."""
        self._tell_all(AgentsAccepted())

    async def stop(self) -> None:
        """Tell all agents to exit, and stop listening; safe to call twice."""
        self._stopped = True
        await super().stop()

    async def run(self, subgraph: int, arrays: Sequence[Array], input_ranks: int) -> list[Array]:
        """Run one batch on all ranks.

        Args:
            subgraph: Which graph.
            arrays: Its inputs.
            input_ranks: Number of ranks, from 0 on, that get them.

        Returns:
            The outputs of the last rank.

        Raises:
            ModelError: A rank failed, or did not answer within the limit; the inputs are too large for a message; or
                the agents are gone.
        """
        async with self._turns:
            while self._unsettled:
                await self._recover()
            self._check_open()
            inputs = one_row(arrays)
            call = self._new_call(subgraph)
            for ranks, rows in (
                (range(input_ranks), inputs),
                (range(input_ranks, self.rank_size), one_row([])),
            ):
                self._tell(ranks, RunGraph(call.number, subgraph, rows))
            await wait_for_event(call.done, self._answer_s)
            if not call.done.is_set():
                self._unsettled = True
                asyncio.get_running_loop().call_later(
                    (_LIMITS_UNTIL_GIVEN_UP - 1) * self._answer_s, self._give_up, call
                )
            if call.failures or call.waiting:
                raise ModelError(self._reason(call))
            return call.outputs

    def take_result(self, rank: int, result: GraphResult) -> None:
        """Take the answer of one rank."""
        call = self._calls.get(result.run_id)
        if call is None or rank not in call.waiting:
            raise ChannelError(f"rank {rank} answers batch {result.run_id}, which it was not asked")
        call.waiting.discard(rank)
        outcome = result.outcome
        if isinstance(outcome, FailedRows):
            call.failures[rank] = outcome.failure.text
            self._failed_graphs.add(call.subgraph)
            self._unsettled = True
        elif rank == self.rank_size - 1:
            columns = (column for column in outcome.columns if not isinstance(column, list))
            # A small message arrives in memory that must not be written to, and who gets the outputs may.
            call.outputs = [np.require(column[0], requirements="W") for column in columns]
        if not call.waiting:
            del self._calls[result.run_id]
            call.done.set()

    async def _recover(self) -> None:
        """After a failure: wait until all ranks have answered everything, and let them load the graph anew.

        Raises:
            ModelError: That did not happen in time, or the agents are gone.
        """
        async with self._recovery:
            if not self._unsettled:
                return
            self._check_open()
            for call in list(self._calls.values()):
                await wait_for_event(call.done, self._answer_s)
                if call.waiting:
                    raise ModelError(self._reason(call))
            while self._failed_graphs:
                await self._reload(self._failed_graphs.pop())
            self._unsettled = False

    async def _reload(self, subgraph: int) -> None:
        log.warning("Graph %s has failed and is loaded anew on all ranks", subgraph)
        call = self._new_call(subgraph)
        self._tell(range(self.rank_size), ReloadGraph(call.number, subgraph))
        self._reloading = True
        await wait_for_event(call.done, _LOAD_S)
        self._reloading = False
        if call.waiting or call.failures:
            self.fail(f"graph {subgraph} cannot be loaded anew: {self._reason(call)}")
        self._check_open()

    def _check_open(self) -> None:
        if self.failure or self._stopped:
            raise ModelError(f"Servable stopped: {self.failure or 'the worker ends'}")

    def _new_call(self, subgraph: int) -> _Call:
        self._last_number = (self._last_number + 1) & 0xFFFFFFFF
        call = self._calls[self._last_number] = _Call(self._last_number, subgraph, set(range(self.rank_size)))
        return call

    def _reason(self, call: _Call) -> str:
        if call.failures:
            rank = min(call.failures)
            return f"Error happened on get result of rank {rank}: {call.failures[rank]}"
        if self.failure:
            return f"Servable stopped: {self.failure}"
        return f"Failed to wait for result of rank {min(call.waiting)}"

    def _give_up(self, call: _Call) -> None:
        if call.waiting:
            limit_s = _LIMITS_UNTIL_GIVEN_UP * self._answer_s
            self.fail(
                f"rank {min(call.waiting)} has not answered for {limit_s:g} s, the ranks are out of step"
            )

    def _tell(self, ranks: Sequence[int], message: ToAgent) -> None:
        frame = frame_of(message)
        for rank in ranks:
            self._agents[rank].send_frame(frame)

    def _tell_all(self, message: ToAgent) -> None:
        for agent in self._agents.values():
            agent.send(message)


def one_row(arrays: Sequence[Array], most_bytes: int = _MOST_BYTES) -> Rows:
    """Inputs or outputs of a graph as what a message carries: one row that holds everything.

    Raises:
        ModelError: They are too large. Who receives such a message would take it for nonsense and end the connection.
    """
    size = sum(array.nbytes for array in arrays)
    if size > most_bytes:
        raise ModelError(
            f"The inputs or outputs of one batch have {size} bytes, at most {most_bytes} can be sent between the "
            "distributed worker and its agents, export the model with a smaller batch"
        )
    specs = tuple(
        TensorSpec(f"x{i}", DATA_TYPE_OF[array.dtype], array.shape) for i, array in enumerate(arrays)
    )
    return Rows(specs, tuple(array[None] for array in arrays), 1)
