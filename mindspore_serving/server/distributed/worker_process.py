"""A distributed worker: a worker whose model is held by agents."""

from __future__ import annotations

from typing import NoReturn

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.agent_messages import AgentSettings
from mindspore_serving.server.channel.worker_plan import WorkerStart
from mindspore_serving.server.distributed.agent_port import AgentPort
from mindspore_serving.server.distributed.rank_table import RankTable, check_ranks, read_rank_table
from mindspore_serving.server.distributed.sharded_model import Agents, DistributedGraph
from mindspore_serving.server.host.forked_child import let_go_of_sockets, run_in_forked_children
from mindspore_serving.server.host.settings import agent_answer_s, cluster_token, worker_timeout_s
from mindspore_serving.server.register.definition import ModelDeclaration, Sharding
from mindspore_serving.server.register.distributed_model import distributed_model
from mindspore_serving.server.worker.config_import import import_servable_config
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.process import Worker, run_worker, start_of_process
from mindspore_serving.server.worker.servable_loader import (
    LoadedServable,
    fitted_servable,
)

_SCRIPT = "start_distributed_worker.py"


class DistributedWorker(Worker):
    """One distributed worker process.

    Args:
        start: What it is told; its plan has agents.
    """

    def __init__(self, start: WorkerStart) -> None:
        super().__init__(start)
        assert start.plan.agents is not None
        self._agents_plan = start.plan.agents
        self._agents: Agents | None = None

    def run(self) -> int:
        """Serve until told to stop, or until the agents fail; returns the exit code."""
        try:
            return super().run()
        finally:
            if self._agents is not None:
                self._agents.stop()

    def load(self) -> LoadedServable:
        """Import the servable, and wait until its agents have loaded the model.

        Raises:
            ServingError: That cannot be done.
        """
        definition = import_servable_config(self.plan.settings)
        model, sharding = distributed_model(definition)
        depth = sharding.stage_size if sharding.enable_pipeline_infer else 1
        table = read_rank_table(self._agents_plan.rank_table)
        check_ranks(table, sharding.rank_size, sharding.stage_size)
        self._agents = self._listen(table, model, depth)
        runners = {model.key: self._runners(self._agents, model, sharding, depth)}
        servable = fitted_servable(definition, runners, model_threads=depth, computes_here=False)
        self._agents.begin()
        return servable

    def _listen(self, table: RankTable, model: ModelDeclaration, depth: int) -> Agents:
        settings = AgentSettings(
            servable=self.plan.servable_name,
            ips=tuple(rank.ip for rank in table.ranks),
            device_ids=tuple(rank.device_id for rank in table.ranks),
            device_ips=tuple(rank.device_ip for rank in table.ranks),
            with_batch_dim=model.with_batch_dim,
            without_batch_dim_inputs=model.without_batch_dim_inputs,
            max_batch_size=model.max_batch_size,
        )
        port = AgentPort(
            self._agents_plan.address, cluster_token(), settings, worker_timeout_s(), agent_answer_s(), depth
        )
        agents = Agents(port, on_failed=self.end)
        agents.listen()
        # Else a child that outlives this process would hold the port, and agents would not see its end.
        run_in_forked_children(lambda: let_go_of_sockets([self._agents_plan.address]))
        return agents

    def _runners(
        self, agents: Agents, model: ModelDeclaration, sharding: Sharding, depth: int
    ) -> list[ModelRunner]:
        graphs = agents.gather(self._agents_plan.wait_s, sharding.stage_size, model.with_batch_dim)
        runners = [
            ModelRunner(
                DistributedGraph(
                    agents,
                    subgraph,
                    graph,
                    model.max_batch_size,
                    model.without_batch_dim_inputs
                    if model.with_batch_dim
                    else range(len(graph.signature.inputs)),
                ),
                model.with_batch_dim,
                model.without_batch_dim_inputs,
                model.max_batch_size,
                concurrency=depth,
            )
            for subgraph, graph in enumerate(graphs)
        ]
        for subgraph, runner in enumerate(runners):
            if runner.batch_size != runners[0].batch_size:
                raise StartUpError(
                    f"Raise failed: Expect batch size to be same, last batch size: {runners[0].batch_size}, subgraph "
                    f"{subgraph} batch size: {runner.batch_size}"
                )
        return runners


def main() -> NoReturn:
    """Run a distributed worker with the arguments of this process, and end the process."""
    start = start_of_process(_SCRIPT)
    run_worker(_SCRIPT, lambda: DistributedWorker(start))
