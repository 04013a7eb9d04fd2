"""The names of other servers for what was counted, for boards and rules that know those alone.

A model is named as in the Open Inference Protocol: `servable` where there is one method, else `servable.method`. A
counter that has no `_total` in its name is shown as of no type: Prometheus does not mind, and the name is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from mindspore_serving.server.dispatch.method_statistics import Duration, MethodStatistics, Outcome, Phase
from mindspore_serving.server.telemetry.metrics.families import (
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    add_histogram,
)
from mindspore_serving.server.telemetry.metrics.snapshot import ShownMethod

_US: Final = 1e6
_NS_PER_US: Final = 1000
_TRITON: Final = ("model", "version")
_KSERVE: Final = ("model_name", "model_version")
_TRITON_REASONS: Final[Mapping[str, tuple[Outcome, ...]]] = {
    "CANCELED": (Outcome.CANCELLED,),
    "BACKEND": (Outcome.STAGE_FAILED, Outcome.MODEL_FAILED, Outcome.LOST),
}
_TRITON_PHASES: Final = {
    "request": Phase.TOTAL,
    "queue": Phase.QUEUE,
    "compute_input": Phase.INPUT,
    "compute_infer": Phase.COMPUTE,
    "compute_output": Phase.OUTPUT,
}
_KSERVE_PHASES: Final = {
    "preprocess": Phase.DECODE,
    "predict": Phase.COMPUTE,
    "postprocess": Phase.ENCODE,
}
_STATUS: Final[Mapping[Outcome, str]] = {
    Outcome.OK: "OK",
    Outcome.INVALID: "INVALID_ARGUMENT",
    Outcome.DEADLINE: "DEADLINE_EXCEEDED",
    Outcome.CANCELLED: "CANCELLED",
    Outcome.STOPPED: "UNAVAILABLE",
    Outcome.LOST: "UNAVAILABLE",
}
"""Of gRPC; anything else is INTERNAL."""


def _untyped(name: str, text: str) -> Metric:
    return Metric(name, text, "unknown")


def triton(methods: Sequence[ShownMethod]) -> Iterator[Metric]:
    """The metrics of Triton.

    Args:
        methods: Of which.
    """
    success = _untyped("nv_inference_request_success", "Requests that have succeeded.")
    failure = _untyped("nv_inference_request_failure", "Requests that have not.")
    count = _untyped("nv_inference_count", "Instances that have a result.")
    executions = _untyped("nv_inference_exec_count", "Batches that were run.")
    for method, labels in _labelled(methods, _TRITON):
        counted = method.counted
        success.add_sample(success.name, labels, counted.success.count)
        for reason, number in _triton_failures(counted):
            failure.add_sample(failure.name, labels | {"reason": reason}, number)
        count.add_sample(count.name, labels, counted.instances)
        executions.add_sample(executions.name, labels, counted.executions)
    yield from (success, failure, count, executions)
    yield _triton_pending(methods)
    for name in _TRITON_PHASES:
        yield _triton_sum(name, methods)
        yield _triton_histogram(name, methods)


def _triton_failures(counted: MethodStatistics) -> Iterator[tuple[str, int]]:
    """Requests that have not succeeded, by Triton's reasons."""
    named = 0
    for reason, outcomes in _TRITON_REASONS.items():
        number = sum(counted.requests.get(outcome, 0) for outcome in outcomes)
        named += number
        yield reason, number
    yield "REJECTED", sum(counted.refused.values())
    others = sum(number for outcome, number in counted.requests.items() if outcome is not Outcome.OK)
    yield "OTHER", others - named


def _triton_pending(methods: Sequence[ShownMethod]) -> Metric:
    family = GaugeMetricFamily(
        "nv_inference_pending_request_count",
        "Requests that wait, of the servable of a model.",
        labels=_TRITON,
    )
    for method, labels in _labelled(methods, _TRITON):
        family.add_metric(list(labels.values()), method.version.pending_requests)
    return family


def _triton_sum(name: str, methods: Sequence[ShownMethod]) -> Metric:
    family = _untyped(f"nv_inference_{name}_duration_us", "Microseconds in all.")
    for method, labels in _labelled(methods, _TRITON):
        duration: Duration = getattr(method.counted, "success" if name == "request" else name)
        family.add_sample(family.name, labels, duration.ns // _NS_PER_US)
    return family


def _triton_histogram(name: str, methods: Sequence[ShownMethod]) -> Metric:
    family = HistogramMetricFamily(
        f"nv_inference_{name}_duration_histogram_us", "Microseconds.", labels=_TRITON
    )
    _add_phase(family, methods, _TRITON_PHASES[name], _US)
    return family


def kserve(methods: Sequence[ShownMethod]) -> Iterator[Metric]:
    """The metrics of KServe's Python server.

    Args:
        methods: Of which.
    """
    for name, phase in _KSERVE_PHASES.items():
        family = HistogramMetricFamily(f"request_{name}_seconds", f"Time of {name}.", labels=_KSERVE)
        _add_phase(family, methods, phase, 1.0)
        yield family


def tfserving(methods: Sequence[ShownMethod]) -> Iterator[Metric]:
    """The metrics of TensorFlow Serving.

    Args:
        methods: Of which.
    """
    requests = _untyped(":tensorflow:serving:request_count", "Requests that have ended, by status.")
    for method, labels in _labelled(methods, _KSERVE):
        by_status: dict[str, int] = {}
        for outcome, number in method.counted.requests.items():
            status = _STATUS.get(outcome, "INTERNAL")
            by_status[status] = by_status.get(status, 0) + number
        for status, number in by_status.items():
            requests.add_sample(requests.name, labels | {"status": status}, number)
    yield requests
    for name, phase, more in (
        ("request_latency", Phase.TOTAL, ("Predict", "")),
        ("runtime_latency", Phase.COMPUTE, ("Predict", "")),
    ):
        last = "entrypoint" if phase is Phase.TOTAL else "runtime"
        family = HistogramMetricFamily(
            f":tensorflow:serving:{name}", "Microseconds.", labels=(*_KSERVE, "API", last)
        )
        _add_phase(family, methods, phase, _US, more)
        yield family


ALIASES: Final[Mapping[str, Callable[[Sequence[ShownMethod]], Iterator[Metric]]]] = {
    "triton": triton,
    "kserve": kserve,
    "tfserving": tfserving,
}
"""The alias sets, by the names that `page_choice` knows."""


def _labelled(
    methods: Iterable[ShownMethod], names: tuple[str, str]
) -> Iterator[tuple[ShownMethod, dict[str, str]]]:
    """Methods with the name of their model and the number of its version, as labels."""
    for method in methods:
        servable, version, name = method.labels
        model = servable if len(method.version.methods) == 1 else f"{servable}.{name}"
        yield method, dict(zip(names, (model, version), strict=True))


def _add_phase(
    family: HistogramMetricFamily,
    methods: Iterable[ShownMethod],
    phase: Phase,
    per_second: float,
    more: Sequence[str] = (),
) -> None:
    """Add the histograms of a phase.

    Args:
        family: To which; its labels begin with model and version.
        methods: Of which.
        phase: Which.
        per_second: As of `add_histogram`.
        more: Values of its further labels.
    """
    for method, labels in _labelled(methods, _KSERVE):
        histogram = method.counted.phases.get(phase)
        if histogram is not None:
            add_histogram(family, [*labels.values(), *more], histogram, per_second)
