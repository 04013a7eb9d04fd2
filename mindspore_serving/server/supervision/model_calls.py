"""Model calls of workers that hold no models: dispatch runs them at workers that do (ADR 9)."""

from __future__ import annotations

import asyncio

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, Failure, StatusCode
from mindspore_serving.rows import FailedRows, Reply
from mindspore_serving.server.channel.messages import MOST_ROWS, ModelCall, ModelReply
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.worker_link import WorkerLink


def pass_model_call(
    dispatcher: Dispatcher, worker: SupervisedWorker, link: WorkerLink, call: ModelCall
) -> None:
    """Run instances on a model that other workers hold, and send the outcome back.

    Args:
        dispatcher: Queues them as instances of a hidden method.
        worker: Who calls.
        link: Where the outcome goes; if that ends before, the call is cancelled.
        call: The model and the instances.

    Raises:
        ChannelError: The call has no instances, or a slot that is none of those which the worker hands out.
    """
    plan = worker.plan
    if not plan.first_call_slot <= call.slot < plan.first_method_call_slot:
        raise ChannelError(
            f"{plan.label} calls a model in slot {call.slot}, which is none for calls of its own"
        )
    if not call.groups:  # nobody would ever answer it
        raise ChannelError(f"{plan.label} calls a model without instances")
    copy = worker.copy
    trace = None if copy is None else copy.trace_of(call.batch_id)
    part = None if trace is None else trace.calls(worker.servable.name, call.method)
    request = dispatcher.relay(worker.servable, call.method, call.groups, trace=part)
    reply = request.future
    link.calls.add(reply)

    def answer(reply: asyncio.Future[Reply]) -> None:
        link.calls.discard(reply)
        if reply.cancelled():
            return
        try:
            ran = request.relayed
            rows = (
                (0, 0) if ran is None else (min(ran.model_rows, MOST_ROWS), min(ran.padding_rows, MOST_ROWS))
            )
            link.send(ModelReply(call.call_id, call.slot, tuple(reply.result()), *rows))
        except Exception as cause:  # whatever it is, the worker waits for an answer
            log.error("Cannot pass results to %s", plan.label, exc_info=True)
            failure = Failure(StatusCode.FAILED, f"The results cannot be passed on: {cause!r}")
            failed = FailedRows(failure, call.count)
            link.send(ModelReply(call.call_id, call.slot, (failed,)))

    reply.add_done_callback(answer)
