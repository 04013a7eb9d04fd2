"""Whether the graphs that the agents of a distributed model have loaded fit together, and what they make up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindspore_serving.errors import StartUpError
from mindspore_serving.signature import GraphInfo, GraphSignature
from mindspore_serving.tensor import TensorSpec


@dataclass(frozen=True, slots=True)
class ShardedGraph:
    """One graph that is spread over all ranks.

    Attributes:
        signature: Inputs of rank 0, outputs of the last rank.
        dynamic_batch: Whether the batch is dynamic.
        input_ranks: Number of ranks, from 0 on, that get the inputs; the others run without any.
    """

    signature: GraphSignature
    dynamic_batch: bool
    input_ranks: int


def sharded_graphs(
    ranks: Sequence[Sequence[GraphInfo]], stage_size: int, with_batch_dim: bool
) -> tuple[ShardedGraph, ...]:
    """Check the graphs of all ranks against each other.

    Args:
        ranks: For each rank its graphs, one per subgraph.
        stage_size: Number of pipeline stages; a divisor of the number of ranks.
        with_batch_dim: Whether the first dimension of inputs and outputs is the batch.

    Returns:
        One per subgraph.

    Raises:
        StartUpError: They do not fit; names the ranks and what they have.
    """
    counts = [len(graphs) for graphs in ranks]
    if len(set(counts)) != 1 or not counts[0]:
        raise StartUpError(
            f"The number of graph not match in different agent, number of graphs by rank: {counts}"
        )
    return tuple(_sharded(subgraph, stage_size, with_batch_dim) for subgraph in zip(*ranks, strict=True))


def _sharded(graphs: Sequence[GraphInfo], stage_size: int, with_batch_dim: bool) -> ShardedGraph:
    per_stage = len(graphs) // stage_size
    _check_inputs(graphs, per_stage)
    for rank, graph in enumerate(graphs):
        first = rank - rank % per_stage
        if _shapes(graph.outputs) != _shapes(graphs[first].outputs):
            raise StartUpError(
                f"Expect outputs of all ranks in stage {rank // per_stage} to be same, outputs of rank {rank}: "
                f"{_shown(graph.outputs)}, outputs of rank {first}: {_shown(graphs[first].outputs)}"
            )
        if with_batch_dim:
            _check_batch_size(rank, _batch_size(graph), _batch_size(graphs[0]))
    all_have_inputs = all(graph.inputs for graph in graphs)
    return ShardedGraph(
        GraphSignature(graphs[0].inputs, graphs[-1].outputs),
        graphs[0].dynamic,
        len(graphs) if all_have_inputs else per_stage,
    )


def _check_inputs(graphs: Sequence[GraphInfo], per_stage: int) -> None:
    """Ranks of stage 0 have the same inputs; those of later stages have all the same too, or all none."""
    expected = _shapes(graphs[0].inputs)
    later_have_inputs = any(graph.inputs for graph in graphs[per_stage:])
    for rank, graph in enumerate(graphs):
        if rank >= per_stage and not later_have_inputs:
            break
        if _shapes(graph.inputs) != expected:
            raise StartUpError(
                "Expect stage 0(other stages have empty inputs) or all stages have same inputs, inputs of rank "
                f"{rank}: {_shown(graph.inputs)}, inputs of rank 0: {_shown(graphs[0].inputs)}"
            )


def _check_batch_size(rank: int, batch_size: int, expected: int) -> None:
    if batch_size not in (0, expected):
        raise StartUpError(
            f"Expect batch size of all ranks to be same, batch size of rank {rank}: {batch_size}, batch size of rank "
            f"0: {expected}"
        )


def _batch_size(graph: GraphInfo) -> int:
    """First dimension of the outputs; 0 where there is none."""
    return next((spec.shape[0] for spec in graph.outputs if spec.shape), 0)


def _shapes(specs: Sequence[TensorSpec]) -> list[tuple[object, tuple[int, ...]]]:
    """What must agree; names may differ."""
    return [(spec.dtype, spec.shape) for spec in specs]


def _shown(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.dtype.label} {list(spec.shape)}" for spec in specs) or "none"
