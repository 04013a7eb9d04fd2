"""Moves the instances of batches through the stages of their methods.

A batch becomes chunks: rows that are at the same stage and move on together. A chunk waits at a stage, is joined there
with others of the same stage (or, at a model, of any method), runs, and its rows go to the next stage; rows that failed
leave with their error. When all rows of a batch have left, its last result is sent.

Which stage or model runs next is decided in `scheduling`; how its rows run is in `function_step` and `model_step`. Here
is what lies between: rows enter, go on, and leave.

The engine runs on the worker's main thread: functions of users need not be thread-safe. Only `run_model_step` may be
called from other threads as well, also at the same time, so that models run while the next instances are prepared, and
beside each other; finished chunks come back through `collect`.

A pipeline is a method whose only stage is a function that runs other methods and waits for them. It would wait for ever
on the main thread, so each pipeline has a thread of its own, which takes chunks from the stage's queue; what it runs
enters the engine as a call (`method_calls`), and its finished chunks come back through `collect` as well.

A call of another method is a stage, too. Its chunks leave at once to the main process (`call_step`), and wait here for
nothing but the reply; they come back through `collect` as well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mindspore_serving import log
from mindspore_serving.errors import Failure, ServingError, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.channel.messages import Batch, MethodCall, MethodReply, Result
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    StageKind,
)
from mindspore_serving.server.worker.call_step import OutgoingCalls
from mindspore_serving.server.worker.call_watch import CallWatch
from mindspore_serving.server.worker.declared_outputs import bytes_as_declared, rows_as_declared
from mindspore_serving.server.worker.function_step import run_function_step
from mindspore_serving.server.worker.graph_outcomes import RowsRun
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.job import BatchJob, CallJob, Job
from mindspore_serving.server.worker.method_calls import MethodCalls
from mindspore_serving.server.worker.model_queue import ModelQueue
from mindspore_serving.server.worker.model_step import run_model_step
from mindspore_serving.server.worker.outcomes import Finished, note_times, with_trace
from mindspore_serving.server.worker.pipeline_thread import PipelineThread
from mindspore_serving.server.worker.scheduling import is_report_due, next_model, next_stage
from mindspore_serving.server.worker.stages import CallStep, Chunk, MethodStages, StageRunner
from mindspore_serving.server.worker.values import rows_or_errors
from mindspore_serving.signature import CalledMethod

_WEIGHT = 1 / 8
"""Of the latest batch of a model, in the mean of how long batches take."""


class Engine:
    """All methods and pipelines of the servable of this process, and what is under way in them.

    Args:
        methods: The methods.
        runners: Graphs of each model, by key.
        send: Takes each result.
        pipelines: The pipelines; clients reach them instead of methods of the same name.
        wake: Called from other threads when something waits in `collect`.
        watch: Writes down what is called; None without a limit for calls.
        now: A monotonic clock, in seconds.
        calls: Sends what methods and pipelines call; None where they call nothing.
    """

    def __init__(
        self,
        methods: Sequence[MethodDefinition],
        runners: Mapping[str, Sequence[GraphRunner]],
        send: Callable[[Result], None],
        pipelines: Sequence[MethodDefinition] = (),
        wake: Callable[[], None] = lambda: None,
        watch: CallWatch | None = None,
        now: Callable[[], float] = time.monotonic,
        calls: OutgoingCalls | None = None,
    ) -> None:
        self._watch = watch
        self._now = now
        self._outgoing = calls or OutgoingCalls((), _send_nothing)
        self._of_thread = _OfThread()
        batch_sizes = {key: graphs[0].batch_size for key, graphs in runners.items()}
        self._methods = {method.name: MethodStages(method, batch_sizes, watch) for method in methods}
        self._method_list = list(self._methods.values())
        self._stage_queues = [[stage.queue for stage in method.stages] for method in self._method_list]
        self._queues = [queue for queues in self._stage_queues for queue in queues]
        self._stage_turn = 0
        self._pipelines = {pipeline.name: MethodStages(pipeline, {}, watch) for pipeline in pipelines}
        self._pipeline_threads = {
            name: self._thread_of(pipeline) for name, pipeline in self._pipelines.items()
        }
        self._model_queues = {
            (key, subgraph): ModelQueue(runner)
            for key, graphs in runners.items()
            for subgraph, runner in enumerate(graphs)
        }
        self._model_queue_list = list(self._model_queues.values())
        self._model_turn = 0
        self._model_s = 0.0
        self._finished: deque[Finished] = deque()
        self._send = send
        self._wake = wake
        by_name = {method.name: method for method in methods}
        self._calls = MethodCalls(by_name, self._outgoing.targets, wake, self._origin)

    def start(self) -> None:
        """Start the threads of the pipelines."""
        for thread in self._pipeline_threads.values():
            thread.start()

    def stop(self) -> None:
        """Let what pipelines wait for fail, and start no more of them; safe to call twice."""
        for thread in self._pipeline_threads.values():
            thread.stop()
        self._calls.stop()

    def add(self, batch: Batch, came: float | None = None) -> None:
        """Take a new batch.

        Args:
            batch: The batch.
            came: Since when it may have been there, unread; None for now.
        """
        now = self._now()
        job = BatchJob(batch, now, self._send, came)
        method = self._pipelines.get(batch.method) or self._methods.get(batch.method)
        if method is None:
            text = f"Method {batch.method} is not registered in this worker"
            job.add(0, FailedRows(Failure(StatusCode.INVALID_INPUTS, text), batch.count))
            self._report(job, now)
            return
        job.steps = [0.0] * len(method.stages)
        self._depart(method, batch.groups, job)

    def take_reply(self, reply: MethodReply) -> None:
        """Take the outcome of a call; what goes on waits in `collect`."""
        self._finished.extend(self._outgoing.take(reply, self._now()))

    def call(self, name: str | CalledMethod, instances: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Run instances on a method and wait for their outputs; see `MethodCalls.call`."""
        return self._calls.call(name, instances)

    def run_alone(self, job: CallJob) -> None:
        """Run a call to its end on this thread, models too; only while nothing else is under way.

        Args:
            job: Of a method whose stages wait for no others, as pipelines do.
        """
        self._depart(self._methods[job.method], job.rows, job)
        while job.pending:
            self.run_function_step()
            self.run_model_step()
            self.collect()

    @property
    def has_functions(self) -> bool:
        """Whether anything but models runs, which may keep what it is given."""
        methods = (*self._method_list, *self._pipelines.values())
        stages = (stage for method in methods for stage in method.definition.stages)
        return any(stage.kind is not StageKind.MODEL for stage in stages)

    @property
    def has_function_work(self) -> bool:
        """Whether a chunk waits for a function or built-in, or something waits in `collect`."""
        return bool(self._finished or self._calls.waiting) or any(self._queues)

    @property
    def has_model_work(self) -> bool:
        """Whether a chunk waits for a model that may run now."""
        return next_model(self._model_queue_list, 0) is not None

    @property
    def model_s(self) -> float:
        """Seconds that a batch of a model has taken of late."""
        return self._model_s

    def run_function_step(self) -> bool:
        """Run one step of the next stage that has work for a function.

        Returns:
            Whether there was anything to do.
        """
        at = next_stage(self._stage_queues, self._stage_turn)
        if at is None:
            return False
        method, stage_index = at
        self._stage_turn = method + 1
        stage = self._method_list[method].stages[stage_index]
        assert isinstance(stage, StageRunner)
        begun = self._now()
        chunks = run_function_step(stage, self._watch)
        ended = self._now()
        note_times(chunks, begun, ended)
        for finished in chunks:
            self._advance(finished)
        return True

    def run_model_step(self) -> bool:
        """Run one batch of the next model that has work. May be called from any thread.

        Returns:
            Whether there was anything to do; the chunks wait in `collect` then.
        """
        while (at := next_model(self._model_queue_list, self._model_turn)) is not None:
            queue = self._model_queue_list[at]
            taken = queue.take()
            if not taken:
                continue  # another thread was quicker; look again what is left
            self._model_turn = at + 1
            ran = RowsRun()
            begun = self._now()
            try:
                finished = run_model_step(queue.runner, taken, self._watch, ran)
                ended = self._now()
                note_times(finished, begun, ended, ran)
                self._finished.extend(finished)
            finally:
                queue.done()
            self._model_s += (ended - begun - self._model_s) * _WEIGHT
            return True
        return False

    def collect(self) -> bool:
        """Take what other threads call, and move what they have finished to its next stage; main thread only.

        Returns:
            Whether there was any.
        """
        found = bool(self._finished or self._calls.waiting)
        while self._calls.waiting:
            job = self._calls.waiting.popleft()
            if job.called is not None:
                self._outgoing.start_job(job, job.called)
            else:
                self._depart(self._methods[job.method], job.rows, job)
        while self._finished:
            self._advance(self._finished.popleft())
        return found

    def _depart(self, method: MethodStages, blocks: Sequence[Rows], job: Job) -> None:
        for chunk in method.chunks_of(blocks, job):
            self._enter(method, 0, chunk)

    def _origin(self) -> Sequence[HeldRows]:
        """Rows of the main process's batches for which this thread calls something; empty if nobody knows."""
        return self._of_thread.origin if self._watch is None else self._watch.origin()

    def _thread_of(self, pipeline: MethodStages) -> PipelineThread:
        stage = pipeline.stages[0]
        assert isinstance(stage, StageRunner)

        def step() -> None:
            begun = self._now()
            _, chunk = stage.queue[0]  # alone: main sends one instance at a time
            self._of_thread.origin = chunk.job.origin(chunk.start, 1)
            finished = run_function_step(stage, self._watch)
            note_times(finished, begun, self._now())
            self._finished.extend(finished)
            self._wake()

        return PipelineThread(stage.method.definition.name, lambda: len(stage.queue) > 0, step)

    def _advance(self, finished: Finished) -> None:
        """Send the rows of a chunk to their next stage, and those that failed out."""
        stage, chunk = finished.stage, finished.chunk
        job = chunk.job
        if job.begun is None:  # the common case, of a method of one stage
            job.begun, job.ended = finished.begun, finished.ended
        else:
            job.note_step(finished.begun, finished.ended)
        if job.steps:
            job.steps[stage.position] += finished.took
            if finished.model_rows:
                job.model_rows += finished.model_rows
                job.padding_rows += finished.padding_rows
        for start, stop, outcome in finished.outcomes:
            part = chunk.part(start, stop)
            if isinstance(outcome, Failure):
                self._leave(part, [FailedRows(outcome, stop - start)])
                continue
            part.values.update(zip(stage.outputs, outcome, strict=True))
            self._enter(stage.method, stage.position + 1, part)

    def _enter(self, method: MethodStages, position: int, chunk: Chunk) -> None:
        """Queue a chunk at a stage, or finish it after the last one."""
        if position >= len(method.stages):
            self._finish(method, chunk)
            return
        stage = method.stages[position]
        if isinstance(stage, CallStep):
            self._finished.extend(self._outgoing.start(stage, chunk, self._now()))
            return
        if stage.stage.kind is StageKind.MODEL:
            self._model_queues[stage.stage.target, stage.stage.subgraph].waiting.append((stage, chunk))
            return
        stage.queue.append((stage, chunk))
        if stage.stage.kind is StageKind.PIPELINE:
            self._pipeline_threads[method.definition.name].notify()

    def _finish(self, stages: MethodStages, chunk: Chunk) -> None:
        method = stages.definition
        values = [chunk.values[ref] for ref in method.outputs]
        if stages.declares_text:
            values = bytes_as_declared(values, method.output_types)
        groups: list[Group] = [
            FailedRows(with_trace(block), 1) if isinstance(block, ServingError) else block
            for block in rows_or_errors(method.output_names, values, chunk.count)
        ]
        if method.output_types:
            groups = [
                rows_as_declared(group, method.output_types) if isinstance(group, Rows) else group
                for group in groups
            ]
        self._leave(chunk, groups)

    def _leave(self, chunk: Chunk, groups: Sequence[Group]) -> None:
        """Record outcomes of a chunk's rows, and report them when it is time."""
        job, start = chunk.job, chunk.start
        for group in groups:
            job.add(start, group)
            start += group.count
        now = job.ended
        if is_report_due(job.pending, now - job.reported):
            self._report(job, now)

    def _report(self, job: Job, now: float) -> None:
        job.report()
        job.reported = now
        if job.pending == 0:
            log.info(
                "Method %s WorkerRequestHandle Time Cost # %.3f ms",
                job.method,
                (now - job.arrived) * 1000,
            )


class _OfThread(threading.local):
    """What the thread of a pipeline works on.

    Attributes:
        origin: The rows of the main process's batches that it works on.
    """

    origin: Sequence[HeldRows] = ()


def _send_nothing(_: MethodCall) -> None:
    raise OSError("this process calls no other methods")
