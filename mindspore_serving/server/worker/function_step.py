"""One step of a stage with a Python function: rows of several chunks in, each chunk's own outcomes out.

There are three cases for a chunk of a step: all of its rows have run; none has, because the time slice was over before
it; or some have, and the chunk is cut. What has not run goes back to the head of the queue, in order, so that no row is
lost or overtaken.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.worker.call_watch import CallWatch
from mindspore_serving.server.worker.outcomes import Finished, all_failed, outcomes_of, part_of, unexpected
from mindspore_serving.server.worker.stages import Chunk, StageRunner


def run_function_step(stage: StageRunner, watch: CallWatch | None) -> list[Finished]:
    """Run rows that wait for a function; what did not fit into a time slice goes back to the head of the queue.

    Args:
        stage: The stage.
        watch: Writes down what is called; None without a limit for calls.
    """
    chunks = [chunk for _, chunk in stage.queue.take(stage.rows_of_step)]
    try:
        return _run_chunks(stage, chunks, watch)
    except BaseException as error:  # of Serving itself, or of the user's objects that it handles
        failure = unexpected(error)
        return [all_failed(stage, chunk, failure) for chunk in chunks]


def origins_of(chunks: Sequence[Chunk], one_by_one: bool) -> list[Sequence[HeldRows]]:
    """Rows of the main process's batches that rows of chunks are for; empty if nobody knows.

    Args:
        chunks: The chunks.
        one_by_one: Whether to tell them for each row, or for all together.
    """
    if one_by_one:
        return [chunk.job.origin(chunk.start + i, 1) for chunk in chunks for i in range(chunk.count)]
    origins = [chunk.job.origin(chunk.start, chunk.count) for chunk in chunks]
    if not all(origins):
        return [()]
    return [tuple(dict.fromkeys(chain.from_iterable(origins)))]


def _run_chunks(stage: StageRunner, chunks: Sequence[Chunk], watch: CallWatch | None) -> list[Finished]:
    # Each chunk's own objects: a function that changes its input in place is seen by the stages after it.
    if len(chunks) == 1:  # the common case
        values, count = chunks[0].values, chunks[0].count
        inputs = [[*stage.objects_of(values[ref])] for ref in stage.stage.inputs]
    else:
        inputs = [
            [value for chunk in chunks for value in stage.objects_of(chunk.values[ref])]
            for ref in stage.stage.inputs
        ]
        count = sum([chunk.count for chunk in chunks])
    assert stage.run is not None
    if watch is None:
        results = stage.run(inputs, count)
    else:
        one_by_one = not stage.stage.takes_batch
        with watch.work(stage.overdue_text, origins_of(chunks, one_by_one), one_by_one):
            results = stage.run(inputs, count)
    outcomes = outcomes_of(results, stage.stage.outputs_count)
    if len(chunks) == 1 and len(results) == count:
        _keep_inputs(stage, chunks[0], inputs, 0)
        return [Finished(stage, chunks[0], outcomes)]
    begin = 0
    finished: list[Finished] = []
    undone: list[Chunk] = []
    for chunk in chunks:
        done = min(max(len(results) - begin, 0), chunk.count)
        if done < chunk.count:
            undone.append(chunk.part(done, chunk.count))
        if done:
            part = chunk.part(0, done)
            _keep_inputs(stage, part, inputs, begin)
            finished.append(Finished(stage, part, part_of(outcomes, begin, begin + done)))
        begin += chunk.count
    stage.queue.extendleft([(stage, chunk) for chunk in reversed(undone)])
    return finished


def _keep_inputs(stage: StageRunner, chunk: Chunk, inputs: Sequence[list[Any]], begin: int) -> None:
    """Let stages after a function see its inputs as they were when it returned.

    Args:
        stage: The function.
        chunk: Rows that it has run.
        inputs: As `FunctionRunner.run` has left them.
        begin: Where the chunk's rows begin there.
    """
    for i in stage.kept:
        ref = stage.stage.inputs[i]
        chunk.values[ref] = chunk.values[ref].with_objects(inputs[i][begin : begin + chunk.count])
