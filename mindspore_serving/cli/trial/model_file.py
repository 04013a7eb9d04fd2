"""A model file: what it takes and gives, and how long it takes."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from pathlib import Path

from mindspore_serving.cli.trial.jobs import Found, Job, Memory, ModelFound, Tensor
from mindspore_serving.cli.trial.timing import resident_mb, sizes_up_to, times_of
from mindspore_serving.errors import ServingError, StartUpError, text_of
from mindspore_serving.server.backend import backend_for
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import SIZES_TO_TRY, sample_of
from mindspore_serving.server.backend.families import platform_of, supported_device_types
from mindspore_serving.server.register.model import DEFAULT_MAX_BATCH_SIZE
from mindspore_serving.server.worker.model_runner import ModelRunner


def try_file(job: Job) -> Found:
    """Load a file, and measure it.

    Raises:
        StartUpError: It cannot be loaded, whether with or without a batch dimension.
    """
    before = resident_mb()
    begin = time.monotonic()
    runner, with_batch_dim = _loaded(job)
    load_s = time.monotonic() - begin
    loaded = resident_mb()
    found = describe(Path(job.path).name, job.model_format, runner, with_batch_dim, job)
    memory = Memory(before, loaded, resident_mb())
    return Found("", 0, [found], [], memory, load_s)


def _loaded(job: Job) -> tuple[ModelRunner, bool]:
    """The file, with a batch dimension if it can have one."""
    try:
        return _load(job, with_batch_dim=True), True
    except StartUpError as first:
        try:
            return _load(job, with_batch_dim=False), False
        except StartUpError:
            raise first from None


def _load(job: Job, *, with_batch_dim: bool) -> ModelRunner:
    request = LoadRequest(
        path=Path(job.path),
        with_batch_dim=with_batch_dim,
        without_batch_dim_inputs=(),
        max_batch_size=DEFAULT_MAX_BATCH_SIZE,
        device_type=job.device_type or supported_device_types()[0],
        device_id=0,
        model_format=job.model_format,
    )
    try:
        graph = backend_for(job.model_format, job.enable_lite).load(request)
        return ModelRunner(graph, with_batch_dim, (), DEFAULT_MAX_BATCH_SIZE)
    except StartUpError:
        raise
    except Exception as cause:  # a library of a backend may raise anything
        raise StartUpError(text_of(cause)) from cause


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
