"""Agents that run in the test: they speak the protocol of real ones, and answer as the test wants."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mindspore_serving.errors import ModelError
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.agent_messages import (
    AgentHello,
    AgentReady,
    AgentsAccepted,
    AgentsGathered,
    GraphResult,
    ReloadGraph,
    RunGraph,
    ToAgent,
)
from mindspore_serving.server.channel.cluster_messages import Challenge, JoinRefused, Welcome
from mindspore_serving.server.channel.frames import TO_AGENT, FrameSplitter, Message, frame_of, message_of
from mindspore_serving.server.channel.messages import Alive, Stop
from mindspore_serving.server.cluster.token import proof
from mindspore_serving.signature import GraphInfo, ModelInfo
from mindspore_serving.tensor import DATA_TYPE_OF, Array, DataType, TensorSpec
from tests.support.watch import wait_until

JOIN_TIMEOUT_S = 30.0
_BEAT_S = 0.5

Answer = Callable[[RunGraph], "Group | None"]


def graph_of(inputs: int = 2, outputs: int = 1, shape: tuple[int, ...] = (2, 2)) -> GraphInfo:
    """A graph as agents describe it, all float32."""

    def specs(prefix: str, count: int) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(f"{prefix}{i}", DataType.FLOAT32, shape) for i in range(count))

    return GraphInfo(specs("x", inputs), specs("y", outputs), 0, False)


def arrays_of(run: RunGraph) -> list[Array]:
    """The inputs of a run."""
    return [column[0] for column in run.inputs.columns if not isinstance(column, list)]


def rows_of(*arrays: Array) -> Rows:
    """Outputs as an agent sends them."""
    specs = tuple(TensorSpec(f"y{i}", DATA_TYPE_OF[a.dtype], a.shape) for i, a in enumerate(arrays))
    return Rows(specs, tuple(a[None] for a in arrays), 1)


def failed(text: str) -> FailedRows:
    """What an agent sends whose model has failed."""
    return FailedRows(ModelError(text).failure(), 1)


class FakeAgent:
    """One rank.

    Args:
        address: Where the distributed worker listens; it may be started later.
        rank: Number of the rank.
        ranks: Number of all.
        graph: What it claims to have loaded.

    Attributes:
        answer: Makes the outcome of a run; None for no answer at all. The last rank adds its inputs by default.
        reload: Outcome of a `ReloadGraph`.
        received: All messages from the worker, but for those that say that it lives.
    """

    def __init__(self, address: str, rank: int, ranks: int, graph: GraphInfo) -> None:
        self.rank = rank
        self.answer: Answer = self.add
        self.reload: Group = rows_of()
        self.received: list[ToAgent] = []
        self.refused = ""
        self._last = rank == ranks - 1
        self._address = address
        self._graph = graph
        self._socket = socket.socket()
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"fake agent {rank}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<FakeAgent {self.rank}>"

    def add(self, run: RunGraph) -> Group:
        """The sum of the inputs."""
        arrays = arrays_of(run)
        return rows_of(np.sum(arrays, axis=0, dtype=np.float32)) if self._last else rows_of()

    def count(self, kind: type) -> int:
        """How many messages of a kind have come."""
        return sum(type(message) is kind for message in list(self.received))

    def send(self, message: Message) -> None:
        """Send a message; dropped if the connection has ended."""
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(frame_of(message))

    def has_lost_its_worker(self) -> bool:
        """Whether the connection has ended, whoever has ended it."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End the connection."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(JOIN_TIMEOUT_S)
        self._socket.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self._connect()
            splitter = FrameSplitter()
            while not self._closed.is_set():
                if not select.select([self._socket], [], [], _BEAT_S)[0]:
                    self.send(Alive())
                    continue
                data = self._socket.recv(1 << 20)
                if not data:
                    return
                for kind, body in splitter.feed(data):
                    self._act(message_of(kind, body, TO_AGENT, own=True))

    def _connect(self) -> None:
        ip, _, port = self._address.rpartition(":")
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        while not self._closed.wait(0.05) and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError):
                self._socket.connect((ip, int(port)))
                return

    def _act(self, message: ToAgent) -> None:
        if isinstance(message, Alive):
            return
        self.received.append(message)
        if isinstance(message, Challenge):
            shown = proof("", "agent", message.nonce, "a nonce")
            self.send(AgentHello("a nonce", shown, self.rank, f"fake agent:{self.rank}"))
        elif isinstance(message, JoinRefused):
            self.refused = message.reason
        elif isinstance(message, AgentsGathered):
            self.send(AgentReady((ModelInfo("", (self._graph,)),)))
        elif isinstance(message, (RunGraph, ReloadGraph)):
            group = self.answer(message) if isinstance(message, RunGraph) else self.reload
            if group is not None:
                self.send(GraphResult(message.run_id, group))
        else:
            assert isinstance(message, (Welcome, AgentsAccepted, Stop)), message


@contextlib.contextmanager
def fake_agents(address: str, graphs: Sequence[GraphInfo]) -> Iterator[list[FakeAgent]]:
    """A fake agent for each graph, which may still be joining."""
    agents = [FakeAgent(address, rank, len(graphs), graph) for rank, graph in enumerate(graphs)]
    try:
        yield agents
    finally:
        for agent in agents:
            agent.close()


def wait_until_reloaded(agents: Sequence[FakeAgent], times: int = 1) -> None:
    """Wait until all were told to load their graph anew."""
    wait_until(lambda: all(a.count(ReloadGraph) == times for a in agents), f"{times} times loaded anew")
