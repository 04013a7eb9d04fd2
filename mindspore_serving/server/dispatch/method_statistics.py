"""What is counted of one method: plain integers that only grow, written by dispatch alone (`counting`, ADR 51)."""

from __future__ import annotations

from dataclasses import dataclass, field


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
