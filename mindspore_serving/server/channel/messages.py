"""Everything that crosses the process line between the main process and a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mindspore_serving.errors import FailedRows
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import Rows

Group: TypeAlias = "Rows | FailedRows"


@dataclass(frozen=True, slots=True)
class Register:
    """Worker to main: the copy is loaded and warm, send work.

    Attributes:
        worker: Number that main gave this worker on its command line.
        pid: Process id.
        methods: What clients may call.
    """

    worker: int
    pid: int
    methods: tuple[MethodSignature, ...]


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
class Exiting:
    """Worker to main: asked to end by a signal or `Stop`; send nothing more."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Main to worker: finish at once."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


Message: TypeAlias = "Register | StartFailed | Exiting | Stop | Batch | Result"
