"""What a worker process is given at its start: what it loads, and what it inherits."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from mindspore_serving.errors import ChannelError
from mindspore_serving.options import ServableSettings
from mindspore_serving.server.channel.document import read_document, write_document
from mindspore_serving.server.host.key_pipe import read_key

WAITING_SLOTS = 64
"""Batches in flight per copy of methods that wait for others: each such method has some of its own."""
CALL_SLOTS = 4
"""Calls of models in flight per worker that has none of its own."""
METHOD_CALL_SLOTS = 16
"""Calls of methods in flight per worker that use shared memory; the data of further ones travels in the frame."""


@dataclass(frozen=True, slots=True)
class AgentsPlan:
    """Where a distributed worker finds the agents that hold its model.

    Attributes:
        rank_table: Path of the rank table.
        address: `ip:port` on which agents join.
        wait_s: Seconds to wait for them; 0 for without limit.
    """

    rank_table: str
    address: str
    wait_s: int


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker is to load, and where.

    Attributes:
        settings: Those of its servable, merged: version and type of the device are resolved, paths absolute.
        device_id: Number of the device; for a worker that was not given a device, its number among those.
        has_device: Whether the user named the device.
        remote_models: Whether its models are held by other workers, which it reaches through the main process.
        serves_calls: Whether it runs models for such workers.
        enable_lite: Whether MindSpore Lite runs its models.
        agents: Who holds its model; None for a worker that loads models itself.
        cores: CPU cores that its threads keep to; empty for any.
    """

    settings: ServableSettings
    device_id: int
    has_device: bool
    remote_models: bool = False
    serves_calls: bool = False
    enable_lite: bool = False
    agents: AgentsPlan | None = None
    cores: tuple[int, ...] = ()

    @property
    def servable_name(self) -> str:
        """Name of its servable."""
        return self.settings.servable_name

    @property
    def version(self) -> int:
        """Version of its servable, at least 1."""
        return self.settings.version_number

    @property
    def device_type(self) -> str:
        """Type of the device, `ascend`, `gpu` or `cpu`."""
        return self.settings.device_type

    @property
    def slots(self) -> int:
        """Slots of its shared memory: for batches, for its own calls of models, and for its own calls of methods."""
        return self.first_method_call_slot + METHOD_CALL_SLOTS

    @property
    def first_method_call_slot(self) -> int:
        """Slots from this one on are for its calls of methods, and handed out by the worker."""
        return self.first_call_slot + (CALL_SLOTS if self.remote_models else 0)

    @property
    def first_call_slot(self) -> int:
        """Slots below this one are for batches, and handed out by the main process; the worker hands out the others."""
        return self.settings.slots_per_copy + WAITING_SLOTS

    @property
    def place(self) -> str:
        """`device0`, or `extra0` for a worker without a device of its own."""
        return f"{'device' if self.has_device else 'extra'}{self.device_id}"

    @property
    def servable(self) -> tuple[str, int]:
        """Name and version of its servable."""
        return self.servable_name, self.version

    @property
    def label(self) -> str:
        """How logs call the worker."""
        return f"servable {self.servable_name} version {self.version} {self.place}"

    @property
    def log_file(self) -> str:
        """File name of its log."""
        return f"log_{self.servable_name}_{self.place}_version{self.version}.log"

    def failure(self, reason: str) -> str:
        """How a failed start of this worker reads."""
        if self.has_device:
            return f"{{servable name:{self.servable_name}, device id:{self.device_id}, <{reason}>}}"
        return (
            f"{{servable:{self.servable_name}, version:{self.version}, extra:{self.device_id}, <{reason}>}}"
        )


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """All that a worker process is given at its start, but for the key of its models, which has a pipe of its own.

    Attributes:
        plan: What it loads, without the key.
        number: Its number, under which it registers.
        parent: Process id of the main process.
        memory_idle_s: Seconds after which it gives back shared memory of calls that none needs.
        channel_fd: Descriptor of the socket that leads to the main process.
        memory_fd: Descriptor of the shared memory; None where there is none.
        calls_fd: Descriptor of the memory in which it writes what it calls; None where calls are not limited.
        key_fd: Descriptor of the pipe with the key of its models; None where they have none.
    """

    plan: WorkerPlan
    number: int
    parent: int
    memory_idle_s: float
    channel_fd: int
    memory_fd: int | None
    calls_fd: int | None
    key_fd: int | None


def start_file(start: WorkerStart) -> int:
    """Write down what a worker is given, for the worker alone: in memory, not in a file or on a command line.

    Returns:
        A descriptor that the process inherits, and reads from the start.

    Raises:
        OSError: There is no memory, or no descriptor.
    """
    plan = start.plan
    without_key = replace(start, plan=replace(plan, settings=replace(plan.settings, dec_key=None)))
    descriptor = os.memfd_create("serving start")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii", closefd=False) as file:
            file.write(write_document(without_key))
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_start(descriptor: int) -> WorkerStart:
    """Read what this process was given, and close the descriptor.

    Raises:
        ChannelError: It cannot be read, or does not fit; names the field.
        InvalidParameter: A setting is out of bounds.
    """
    try:
        with os.fdopen(descriptor, encoding="ascii") as file:
            text = file.read()
    except (OSError, ValueError) as cause:
        raise ChannelError(f"a WorkerStart cannot be read from descriptor {descriptor}: {cause}") from cause
    return read_document(WorkerStart, text)


def with_key(start: WorkerStart) -> WorkerPlan:
    """What a worker loads, with the key of its models, which is taken out of its pipe."""
    if start.key_fd is None:
        return start.plan
    settings = replace(start.plan.settings, dec_key=read_key(start.key_fd))
    return replace(start.plan, settings=settings)
