"""Whether the graphs of all ranks fit together."""

from __future__ import annotations

import re

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.distributed.agent_facts import sharded_graphs
from mindspore_serving.signature import GraphInfo
from mindspore_serving.tensor import DataType, TensorSpec


def graph(inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], name: str = "") -> GraphInfo:
    return GraphInfo(
        tuple(TensorSpec(f"x{i}{name}", DataType.FLOAT32, shape) for i, shape in enumerate(inputs)),
        tuple(TensorSpec(f"y{i}{name}", DataType.FLOAT32, shape) for i, shape in enumerate(outputs)),
        0,
        any(shape[:1] == (-1,) for shape in inputs),
    )


PLAIN = graph([(2, 3)], [(2, 4)])
LATER = graph([], [(2, 5)])


def test_one_stage() -> None:
    [whole] = sharded_graphs([[PLAIN], [graph([(2, 3)], [(2, 4)], "of rank 1")]], 1, True)
    assert whole.signature.inputs == PLAIN.inputs
    assert [spec.name for spec in whole.signature.outputs] == ["y0of rank 1"]
    assert (whole.input_ranks, whole.dynamic_batch) == (2, False)


def test_later_stages_without_inputs_get_none() -> None:
    [whole] = sharded_graphs([[PLAIN], [PLAIN], [LATER], [LATER]], 2, True)
    assert whole.input_ranks == 2
    assert whole.signature.inputs == PLAIN.inputs
    assert whole.signature.outputs == LATER.outputs


def test_all_stages_with_inputs_get_them() -> None:
    last = graph([(2, 3)], [(2, 9)])
    [whole] = sharded_graphs([[PLAIN], [PLAIN], [last], [last]], 2, True)
    assert whole.input_ranks == 4
    assert whole.signature.outputs == last.outputs


def test_each_subgraph_is_one_of_its_own() -> None:
    step = graph([(2, 1)], [(2, 1)])
    first, second = sharded_graphs([[PLAIN, step], [PLAIN, step]], 1, True)
    assert (first.signature.inputs, second.signature.inputs) == (PLAIN.inputs, step.inputs)


def test_dynamic_batch() -> None:
    [whole] = sharded_graphs([[graph([(-1, 3)], [(-1, 4)])]] * 2, 1, True)
    assert whole.dynamic_batch


WRONG = [
    (
        [[PLAIN], [PLAIN, PLAIN]],
        1,
        "The number of graph not match in different agent, number of graphs by rank: [1, 2]",
    ),
    ([[], []], 1, "The number of graph not match in different agent, number of graphs by rank: [0, 0]"),
    (
        [[PLAIN], [graph([(3, 2)], [(2, 4)])]],
        1,
        "Expect stage 0(other stages have empty inputs) or all stages have same inputs, inputs of rank 1: "
        "kMSI_Float32 [3, 2], inputs of rank 0: kMSI_Float32 [2, 3]",
    ),
    (
        [[PLAIN], [PLAIN], [LATER], [graph([(2, 3)], [(2, 5)])]],
        2,
        "Expect stage 0(other stages have empty inputs) or all stages have same inputs, inputs of rank 2: none, "
        "inputs of rank 0: kMSI_Float32 [2, 3]",
    ),
    (
        [[PLAIN], [LATER]],
        1,
        "Expect stage 0(other stages have empty inputs) or all stages have same inputs, inputs of rank 1: none, ",
    ),
    (
        [[PLAIN], [graph([(2, 3)], [(2, 8)])]],
        1,
        "Expect outputs of all ranks in stage 0 to be same, outputs of rank 1: kMSI_Float32 [2, 8], outputs of rank 0: "
        "kMSI_Float32 [2, 4]",
    ),
    (
        [[PLAIN], [PLAIN], [graph([], [(3, 5)])], [graph([], [(3, 5)])]],
        2,
        "Expect batch size of all ranks to be same, batch size of rank 2: 3, batch size of rank 0: 2",
    ),
]


@pytest.mark.parametrize(("ranks", "stage_size", "text"), WRONG)
def test_graphs_that_do_not_fit(ranks: list[list[GraphInfo]], stage_size: int, text: str) -> None:
    with pytest.raises(StartUpError, match=re.escape(text)):
        sharded_graphs(ranks, stage_size, True)


def test_batch_sizes_do_not_matter_without_batch_dimension() -> None:
    later = graph([], [(3, 5)])
    assert len(sharded_graphs([[PLAIN], [PLAIN], [later], [later]], 2, False)) == 1
