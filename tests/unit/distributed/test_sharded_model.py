"""A graph that agents hold: what is checked of the outputs that the last rank sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, ModelError
from mindspore_serving.server.distributed.agent_facts import ShardedGraph
from mindspore_serving.server.distributed.sharded_model import Agents, DistributedGraph
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec


class FakeAgents:
    """Agents of which the last one answers what it is told to."""

    rank_size = 4

    def __init__(self, outputs: Sequence[Array]) -> None:
        self.asked: list[tuple[int, int]] = []
        self._outputs = list(outputs)

    def run(self, subgraph: int, arrays: Sequence[Array], input_ranks: int) -> list[Array]:
        self.asked.append((subgraph, input_ranks))
        return self._outputs


def zeros(*shape: int, dtype: type = np.float32) -> Array:
    return np.zeros(shape, dtype)


def graph_of(agents: FakeAgents, first: int) -> DistributedGraph:
    """A graph whose first dimension is given; -1 for a dynamic batch of at most 8 rows."""
    spec = TensorSpec("x", DataType.FLOAT32, (first, 3))
    sharded = ShardedGraph(GraphSignature((spec,), (spec,)), first < 0, 2)
    return DistributedGraph(cast("Agents", agents), 1, sharded, 8)


@pytest.mark.parametrize(("first", "rows"), [(2, 2), (-1, 2), (-1, 5)])
def test_outputs_as_declared_are_given_back(first: int, rows: int) -> None:
    agents = FakeAgents([zeros(rows, 3)])
    [output] = graph_of(agents, first).predict([zeros(rows, 3)])
    assert output.shape == (rows, 3)
    assert agents.asked == [(1, 2)]


def test_rows_of_any_length() -> None:
    spec = TensorSpec("x", DataType.FLOAT32, (-1, -1))
    agents = FakeAgents([zeros(9, 5)])
    sharded = ShardedGraph(GraphSignature((spec,), (spec,)), True, 2)
    [output] = DistributedGraph(cast("Agents", agents), 0, sharded, 16).predict([zeros(9, 5)])
    assert output.shape == (9, 5)
    one_by_one = ShardedGraph(GraphSignature((spec,), (spec,)), False, 2)
    [output] = DistributedGraph(cast("Agents", agents), 0, one_by_one, 1, {0}).predict([zeros(9, 5)])
    assert output.shape == (9, 5)


@pytest.mark.parametrize(
    ("first", "outputs", "shown"),
    [
        (2, [], "none"),
        (2, [zeros(2, 3)] * 2, "kMSI_Float32 [2, 3], kMSI_Float32 [2, 3]"),
        (2, [zeros(3, 3)], "kMSI_Float32 [3, 3]"),
        (2, [zeros(2, 4)], "kMSI_Float32 [2, 4]"),
        (2, [zeros(2, 3, 1)], "kMSI_Float32 [2, 3, 1]"),
        (2, [zeros(2, 3, dtype=np.int32)], "kMSI_Int32 [2, 3]"),
        (-1, [zeros(2, 4)], "kMSI_Float32 [2, 4]"),
        (-1, [zeros(3)], "kMSI_Float32 [3]"),
    ],
)
def test_other_outputs_than_declared_are_an_error(first: int, outputs: list[Array], shown: str) -> None:
    with pytest.raises(ModelError) as raised:
        graph_of(FakeAgents(outputs), first).predict([zeros(2, 3)])
    assert str(raised.value).endswith(
        f"get result of rank 3: its outputs are {shown}, expected kMSI_Float32 [{first}, 3]"
    )


@pytest.mark.parametrize(("first", "rows"), [(2, 3), (-1, 0), (-1, 9)])
def test_inputs_that_do_not_fit_reach_no_agent(first: int, rows: int) -> None:
    agents = FakeAgents([])
    with pytest.raises(InvalidInput):
        graph_of(agents, first).predict([zeros(rows, 3)])
    assert not agents.asked


def test_a_closed_graph_runs_no_more() -> None:
    agents = FakeAgents([zeros(2, 3)])
    graph = graph_of(agents, 2)
    graph.close()
    with pytest.raises(ModelError):
        graph.predict([zeros(2, 3)])
    assert not agents.asked
