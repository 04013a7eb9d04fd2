"""What is counted of one method: plain integers that only grow, written by dispatch alone."""

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

    def add(self, ns: int, count: int = 1) -> None:
        """Count some that took so long together."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchTimes:
    """Times of batches of one size.

    Attributes:
        compute_input: From the moment a batch is sent to a worker until its first stage begins.
        compute_infer: While its stages run.
        compute_output: From the end of its last stage until the results have been taken.
    """

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class MethodStatistics:
    """What is counted of one method of one version of a servable.

    Attributes:
        success: Requests of which every instance has a result, and the time from admission to the reply.
        fail: Requests of which an instance has none, and likewise.
        queue: Requests, and the time that they waited for a copy.
        compute_input: As of `BatchTimes`, per request: each one of a batch is charged with all of its time.
        compute_infer: Likewise.
        compute_output: Likewise.
        instances: Instances that have a result.
        executions: Batches that were run.
        last_request_ms: When the last request came, in milliseconds since 1970; 0 where none has.
        batches: By number of instances.
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
