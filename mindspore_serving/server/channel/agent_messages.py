"""What a distributed worker says to its agents, and to the processes that start them, and what these say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mindspore_serving.rows import Group, Rows
from mindspore_serving.server.channel.cluster_messages import Challenge, JoinRefused, Welcome
from mindspore_serving.server.channel.messages import Alive, Exiting, Stop
from mindspore_serving.signature import ModelInfo


@dataclass(frozen=True, slots=True)
class AgentHello:
    """Agent, or the process that starts agents, to a distributed worker, answer to `Challenge`.

    Attributes:
        nonce: Random text of the sender's own, used once.
        proof: That the sender knows the token; see `cluster.token`.
        rank: Rank of the agent; -1 for a process that starts agents.
        address: `ip:port` of the agent, or what logs call the process.
        scheduler: `ip:port` of the process through which ranks find each other; only rank 0 knows one.
    """

    nonce: str
    proof: str
    rank: int
    address: str
    scheduler: str = ""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Distributed worker to a process that starts agents: what is to be started.

    Attributes:
        servable: Servable name.
        ips: IP address of the machine of each rank.
        device_ids: Device of each rank.
        device_ips: Address of the device of each rank; empty where it has none.
        with_batch_dim: As the model is declared.
        without_batch_dim_inputs: As the model is declared.
        max_batch_size: Most rows of a batch, where the first dimension is dynamic.
    """

    servable: str
    ips: tuple[str, ...]
    device_ids: tuple[int, ...]
    device_ips: tuple[str, ...]
    with_batch_dim: bool
    without_batch_dim_inputs: tuple[int, ...]
    max_batch_size: int


@dataclass(frozen=True, slots=True)
class AgentsGathered:
    """Distributed worker to its agents: all of them are here, load your models.

    Attributes:
        scheduler: As rank 0 has given it; empty where none is needed.
    """

    scheduler: str


@dataclass(frozen=True, slots=True)
class AgentReady:
    """Agent to the distributed worker: the models of this rank are loaded.

    Attributes:
        models: One, with a graph for each subgraph; all shapes are full ones.
    """

    models: tuple[ModelInfo, ...]


@dataclass(frozen=True, slots=True)
class AgentsAccepted:
    """Distributed worker to its agents: the models of all ranks fit together, batches will come."""


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """Agent, or the process that starts agents, to the distributed worker: it cannot start, or ends.

    Attributes:
        reason: What the user reads.
    """

    reason: str


@dataclass(slots=True)
class RunGraph:
    """Distributed worker to its agents: run a graph.

    Attributes:
        run_id: For the answer; unique among those that are not answered.
        subgraph: Which graph.
        inputs: One row that holds all inputs; without columns for a rank that gets none.
    """

    run_id: int
    subgraph: int
    inputs: Rows


@dataclass(frozen=True, slots=True)
class ReloadGraph:
    """Distributed worker to its agents: load a graph anew, after it has failed.

    Attributes:
        run_id: As in `RunGraph`.
        subgraph: Which graph.
    """

    run_id: int
    subgraph: int


@dataclass(slots=True)
class GraphResult:
    """Agent to the distributed worker: outcome of a `RunGraph` or a `ReloadGraph`.

    Attributes:
        run_id: As it was asked.
        outcome: One row that holds all outputs, without columns from a rank that sends none; or the failure.
    """

    run_id: int
    outcome: Group


FromAgent: TypeAlias = AgentHello | AgentReady | AgentFailed | Alive | Exiting | GraphResult
ToAgent: TypeAlias = (
    Challenge
    | Welcome
    | JoinRefused
    | AgentSettings
    | AgentsGathered
    | AgentsAccepted
    | Alive
    | Stop
    | RunGraph
    | ReloadGraph
)
