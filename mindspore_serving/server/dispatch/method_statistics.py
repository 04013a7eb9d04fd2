"""What is counted of one method: plain integers that only grow, written by dispatch alone (`counting`, ADR 51)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mindspore_serving.errors import Outcome as Outcome


class Phase(Enum):
    """Where a request is; `TOTAL` is all of it, from the moment when it was read until its reply was made."""

    DECODE = "decode"
    QUEUE = "queue"
    INPUT = "input"
    COMPUTE = "compute"
    OUTPUT = "output"
    ENCODE = "encode"
    TOTAL = "total"


@dataclass(slots=True)
class Histogram:
    """How often something took how long.

    Attributes:
        bounds: Upper bounds of the buckets in seconds, ascending; behind the last one there is a bucket without.
        counts: How many fell into each bucket, and into no lower one; one more than there are bounds.
        sum_s: Seconds in all.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """How many in all."""
        return sum(self.counts)


@dataclass(slots=True)
class Duration:
    """How often something took time, and how long that was in all.

    Attributes:
        count: How often.
        ns: Nanoseconds in all.
    """

    count: int = 0
    ns: int = 0


@dataclass(slots=True)
class BatchTimes:
    """Times of batches of one size.

    Attributes:
        compute_input: From the moment a batch leaves the queue until its first stage begins: it is written, and waits
            in the worker, as behind the batch before it.
        compute_infer: From then until its last stage has ended, including the waits between stages.
        compute_output: The rest of the time until its last result has been taken. The way to the worker, which cannot
            be told from the way back, is counted here.
    """

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class MethodStatistics:
    """What is counted of one method of one version of a servable.

    A request counts once in `success` or `fail`. It counts once in `queue` and in each of `compute_input`,
    `compute_infer` and `compute_output` if any of it was sent, also where workers were lost and it was sent again.
    What was refused counts nowhere: it was not admitted.

    Attributes:
        success: Requests of which every instance has a result, and the time from admission to the reply.
        fail: Requests of which an instance has none, whose client has gone, or whose time was over; and likewise.
        queue: Requests, and the time until the first of their instances left the queue.
        compute_input: As of `BatchTimes`, per request: each one of a batch is charged with all of its time. One that
            was split over several batches is charged with the sum of theirs, although they may run side by side.
        compute_infer: Likewise; and with the time of batches whose worker was lost.
        compute_output: Likewise as `compute_input`.
        instances: Instances that have a result of a worker, whether somebody still waited for it or not.
        executions: Batches that a worker has run to their end. A batch may be several runs of a model.
        last_request_ms: When a request was last sent to a worker, in milliseconds since 1970; 0 where none was.
        batches: By number of instances. There are at most as many as a batch may have instances.
        requests: Requests that have ended, by what became of them. One with several outcomes has that of its first
            instance without a result.
        outcomes: Instances, likewise, each with its own. All of a request whose client has gone, or whose time was
            over, are that, also those that had a result.
        phases: How long requests were in each phase; a phase in which none was may lack. QUEUE, INPUT, COMPUTE and
            OUTPUT have each request that was sent to a worker, from when it has ended and none of its batches is under
            way. TOTAL has each request. DECODE and ENCODE lack those of other methods and of clusters.
        steps: Time of each stage and of each model in workers, by name, and for how many batches it ran. Where rows of
            several batches ran together, each has its share of the time.
        model_rows: Rows with which models were run.
        padding_rows: Those of them that only fill up a batch of fixed size.
        cancelled_before_run: Instances that cost no work, because their client had gone, or their time was over, before
            a worker had them; counted when they are left out of a batch.
        refused: Requests for it that were not admitted, by what refused them, as of `ServerStatistics.refused`.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    instances: int = 0
    executions: int = 0
    last_request_ms: int = 0
    batches: dict[int, BatchTimes] = field(default_factory=dict)
    requests: dict[Outcome, int] = field(default_factory=dict)
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    phases: dict[Phase, Histogram] = field(default_factory=dict)
    steps: dict[str, Duration] = field(default_factory=dict)
    model_rows: int = 0
    padding_rows: int = 0
    cancelled_before_run: int = 0
    refused: dict[str, int] = field(default_factory=dict)
