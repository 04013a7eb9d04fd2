"""What the main process and its workers say to each other.

Other conversations have files of their own: `cluster_messages`, `agent_messages` and `body_messages`.

Nobody changes a message. Those that carry instances are not frozen all the same: there are two for every batch, and a
frozen one takes three times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mindspore_serving.rows import Group, Rows
from mindspore_serving.signature import CalledMethod, MethodSignature, ModelInfo

LONGEST_US = 0xFFFFFFFF
"""What is longer is told as this, about 71 minutes: an int of these messages has 32 bits."""
MOST_ROWS = 0xFFFFFFFF
"""What is more is told as this."""
NO_SLOT = 0xFFFFFFFF
"""In place of a slot: all data travels in the frame."""
NO_BATCH = 0xFFFFFFFF
"""In place of a batch: nobody knows for which instances of the main process a call is."""


@dataclass(frozen=True, slots=True)
class Register:
    """Worker to main: the copy is loaded and warm, send work.

    Attributes:
        worker: Number that main gave this worker on its command line.
        pid: Process id.
        methods: What the worker runs.
        models: The models that it holds.
        calls: What its methods and pipelines call; `MethodCall` names one by its index.
    """

    worker: int
    pid: int
    methods: tuple[MethodSignature, ...]
    models: tuple[ModelInfo, ...] = ()
    calls: tuple[CalledMethod, ...] = ()


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
        return sum([group.count for group in self.groups])


@dataclass(slots=True)
class Result:
    """Worker to main: outcome of some neighbouring instances of a batch.

    `instances` writes it: a new field may be an int or a bool.

    Attributes:
        batch_id: As in the batch.
        slot: As in the batch.
        start: Index in the batch of the first instance of these.
        groups: Results and failures, in order.
        final: Whether the worker is done with the batch.
        wait_us: With the last result, how long the batch has waited in the worker until its first stage began, in
            microseconds; at most `LONGEST_US`.
        run_us: Likewise, how long it took from then until its last stage had ended.
        model_rows: Likewise, rows with which models were run for it; at most `MOST_ROWS`.
        padding_rows: Those of them that only fill up a batch of fixed size.
        steps: Likewise, the part of the batch in the time of each step of the method, by index, in microseconds; 0
            where none of its instances came so far. Their names are those of `MethodSignature.steps`.
    """

    batch_id: int
    slot: int
    start: int
    groups: tuple[Group, ...]
    final: bool
    wait_us: int = 0
    run_us: int = 0
    model_rows: int = 0
    padding_rows: int = 0
    steps: tuple[int, ...] = ()


@dataclass(slots=True)
class ModelCall:
    """Worker to main: instances for a model that another worker holds.

    Attributes:
        call_id: Unique among the calls under way of this worker.
        slot: Index of the slot that this call holds until its reply; the worker has slots of its own for calls.
        method: As `call_method_name` gives it.
        groups: The instances in order, as in a batch.
        batch_id: A batch under way at this worker that has some of them; `NO_BATCH` where nobody knows.
    """

    call_id: int
    slot: int
    method: str
    groups: tuple[Rows, ...]
    batch_id: int = NO_BATCH

    @property
    def count(self) -> int:
        """Number of instances."""
        return sum([group.count for group in self.groups])


@dataclass(slots=True)
class ModelReply:
    """Main to worker: outcome of all instances of a `ModelCall`.

    Attributes:
        call_id: As in the call.
        slot: As in the call.
        groups: Results and failures, in order.
        model_rows: As of `Result`.
        padding_rows: Likewise.
    """

    call_id: int
    slot: int
    groups: tuple[Group, ...]
    model_rows: int = 0
    padding_rows: int = 0


@dataclass(slots=True)
class MethodCall:
    """Worker to main: instances that a batch has for a method of another servable, or of its own.

    Attributes:
        call_id: Unique among the calls under way of this worker.
        slot: Index of the slot that this call holds until its reply; the worker has slots of its own for such calls.
            `NO_SLOT` where none is free: a call never waits for one.
        target: Index in the `calls` that the worker has registered.
        batch_id: The batch that they are for, which is under way at this worker; `NO_BATCH` where nobody knows.
        start: Index in that batch of the first instance of these.
        held: Of how many instances of that batch they are: of as many, one each; or of 1, all of them.
        groups: The values that are given, in order; their names mean nothing.
    """

    call_id: int
    slot: int
    target: int
    batch_id: int
    start: int
    held: int
    groups: tuple[Rows, ...]

    @property
    def count(self) -> int:
        """Number of instances."""
        return sum([group.count for group in self.groups])


@dataclass(slots=True)
class MethodReply:
    """Main to worker: outcome of all instances of a `MethodCall`.

    Attributes:
        call_id: As in the call.
        slot: As in the call.
        groups: Results and failures, in order.
    """

    call_id: int
    slot: int
    groups: tuple[Group, ...]


FromWorker: TypeAlias = (
    Register | StartFailed | WantModels | Alive | Exiting | Result | ModelCall | MethodCall
)
ToWorker: TypeAlias = HeldModels | Stop | MoveLog | Batch | ModelReply | MethodReply
