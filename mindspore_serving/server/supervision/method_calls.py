"""Calls of methods by methods that workers run: dispatch queues the instances, and the outcome goes back (ADR 61)."""

from __future__ import annotations

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, Failure, StatusCode
from mindspore_serving.rows import FailedRows, Reply
from mindspore_serving.server.channel.messages import NO_BATCH, NO_SLOT, MethodCall, MethodReply
from mindspore_serving.server.dispatch.method_calls import Caller, OpenCall
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.worker_link import WorkerLink


def pass_method_call(worker: SupervisedWorker, link: WorkerLink, call: MethodCall) -> None:
    """Run instances on another method, and send the outcome back.

    Args:
        worker: Who calls.
        link: Where the outcome goes; if that ends before, the call is cancelled.
        call: The method and the instances.

    Raises:
        ChannelError: The call is none that the worker can make.
    """
    copy = worker.copy
    if copy is None:  # it was taken out: what it holds is run elsewhere
        return
    _check(worker, call)
    count = call.count
    caller = Caller(worker.servable, "", [(None, count)])
    if call.batch_id != NO_BATCH:
        method, requests = copy.requests_of(call.batch_id, call.start, call.held)
        caller = Caller(
            worker.servable, method, requests if call.held == count else [(requests[0][0], count)]
        )
    opened: list[OpenCall] = []

    def answer(reply: Reply) -> None:
        link.calls.difference_update(opened)
        try:
            link.send(MethodReply(call.call_id, call.slot, tuple(reply)))
        except Exception as cause:  # whatever it is, the worker waits for an answer
            log.error("Cannot pass results to %s", worker.plan.label, exc_info=True)
            failure = Failure(StatusCode.FAILED, f"The results cannot be passed on: {cause!r}")
            link.send(MethodReply(call.call_id, call.slot, (FailedRows(failure, call.count),)))

    opened.append(worker.call_targets[call.target].start(call.groups, caller, answer))
    if opened[0].pending:
        link.calls.update(opened)


def _check(worker: SupervisedWorker, call: MethodCall) -> None:
    plan = worker.plan
    if call.slot != NO_SLOT and not plan.first_method_call_slot <= call.slot < plan.slots:
        raise ChannelError(f"{plan.label} calls a method in slot {call.slot}, which is none for such calls")
    if call.target >= len(worker.call_targets):
        raise ChannelError(
            f"{plan.label} calls method {call.target} of {len(worker.call_targets)} that it has registered"
        )
    if not call.groups:  # nobody would ever answer it
        raise ChannelError(f"{plan.label} calls a method without instances")
    if call.held not in (1, call.count):
        raise ChannelError(
            f"{plan.label} calls a method with {call.count} instances for {call.held} of a batch"
        )
