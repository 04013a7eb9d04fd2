"""Which chunks run together on a graph with dynamic dimensions, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.rows import Group, Rows
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.register import add_stage, declare_model, register_method
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.remote_models import ModelCalls, RemoteModel
from mindspore_serving.signature import GraphInfo, GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec
from tests.support.rows import rows_of

MODEL = "m.mindir"


class LengthGraph:
    """Tells how long each instance is; remembers the shapes of its batches."""

    def __init__(self, batch: int = -1, dim: int = -1) -> None:
        self.signature = GraphSignature(
            (TensorSpec("x", DataType.FLOAT32, (batch, dim)),), (TensorSpec("y", DataType.INT64, (batch,)),)
        )
        self.dynamic_batch = batch == -1
        self.given: list[tuple[int, ...]] = []

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        [x] = arrays
        self.given.append(x.shape)
        return [np.full(len(x), x.shape[1])]

    def close(self) -> None:
        """Nothing to unload."""


class Worker:
    """An engine with two methods: `measure` is the model alone, `spell` has a function before it."""

    def __init__(self, graph: LengthGraph | None = None, max_batch_size: int = 4) -> None:
        definition = open_definition("servable", "/nowhere")
        model = declare_model(MODEL, "MindIR")

        @register_method(output_names=["y"])
        def measure(x):
            return add_stage(model, x, outputs_count=1)

        @register_method(output_names=["y"])
        def spell(x):
            spelled = add_stage(lambda n: np.zeros(int(n), np.float32), x, outputs_count=1)
            return add_stage(model, spelled, outputs_count=1)

        self.graph = graph or LengthGraph()
        self.results: list[Result] = []
        runner = ModelRunner(self.graph, True, (), max_batch_size)
        self.now = 0.0
        self.engine = Engine(
            list(definition.methods.values()), {MODEL: [runner]}, self.results.append, now=lambda: self.now
        )
        self._batches = 0

    def add(self, method: str, *groups: Rows) -> None:
        self._batches += 1
        self.engine.add(Batch(self._batches, 0, method, groups))

    def run_model_step(self) -> bool:
        found = self.engine.run_model_step()
        self.engine.collect()
        return found

    def lengths_of(self, batch: int) -> list[int]:
        """What has been told of a batch so far, in the order of its rows."""
        told = sorted((result for result in self.results if result.batch_id == batch), key=lambda r: r.start)
        return [y for result in told for group in result.groups for y in column_of(group)]


def column_of(group: Group) -> list[int]:
    assert isinstance(group, Rows)
    column: Any = group.columns[0]
    return [int(y) for y in column]


def rows(length: int, count: int = 1) -> Rows:
    return rows_of(x=np.zeros((count, length), np.float32))


def test_rows_of_one_shape_run_together_whatever_batch_they_came_in() -> None:
    worker = Worker()
    worker.add("measure", rows(3, 2), rows(1))
    worker.add("measure", rows(3), rows(2, 3), rows(3))
    while worker.run_model_step():
        continue
    assert worker.graph.given == [(4, 3), (1, 1), (3, 2)]
    assert (worker.lengths_of(1), worker.lengths_of(2)) == ([3, 3, 1], [3, 2, 2, 2, 3])


def test_shapes_take_turns() -> None:
    worker = Worker(max_batch_size=2)
    worker.add("measure", rows(3, 5), rows(1, 3))
    while worker.run_model_step():
        continue
    assert worker.graph.given == [(2, 3), (2, 1), (2, 3), (1, 1), (1, 3)]


def test_results_of_other_shapes_do_not_wait_for_a_shape_that_takes_long() -> None:
    worker = Worker()
    worker.add("measure", rows(2, 2))
    worker.add("measure", rows(1000))
    worker.add("measure", rows(2))
    assert worker.run_model_step()
    assert worker.graph.given == [(3, 2)]
    assert (worker.lengths_of(1), worker.lengths_of(2), worker.lengths_of(3)) == ([2, 2], [], [2])
    assert worker.run_model_step()
    assert worker.lengths_of(2) == [1000]
    assert not worker.run_model_step()


def test_a_fixed_batch_is_filled_with_rows_of_one_shape() -> None:
    worker = Worker(LengthGraph(4))
    worker.add("measure", *[rows(1 + i % 2) for i in range(8)])
    while worker.run_model_step():
        continue
    assert worker.graph.given == [(4, 1), (4, 2)]
    assert worker.lengths_of(1) == [1, 2] * 4


def test_what_a_function_made_goes_by_its_shape() -> None:
    worker = Worker()
    worker.add("spell", rows_of(x=np.array([3, 3, 1, 3], np.float32)))
    worker.add("measure", rows(1))
    while worker.engine.run_function_step():
        continue
    while worker.run_model_step():
        continue
    assert worker.graph.given == [(2, 1), (3, 3)]
    assert (worker.lengths_of(1), worker.lengths_of(2)) == ([3, 3, 1, 3], [1])


@pytest.mark.parametrize(
    ("graph", "limit"), [(LengthGraph(4, 3), 4), (LengthGraph(-1, 3), 4), (LengthGraph(-1, -1), 1)]
)
def test_other_graphs_run_rows_in_their_order(graph: LengthGraph, limit: int) -> None:
    assert not ModelRunner(graph, True, (), limit).runs_by_shape


def test_models_that_other_workers_hold_get_all_shapes_at_once() -> None:
    x = TensorSpec("x", DataType.FLOAT32, (-1,))
    calls = ModelCalls([0], lambda _: None, lambda _: None)
    assert not RemoteModel(MODEL, 0, GraphInfo((x,), (x,), 4, True), calls).runs_by_shape
