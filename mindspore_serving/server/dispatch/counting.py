"""What is counted, and when (ADR 51): the only place that counts, apart from the number of results.

A request is counted when its first piece is sent, when a batch with a part of it has been run or lost, and when it
ends. Times are durations: a worker may be on another machine, whose clock is another one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mindspore_serving.server.channel.messages import Result
from mindspore_serving.server.dispatch.method_statistics import BatchTimes, Duration, MethodStatistics

if TYPE_CHECKING:
    from mindspore_serving.server.dispatch.client_call import ClientCall
    from mindspore_serving.server.dispatch.copy import SentBatch
    from mindspore_serving.server.dispatch.request import Request

_US = 1e-6


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

    Attributes:
        success: Requests that have succeeded, as of `MethodStatistics`.
        success_s: Seconds that these took in all.
        fail: Requests that have not.
        fail_s: Likewise.
        sent: Requests that were sent to a worker.
        queue_s: Seconds that these waited before in all.
        beside: What requests were charged with beside the times in `batches`: one of these is charged once for each
            request that is in it, and lost ones are not among them. A number may be negative: of a request in several
            batches, only the first one counts.
        instances: Instances that have a result.
        last_sent: When a request was sent last, in seconds since 1970.
        batches: Batches that were run, by number of instances.
    """

    __slots__ = (
        "batches",
        "beside",
        "fail",
        "fail_s",
        "instances",
        "last_sent",
        "queue_s",
        "sent",
        "success",
        "success_s",
    )

    def __init__(self) -> None:
        self.success = self.fail = self.sent = self.instances = 0
        self.success_s = self.fail_s = self.queue_s = self.last_sent = 0.0
        self.beside = TimeCounter()
        self.batches: dict[int, TimeCounter] = {}

    def __repr__(self) -> str:
        return f"<MethodCounter {self.success} succeeded, {self.fail} failed, {self.instances} instances>"

    def snapshot(self) -> MethodStatistics:
        """What has been counted until now."""
        return MethodStatistics(
            _ns(self.success, self.success_s),
            _ns(self.fail, self.fail_s),
            _ns(self.sent, self.queue_s),
            *self._computed().durations(),
            instances=self.instances,
            executions=sum([times.count for times in self.batches.values()]),
            last_request_ms=int(self.last_sent * 1000),
            batches={size: BatchTimes(*times.durations()) for size, times in sorted(self.batches.items())},
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


def count_sent(batch: SentBatch, number: int) -> None:
    """Count the requests of a batch that has been sent: those of which it is the first one have waited until now.

    Args:
        batch: The batch; learns how many requests it has.
        number: Of the batch among those of the servable, from 1 on.
    """
    counter = batch.counter
    counter.last_sent = time.time()
    if len(batch.pieces) == 1:  # the common case
        request = batch.pieces[0].request
        batch.requests, batch.first = 1, 0
        if not request.last_batch:
            batch.first = 1
            counter.sent += 1
            counter.queue_s += batch.taken - request.admitted
        request.last_batch = number
        return
    requests, first, waited = 0, 0, 0.0
    taken = batch.taken
    for piece in batch.pieces:
        request = piece.request
        last = request.last_batch
        if last == number:  # another piece of it is in the batch, too
            continue
        request.last_batch = number
        requests += 1
        if not last:
            first += 1
            waited += taken - request.admitted
    batch.requests, batch.first = requests, first
    counter.sent += first
    counter.queue_s += waited


def count_run(batch: SentBatch, result: Result) -> None:
    """Count a batch of which all results have come.

    There are three parts. Its stages ran for as long as the worker says; before that it was written, and waited there;
    the rest is the results' way. The worker's times are cut where they are longer than all of it.

    Args:
        batch: The batch; each of its requests is charged with all of its time.
        result: Its last one.
    """
    taken = batch.taken
    whole = batch.done - taken
    infer = result.run_us * _US
    before = batch.sent - taken + result.wait_us * _US
    rest = whole - infer
    if before > rest:
        infer = min(infer, whole)
        before = rest = whole - infer
    counter = batch.counter
    times = counter.batches.get(batch.count)
    if times is None:
        times = counter.batches[batch.count] = TimeCounter()
    times.count += 1
    times.input_s += before
    times.infer_s += infer
    times.output_s += rest - before
    if batch.requests > 1 or not batch.first:
        beside, more = counter.beside, batch.requests - 1
        beside.count += batch.first - 1
        beside.input_s += before * more
        beside.infer_s += infer * more
        beside.output_s += (rest - before) * more
    if batch.pieces[0].request.times is not None:  # so it is with all requests of the method
        for piece in batch.pieces:
            piece.request.times = (taken - piece.request.admitted + before, infer)


def count_lost(batch: SentBatch, now: float) -> None:
    """Charge the requests of a batch whose worker was lost with the time until now; it was not run.

    Args:
        batch: The batch.
        now: The time.
    """
    beside = batch.counter.beside
    beside.count += batch.first
    beside.infer_s += (now - batch.taken) * batch.requests


def count_end(request: Request, now: float) -> None:
    """Count a request that was answered, or whose client has gone.

    Args:
        request: The request, which has ended.
        now: The time.
    """
    counter = request.counter
    if request.pending or request.failed:
        counter.fail += 1
        counter.fail_s += now - request.admitted
    else:
        counter.success += 1
        counter.success_s += now - request.admitted
    if request.trace is not None:
        request.trace.ended(request, now)


def count_answered(call: ClientCall, now: float) -> None:
    """Count a call whose reply is complete.

    Args:
        call: The call.
        now: The time.
    """


def _ns(count: int, seconds: float) -> Duration:
    return Duration(count, int(seconds * 1e9))
