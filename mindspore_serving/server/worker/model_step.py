"""One batch of a model: chunks of any methods are joined, run together, and taken apart again.

An instance that does not fit the model fails alone. Who is told to be at fault depends on its method: the client where
the value is an input of the method, the servable where a stage made it (ADR 30).
"""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving.errors import ServingError
from mindspore_serving.server.backend.input_check import WrongInput
from mindspore_serving.server.channel.messages import NO_BATCH
from mindspore_serving.server.worker.call_watch import CallWatch
from mindspore_serving.server.worker.function_step import origins_of
from mindspore_serving.server.worker.graph_outcomes import Outcome, RowsRun
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.outcomes import (
    Finished,
    RowOutcome,
    all_failed,
    blamed,
    part_of,
    unexpected,
)
from mindspore_serving.server.worker.stages import Chunk, StageRunner
from mindspore_serving.server.worker.values import Values, join_values
from mindspore_serving.tensor import ColumnData, TensorSpec


def run_model_step(
    runner: GraphRunner,
    taken: Sequence[tuple[StageRunner, Chunk]],
    watch: CallWatch | None,
    ran: RowsRun | None = None,
) -> list[Finished]:
    """Run chunks of any methods as one batch; from any thread.

    Args:
        runner: Runs the graph.
        taken: The chunks, each with its stage, which are all of this graph.
        watch: Writes down what is called; None without a limit for calls.
        ran: Counts the rows with which the graph is run.
    """
    try:
        return _run_joined(runner, taken, watch, ran)
    except BaseException as error:  # of Serving itself, of the backend, or of the user's objects
        failure = unexpected(error)
        return [all_failed(stage, chunk, failure) for stage, chunk in taken]


def _run_joined(
    runner: GraphRunner,
    taken: Sequence[tuple[StageRunner, Chunk]],
    watch: CallWatch | None,
    ran: RowsRun | None,
) -> list[Finished]:
    inputs = [
        join_values([chunk.values[stage.stage.inputs[i]] for stage, chunk in taken])
        for i in range(len(runner.inputs))
    ]
    total = sum([chunk.count for _, chunk in taken])
    if runner.is_remote and ran is not None:  # traces go on there
        first = taken[0][1]
        held = first.job.origin(first.start, 1)
        ran.batch_id = held[0].batch_id if held else NO_BATCH

    def method_of(row: int) -> str:
        return _at_row(taken, row).method.definition.name

    if watch is None:
        results = runner.run(inputs, total, method_of, ran)
    else:
        origins = origins_of([chunk for _, chunk in taken], False)
        with watch.work(taken[0][0].overdue_text, origins, False):
            results = runner.run(inputs, total, method_of, ran)
    outcomes = _outcomes_of(runner, results, taken)
    begin = 0
    finished = []
    for stage, chunk in taken:
        end = begin + chunk.count
        finished.append(Finished(stage, chunk, part_of(outcomes, begin, end)))
        begin = end
    return finished


def _outcomes_of(
    runner: GraphRunner, results: Sequence[Outcome], taken: Sequence[tuple[StageRunner, Chunk]]
) -> list[RowOutcome]:
    outcomes: list[RowOutcome] = []
    for start, stop, result in results:
        if isinstance(result, WrongInput):
            outcomes += blamed(result, start, stop, taken)
        elif isinstance(result, ServingError):
            outcomes.append((start, stop, result.failure()))
        else:
            values = [
                Values(stop - start, _spec_of(spec, column), column)
                for spec, column in zip(runner.outputs, result, strict=True)
            ]
            outcomes.append((start, stop, values))
    return outcomes


def _spec_of(output: TensorSpec, column: ColumnData) -> TensorSpec:
    return output._replace(shape=() if isinstance(column, list) else column.shape[1:])


def _at_row(taken: Sequence[tuple[StageRunner, Chunk]], row: int) -> StageRunner:
    """The stage at which a row of joined chunks is."""
    for stage, chunk in taken:
        if row < chunk.count:
            return stage
        row -= chunk.count
    raise IndexError(f"there is no row {row} behind the last chunk")
