"""A distributed servable in this process's server, or as a worker of a cluster; and its agents."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving.check_type import check_ip_port, check_str
from mindspore_serving.deprecation import deprecated
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.start.distributed_servable import plan_of_distributed
from mindspore_serving.server.start.server import server_of_process
from mindspore_serving.server.start.startup_agents import startup_agents
from mindspore_serving.server.start.stop_on_exception import stop_on_exception
from mindspore_serving.worker._start import check_no_servable, say_started


@deprecated("1.3.0", "mindspore_serving.server.distributed.start_servable")
@stop_on_exception
def start_distributed_servable_in_master(
    servable_directory: str,
    servable_name: str,
    rank_table_json_file: str,
    version_number: int = 1,
    worker_ip: str = "0.0.0.0",
    worker_port: int = 6200,
    wait_agents_time_in_seconds: int = 0,
) -> None:
    """Serve a distributed servable in the server of this process, as soon as all of its agents are there.

    `master.start_grpc_server` and `master.start_restful_server` may be called before or after. The process stays alive
    until Ctrl+C, SIGTERM or `worker.stop`.

    Args:
        servable_directory: Directory that holds the servable's folder, relative to that of the start script.
        servable_name: Servable name.
        rank_table_json_file: Rank table, relative to the folder of the start script.
        version_number: Version number of the servable.
        worker_ip: Address on which agents are waited for.
        worker_port: Its port, 1 to 65535.
        wait_agents_time_in_seconds: Seconds to wait for all agents; 0 waits for ever.

    Raises:
        RuntimeError: A parameter is wrong, or the servable cannot be started. The whole server is stopped before this
            is raised.
    """
    plan = _plan(
        servable_directory,
        servable_name,
        rank_table_json_file,
        version_number,
        (worker_ip, worker_port),
        wait_agents_time_in_seconds,
    )
    server_of_process.start_workers([plan])
    say_started(plan, version_number)


@stop_on_exception
def start_distributed_servable(
    servable_directory: str,
    servable_name: str,
    rank_table_json_file: str,
    version_number: int = 1,
    worker_ip: str = "0.0.0.0",
    worker_port: int = 6200,
    master_ip: str = "0.0.0.0",
    master_port: int = 6100,
    wait_agents_time_in_seconds: int = 0,
) -> None:
    """Serve a distributed servable for the master of a cluster, as soon as all of its agents are there.

    Set the environment variable SERVING_CLUSTER_TOKEN to the secret of the master. The process stays alive until
    Ctrl+C, SIGTERM or `worker.stop`, or until the master is stopped.

    Args:
        servable_directory: Directory that holds the servable's folder, relative to that of the start script.
        servable_name: Servable name.
        rank_table_json_file: Rank table, relative to the folder of the start script.
        version_number: Version number of the servable.
        worker_ip: Address on which agents are waited for. With `worker_port` it tells this worker from others.
        worker_port: Its port, 1 to 65535.
        master_ip: Address of the master.
        master_port: Its port, 1 to 65535.
        wait_agents_time_in_seconds: Seconds to wait for all agents; 0 waits for ever.

    Raises:
        RuntimeError: A parameter is wrong, the servable cannot be started, or the master does not take this worker in.
            The worker is stopped before this is raised.
    """
    check_str("master_ip", master_ip)
    check_ip_port("master_port", master_port)
    own = (worker_ip, worker_port)
    plan = _plan(
        servable_directory,
        servable_name,
        rank_table_json_file,
        version_number,
        own,
        wait_agents_time_in_seconds,
    )
    # The worker process listens on this address itself, for the agents.
    server_of_process.join_cluster(plan, (master_ip, master_port), own, None, reserve_address=False)
    say_started(plan, version_number)


@deprecated("1.3.0", "mindspore_serving.server.distributed.startup_agents")
def startup_worker_agents(
    worker_ip: str,
    worker_port: int,
    model_files: Sequence[str | Sequence[str]],
    group_config_files: Sequence[str | Sequence[str]] | None = None,
    agent_start_port: int = 7000,
    agent_ip: str | None = None,
    rank_start: int | None = None,
) -> None:
    """Start the agents of this machine, each in a process of its own, and return when all of them are ready.

    Args:
        worker_ip: Address of the distributed worker.
        worker_port: Its port, 1 to 65535.
        model_files: For each rank of this machine its model file, or a list of its subgraphs; relative to the folder of
            the start script.
        group_config_files: For each rank of this machine its group configuration file; None for none.
        agent_start_port: Port of the first agent, 1 to 65528; the next ones take the ports after it.
        agent_ip: Address of this machine; None: one of those in the rank table.
        rank_start: Number of a rank of this machine; to be given if and only if `agent_ip` is.

    Raises:
        RuntimeError: A parameter is wrong, or an agent cannot be started.
    """
    check_str("worker_ip", worker_ip)
    check_ip_port("worker_port", worker_port)
    startup_agents(
        f"{worker_ip}:{worker_port}", model_files, group_config_files, agent_start_port, agent_ip, rank_start
    )


def _plan(
    servable_directory: str,
    servable_name: str,
    rank_table_json_file: str,
    version_number: int,
    own: tuple[str, int],
    wait_agents_time_in_seconds: int,
) -> WorkerPlan:
    ip, port = own
    check_str("worker_ip", ip)
    check_ip_port("worker_port", port)
    check_no_servable()
    return plan_of_distributed(
        servable_directory,
        servable_name,
        rank_table_json_file,
        version_number,
        f"{ip}:{port}",
        wait_agents_time_in_seconds,
    )
