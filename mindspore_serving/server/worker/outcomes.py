"""What became of rows that ran: runs of neighbours with the same outcome.

A step may run rows of several chunks together. Its outcomes count from the first row of the step; each chunk then gets
its own part, counted from the chunk's first row. Outcomes cover each row once, in order. Who is at fault for a row
that fails is reported here (ADR 30).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from mindspore_serving.errors import Failure, ServingError, SystemFailure, text_of
from mindspore_serving.server.backend.input_check import WrongInput
from mindspore_serving.server.worker.graph_outcomes import RowsRun
from mindspore_serving.server.worker.stage_functions import StageResult
from mindspore_serving.server.worker.stages import CallStep, Chunk, StageRunner
from mindspore_serving.server.worker.traces import Traces
from mindspore_serving.server.worker.values import Values
from mindspore_serving.tensor import runs_of_equal

RowOutcome: TypeAlias = "tuple[int, int, list[Values] | Failure]"
"""(start, stop) of neighbouring rows, and their outputs, or why they have none."""
_traces = Traces()


@dataclass(slots=True)
class Finished:
    """Chunk that a stage has run, with the outcomes of its rows.

    Attributes:
        stage: The stage.
        chunk: The chunk.
        outcomes: Of its rows.
        begun: When the step began in which it ran, by the engine's clock; set by the engine.
        ended: When that step had ended.
        took: Its part in the seconds of that step, which has rows of other chunks, too.
        model_rows: Rows with which a model was run for it.
        padding_rows: Those of them that only fill up a batch.
    """

    stage: StageRunner | CallStep
    chunk: Chunk
    outcomes: list[RowOutcome]
    begun: float = field(init=False, repr=False, compare=False)
    ended: float = field(init=False, repr=False, compare=False)
    took: float = field(init=False, repr=False, compare=False)
    model_rows: int = field(init=False, default=0, repr=False, compare=False)
    padding_rows: int = field(init=False, default=0, repr=False, compare=False)


def note_times(finished: Sequence[Finished], begun: float, ended: float, ran: RowsRun | None = None) -> None:
    """Note when the step was that some chunks have run in, and what part in it each of them has.

    Args:
        finished: All chunks of the step.
        begun: When it began.
        ended: When it had ended.
        ran: With how many rows it has run a model.
    """
    if len(finished) == 1:  # the common case
        [one] = finished
        one.begun, one.ended, one.took = begun, ended, ended - begun
        if ran is not None:
            one.model_rows, one.padding_rows = ran.rows, ran.padding
        return
    total = sum([one.chunk.count for one in finished])
    rows, padding = (0, 0) if ran is None else (ran.rows, ran.padding)
    left = total
    for one in finished:
        count = one.chunk.count
        one.begun, one.ended, one.took = begun, ended, (ended - begun) * count / total
        one.model_rows, one.padding_rows = rows * count // left, padding * count // left
        rows, padding, left = rows - one.model_rows, padding - one.padding_rows, left - count


def all_failed(stage: StageRunner, chunk: Chunk, failure: Failure) -> Finished:
    """A chunk of which each row has the same failure."""
    return Finished(stage, chunk, [(0, chunk.count, failure)])


def unexpected(error: BaseException) -> Failure:
    """What is reported about an error that no stage and no model has raised; its traceback goes to the log."""
    text = f"Serving Error: the worker failed unexpectedly: {text_of(error)}"
    return Failure(SystemFailure.code, text, trace=_traces.of_serving(error))


def with_trace(error: ServingError) -> Failure:
    """What is reported about a value that cannot leave; where another error was the cause, with its traceback."""
    failure = error.failure()
    return failure if error.__cause__ is None else replace(failure, trace=_traces.of_serving(error.__cause__))


def outcomes_of(results: Sequence[StageResult], outputs_count: int) -> list[RowOutcome]:
    """Results per instance as runs: neighbours that succeeded, or failed alike, together."""
    if Failure not in map(type, results):
        return [(0, len(results), _columns_of(results, outputs_count))]
    keys = [result if type(result) is Failure else None for result in results]
    return [
        (start, stop, keys[start] or _columns_of(results[start:stop], outputs_count))
        for start, stop in runs_of_equal(keys)
    ]


def _columns_of(rows: Sequence[Any], outputs_count: int) -> list[Values]:
    count = len(rows)
    return [Values(count, None, None, [row[i] for row in rows]) for i in range(outputs_count)]


def part_of(outcomes: Sequence[RowOutcome], begin: int, end: int) -> list[RowOutcome]:
    """Outcomes of rows begin..end-1, counted from `begin`."""
    if len(outcomes) == 1 and outcomes[0][:2] == (begin, end) and begin == 0:
        return list(outcomes)
    part: list[RowOutcome] = []
    for start, stop, outcome in outcomes:
        low, high = max(start, begin), min(stop, end)
        if low >= high:
            continue
        kept = (
            outcome if isinstance(outcome, Failure) else [v.take(low - start, high - start) for v in outcome]
        )
        part.append((low - begin, high - begin, kept))
    return part


def blamed(
    error: WrongInput, start: int, stop: int, taken: Sequence[tuple[StageRunner, Chunk]]
) -> Iterator[tuple[int, int, Failure]]:
    """Why rows start..stop-1 of joined chunks do not fit a model.

    Who gave the value is at fault, the client or a stage; that may differ from chunk to chunk.
    """
    begin = 0
    for stage, chunk in taken:
        end = begin + chunk.count
        if start < end and begin < stop:
            yield max(start, begin), min(stop, end), stage.failure_of(error)
        begin = end
