"""The numbers of one method, as they grow; `counting` changes them, and nobody else."""

from __future__ import annotations

import numpy as np

from mindspore_serving.errors import Outcome
from mindspore_serving.server.dispatch.method_statistics import (
    BatchTimes,
    Duration,
    Histogram,
    MethodStatistics,
    Phase,
)
from mindspore_serving.server.host.settings import DEFAULT_LATENCY_BUCKETS

MOST_TIMED = 256
"""Answered requests whose times are kept as they are, until they are put into buckets together."""


class TimeCounter:
    """Counts what has three parts, as of `BatchTimes`.

    Attributes:
        count: How many.
        input_s: Seconds in all of the first part.
        infer_s: Of the second.
        output_s: Of the third.
    """

    __slots__ = ("count", "infer_s", "input_s", "output_s")

    def __init__(self) -> None:
        self.count = 0
        self.input_s = self.infer_s = self.output_s = 0.0

    def durations(self) -> tuple[Duration, Duration, Duration]:
        """The three parts."""
        return _ns(self.count, self.input_s), _ns(self.count, self.infer_s), _ns(self.count, self.output_s)


class MethodCounter:
    """Counts one method of one version of a servable; `snapshot` shows it.

    It is flat, and its times are in seconds, because that is quicker: several of these numbers change for each request.
    No sum is kept twice: those of histograms are made of the others when somebody reads them.

    Args:
        servable: Name of the servable.
        version: Version number.
        method: Name of the method.
        bounds: Upper bounds of the buckets of all histograms, in seconds, ascending.

    Attributes:
        servable: As above.
        version: As above.
        method: As above.
        bounds: As above.
        admitted: Requests that were queued, called ones included.
        admitted_instances: Their instances.
        success: Requests that have succeeded, as of `MethodStatistics`.
        success_s: Seconds that these took in all.
        ok_instances: Instances of ended requests that have a result.
        fail: Requests that have not.
        fail_s: Likewise.
        failed_requests: The same by what became of them.
        failed_instances: Instances of ended requests that have no result, likewise.
        sent: Requests that were sent to a worker.
        queue_s: Seconds that these waited before in all.
        beside: What requests were charged with beside the times in `batches`: one of these is charged once for each
            request that is in it, and lost ones are not among them. A number may be negative: of a request in several
            batches, only the first one counts.
        instances: Instances that have a result of a worker.
        last_sent: When a request was sent last, in seconds since 1970.
        batches: Batches that were run, by number of instances.
        executions: The same in all.
        lost: Batches whose worker was lost.
        queued: How many requests fell into each bucket of `bounds` with the time that they waited.
        inputs: Likewise, of the phase INPUT.
        computes: Of the phase COMPUTE.
        outputs: Of the phase OUTPUT.
        decodes: Of the phase DECODE.
        encodes: Of the phase ENCODE.
        totals: Of the phase TOTAL.
        decode_s: Seconds in all of the phase DECODE.
        encode_s: Of the phase ENCODE.
        timed: Of requests that were answered just now, the time of each phase in the order of `Phase`, in seconds;
            `digest` puts them into the buckets. At most `MOST_TIMED`.
        steps: By name of a stage or model, how many batches it has run for, and microseconds of that.
        step_names: Names of the steps of the batch that has run last.
        step_list: These steps, in order.
        model_rows: As of `MethodStatistics`.
        padding_rows: Likewise.
        dropped: Instances of ended requests that were left out of batches.
        refused: As of `MethodStatistics`.
    """

    __slots__ = (
        "_seen",
        "_shown",
        "admitted",
        "admitted_instances",
        "batches",
        "beside",
        "bounds",
        "computes",
        "decode_s",
        "decodes",
        "dropped",
        "encode_s",
        "encodes",
        "executions",
        "fail",
        "fail_s",
        "failed_instances",
        "failed_requests",
        "inputs",
        "instances",
        "last_sent",
        "lost",
        "method",
        "model_rows",
        "ok_instances",
        "outputs",
        "padding_rows",
        "queue_s",
        "queued",
        "refused",
        "sent",
        "servable",
        "step_list",
        "step_names",
        "steps",
        "success",
        "success_s",
        "timed",
        "totals",
        "version",
    )

    def __init__(
        self,
        servable: str = "",
        version: int = 0,
        method: str = "",
        bounds: tuple[float, ...] = DEFAULT_LATENCY_BUCKETS,
    ) -> None:
        self.servable = servable
        self.version = version
        self.method = method
        self.bounds = bounds
        self.admitted = self.admitted_instances = 0
        self.success = self.fail = self.sent = self.instances = self.ok_instances = 0
        self.executions = self.lost = self.dropped = self.model_rows = self.padding_rows = 0
        self.success_s = self.fail_s = self.queue_s = self.last_sent = self.decode_s = self.encode_s = 0.0
        self.failed_requests: dict[Outcome, int] = {}
        self.failed_instances: dict[Outcome, int] = {}
        self.beside = TimeCounter()
        self.batches: dict[int, TimeCounter] = {}
        self.queued, self.inputs, self.computes, self.outputs, self.decodes, self.encodes, self.totals = (
            [0] * (len(bounds) + 1) for _ in range(7)
        )
        self.timed: list[tuple[float, float, float, float, float, float, float]] = []
        self.steps: dict[str, list[int]] = {}
        self.step_names: tuple[str, ...] = ()
        self.step_list: list[list[int]] = []
        self.refused: dict[str, int] = {}
        self._shown = MethodStatistics()
        self._seen: tuple[object, ...] = ()

    def __repr__(self) -> str:
        return f"<MethodCounter {self.success} succeeded, {self.fail} failed, {self.instances} instances>"

    @property
    def pending_requests(self) -> int:
        """Requests that have not ended."""
        return self.admitted - self.success - self.fail

    @property
    def pending_instances(self) -> int:
        """Their instances."""
        return self.admitted_instances - self.ok_instances - sum(self.failed_instances.values())

    def digest(self) -> None:
        """Put the times that are kept into the buckets, which is far quicker for many at once."""
        timed, self.timed = self.timed, []
        if not timed:
            return
        phases = np.array(timed).T
        self.decode_s += float(phases[0].sum())
        self.encode_s += float(phases[5].sum())
        histograms = (
            self.decodes,
            self.queued,
            self.inputs,
            self.computes,
            self.outputs,
            self.encodes,
            self.totals,
        )
        for counts, seconds in zip(histograms, phases, strict=True):
            found = np.bincount(np.searchsorted(self.bounds, seconds))
            for index, count in enumerate(found.tolist()):
                counts[index] += count

    def snapshot(self) -> MethodStatistics:
        """What has been counted until now: the same object as before, as long as nothing has changed."""
        self.digest()
        seen = (
            *(self.admitted, self.success, self.fail, self.sent, self.instances, self.executions, self.lost),
            *(self.decode_s, self.encode_s, self.dropped, sum(self.refused.values())),
            *(sum(self.queued), sum(self.totals)),
        )
        if seen != self._seen:
            self._seen = seen
            self._shown = self._snapshot()
        return self._shown

    def _snapshot(self) -> MethodStatistics:
        computed = self._computed()
        return MethodStatistics(
            _ns(self.success, self.success_s),
            _ns(self.fail, self.fail_s),
            _ns(self.sent, self.queue_s),
            *computed.durations(),
            instances=self.instances,
            executions=self.executions,
            last_request_ms=int(self.last_sent * 1000),
            batches={size: BatchTimes(*times.durations()) for size, times in sorted(self.batches.items())},
            requests=_with_ok(self.success, self.failed_requests),
            outcomes=_with_ok(self.ok_instances, self.failed_instances),
            phases=self._phases(computed),
            steps={name: Duration(count, us * 1000) for name, (count, us) in self.steps.items() if count},
            model_rows=self.model_rows,
            padding_rows=self.padding_rows,
            cancelled_before_run=self.dropped,
            refused=dict(self.refused),
        )

    def _computed(self) -> TimeCounter:
        """Requests of which a batch was run or lost, and their times."""
        computed = TimeCounter()
        for times in (*self.batches.values(), self.beside):
            computed.count += times.count
            computed.input_s += times.input_s
            computed.infer_s += times.infer_s
            computed.output_s += times.output_s
        return computed

    def _phases(self, computed: TimeCounter) -> dict[Phase, Histogram]:
        """The histograms. While requests are under way, a sum may have more of them than the buckets."""
        total_s = self.success_s + self.fail_s + self.decode_s + self.encode_s
        found = {
            Phase.DECODE: (self.decodes, self.decode_s),
            Phase.QUEUE: (self.queued, self.queue_s),
            Phase.INPUT: (self.inputs, computed.input_s),
            Phase.COMPUTE: (self.computes, computed.infer_s),
            Phase.OUTPUT: (self.outputs, computed.output_s),
            Phase.ENCODE: (self.encodes, self.encode_s),
            Phase.TOTAL: (self.totals, total_s),
        }
        return {
            phase: Histogram(self.bounds, tuple(counts), seconds)
            for phase, (counts, seconds) in found.items()
            if any(counts)
        }


def _with_ok(ok: int, failed: dict[Outcome, int]) -> dict[Outcome, int]:
    return {Outcome.OK: ok, **failed} if ok else dict(failed)


def _ns(count: int, seconds: float) -> Duration:
    return Duration(count, int(seconds * 1e9))


NOBODY = MethodCounter()
"""Counts requests that are of no method, and is shown to nobody."""
