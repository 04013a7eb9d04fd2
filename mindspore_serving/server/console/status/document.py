"""What the page says, as data: `orjson` writes it as it stands, and `docs/status.md` has a row for each field.

Names stay as they are: programs read them. Units are in the names; a number without one is a count. What is not known
is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mindspore_serving.server.dispatch.method_statistics import Phase

WINDOWS: Final = {"10s": 10.0, "1m": 60.0, "5m": 300.0, "start": float("inf")}
"""Names of windows, and how many seconds each should have."""
PHASES: Final = tuple(phase.value for phase in Phase)


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """How long requests were in a phase.

    Attributes:
        count: Requests.
        mean_ms: Mean time, exact.
        p50_ms: Time that half of them did not exceed: an estimate, as the next ones.
        p95_ms: That 95 % did not exceed.
        p99_ms: That 99 % did not exceed.
    """

    count: int
    mean_ms: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Time of a stage or a model in workers.

    Attributes:
        name: As workers call it.
        runs: How often it ran.
        mean_ms: Mean time of a run.
        share: Of the time of all steps of the method, from 0 to 1.
    """

    name: str
    runs: int
    mean_ms: float
    share: float


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted in a span of time that ends now.

    Attributes:
        seconds: How long the span is; longer than asked for where no reading is from that moment, shorter where the
            server is younger.
        requests: Requests that have ended, by outcome; outcomes that none had lack.
        instances: Instances, likewise.
        refused: Requests that were refused before they were admitted, by what refused them; of the server also those
            of unknown methods.
        requests_per_s: Requests that have ended.
        instances_per_s: Their instances.
        phases: By name of the phase; those in which no request was lack.
        batches: Batches that were run.
        mean_batch: Instances of a batch, in the mean; null where none was run.
        batch_sizes: Batches by number of instances, written as text.
        steps: Stages and models, the longest first; of a method only.
        model_rows: Rows with which models were run.
        padding_share: Of these, those that only fill up a batch, from 0 to 1; null where no model was run.
        cancelled_before_run: Instances whose client had gone before a worker had them.
    """

    seconds: float
    requests: Mapping[str, int] = field(default_factory=dict)
    instances: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    requests_per_s: float = 0.0
    instances_per_s: float = 0.0
    phases: Mapping[str, PhaseTimes] = field(default_factory=dict)
    batches: int = 0
    mean_batch: float | None = None
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[StepTimes, ...] = ()
    model_rows: int = 0
    padding_share: float | None = None
    cancelled_before_run: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """Something of which there may be so much.

    Attributes:
        name: `pending_requests`, `pending_instances`, `pending_bytes`, `connections` or `memory_bytes`.
        of: Of what: `server`, or the kind and address of a front end.
        used: How much there is now.
        most: How much there may be.
        share: `used / most`, from 0 to 1; it may be more where the limit was lowered, or one large request was taken.
    """

    name: str
    of: str
    used: int
    most: int
    share: float


@dataclass(frozen=True, slots=True)
class RestartOf:
    """A worker that ended and was started again, or given up.

    Attributes:
        at_unix_s: When it ended, in seconds since 1970.
        ago_s: Likewise, in seconds before now.
        worker: Which one.
        reason: Why it ended, without paths.
    """

    at_unix_s: float
    ago_s: float
    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """A worker.

    Attributes:
        worker: As logs call it.
        device: Number of its device; -1 for none.
        state: `ready`, `starting`, `dead`, `exited`, `failed` or `lost`.
        pid: Of its process; 0 where it is on another machine.
        memory_bytes: Resident memory of its process and their children; 0 where that is not known.
        slots: Batches that may be under way at a time.
        slots_used: How many are.
        restarts: How often it was started again.
    """

    worker: str
    device: int
    state: str
    pid: int
    memory_bytes: int
    slots: int
    slots_used: int
    restarts: int


@dataclass(frozen=True, slots=True)
class MethodStatus:
    """A method of a version.

    Attributes:
        method: Its name.
        windows: By name of the window; a window lacks in which this method was not followed, because very many were
            called.
    """

    method: str
    windows: Mapping[str, Window]


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A version of a servable.

    Attributes:
        servable: Its name.
        version: Its number.
        state: `ready`, `loading`, `unavailable` or `unloading`.
        reason: Why it is not ready, without paths; "" where it is.
        pending_requests: Requests that wait or are under way.
        pending_instances: Their instances.
        waiting_instances: Those of them that no worker has yet.
        limits: Of this version, beside those of the server.
        copies: Its workers.
        last_restarts: At most ten, the newest last.
        methods: The busiest ones.
        methods_left_out: How many further ones there are.
    """

    servable: str
    version: int
    state: str
    reason: str
    pending_requests: int
    pending_instances: int
    waiting_instances: int
    limits: tuple[Limit, ...]
    copies: tuple[CopyStatus, ...]
    last_restarts: tuple[RestartOf, ...]
    methods: tuple[MethodStatus, ...]
    methods_left_out: int = 0


@dataclass(frozen=True, slots=True)
class FrontEndStatus:
    """What listens for clients.

    Attributes:
        kind: `grpc`, `rest` or `admin`.
        address: Where it listens; of a path its last part.
        connections: That are open now; null where nobody knows.
    """

    kind: str
    address: str
    connections: int | None


@dataclass(frozen=True, slots=True)
class Advice:
    """What stands out, and what to try.

    Attributes:
        rule: Name of the rule that says so.
        level: `problem`: requests fail or will; `hint`: it could be quicker; `note`: good to know.
        about: `server`, `SERVABLE/VERSION` or `SERVABLE/VERSION METHOD`.
        text: A sentence or two, with figures.
        figures: What the rule has looked at, by name.
    """

    rule: str
    level: str
    about: str
    text: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StatusDocument:
    """The page.

    Attributes:
        build: Version of MindSpore Serving.
        started_unix_s: When the server began, in seconds since 1970.
        uptime_s: Seconds since then.
        ready: Whether it takes requests, and has a worker for all that is to be served.
        reason: Why it is not ready; "" where it is.
        pending_requests: Requests that wait or are under way.
        pending_instances: Their instances.
        pending_bytes: Bytes of their tensors.
        memory_bytes: Resident memory of the main process, and of the workers on this machine.
        refused: Requests that were refused since the start, by what refused them.
        limits: How much of each there may be.
        front_ends: What listens.
        windows: What was counted of all methods together, by name of the window.
        versions: What is served.
        versions_left_out: How many further versions there are.
        advice: What stands out, problems first; null where nobody has asked for it.
    """

    build: str
    started_unix_s: float
    uptime_s: float
    ready: bool
    reason: str
    pending_requests: int
    pending_instances: int
    pending_bytes: int
    memory_bytes: int
    refused: Mapping[str, int]
    limits: tuple[Limit, ...]
    front_ends: tuple[FrontEndStatus, ...]
    windows: Mapping[str, Window]
    versions: tuple[VersionStatus, ...]
    versions_left_out: int = 0
    advice: tuple[Advice, ...] | None = None
