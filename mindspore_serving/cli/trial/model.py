"""A model that is loaded: what it takes and gives, and how long it takes."""

from __future__ import annotations

import functools
from dataclasses import replace

from mindspore_serving.cli.trial.jobs import Job, ModelFound, Tensor
from mindspore_serving.cli.trial.timing import sizes_up_to, times_of
from mindspore_serving.errors import ServingError
from mindspore_serving.server.backend.dynamic_batch import SIZES_TO_TRY, sample_of
from mindspore_serving.server.backend.families import platform_of
from mindspore_serving.server.worker.model_runner import ModelRunner


def describe(name: str, model_format: str, runner: ModelRunner, with_batch_dim: bool, job: Job) -> ModelFound:
    """A model that is loaded, and how long its batches take.

    Args:
        name: Its files.
        model_format: Its format.
        runner: The model.
        with_batch_dim: Whether its first dimension is the batch.
        job: How long to measure.
    """
    signature = runner.graph.signature
    found = ModelFound(
        name,
        platform_of(model_format, job.enable_lite),
        with_batch_dim,
        runner.dynamic,
        runner.batch_size,
        [Tensor.of(spec) for spec in signature.inputs],
        [Tensor.of(spec) for spec in signature.outputs],
    )
    if not job.seconds:
        return found
    most = min(runner.batch_size, job.most_rows) if runner.dynamic else runner.batch_size
    sizes = sizes_up_to(most, fixed=not runner.dynamic)
    problem = ""
    for size in SIZES_TO_TRY:
        try:
            times = times_of(functools.partial(_run, runner, size), sizes, job.seconds)
        except ServingError as error:  # not every size suits a model
            problem = problem or str(error)
            continue
        return replace(found, times=times, size=size)
    return replace(found, not_timed=problem)


def _run(runner: ModelRunner, size: int, rows: int) -> None:
    runner.graph.predict([sample_of(spec, rows, size) for spec in runner.graph.signature.inputs])
