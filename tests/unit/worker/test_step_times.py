"""What the last result of a batch says of its stages and models: time, rows and padding, each shared fairly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mindspore_serving.errors import ModelError
from mindspore_serving.server.channel.messages import Batch, ModelReply, Result
from mindspore_serving.server.register import add_stage, call, declare_model, register_method
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.graph_outcomes import RowsRun
from mindspore_serving.server.worker.job import BatchJob
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.outcomes import Finished, note_times
from mindspore_serving.server.worker.remote_models import ModelCalls, RemoteModel
from mindspore_serving.server.worker.stages import Chunk, step_names
from mindspore_serving.server.worker.values import Values
from mindspore_serving.signature import GraphInfo, GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec
from tests.support.rows import numbered

SECOND = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class SlowGraph:
    """A graph of four rows that takes a second; it fails for what is below 0."""

    dynamic_batch = False

    def __init__(self, clock: Clock) -> None:
        spec = TensorSpec("x", DataType.FLOAT32, (4,))
        self.signature = GraphSignature((spec,), (spec,))
        self._clock = clock

    def predict(self, arrays: list[Array]) -> list[Array]:
        self._clock.now += 1.0
        if (arrays[0] < 0).any():
            raise ModelError("below 0")
        return [arrays[0]]

    def close(self) -> None:
        """Nothing to unload."""


class Steps:
    """A method: half a second for each instance, a model, and nothing."""

    def __init__(self) -> None:
        self.clock = clock = Clock()
        definition = open_definition("servable", "/nowhere")
        model = declare_model("m.mindir", "MindIR")
        self.results: list[Result] = []

        def half(x):
            clock.now += 0.5
            return x

        def nothing(x):
            return x

        @register_method(output_names=["y"])
        def method(x):
            x = add_stage(half, x, outputs_count=1)
            x = add_stage(model, x, outputs_count=1)
            return add_stage(nothing, x, outputs_count=1)

        @register_method(output_names=["y"])
        def other(x):
            return add_stage(model, x, outputs_count=1)

        self.definition = definition
        runner = ModelRunner(SlowGraph(clock), True, (), 8)
        self.engine = Engine(
            list(definition.methods.values()), {"m.mindir": [runner]}, self.results.append, now=clock
        )

    def run(self, *batches: Batch) -> dict[int, Result]:
        for batch in batches:
            self.engine.add(batch)
        while self.engine.run_function_step():
            pass
        while self.engine.run_model_step():
            pass
        self.engine.collect()
        while self.engine.run_function_step():
            self.engine.collect()
        return {result.batch_id: result for result in self.results if result.final}


def test_a_batch_alone_has_all_of_its_steps_and_the_padding() -> None:
    result = Steps().run(Batch(1, 0, "method", (numbered(2),)))[1]
    assert result.steps == (SECOND, SECOND, 0)
    assert (result.model_rows, result.padding_rows) == (4, 2)
    assert result.run_us == 2 * SECOND


def test_batches_that_run_together_share_the_step_by_their_rows() -> None:
    results = Steps().run(Batch(1, 0, "other", (numbered(1),)), Batch(2, 1, "other", (numbered(2),)))
    assert [results[i].steps for i in (1, 2)] == [(333_334,), (666_667,)]
    rows = [(results[i].model_rows, results[i].padding_rows) for i in (1, 2)]
    assert rows == [(1, 0), (3, 1)]


def test_methods_that_share_a_model_share_its_time() -> None:
    results = Steps().run(Batch(1, 0, "method", (numbered(2),)), Batch(2, 1, "other", (numbered(2),)))
    assert results[1].steps == (SECOND, SECOND // 2, 0)
    assert results[2].steps == (SECOND // 2,)


def test_what_ran_for_a_moment_counts_as_a_microsecond() -> None:
    sent: list[Result] = []
    job = BatchJob(Batch(1, 0, "m", (numbered(1),)), 0.0, sent.append)
    job.steps = [0.0, 1e-9, 1e-6, 1.5e-6, 1e6]
    job.note_step(0.0, 1e6)
    job.add(0, numbered(1))
    job.report()
    assert sent[0].steps == (0, 1, 1, 2, 2**32 - 1)


def test_only_the_last_result_says_it() -> None:
    sent: list[Result] = []
    job = BatchJob(Batch(1, 0, "m", (numbered(2),)), 0.0, sent.append)
    job.steps, job.model_rows, job.padding_rows = [1.0], 4, 2
    for start in (0, 1):
        job.add(start, numbered(1))
        job.report()
    assert [(one.steps, one.model_rows, one.padding_rows) for one in sent] == [((), 0, 0), ((SECOND,), 4, 2)]


def test_a_model_that_fails_has_run_all_the_same() -> None:
    result = Steps().run(Batch(1, 0, "other", (numbered(1, -3),)))[1]
    assert (result.steps, result.model_rows, result.padding_rows) == ((SECOND,), 4, 3)


def test_rows_that_do_not_come_so_far_do_not_count() -> None:
    steps = Steps()
    steps.engine.add(Batch(1, 0, "unknown", (numbered(1),)))
    assert steps.results[0].steps == ()


@pytest.mark.parametrize("counts", [[1], [1, 2], [3, 1, 1], [7, 5, 3, 1]])
def test_no_row_is_lost_where_several_chunks_share_a_step(counts: list[int]) -> None:
    ran = RowsRun()
    ran.add(64, 41)
    chunks = [Finished(None, Chunk(None, 0, count, {}), []) for count in counts]  # type: ignore[arg-type]
    note_times(chunks, 1.0, 3.0, ran)
    assert sum(one.model_rows for one in chunks) == 64
    assert sum(one.padding_rows for one in chunks) == 41
    assert sum(one.took for one in chunks) == pytest.approx(2.0)
    assert all(one.padding_rows <= one.model_rows for one in chunks)


@pytest.mark.parametrize(
    ("rows", "with_batch", "shown"),
    [(5, True, (8, 3)), (8, True, (8, 0)), (2, False, (2, 0))],
)
def test_rows_of_a_graph(rows: int, with_batch: bool, shown: tuple[int, int]) -> None:
    runner = ModelRunner(SlowGraph(Clock()), with_batch, (), 8)
    ran = RowsRun()
    shape = () if with_batch else (4,)
    values = Values(rows, objects=[np.ones(shape, np.float32)] * rows)
    runner.run([values], rows, ran=ran)
    assert (ran.rows, ran.padding) == shown


def test_rows_of_a_model_that_another_worker_holds_are_what_that_says() -> None:
    spec = TensorSpec("x", DataType.FLOAT32, ())
    answer: list[Callable[[], None]] = []
    calls = ModelCalls(
        [3],
        lambda asked: answer.append(
            lambda: calls.take(ModelReply(asked.call_id, asked.slot, asked.groups, 8, 6))
        ),
        lambda _: answer.pop()(),
    )
    remote = RemoteModel("m.mindir", 0, GraphInfo((spec,), (spec,), 4, False), calls)
    ran = RowsRun()
    remote.run([Values(2, objects=[np.float32(1)] * 2)], 2, ran=ran)
    assert (ran.rows, ran.padding) == (8, 6)


def test_names_of_steps() -> None:
    definition = open_definition("servable", "/nowhere")
    model = declare_model(["a.mindir", "b.mindir"], "MindIR")

    def plus(x, y):
        return x + y

    @register_method(output_names=["y"])
    def method(x):
        up = call("other", "up", x)
        down = call("other", "down", x)
        x = add_stage(plus, up, down, outputs_count=1)
        y = add_stage(model, x, outputs_count=1, tag="again")
        return add_stage(plus, y, x, outputs_count=1)

    assert step_names(definition.methods["method"].stages) == (
        "other.up+other.down",
        "servable.plus",
        "a.mindir;b.mindir",
        "servable.plus (2)",
    )
