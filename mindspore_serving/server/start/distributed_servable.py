"""Start a distributed servable: what its start script calls."""

from __future__ import annotations

import os
from dataclasses import replace

from mindspore_serving.check_type import check_int, check_str
from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.options import folder_of
from mindspore_serving.server.backend.model_folder import CONFIG_FILE, has_config
from mindspore_serving.server.channel.worker_plan import AgentsPlan, WorkerPlan
from mindspore_serving.server.cluster.token import listening_ip
from mindspore_serving.server.distributed.agent_parameters import worker_address
from mindspore_serving.server.host.settings import agent_answer_s, cluster_token
from mindspore_serving.server.host.standard_output import say
from mindspore_serving.server.start.merging import merge_config
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.start.server import server_of_process
from mindspore_serving.server.start.stop_on_exception import stop_on_exception
from mindspore_serving.server.start.worker_plans import absolute, plans_of, script_folder


@stop_on_exception
def start_servable(
    servable_directory: str,
    servable_name: str,
    rank_table_json_file: str | None = None,
    version_number: int = 1,
    distributed_address: str = "0.0.0.0:6200",
    wait_agents_time_in_seconds: int = 0,
    *,
    startup_worker_agents: str | None = None,
) -> None:
    """Start a servable whose model is held by agents, and return when all of them are ready.

    The agents are started by another script, on this machine or others, with `startup_agents`. From then on this
    process stays alive, also when the script has come to its end, until Ctrl+C, SIGTERM or `server.stop`, or until an
    agent ends.

    Args:
        servable_directory: Directory that holds the servable's folder, relative to that of the start script.
        servable_name: Servable name.
        rank_table_json_file: File that says on which machine and device each rank runs, relative to the folder of the
            start script.
        version_number: Version to serve; 0 for the newest directory with a version, or else 1.
        distributed_address: `ip:port` on which agents join. Agents of other machines need the environment variable
            SERVING_CLUSTER_TOKEN set to the same secret here and there; without it only this machine is listened to.
        wait_agents_time_in_seconds: Seconds to wait until all agents are ready; 0 waits without limit.
        startup_worker_agents: Another name of `rank_table_json_file`.

    Raises:
        RuntimeError: A parameter is wrong, or the worker or an agent cannot be started. The whole server is stopped
            before this is raised.
    """
    if rank_table_json_file is None:
        rank_table_json_file = startup_worker_agents
    elif startup_worker_agents is not None:
        raise InvalidParameter(
            "Parameters 'rank_table_json_file' and 'startup_worker_agents' are the same one, give only the first"
        )
    plan = plan_of_distributed(
        servable_directory,
        servable_name,
        rank_table_json_file,
        version_number,
        distributed_address,
        wait_agents_time_in_seconds,
    )
    server_of_process.start_workers([plan])


def plan_of_distributed(
    servable_directory: str,
    servable_name: str,
    rank_table_json_file: str | None,
    version_number: int,
    distributed_address: str,
    wait_agents_time_in_seconds: int,
) -> WorkerPlan:
    """The worker that a distributed servable asks for; parameters as of `start_servable`.

    Raises:
        InvalidParameter: A parameter has the wrong type or value.
        StartUpError: The servable does not exist.
    """
    check_str("servable_directory", servable_directory)
    check_str("servable_name", servable_name)
    check_str("rank_table_json_file", rank_table_json_file)
    assert rank_table_json_file is not None
    check_int("version_number", version_number, 0)
    ip, port = worker_address(distributed_address)
    check_int("wait_agents_time_in_seconds", wait_agents_time_in_seconds, 0)
    agent_answer_s()  # refuses a wrong setting now, and not in the worker
    config = ServableStartConfig(servable_directory, servable_name, 0, version_number)
    [merged] = merge_config([absolute(config)])
    if not has_config(folder_of(merged)):
        raise StartUpError(
            f"Servable '{servable_name}' is to be distributed, but '{folder_of(merged) / CONFIG_FILE}' does not exist, "
            "which says how its model is cut into parts"
        )
    [plan] = plans_of(merged)
    host = listening_ip(ip, cluster_token(), "distributed worker", "agents")
    agents = AgentsPlan(
        rank_table=os.path.realpath(script_folder() / rank_table_json_file),
        address=f"{host}:{port}",
        wait_s=wait_agents_time_in_seconds,
    )
    say(f"Serving: Distributed worker waits for its agents on {agents.address}")
    return replace(plan, agents=agents)
