"""Methods and their stages, ready to run, and the rows that wait at each: what the engine moves through.

Rows of one job move together, as a chunk. A chunk waits in the queue of its next stage; chunks that wait for a model
have the queue of its graph, which all methods share (`model_queue`).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

from mindspore_serving.errors import Failure, ModelError
from mindspore_serving.rows import Rows
from mindspore_serving.server.backend.input_check import WrongInput
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    StageDefinition,
    StageKind,
    ValueRef,
)
from mindspore_serving.server.worker.call_watch import CallWatch
from mindspore_serving.server.worker.job import Job
from mindspore_serving.server.worker.scheduling import rows_of_step
from mindspore_serving.server.worker.stage_functions import BuiltInRunner, FunctionRunner, StageResult
from mindspore_serving.server.worker.values import Values
from mindspore_serving.tensor import DataType


class Chunk:
    """Rows of one job that move through the stages together.

    Args:
        job: What the rows came with: a batch, or a call.
        start: Index in the job of the first row.
        count: Number of rows.
        values: What is known of them: inputs of the method, and outputs of stages.
    """

    __slots__ = ("count", "job", "start", "values")

    def __init__(self, job: Job, start: int, count: int, values: dict[ValueRef, Values]) -> None:
        self.job = job
        self.start = start
        self.count = count
        self.values = values

    def part(self, start: int, stop: int) -> Chunk:
        """Rows start..stop-1 of this chunk."""
        if stop - start == self.count:
            return self
        values = {ref: value.take(start, stop) for ref, value in self.values.items()}
        return Chunk(self.job, self.start + start, stop - start, values)


class ChunkQueue(deque["tuple[StageRunner, Chunk]"]):
    """Chunks that wait at one place, in order, each with its stage there.

    A deque needs no lock where one thread appends while another takes. No two threads take at the same time.
    """

    def take(self, most: int) -> list[tuple[StageRunner, Chunk]]:
        """Remove up to `most` rows from the head; `extendleft` puts back what was not done."""
        taken: list[tuple[StageRunner, Chunk]] = []
        while self and most > 0:
            stage, chunk = self.popleft()
            if chunk.count > most:
                self.appendleft((stage, chunk.part(most, chunk.count)))
                chunk = chunk.part(0, most)
            taken.append((stage, chunk))
            most -= chunk.count
        return taken


class StageRunner:
    """One stage of one method, ready to run.

    Args:
        method: The method.
        stage: The stage.
        position: Index of this step among those of the method.
        batch_size: Most rows of one step.
        watch: Writes down the calls of its function; None without a limit for them.

    Attributes:
        rows_of_step: Most rows of one step of its function.
        outputs: Where later stages find its outputs.
        run: Outcomes of the first instances, at least of one; see `FunctionRunner.run`. None for models.
        overdue_text: What an instance gets whose call does not end.
        kept: Positions of the inputs that are used again after a function.
    """

    def __init__(
        self,
        method: MethodStages,
        stage: StageDefinition,
        position: int,
        batch_size: int,
        watch: CallWatch | None,
    ) -> None:
        self.position = position
        self.overdue_text = b""
        if watch is not None:
            self.overdue_text = watch.text_of(stage, method.definition.name)
            stage = watch.timed(stage)
        self.method = method
        self.stage = stage
        self.rows_of_step = rows_of_step(stage.takes_batch, batch_size)
        self.outputs = [ValueRef(stage.index, i) for i in range(stage.outputs_count)]
        self.queue = ChunkQueue()
        self.is_built_in = stage.kind is StageKind.BUILT_IN
        self.kept = method.definition.used_after(stage) if stage.function is not None else ()
        self.run: Callable[[Sequence[list[Any]], int], list[StageResult]] | None = None
        if self.is_built_in:
            self.run = BuiltInRunner(stage, method.definition.name).run
        elif stage.kind is not StageKind.MODEL:
            self.run = FunctionRunner(stage, method.definition.name, self.kept).run

    def objects_of(self, values: Values) -> list[Any]:
        """Values as the stage takes them: a built-in gets bytes as `bytes`, a function as an array."""
        if self.is_built_in and values.spec is not None and values.spec.dtype is DataType.BYTES:
            return cast("list[Any]", values.column)
        return values.objects()

    def failure_of(self, error: WrongInput) -> Failure:
        """Why an instance does not fit the model of this stage.

        The client is at fault if the value is an input of the method, else the servable, whose stage made the value.
        """
        source = self.stage.inputs[error.index]
        method = self.method.definition
        if source.stage == 0:
            return Failure(error.code, error.text_for_client(method.input_names[source.output]))
        giver = f"{method.stages[source.stage - 1].tag}, stage {source.stage} of method '{method.name}'"
        return Failure(ModelError.code, error.text_for_servable(giver), cause=ModelError.cause)


class CallStep:
    """Calls of other methods that are made together: none of them needs an output of another one.

    Args:
        method: The method that calls.
        calls: Its stages, of kind CALL.
        position: Index of this step among those of the method.

    Attributes:
        outputs: Where later stages find the outputs, call by call.
        queue: Where nothing ever waits: calls leave at once.
    """

    def __init__(self, method: MethodStages, calls: Sequence[StageDefinition], position: int) -> None:
        self.method = method
        self.calls = calls
        self.position = position
        self.outputs = [ValueRef(stage.index, i) for stage in calls for i in range(stage.outputs_count)]
        self.queue = ChunkQueue()


def steps_of(stages: Sequence[StageDefinition]) -> list[list[StageDefinition]]:
    """Stages as steps: each a stage, but for calls that stand in a row, of which each step has as many as can run then.

    Functions may change what they are given, so no call is moved across a stage of another kind.
    """
    steps: list[list[StageDefinition]] = []
    for is_call, run in groupby(stages, lambda stage: stage.kind is StageKind.CALL):
        left = list(run)
        if not is_call:
            steps += [[stage] for stage in left]
            continue
        while left:
            missing = {stage.index for stage in left}
            ready = [stage for stage in left if missing.isdisjoint(ref.stage for ref in stage.inputs)]
            steps.append(ready)
            left = [stage for stage in left if stage not in ready]
    return steps


def step_names(stages: Sequence[StageDefinition]) -> tuple[str, ...]:
    """Names of the steps of a method: of functions, built-ins, models and called methods; each one once."""
    names: list[str] = []
    for step in steps_of(stages):
        name = "+".join([f"{one.target}#{one.subgraph}" if one.subgraph else one.target for one in step])
        again = sum([known == name or known.startswith(f"{name} (") for known in names])
        names.append(f"{name} ({again + 1})" if again else name)
    return tuple(names)


class MethodStages:
    """One method and its stages, ready to run.

    Args:
        definition: The method.
        model_batch_sizes: Batch size of each model of the servable, by key.
        watch: As of `StageRunner`.

    Attributes:
        stages: Its stages in order, calls that are made together as one.
        declares_text: Whether an output is declared as bytes or text.
    """

    def __init__(
        self,
        definition: MethodDefinition,
        model_batch_sizes: Mapping[str, int],
        watch: CallWatch | None,
    ) -> None:
        self.definition = definition
        self.stages: list[StageRunner | CallStep] = []
        for position, stages in enumerate(steps_of(definition.stages)):
            if stages[0].kind is StageKind.CALL:
                self.stages.append(CallStep(self, stages, position))
                continue
            size = _stage_batch_size(definition, stages[0], model_batch_sizes)
            self.stages.append(StageRunner(self, stages[0], position, size, watch))
        self.declares_text = any(one.dtype.is_text for one in definition.output_types)
        self._value_refs = [ValueRef(0, i) for i in range(len(definition.value_names))]
        self._parameters = self._value_refs[-1] if definition.parameters else None

    def chunks_of(self, blocks: Sequence[Rows], job: Job) -> list[Chunk]:
        """The rows of a job, one chunk per block; the specs of each block are the method's `value_names`."""
        chunks, start = [], 0
        for group in blocks:
            values = {
                ref: Values(group.count, spec, column)
                for ref, spec, column in zip(self._value_refs, group.specs, group.columns, strict=True)
            }
            if self._parameters is not None:
                texts = values[self._parameters].objects()
                values[self._parameters] = Values(group.count, objects=list(map(json.loads, texts)))
            chunks.append(Chunk(job, start, group.count, values))
            start += group.count
        return chunks


def _stage_batch_size(
    method: MethodDefinition, stage: StageDefinition, model_batch_sizes: Mapping[str, int]
) -> int:
    """Most rows of one step of a stage: the batch of its model; for functions what was asked for, or the models'."""
    if stage.kind is StageKind.MODEL:
        return model_batch_sizes[stage.target]
    if stage.batch_size >= 1:
        return stage.batch_size
    sizes = [model_batch_sizes[s.target] for s in method.stages if s.kind is StageKind.MODEL]
    if not sizes:
        return 1
    return min(sizes) if all(ref.stage == 0 for ref in stage.inputs) else max(sizes)
