"""Rules for methods: where the time of requests goes, and what becomes of them."""

from __future__ import annotations

from typing import Final

from mindspore_serving.server.console.status.rules import FEWEST_REQUESTS, Found, MethodView
from mindspore_serving.server.dispatch.method_statistics import Outcome, Phase

SLOW_STEP_SHARE: Final = 0.8
"""A step that takes more of a method's time than this is named."""
PHASE_SHARE: Final = 0.5
"""A phase that takes more of a request's time than this is named, if it takes any time worth speaking of."""
PHASE_MS: Final = 1.0
"""That is this, in the mean."""
PADDING_SHARE: Final = 0.5
SINGLE_BATCH: Final = 1.2
"""Batches with fewer instances than this, in the mean, are batches of 1."""
MANY_WAITING: Final = 4
"""Instances that wait although batches are single."""
FAILED_SHARE: Final = 0.01
LATE_SHARE: Final = 0.01
INVALID_SHARE: Final = 0.1
CANCELLED_SHARE: Final = 0.1
_OF_SERVING: Final = (Outcome.STAGE_FAILED, Outcome.MODEL_FAILED, Outcome.LOST, Outcome.SERVING_FAILED)


def slow_step_text(step: str, share: float, method: str, kind: str = "") -> str:
    """A sentence on a step that takes nearly all of a method's time.

    Args:
        step: Its name.
        share: Of the method's time, from 0 to 1.
        method: Name of the method.
        kind: `function` or `model`; "" where that is not known.
    """
    function, model = (
        "num_parallel_workers runs functions in more processes",
        "more copies (device_ids) run more batches",
    )
    how = {"function": function, "model": model}.get(kind, f"{function}, {model}")
    return f"Stage '{step}' takes {share:.0%} of method {method}: {how}."


def queue(view: MethodView) -> Found | None:
    """Requests wait for a worker."""
    share, ms = view.of_total(Phase.QUEUE)
    if share <= PHASE_SHARE or ms < PHASE_MS:
        return None
    copies = sum(copy.state == "ready" for copy in view.version.copies)
    mean = view.window.mean_batch
    batch = "" if mean is None else f", or larger batches (now {mean:.3g} instances in the mean)"
    return Found(
        f"Requests of {view.name} spend {share:.0%} of their time in the queue ({ms:.3g} ms each): try more copies "
        f"(device_ids, now {copies} ready){batch}.",
        {"queue_share": round(share, 4), "queue_ms": round(ms, 3), "copies_ready": copies},
    )


def in_worker(view: MethodView) -> Found | None:
    """Batches wait within their worker."""
    share, ms = view.of_total(Phase.INPUT)
    if share <= PHASE_SHARE or ms < PHASE_MS:
        return None
    return Found(
        f"Batches of {view.name} spend {share:.0%} of the time of requests on the way to their first stage ({ms:.3g} "
        "ms each), most of it behind other batches of the worker: try more copies (device_ids), or a smaller "
        "slots_per_copy.",
        {"input_share": round(share, 4), "input_ms": round(ms, 3)},
    )


def coding(view: MethodView) -> Found | None:
    """Texts are read and written for long."""
    share, ms = view.of_total(Phase.DECODE, Phase.ENCODE)
    if share <= PHASE_SHARE or ms < PHASE_MS:
        return None
    return Found(
        f"Reading and writing takes {share:.0%} of the time of requests of {view.name} ({ms:.3g} ms each): try binary "
        "tensors (Open Inference Protocol with the binary extension) or gRPC in place of JSON.",
        {"coding_share": round(share, 4), "coding_ms": round(ms, 3)},
    )


def slow_step(view: MethodView) -> Found | None:
    """One stage takes nearly all of the time."""
    steps = view.window.steps
    if len(steps) < 2 or steps[0].share <= SLOW_STEP_SHARE or steps[0].runs < FEWEST_REQUESTS:
        return None
    slowest = steps[0]
    return Found(
        slow_step_text(slowest.name, slowest.share, view.name),
        {"share": slowest.share, "mean_ms": slowest.mean_ms},
    )


def padding(view: MethodView) -> Found | None:
    """Models compute rows that nobody has asked for."""
    share = view.window.padding_share
    if share is None or share <= PADDING_SHARE or view.window.batches < FEWEST_REQUESTS:
        return None
    mean = view.window.mean_batch or 0.0
    return Found(
        f"{share:.0%} of the rows that models of {view.name} compute only fill up batches, which have {mean:.3g} "
        "instances in the mean: export the model with a smaller batch or a dynamic first dimension, or let batches "
        "wait for more (max_batch_delay_ms).",
        {"padding_share": share, "mean_batch": mean},
    )


def single_batches(view: MethodView) -> Found | None:
    """Instances run one by one while others wait."""
    mean, waiting = view.window.mean_batch, view.version.waiting_instances
    if (
        mean is None
        or mean >= SINGLE_BATCH
        or waiting < MANY_WAITING
        or view.window.batches < FEWEST_REQUESTS
    ):
        return None
    return Found(
        f"Batches of {view.name} have {mean:.3g} instances in the mean although {waiting} instances wait: where the "
        "model can take several, declare it with_batch_dim=True and export it with a dynamic first dimension.",
        {"mean_batch": mean, "waiting_instances": waiting},
    )


def failing(view: MethodView) -> Found | None:
    """Requests fail, and it is not the fault of clients."""
    share, failed = view.of_requests(*_OF_SERVING)
    if share <= FAILED_SHARE:
        return None
    kinds = ", ".join(
        f"{count} {outcome.value}"
        for outcome in _OF_SERVING
        if (count := view.window.requests.get(outcome.value, 0))
    )
    return Found(
        f"{share:.1%} of the requests of {view.name} failed in the server ({kinds}): the server's log says why.",
        {"failed_share": round(share, 4), "failed": failed},
    )


def late(view: MethodView) -> Found | None:
    """Requests are not answered in time."""
    share, late = view.of_requests(Outcome.DEADLINE)
    if share <= LATE_SHARE:
        return None
    return Found(
        f"{share:.1%} of the requests of {view.name} were not answered in the time that clients gave them: add copies "
        "(device_ids), or let clients wait longer.",
        {"late_share": round(share, 4), "late": late},
    )


def invalid(view: MethodView) -> Found | None:
    """Clients ask for what is wrong."""
    share, invalid = view.of_requests(Outcome.INVALID)
    if share <= INVALID_SHARE:
        return None
    return Found(
        f"{share:.0%} of the requests of {view.name} are wrong: clients are told how; `mindspore-serving models list` "
        "says what it takes.",
        {"invalid_share": round(share, 4), "invalid": invalid},
    )


def cancelled(view: MethodView) -> Found | None:
    """Clients give up."""
    share, cancelled = view.of_requests(Outcome.CANCELLED)
    if share <= CANCELLED_SHARE:
        return None
    return Found(
        f"Clients of {view.name} gave up {share:.0%} of their requests before they were answered: look at their time "
        "limits, and at the time in the queue.",
        {"cancelled_share": round(share, 4), "cancelled": cancelled},
    )
