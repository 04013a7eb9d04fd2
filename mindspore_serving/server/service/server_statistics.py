"""What the server counts of itself: read by metrics, the status page, the console and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mindspore_serving.server.dispatch.method_statistics import MethodStatistics


@dataclass(frozen=True, slots=True)
class Restart:
    """A worker that ended, or could not be started again.

    Attributes:
        at: When it ended, in seconds since 1970.
        worker: Which one, as logs call it.
        reason: Why it ended.
    """

    at: float
    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class CopyStatistics:
    """A copy of a version of a servable: one worker.

    Attributes:
        worker: As logs call it.
        device: Number of its device; -1 for none.
        state: As of `WorkerHealth.status`.
        pid: Of its process; 0 where there is none on this machine.
        memory_bytes: Resident memory of its process and its children; 0 where that is not known.
        slots: Batches that may be under way at a time.
        slots_used: How many are.
        restarts: How often it was started again.
    """

    worker: str
    device: int
    state: str
    pid: int = 0
    memory_bytes: int = 0
    slots: int = 0
    slots_used: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class VersionStatistics:
    """A version of a servable.

    Attributes:
        servable: Name of the servable.
        version: Number of the version.
        state: Value of its `VersionState`.
        reason: Why it is not ready; "" where it is.
        copies: Its workers.
        methods: What was counted, by name of the method.
        pending_requests: Requests that wait or are under way.
        pending_instances: Instances of these.
        waiting_instances: Those that no worker has, also of models that other workers ask for.
        limits: Most requests, instances and bytes that may be pending; 0 for no limit.
        last_restarts: The last ones, at most ten, the newest last.
    """

    servable: str
    version: int
    state: str
    reason: str
    copies: tuple[CopyStatistics, ...] = ()
    methods: Mapping[str, MethodStatistics] = field(default_factory=dict)
    pending_requests: int = 0
    pending_instances: int = 0
    waiting_instances: int = 0
    limits: tuple[int, int, int] = (0, 0, 0)
    last_restarts: tuple[Restart, ...] = ()


@dataclass(frozen=True, slots=True)
class FrontEndStatistics:
    """What listens for clients.

    Attributes:
        kind: `grpc`, `rest` or `admin`.
        address: Where it listens.
        connections: That are open now; -1 where that is not known, as of gRPC on a Unix socket.
        most_connections: That may be open at a time; 0 where that is not known.
    """

    kind: str
    address: str
    connections: int
    most_connections: int


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """The server.

    Attributes:
        build: Version of MindSpore Serving.
        started: When the server began, in seconds since 1970.
        uptime_s: Seconds since then.
        closing: As of `Dispatcher.closing`.
        pending_requests: Requests of all servables that wait or are under way.
        pending_instances: Their instances.
        pending_bytes: Bytes of their tensors.
        limits: Most requests, instances and bytes that may be pending; 0 for no limit.
        refused: Requests that were refused before they were admitted, by what refused them: `requests`, `instances`,
            `bytes`, `unknown_target`, `unavailable`, `stopping`, `invalid`, `unauthorized`, `replies`. Those of a known
            method are in its `MethodStatistics`, too.
        versions: By servable and version.
        front_ends: What listens.
        memory_bytes: Resident memory of the main process.
    """

    build: str
    started: float
    uptime_s: float
    closing: str = ""
    pending_requests: int = 0
    pending_instances: int = 0
    pending_bytes: int = 0
    limits: tuple[int, int, int] = (0, 0, 0)
    refused: Mapping[str, int] = field(default_factory=dict)
    versions: tuple[VersionStatistics, ...] = ()
    front_ends: tuple[FrontEndStatistics, ...] = ()
    memory_bytes: int = 0
