"""Start the agents of this machine: what their start script calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mindspore_serving.server.distributed.agent_group import AgentGroup
from mindspore_serving.server.distributed.agent_parameters import check_agent_parameters
from mindspore_serving.server.start.worker_plans import script_folder


def startup_agents(
    distributed_address: str,
    model_files: Sequence[str | Sequence[str]],
    group_config_files: Sequence[str | Sequence[str]] | None = None,
    agent_start_port: int = 7000,
    agent_ip: str | None = None,
    rank_start: int | None = None,
    dec_key: bytes | None = None,
    dec_mode: str = "AES-GCM",
) -> None:
    """Start the agents of this machine, each in a process of its own, and return when all of them are ready.

    From then on this process stays alive, also when the script has come to its end, until Ctrl+C or SIGTERM, or until
    an agent or the distributed worker ends. Then all of its agents end.

    Args:
        distributed_address: `ip:port` of the distributed worker. On another machine, set the environment variable
            SERVING_CLUSTER_TOKEN to the secret of the worker.
        model_files: For each rank of this machine its model file, or a list of its subgraphs; relative to the folder of
            the start script.
        group_config_files: For each rank of this machine its group configuration file, or a list of at most one; None
            for none at all.
        agent_start_port: Port of the first agent, 1 to 65528; the next ones take the ports after it.
        agent_ip: Address of this machine; None: the first in the rank table that is of this machine.
        rank_start: Number of the first rank of this machine; to be given if and only if `agent_ip` is.
        dec_key: Key of encrypted models, 16, 24 or 32 bytes; None for plain ones.
        dec_mode: `AES-GCM` or `AES-CBC`.

    Raises:
        RuntimeError: A parameter is wrong, the worker is not there, or an agent cannot be started. All agents of this
            machine are ended before this is raised.
    """
    parameters = check_agent_parameters(
        distributed_address,
        model_files,
        group_config_files,
        agent_start_port,
        agent_ip,
        rank_start,
        dec_key,
        dec_mode,
        folder=script_folder(),
    )
    AgentGroup(parameters, Path.cwd()).start()
