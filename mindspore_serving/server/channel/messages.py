"""Everything that crosses the process line between the main process and a worker, on this machine or another.

Nobody changes a message. Those of the hot path are not frozen all the same: there are two for every batch,
and a frozen one takes three times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mindspore_serving.rows import Group, Rows
from mindspore_serving.signature import MethodSignature, ModelInfo


@dataclass(frozen=True, slots=True)
class Register:
    """Worker to main: the copy is loaded and warm, send work.

    Attributes:
        worker: Number that main gave this worker on its command line.
        pid: Process id.
        methods: What the worker runs.
        models: The models that it holds.
    """

    worker: int
    pid: int
    methods: tuple[MethodSignature, ...]
    models: tuple[ModelInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class StartFailed:
    """Worker to main: the copy cannot be loaded; the worker exits.

    Attributes:
        worker: Number that main gave this worker on its command line.
        reason: What the user reads.
    """

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class WantModels:
    """Worker to main: which models do the workers on devices hold?

    Attributes:
        worker: Number that main gave this worker on its command line.
    """

    worker: int


@dataclass(frozen=True, slots=True)
class HeldModels:
    """Main to worker: answer to `WantModels`.

    Attributes:
        models: What the workers on devices hold.
    """

    models: tuple[ModelInfo, ...]


@dataclass(frozen=True, slots=True)
class Alive:
    """Worker to main, about once a second: the process runs, however long a stage takes."""


@dataclass(frozen=True, slots=True)
class Exiting:
    """Worker to main: asked to end by a signal or `Stop`; send nothing more."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Main to worker: finish at once."""


@dataclass(slots=True)
class Batch:
    """Main to worker: instances of one method.

    Attributes:
        batch_id: Unique among the batches under way at this worker.
        slot: Index of the slot, and so of the two regions of shared memory, that this batch holds until its last
            result.
        method: Method name.
        groups: The instances in order. The sender may give many small groups: neighbours with equal specs arrive
            as one.
    """

    batch_id: int
    slot: int
    method: str
    groups: tuple[Rows, ...]

    @property
    def count(self) -> int:
        """Number of instances."""
        return sum(group.count for group in self.groups)


@dataclass(slots=True)
class Result:
    """Worker to main: outcome of some neighbouring instances of a batch.

    Attributes:
        batch_id: As in the batch.
        slot: As in the batch.
        start: Index in the batch of the first instance told about.
        groups: Results and failures, in order.
        final: Whether the worker is done with the batch.
    """

    batch_id: int
    slot: int
    start: int
    groups: tuple[Group, ...]
    final: bool


@dataclass(frozen=True, slots=True)
class Challenge:
    """Master of a cluster to a worker that has connected: prove that you know the token.

    Attributes:
        nonce: Random text, used once.
    """

    nonce: str


@dataclass(frozen=True, slots=True)
class Join:
    """Worker to the master of a cluster, answer to `Challenge`: send work.

    Attributes:
        nonce: Random text of the worker's own, used once.
        proof: That the worker knows the token; see `cluster.token`.
        address: `ip:port` that the worker was given as its own; tells it from others.
        member: Random text of this start of the worker.
        pid: Process id.
        servable: Servable name.
        version: Version that it serves.
        methods: What clients may call.
    """

    nonce: str
    proof: str
    address: str
    member: str
    pid: int
    servable: str
    version: int
    methods: tuple[MethodSignature, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    """Master of a cluster to a worker: you are in.

    Attributes:
        proof: That the master knows the token too.
    """

    proof: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Master of a cluster to a worker: you are not let in.

    Attributes:
        reason: Why not.
        final: Whether it would be the same later.
    """

    reason: str
    final: bool = True


@dataclass(slots=True)
class ModelCall(Batch):
    """Worker to main: instances for a model that another worker holds.

    The method is the one that `call_method_name` gives; the worker chooses `batch_id`, and a slot of its own.
    """


@dataclass(slots=True)
class ModelReply(Result):
    """Main to worker: outcome of all instances of a `ModelCall`; `start` is 0, and `final` is set."""


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


@dataclass(frozen=True, slots=True)
class Reload:
    """Distributed worker to its agents: load a graph anew, after it has failed; the answer is a `Result`.

    Attributes:
        batch_id: For the answer.
        subgraph: Which graph.
    """

    batch_id: int
    subgraph: int


@dataclass(frozen=True, slots=True)
class MoveLog:
    """Main to worker: what goes to one file is to go to another one, which has its name now.

    Attributes:
        path: The file; each character stands for the byte of that number, since paths need not be UTF-8.
        device: Of the earlier file.
        inode: Of the earlier file.
    """

    path: str
    device: int
    inode: int


Message: TypeAlias = (
    "Register | StartFailed | WantModels | HeldModels | Alive | Exiting | Stop | Batch | Result | ModelCall | "
    "ModelReply | Challenge | Join | Welcome | Refused | AgentHello | AgentSettings | AgentsGathered | AgentReady | "
    "AgentsAccepted | AgentFailed | Reload | MoveLog"
)
