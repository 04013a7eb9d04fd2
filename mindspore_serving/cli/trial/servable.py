"""A servable, loaded as a worker loads it: its examples run, and its models and methods are measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mindspore_serving.cli.asking.made_up import made_up
from mindspore_serving.cli.asking.method import type_text
from mindspore_serving.cli.trial.jobs import (
    BatchTime,
    Found,
    Job,
    Memory,
    MethodFound,
    ModelFound,
    StageShare,
)
from mindspore_serving.cli.trial.model import describe
from mindspore_serving.cli.trial.stage_clock import StageClock, WatchedGraph, name_of
from mindspore_serving.cli.trial.timing import resident_mb, sizes_up_to, times_of
from mindspore_serving.errors import ServingError, StageError, StartUpError
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.backend.dynamic_batch import SIZES_TO_TRY
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.register.definition import MethodDefinition, StageKind
from mindspore_serving.server.register.model import set_runtime
from mindspore_serving.server.register.pipeline import set_method_runtime
from mindspore_serving.server.start.servable_path import config_for
from mindspore_serving.server.start.worker_plans import plans_for
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.job import CallJob
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.process import runtime_of
from mindspore_serving.server.worker.servable_loader import LoadedServable, load_servable
from mindspore_serving.server.worker.values import Values, as_rows
from mindspore_serving.server.worker.warm_up import values_of, warmed_up
from mindspore_serving.signature import NO_PARAMETERS, MethodSignature


def try_servable(job: Job) -> Found:
    """Load a servable, run its examples, and measure it.

    Raises:
        ServingError: It would not start either; the text is that of its worker.
    """
    before = resident_mb()
    begin = time.monotonic()
    plan = _plan_of(job)
    servable = load_servable(plan)
    clock = StageClock()
    engine = _engine_of(servable, clock)
    servable = warmed_up(servable, engine)
    load_s = time.monotonic() - begin
    loaded = resident_mb()
    models = [one for key in servable.definition.models for one in _models(servable, key, job)]
    if job.seconds:
        _watch_models(servable, clock)
    definitions = {method.name: method for method in servable.definition.exposed}
    methods = [_method(engine, definitions[one.name], one, clock, job) for one in servable.methods]
    memory = Memory(before, loaded, resident_mb())
    return Found(plan.servable_name, plan.version, models, methods, memory, load_s)


def _plan_of(job: Job) -> WorkerPlan:
    config = config_for(
        job.path,
        device_ids=0,
        version_number=job.version,
        device_type=job.device_type or None,
        dec_key=bytes.fromhex(job.dec_key) or None,
        dec_mode=job.dec_mode,
    )
    [plan] = plans_for(config, job.enable_lite)
    return plan


def _engine_of(servable: LoadedServable, clock: StageClock) -> Engine:
    """As a worker has it, but that all runs on this thread."""
    definition = servable.definition
    methods = [clock.watching(method) for method in definition.methods.values()]
    engine = Engine(methods, servable.runners, lambda _: None, list(definition.pipelines.values()))
    set_runtime(runtime_of(servable))
    set_method_runtime(engine.call)
    return engine


def _models(servable: LoadedServable, key: str, job: Job) -> list[ModelFound]:
    declared = servable.definition.models[key]
    found = []
    for file, runner in zip(declared.files, servable.runners[key], strict=True):
        assert isinstance(runner, ModelRunner)
        found.append(describe(file, declared.model_format, runner, declared.with_batch_dim, job))
    return found


def _watch_models(servable: LoadedServable, clock: StageClock) -> None:
    for key, runners in servable.runners.items():
        for runner in runners:
            assert isinstance(runner, ModelRunner)
            runner.graph = WatchedGraph(runner.graph, key, clock)


def _method(
    engine: Engine, method: MethodDefinition, signature: MethodSignature, clock: StageClock, job: Job
) -> MethodFound:
    untyped = [one.name for one in signature.inputs if not one.is_known]
    times: Sequence[BatchTime] = ()
    shares: Sequence[StageShare] = ()
    problem = _why_not_measured(method)
    if job.seconds and not problem:
        try:
            times, shares = _measured(engine, method, signature, clock, job)
        except ServingError as error:
            problem = str(error)
    return MethodFound(
        method.name,
        [f"{one.name}: {type_text(one)}" for one in signature.inputs],
        [f"{one.name}: {type_text(one)}" for one in signature.outputs],
        untyped,
        len(method.examples),
        times,
        shares,
        problem,
        *_places(method),
    )


def _places(method: MethodDefinition) -> tuple[list[str], list[tuple[str, int]]]:
    """`sent` and `given` of `MethodFound`."""
    if [stage.kind for stage in method.stages] != [StageKind.MODEL]:
        return [], []
    sent = [method.input_names[ref.output] for ref in method.stages[0].inputs]
    given = [
        (name, ref.output) for name, ref in zip(method.output_names, method.outputs, strict=True) if ref.stage
    ]
    return sent, given


def _why_not_measured(method: MethodDefinition) -> str:
    """Why a method does not run here; "" where it does."""
    kinds = {stage.kind for stage in method.stages}
    if StageKind.CALL in kinds:
        return "it calls methods of other servables, which are not loaded here; its examples are checked, and not run"
    if StageKind.PIPELINE in kinds:
        return "it is a pipeline, which runs other methods of the servable"
    return ""


def _measured(
    engine: Engine, method: MethodDefinition, signature: MethodSignature, clock: StageClock, job: Job
) -> tuple[Sequence[BatchTime], Sequence[StageShare]]:
    """Times of a method's batches, and the shares of its stages.

    Raises:
        ServingError: It cannot be measured; the text says why.
    """
    values = _some_instance(engine, method, signature)
    clock.seconds.clear()
    begin = time.perf_counter()
    sizes = sizes_up_to(signature.full)
    times = times_of(lambda rows: _run(engine, method, values, rows), sizes, job.seconds)
    elapsed = time.perf_counter() - begin
    seconds = {
        name_of(stage): clock.seconds.get(name_of(stage), clock.seconds.get(stage.target, 0.0))
        for stage in method.stages
    }
    shares = [StageShare(name, min(1.0, spent / elapsed)) for name, spent in seconds.items()]
    return times, shares


def _some_instance(engine: Engine, method: MethodDefinition, signature: MethodSignature) -> list[Any]:
    """Values that the method answers: its first example, or made-up ones.

    Raises:
        ServingError: It answers none.
    """
    if method.examples:
        return list(values_of(f"Example 1 of method '{method.name}'", method.examples[0], method, signature))
    problem: ServingError | None = None
    for size in SIZES_TO_TRY:
        values: list[Any] = [made_up(one, size) for one in signature.inputs]
        if method.parameters:
            values.append(NO_PARAMETERS)
        try:
            _run(engine, method, values, 1)
        except ServingError as error:
            problem = problem or error
            continue
        return values
    assert problem is not None
    raise StartUpError(
        f"made-up values fail ({problem}); register_method(..., examples=[...]) gives real ones"
    )


def _run(engine: Engine, method: MethodDefinition, values: Sequence[Any], rows: int) -> None:
    """Run the same instance so many times, as one batch.

    Raises:
        StageError: An instance fails.
    """
    own = [Values(rows, objects=[_own(value) for _ in range(rows)]) for value in values]
    job = CallJob(method.name, as_rows(method.value_names, own, rows), time.monotonic())
    engine.run_alone(job)
    for _, group in job.take_outcomes():
        if isinstance(group, FailedRows):
            raise StageError(group.failure.text)


def _own(value: Any) -> Any:
    """Functions may write into what they are given."""
    return np.array(value) if isinstance(value, np.ndarray) else value
