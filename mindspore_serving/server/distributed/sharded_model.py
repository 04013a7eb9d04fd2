"""A model that is spread over agents, as the threads of the distributed worker see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

from mindspore_serving import log
from mindspore_serving.errors import ModelError, StartUpError
from mindspore_serving.server.backend.input_check import InputCheck
from mindspore_serving.server.backend.run_errors import model_closed
from mindspore_serving.server.distributed.agent_facts import ShardedGraph, sharded_graphs
from mindspore_serving.server.distributed.agent_port import AgentPort
from mindspore_serving.server.host.loop_thread import LoopThread
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array, fits

_POLL_S = 0.1
_PROGRESS_EVERY_S = 15.0
_LOOP_S = 30.0


class Agents:
    """The agents of this worker. Safe to use from several threads.

    Args:
        port: Where they join; not started yet.
        on_failed: Called once, in some thread, when the agents have failed while they served.
    """

    def __init__(self, port: AgentPort, on_failed: Callable[[], None]) -> None:
        self._thread = LoopThread()
        self._changed = threading.Event()
        self._on_failed = on_failed
        self._serving = False
        self._port = port
        port.on_change = self._on_change

    def __repr__(self) -> str:
        return f"<Agents {self._port.ready_count} of {self._port.rank_size} ready>"

    @property
    def rank_size(self) -> int:
        """Number of ranks."""
        return self._port.rank_size

    def listen(self) -> None:
        """Let agents join.

        Raises:
            StartUpError: The address cannot be bound.
        """
        self._thread.run(self._port.start(), _LOOP_S)
        log.info("Distributed worker listens on %s for %s agents", self._port.address, self._port.rank_size)

    def gather(self, wait_s: int, stage_size: int, with_batch_dim: bool) -> tuple[ShardedGraph, ...]:
        """Wait until all agents have loaded their models.

        Args:
            wait_s: Seconds to wait; 0 for without limit.
            stage_size: Number of pipeline stages.
            with_batch_dim: Whether the first dimension is the batch.

        Raises:
            StartUpError: An agent failed, they do not fit together, or the time is over.
        """
        begin = told = time.monotonic()
        while self._port.ready_count < self._port.rank_size:
            if self._port.failure:
                raise StartUpError(
                    f"Failed to starting all agents, maybe some error reported: {self._port.failure}"
                )
            now = time.monotonic()
            if wait_s and now - begin > wait_s:
                raise StartUpError(
                    f"Failed to wait for ready of all agents, current agents count: {self._port.ready_count}, rank "
                    f"size: {self._port.rank_size}"
                )
            if now - told > _PROGRESS_EVERY_S:
                told = now
                log.info("%s of %s agents are ready", self._port.ready_count, self._port.rank_size)
            self._changed.wait(_POLL_S)
            self._changed.clear()
        return sharded_graphs(self._port.graphs, stage_size, with_batch_dim)

    def begin(self) -> None:
        """Tell the agents that batches will come."""
        self._thread.run(self._port.accept(), _LOOP_S)
        self._serving = True
        self._on_change()

    def run(self, subgraph: int, arrays: Sequence[Array], input_ranks: int) -> list[Array]:
        """Run one batch; see `AgentPort.run`."""
        return self._thread.submit(self._port.run(subgraph, arrays, input_ranks)).result()

    def stop(self) -> None:
        """Tell all agents to exit; safe to call twice."""
        self._serving = False
        self._thread.run(self._port.stop(), _LOOP_S)

    def _on_change(self) -> None:
        self._changed.set()
        if self._serving and self._port.failure:
            self._serving = False
            self._on_failed()


class DistributedGraph:
    """One graph of a distributed model, which its agents hold.

    Args:
        agents: The agents.
        subgraph: Which graph.
        graph: What the agents have loaded.
        max_batch_size: Most rows where the batch is dynamic.
        without_batch: Indices of inputs whose first dimension is not the batch.
    """

    def __init__(
        self,
        agents: Agents,
        subgraph: int,
        graph: ShardedGraph,
        max_batch_size: int,
        without_batch: Collection[int] = (),
    ) -> None:
        self.signature = graph.signature
        self.dynamic_batch = graph.dynamic_batch
        self._agents = agents
        self._subgraph = subgraph
        self._input_ranks = graph.input_ranks
        self._check = InputCheck(graph.signature, max_batch_size, without_batch)
        self._closed = False

    def __repr__(self) -> str:
        return f"<DistributedGraph {self._subgraph} of {self._agents!r}>"

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the graph once on all ranks; any thread may call.

        Raises:
            InvalidInput: An array does not fit; nothing was run.
            ModelError: A rank failed, or did not answer in time; or the agents are gone.
        """
        if self._closed:
            raise model_closed()
        self._check.rows_of(arrays)
        outputs = self._agents.run(self._subgraph, arrays, self._input_ranks)
        self._check_outputs(outputs)
        return outputs

    def close(self) -> None:
        """Refuse further calls."""
        self._closed = True

    def _check_outputs(self, outputs: Sequence[Array]) -> None:
        """Look whether the last rank has sent what it had declared.

        Raises:
            ModelError: It has not.
        """
        expected = self.signature.outputs
        free = int(self.dynamic_batch)  # dimensions, from the first on, that differ from call to call
        if len(outputs) != len(expected) or not all(
            array.dtype == NUMPY_OF[spec.dtype]
            and array.ndim == len(spec.shape)
            and fits(array.shape[free:], spec.shape[free:])
            for array, spec in zip(outputs, expected, strict=True)
        ):
            shown = ", ".join(f"{DATA_TYPE_OF[array.dtype].label} {list(array.shape)}" for array in outputs)
            declared = ", ".join(f"{spec.dtype.label} {list(spec.shape)}" for spec in expected)
            raise ModelError(
                f"Error happened on get result of rank {self._agents.rank_size - 1}: its outputs are "
                f"{shown or 'none'}, expected {declared}"
            )
