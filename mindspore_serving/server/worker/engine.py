"""Moves the instances of batches through the stages of their methods.

A batch becomes chunks: rows that are at the same stage and move on together. A chunk waits at a stage, is joined there
with others of the same stage (or, at a model, of any method), runs, and its rows go to the next stage; rows that failed
leave with their error. When all rows of a batch have left, its last result is sent.

The engine runs on the worker's main thread: functions of users need not be thread-safe. Only `run_model_step` may be
called from other threads as well, also at the same time, so that models run while the next instances are prepared, and
beside each other; finished chunks come back through `collect`.

A pipeline is a method whose only stage is a function that runs other methods and waits for them. It would wait for ever
on the main thread, so each pipeline has a thread of its own, which takes chunks from the stage's queue; what it runs
enters the engine as a call (`method_calls`), and its finished chunks come back through `collect` as well.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from mindspore_serving import log
from mindspore_serving.errors import Failure, ServingError, StatusCode, SystemFailure, text_of
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.backend.input_check import WrongInput
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    StageKind,
    ValueRef,
)
from mindspore_serving.server.worker.call_watch import CallWatch
from mindspore_serving.server.worker.flight import BatchFlight, Flight
from mindspore_serving.server.worker.method_calls import MethodCalls
from mindspore_serving.server.worker.method_runner import Chunk, MethodRunner, ModelQueue, StageRunner
from mindspore_serving.server.worker.model_runner import GraphRunner
from mindspore_serving.server.worker.pipeline_thread import PipelineThread
from mindspore_serving.server.worker.stage_functions import StageResult
from mindspore_serving.server.worker.traces import Traces
from mindspore_serving.server.worker.values import Values, join_values, rows_or_errors
from mindspore_serving.signature import PARTIAL_REPLY_S
from mindspore_serving.tensor import runs_of_equal

_SLICED = 64
"""Most rows of one step of a function that takes one instance; a time slice ends the step earlier if they are slow."""
QUICK_MODEL_S = 0.001
"""Below this time for a batch, a model runs on the main thread if nothing waits for a function."""
_traces = Traces()


@dataclass(slots=True)
class _Finished:
    """Chunk that a stage has run, or why some of its rows failed."""

    stage: StageRunner
    chunk: Chunk
    outcomes: list[tuple[int, int, list[Values] | Failure]]


class Engine:
    """All methods and pipelines of the servable of this process, and what is under way in them.

    Args:
        methods: The methods.
        runners: Graphs of each model, by key.
        send: Takes each result.
        pipelines: The pipelines; clients reach them instead of methods of the same name.
        wake: Called from other threads when something waits in `collect`.
        watch: Writes down what is called; None without a limit for calls.
    """

    def __init__(
        self,
        methods: Sequence[MethodDefinition],
        runners: Mapping[str, Sequence[GraphRunner]],
        send: Callable[[Result], None],
        pipelines: Sequence[MethodDefinition] = (),
        wake: Callable[[], None] = lambda: None,
        watch: CallWatch | None = None,
    ) -> None:
        self._watch = watch
        batch_sizes = {key: graphs[0].batch_size for key, graphs in runners.items()}
        self._methods = {method.name: MethodRunner(method, batch_sizes, watch) for method in methods}
        self._method_list = list(self._methods.values())
        self._pipelines = {pipeline.name: MethodRunner(pipeline, {}, watch) for pipeline in pipelines}
        self._pipeline_threads = {
            name: self._thread_of(pipeline.stages[0]) for name, pipeline in self._pipelines.items()
        }
        self._model_queues = {
            (key, subgraph): ModelQueue(runner)
            for key, graphs in runners.items()
            for subgraph, runner in enumerate(graphs)
        }
        self._model_queue_list = list(self._model_queues.values())
        self._model_turn = 0
        self._model_seconds = 0.0
        self._turn = 0
        self._finished: deque[_Finished] = deque()
        self._send = send
        self._wake = wake
        held = _of_nobody if watch is None else watch.held
        self._calls = MethodCalls({method.name: method for method in methods}, wake, held)

    def start(self) -> None:
        """Start the threads of the pipelines."""
        for thread in self._pipeline_threads.values():
            thread.start()

    def stop(self) -> None:
        """Let what pipelines wait for fail, and start no more of them; safe to call twice."""
        for thread in self._pipeline_threads.values():
            thread.stop()
        self._calls.stop()

    def add(self, batch: Batch) -> None:
        """Take a new batch."""
        now = time.monotonic()
        flight = BatchFlight(batch, now, self._send)
        method = self._pipelines.get(batch.method) or self._methods.get(batch.method)
        if method is None:
            text = f"Method {batch.method} is not registered in this worker"
            flight.add(0, FailedRows(Failure(StatusCode.INVALID_INPUTS, text), batch.count))
            self._report(flight, now)
            return
        self._depart(method, batch.groups, flight)

    def call(self, name: str, instances: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Run instances on a method and wait for their outputs; see `MethodCalls.call`."""
        return self._calls.call(name, instances)

    @property
    def has_function_work(self) -> bool:
        """Whether a chunk waits for a function or built-in, or something waits in `collect`."""
        if self._finished or self._calls:
            return True
        return any(stage.queue for method in self._method_list for stage in method.stages)

    @property
    def has_model_work(self) -> bool:
        """Whether a chunk waits for a model that may run now."""
        return any(queue.can_run for queue in self._model_queue_list)

    @property
    def models_are_quick(self) -> bool:
        """Whether models have run so briefly of late that another thread is not worth the hand-over."""
        return self._model_seconds < QUICK_MODEL_S

    def run_function_step(self) -> bool:
        """Run one step of the next method that has work for a function: its latest stage with waiting rows.

        Returns:
            Whether there was anything to do.
        """
        for step in range(len(self._method_list)):
            at = (self._turn + step) % len(self._method_list)
            for stage in self._method_list[at].last_stage_first:
                if stage.queue:
                    self._turn = at + 1
                    for finished in self._run_functions(stage):
                        self._advance(finished)
                    return True
        return False

    def run_model_step(self) -> bool:
        """Run one batch of the next model that has work. May be called from any thread.

        Returns:
            Whether there was anything to do; the chunks wait in `collect` then.
        """
        queues = self._model_queue_list
        for step in range(len(queues)):
            at = (self._model_turn + step) % len(queues)
            taken = queues[at].take()
            if taken:
                self._model_turn = at + 1
                begin = time.monotonic()
                try:
                    self._run_model(queues[at].runner, taken)
                finally:
                    queues[at].done()
                self._model_seconds += (time.monotonic() - begin - self._model_seconds) / 8
                return True
        return False

    def collect(self) -> bool:
        """Take what other threads call, and move what they have finished to its next stage; main thread only.

        Returns:
            Whether there was any.
        """
        found = bool(self._finished) or bool(self._calls)
        for call in self._calls.take():
            self._depart(self._methods[call.method], call.rows, call)
        while self._finished:
            finished = self._finished.popleft()
            self._advance(finished)
        return found

    def _depart(self, method: MethodRunner, blocks: Sequence[Rows], flight: Flight) -> None:
        for chunk in method.chunks_of(blocks, flight):
            self._enter(method, 1, chunk)

    def _thread_of(self, stage: StageRunner) -> PipelineThread:
        def step() -> None:
            self._finished.extend(self._run_functions(stage))
            self._wake()

        return PipelineThread(stage.method.definition.name, lambda: len(stage.queue) > 0, step)

    def _run_functions(self, stage: StageRunner) -> list[_Finished]:
        """Run rows on a function; what did not fit into a time slice goes back to the head of the queue."""
        chunks = [
            chunk for _, chunk in stage.queue.take(stage.batch_size if stage.stage.takes_batch else _SLICED)
        ]
        try:
            return self._run_chunks(stage, chunks)
        except BaseException as error:  # of Serving itself, or of the user's objects that it handles
            failure = _unexpected(error)
            return [_all_failed(stage, chunk, failure) for chunk in chunks]

    def _run_chunks(self, stage: StageRunner, chunks: Sequence[Chunk]) -> list[_Finished]:
        # Each chunk's own objects: a function that changes its input in place is seen by the stages after it.
        inputs = [
            [value for chunk in chunks for value in stage.objects_of(chunk.values[ref])]
            for ref in stage.stage.inputs
        ]
        count = sum([chunk.count for chunk in chunks])
        if self._watch is None:
            results = stage.run(inputs, count)
        else:
            one_by_one = not stage.stage.takes_batch
            with self._watch.work(stage.overdue_text, _held(chunks, one_by_one), one_by_one):
                results = stage.run(inputs, count)
        outcomes = _columns_of(results, stage.stage.outputs_count)
        if len(chunks) == 1 and len(results) == chunks[0].count:
            _put_kept(stage, chunks[0], inputs, 0)
            return [_Finished(stage, chunks[0], outcomes)]
        begin = 0
        finished: list[_Finished] = []
        undone: list[Chunk] = []
        for chunk in chunks:
            done = min(max(len(results) - begin, 0), chunk.count)
            if done < chunk.count:
                undone.append(chunk.part(done, chunk.count))
            if done:
                cut = _cut(outcomes, begin, begin + done)
                part = chunk.part(0, done)
                _put_kept(stage, part, inputs, begin)
                finished.append(_Finished(stage, part, cut))
            begin += chunk.count
        for chunk in reversed(undone):
            stage.queue.put_back(stage, chunk)
        return finished

    def _run_model(self, runner: GraphRunner, taken: Sequence[tuple[StageRunner, Chunk]]) -> None:
        """Run chunks of any methods as one batch."""
        try:
            finished = self._run_joined(runner, taken)
        except BaseException as error:  # of Serving itself, of the backend, or of the user's objects
            failure = _unexpected(error)
            finished = [_all_failed(stage, chunk, failure) for stage, chunk in taken]
        self._finished.extend(finished)

    def _run_joined(self, runner: GraphRunner, taken: Sequence[tuple[StageRunner, Chunk]]) -> list[_Finished]:
        inputs = [
            join_values([chunk.values[stage.stage.inputs[i]] for stage, chunk in taken])
            for i in range(len(runner.inputs))
        ]
        total = sum([chunk.count for _, chunk in taken])

        def method_of(row: int) -> str:
            return _at_row(taken, row).method.definition.name

        if self._watch is None:
            results = runner.run(inputs, total, method_of)
        else:
            held = _held([chunk for _, chunk in taken], False)
            with self._watch.work(taken[0][0].overdue_text, held, False):
                results = runner.run(inputs, total, method_of)
        specs = runner.outputs
        outcomes: list[tuple[int, int, list[Values] | Failure]] = []
        for start, stop, result in results:
            if isinstance(result, WrongInput):
                outcomes += _blamed(result, start, stop, taken)
            elif isinstance(result, ServingError):
                outcomes.append((start, stop, result.failure()))
            else:
                values = [
                    Values(stop - start, spec._replace(shape=column.shape[1:]), column)
                    for spec, column in zip(specs, result, strict=True)
                ]
                outcomes.append((start, stop, values))
        begin = 0
        finished = []
        for stage, chunk in taken:
            end = begin + chunk.count
            finished.append(_Finished(stage, chunk, _cut(outcomes, begin, end)))
            begin = end
        return finished

    def _advance(self, finished: _Finished) -> None:
        """Send the rows of a chunk to their next stage, and those that failed out."""
        stage, chunk = finished.stage, finished.chunk
        for start, stop, outcome in finished.outcomes:
            part = chunk.part(start, stop)
            if isinstance(outcome, Failure):
                self._leave(part, [FailedRows(outcome, stop - start)])
                continue
            for i, value in enumerate(outcome):
                part.values[ValueRef(stage.stage.index, i)] = value
            self._enter(stage.method, stage.stage.index + 1, part)

    def _enter(self, method: MethodRunner, stage_index: int, chunk: Chunk) -> None:
        """Queue a chunk at a stage, or finish it after the last one."""
        if stage_index > len(method.stages):
            self._finish(method.definition, chunk)
            return
        stage = method.stages[stage_index - 1]
        if stage.stage.kind is StageKind.MODEL:
            self._model_queues[stage.stage.target, stage.stage.subgraph].chunks.put(stage, chunk)
            return
        stage.queue.put(stage, chunk)
        if stage.stage.kind is StageKind.PIPELINE:
            self._pipeline_threads[method.definition.name].notify()

    def _finish(self, method: MethodDefinition, chunk: Chunk) -> None:
        values = [chunk.values[ref] for ref in method.outputs]
        groups = [
            FailedRows(_with_trace(block), 1) if isinstance(block, ServingError) else block
            for block in rows_or_errors(method.output_names, values, chunk.count)
        ]
        self._leave(chunk, groups)

    def _leave(self, chunk: Chunk, groups: Sequence[Group]) -> None:
        """Record outcomes of a chunk's rows, and tell main when it is time."""
        flight, start = chunk.flight, chunk.start
        for group in groups:
            flight.add(start, group)
            start += group.count
        now = time.monotonic()
        if flight.pending == 0 or now - flight.reported > PARTIAL_REPLY_S:
            self._report(flight, now)

    def _report(self, flight: Flight, now: float) -> None:
        flight.report()
        flight.reported = now
        if flight.pending == 0:
            log.info(
                "Method %s WorkerRequestHandle Time Cost # %.3f ms",
                flight.method,
                (now - flight.arrived) * 1000,
            )


def _of_nobody() -> Sequence[HeldRows]:
    return ()


def _held(chunks: Sequence[Chunk], one_by_one: bool) -> list[Sequence[HeldRows]]:
    """Instances of the main process that rows of chunks are for: of each row, or of all; empty if nobody knows."""
    if one_by_one:
        return [chunk.flight.held(chunk.start + i, 1) for chunk in chunks for i in range(chunk.count)]
    held = [chunk.flight.held(chunk.start, chunk.count) for chunk in chunks]
    if not all(held):
        return [()]
    return [tuple(dict.fromkeys(chain.from_iterable(held)))]


def _put_kept(stage: StageRunner, chunk: Chunk, inputs: Sequence[list[Any]], begin: int) -> None:
    """Let stages after a function see its inputs as they were when it returned.

    Args:
        stage: The function.
        chunk: Rows that it has run.
        inputs: As `FunctionCalls.run` has left them.
        begin: Where the chunk's rows begin there.
    """
    for i in stage.kept:
        ref = stage.stage.inputs[i]
        chunk.values[ref] = chunk.values[ref].with_objects(inputs[i][begin : begin + chunk.count])


def _all_failed(stage: StageRunner, chunk: Chunk, failure: Failure) -> _Finished:
    return _Finished(stage, chunk, [(0, chunk.count, failure)])


def _unexpected(error: BaseException) -> Failure:
    """What is told about an error that no stage and no model has raised; its traceback goes to the log."""
    text = f"Serving Error: the worker failed unexpectedly: {text_of(error)}"
    return Failure(SystemFailure.code, text, trace=_traces.of_serving(error))


def _with_trace(error: ServingError) -> Failure:
    """What is told about a value that cannot leave; where another error was the cause, with its traceback."""
    failure = error.failure()
    return failure if error.__cause__ is None else replace(failure, trace=_traces.of_serving(error.__cause__))


def _at_row(taken: Sequence[tuple[StageRunner, Chunk]], row: int) -> StageRunner:
    """The stage at which a row of joined chunks is."""
    for stage, chunk in taken:
        if row < chunk.count:
            return stage
        row -= chunk.count
    raise IndexError(f"there is no row {row} behind the last chunk")


def _blamed(
    error: WrongInput, start: int, stop: int, taken: Sequence[tuple[StageRunner, Chunk]]
) -> Iterator[tuple[int, int, Failure]]:
    """Why rows of joined chunks do not fit a model: whoever gave the value is at fault, the client or a stage."""
    begin = 0
    for stage, chunk in taken:
        end = begin + chunk.count
        if start < end and begin < stop:
            yield max(start, begin), min(stop, end), stage.failure_of(error)
        begin = end


def _columns_of(
    results: Sequence[StageResult], outputs_count: int
) -> list[tuple[int, int, list[Values] | Failure]]:
    """Outcomes per instance as runs: neighbours that succeeded, or failed alike, together."""
    keys = [result if type(result) is Failure else None for result in results]
    runs: list[tuple[int, int, list[Values] | Failure]] = []
    for start, stop in runs_of_equal(keys) if any(keys) else [(0, len(keys))]:
        failure = keys[start]
        if failure is not None:
            runs.append((start, stop, failure))
            continue
        rows: Any = results[start:stop]
        columns = [Values(stop - start, objects=[row[i] for row in rows]) for i in range(outputs_count)]
        runs.append((start, stop, columns))
    return runs


def _cut(
    outcomes: Sequence[tuple[int, int, list[Values] | Failure]], begin: int, end: int
) -> list[tuple[int, int, list[Values] | Failure]]:
    """Outcomes of rows begin..end-1, counted from `begin`."""
    if len(outcomes) == 1 and outcomes[0][:2] == (begin, end) and begin == 0:
        return list(outcomes)
    cut: list[tuple[int, int, list[Values] | Failure]] = []
    for start, stop, outcome in outcomes:
        low, high = max(start, begin), min(stop, end)
        if low >= high:
            continue
        part = (
            outcome if isinstance(outcome, Failure) else [v.take(low - start, high - start) for v in outcome]
        )
        cut.append((low - begin, high - begin, part))
    return cut
