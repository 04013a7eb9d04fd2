"""Distributed servables under their names of release 1.2, on top of `mindspore_serving.server.distributed`.

The start functions are imported at first use: a worker process, which needs `declare_distributed_servable` only, does
not load the servers.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mindspore_serving.deprecation import deprecated
from mindspore_serving.server.register import Model
from mindspore_serving.server.register.distributed_model import declare_servable

if TYPE_CHECKING:
    from mindspore_serving.worker._start_distributed import (
        start_distributed_servable,
        start_distributed_servable_in_master,
        startup_worker_agents,
    )

__all__ = [
    "declare_distributed_servable",
    "start_distributed_servable",
    "start_distributed_servable_in_master",
    "startup_worker_agents",
]

_HOME = "mindspore_serving.worker._start_distributed"


@deprecated("1.3.0", "mindspore_serving.server.distributed.declare_servable")
def declare_distributed_servable(
    rank_size: int,
    stage_size: int,
    with_batch_dim: bool = True,
    without_batch_dim_inputs: int | Sequence[int] | None = None,
) -> Model:
    """Declare the sharded model of a distributed servable; it is the only model of the servable.

    Args:
        rank_size: Number of parts; one agent holds each.
        stage_size: Number of pipeline stages that the ranks make up, one after the other, each of the same size.
        with_batch_dim: Whether the first dimension of the model's inputs and outputs is the batch; an instance then has
            the shape without it.
        without_batch_dim_inputs: Indices of inputs that have no batch dimension although `with_batch_dim` is set.

    Returns:
        Handle of the model.

    Raises:
        RuntimeError: A parameter is wrong, or the servable has a model already.
    """
    return declare_servable(rank_size, stage_size, with_batch_dim, without_batch_dim_inputs)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(_HOME), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
