"""What is counted, and when (ADR 51, 62): the only place that counts what was admitted.

A request is counted when its first piece is sent, when a batch with a part of it has been run or lost, when it ends,
and when the reply to its client is complete. Times are durations: a worker may be on another machine, whose clock is
another one. What a request took falls into a bucket of each phase once it has ended and none of its batches is under
way.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from mindspore_serving.errors import Outcome
from mindspore_serving.server.channel.messages import LONGEST_US, MOST_ROWS, Result
from mindspore_serving.server.dispatch.method_counter import MOST_TIMED, MethodCounter, TimeCounter

if TYPE_CHECKING:
    from mindspore_serving.server.dispatch.client_call import ClientCall
    from mindspore_serving.server.dispatch.copy import SentBatch
    from mindspore_serving.server.dispatch.request import Piece, Request

_US = 1e-6
_MOST_STEPS = 256
"""Names of steps that a method is counted by: workers of a cluster choose them."""


class Relayed:
    """What the batches of a request took, for whoever passes its outcome on to another process.

    Attributes:
        wait_s: Seconds from its admission until the first stage of its last batch began.
        run_s: Seconds from then until the last stage had ended.
        steps: Microseconds of each step, by its index in the method.
        model_rows: Rows with which models were run.
        padding_rows: Those of them that only fill up a batch.
    """

    __slots__ = ("model_rows", "padding_rows", "run_s", "steps", "wait_s")

    def __init__(self) -> None:
        self.wait_s = self.run_s = 0.0
        self.steps: list[int] = []
        self.model_rows = self.padding_rows = 0

    @property
    def numbers(self) -> tuple[int, int, int, int, tuple[int, ...]]:
        """The fields of a `Result` from `wait_us` on."""
        steps = tuple([min(us, LONGEST_US) for us in self.steps])
        rows, padding = min(self.model_rows, MOST_ROWS), min(self.padding_rows, MOST_ROWS)
        return _us(self.wait_s), _us(self.run_s), rows, padding, steps

    def add(self, batch: SentBatch, piece: Piece) -> None:
        """Take the part that a piece has in a batch, which others may share."""
        self.wait_s = batch.taken - piece.request.admitted + batch.input_s
        self.run_s = batch.infer_s
        own, whole = piece.rows.count, batch.count
        self.steps += [0] * (len(batch.steps) - len(self.steps))
        for index, us in enumerate(batch.steps):
            self.steps[index] += -(-us * own // whole)  # what has run is not 0
        self.model_rows += batch.model_rows * own // whole
        self.padding_rows += batch.padding_rows * own // whole


def count_sent(batch: SentBatch) -> None:
    """Count the requests of a batch that has been sent: those of which it is the first one have waited until now.

    Args:
        batch: The batch; learns how many requests it has.
    """
    counter = batch.counter
    counter.last_sent = time.time()
    if len(batch.pieces) == 1:  # the common case
        request = batch.pieces[0].request
        batch.requests = 1
        if request.batch is None:
            request.batch = batch
            batch.first = 1
            counter.sent += 1
            counter.queue_s += batch.taken - request.admitted
        else:
            request.add_batch(batch)
        return
    requests, first, waited = 0, 0, 0.0
    taken = batch.taken
    for piece in batch.pieces:
        request = piece.request
        if request.batch is None:
            request.batch = batch
            first += 1
            waited += taken - request.admitted
        elif request.last_batch is batch:  # another piece of it is in the batch, too
            continue
        else:
            request.add_batch(batch)
        requests += 1
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
    after = rest - before
    batch.input_s, batch.infer_s, batch.output_s = before, infer, after
    counter = batch.counter
    counter.executions += 1
    times = counter.batches.get(batch.count)
    if times is None:
        times = counter.batches[batch.count] = TimeCounter()
    times.count += 1
    times.input_s += before
    times.infer_s += infer
    times.output_s += after
    if result.steps:
        _count_steps(batch, result)
    if batch.requests == 1 and batch.first:  # the common case
        request = batch.pieces[0].request
        if request.ended_at or request.relayed is not None:
            _count_late(batch)
        return
    beside, more = counter.beside, batch.requests - 1
    beside.count += batch.first - 1
    beside.input_s += before * more
    beside.infer_s += infer * more
    beside.output_s += after * more
    _count_late(batch)


def count_lost(batch: SentBatch, now: float) -> None:
    """Charge the requests of a batch whose worker was lost with the time until now; it was not run.

    Args:
        batch: The batch.
        now: The time.
    """
    batch.done = now
    batch.infer_s = now - batch.taken
    counter = batch.counter
    counter.lost += 1
    beside = counter.beside
    beside.count += batch.first
    beside.infer_s += batch.infer_s * batch.requests
    _count_late(batch)


def count_end(request: Request, now: float) -> None:
    """Count a request that was answered, or whose client has gone.

    Args:
        request: The request, which has ended.
        now: The time.
    """
    counter = request.counter
    request.ended_at = now
    own = now - request.admitted
    if request.pending or request.failed:
        _count_failed(request, own)
        if request.began:
            _count_decode(request)
            own, request.began = now - request.began, 0.0
    else:
        counter.success += 1
        counter.success_s += own
        counter.ok_instances += request.count
        if request.began and request.later is None and request.batch.done:  # type: ignore[union-attr]  # it ran
            request.counted = request.waits_for_reply = True  # the common case
            return
    if request.batch is not None and not request.counted:
        _count_phases(request)
    if not request.began:
        counter.totals[bisect_left(counter.bounds, own)] += 1
    if request.trace is not None:
        request.trace.ended(request, now)


def count_answered(call: ClientCall, now: float) -> None:
    """Count a call of a client that is over: its reply is complete, or there is none because the client has gone.

    Called once for each call, whatever the reply is; what has not ended by then counts without the times before and
    after. A call that has found its method, and has led to no request, had a body that could not be read. A request
    that has failed, in part at least, does not count for ENCODE: the reply may be made of something else.

    Args:
        call: The call.
        now: The time.
    """
    requests = call.requests
    if not requests:
        asked = call.asked
        if asked is not None:
            call.asked = None
            count_refused(asked.servable.counters[asked.method.name].refused, "invalid")
        return
    for request in requests:
        began, ended = request.began, request.ended_at
        if not began:  # it has counted
            continue
        if request.waits_for_reply:  # the common case
            request.began = 0.0
            admitted, batch, timed = request.admitted, request.batch, request.counter.timed
            assert batch is not None
            timed.append(
                (
                    admitted - began,
                    batch.taken - admitted,
                    batch.input_s,
                    batch.infer_s,
                    batch.output_s,
                    now - ended,
                    now - began,
                )
            )
            if len(timed) >= MOST_TIMED:
                request.counter.digest()
            continue
        if not ended:  # `count_end` does it
            request.began = 0.0
            continue
        _count_decode(request)
        counter = request.counter
        bounds = counter.bounds
        counter.encodes[bisect_left(bounds, now - ended)] += 1
        counter.encode_s += now - ended
        counter.totals[bisect_left(bounds, now - began)] += 1
        request.began = 0.0


def _count_decode(request: Request) -> None:
    counter = request.counter
    decode = request.admitted - request.began
    counter.decodes[bisect_left(counter.bounds, decode)] += 1
    counter.decode_s += decode


def count_refused(refused: dict[str, int], why: str) -> None:
    """Count a request that was not admitted.

    Args:
        refused: Where it counts.
        why: As of `ServerStatistics.refused`.
    """
    refused[why] = refused.get(why, 0) + 1


def _count_failed(request: Request, own: float) -> None:
    """Count a request of which an instance has no result; the first of these says what became of it."""
    counter = request.counter
    counter.fail += 1
    counter.fail_s += own
    failed = 0
    first: Outcome | None = None
    for group in request.failures:
        outcome = group.failure.outcome
        first = first or outcome
        failed += group.count
        counter.failed_instances[outcome] = counter.failed_instances.get(outcome, 0) + group.count
    counter.ok_instances += request.count - failed
    assert first is not None
    counter.failed_requests[first] = counter.failed_requests.get(first, 0) + 1


def _count_late(batch: SentBatch) -> None:
    """Hand on what a batch took to those who wait for it, and count requests that have ended before it did."""
    for piece in batch.pieces:
        request = piece.request
        if request.relayed is not None:
            request.relayed.add(batch, piece)
        if request.ended_at and not request.counted:
            _count_phases(request)


def _count_phases(request: Request) -> None:
    """Count what a request of any number of batches took, unless one of them is under way."""
    if request.under_way:
        return
    request.counted = True
    counter = request.counter
    bounds = counter.bounds
    counter.queued[bisect_left(bounds, request.queue_s)] += 1
    counter.inputs[bisect_left(bounds, request.input_s)] += 1
    counter.computes[bisect_left(bounds, request.compute_s)] += 1
    counter.outputs[bisect_left(bounds, request.output_s)] += 1


def _count_steps(batch: SentBatch, result: Result) -> None:
    """Count what the worker says of its stages and models: it may say anything, which concerns its method only."""
    counter = batch.counter
    batch.steps = result.steps
    if batch.method.steps != counter.step_names:
        _name_steps(counter, batch.method.steps)
    for step, us in zip(counter.step_list, result.steps, strict=False):
        if us:  # else no row has come so far
            step[0] += 1
            step[1] += us
    rows = result.model_rows
    if rows:
        padding = min(result.padding_rows, rows)
        batch.model_rows, batch.padding_rows = rows, padding
        counter.model_rows += rows
        counter.padding_rows += padding


def _name_steps(counter: MethodCounter, names: tuple[str, ...]) -> None:
    """Count the steps of these names from now on: as before, but for what is new; nobody is shown what is too much."""
    counter.step_names, counter.step_list = names, []
    for name in names:
        step = counter.steps.get(name, [0, 0])
        if name in counter.steps or len(counter.steps) < _MOST_STEPS:
            counter.steps[name] = step
        counter.step_list.append(step)


def _us(seconds: float) -> int:
    return min(max(round(seconds * 1e6), 0), LONGEST_US)


__all__ = [
    "MethodCounter",
    "Relayed",
    "TimeCounter",
    "count_answered",
    "count_end",
    "count_lost",
    "count_refused",
    "count_run",
    "count_sent",
]
