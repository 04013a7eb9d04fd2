"""What a start script asks for with `startup_agents`, and which agents that makes on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mindspore_serving.check_type import check_and_as_tuple_with_str_list, check_int, check_str
from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.options import check_dec
from mindspore_serving.server.distributed.rank_table import CARDS_OF_A_MACHINE, RankPlace, RankTable

_LARGEST_PORT = 65535
_LARGEST_START_PORT = _LARGEST_PORT - CARDS_OF_A_MACHINE + 1

Groups = Sequence[list[str]]
CanBind = Callable[[str, int], bool]
"""Whether an agent could listen on this IP and port of this machine."""


@dataclass(frozen=True, slots=True)
class AgentParameters:
    """The checked parameters of `startup_agents`.

    Attributes:
        distributed_address: `ip:port` of the distributed worker.
        model_files: Absolute model files of each rank of this machine, one per subgraph.
        group_configs: Absolute group configuration file of each of them; None for none.
        agent_start_port: Port of the first agent; the next ones take the ports after it.
        agent_ip: Address of this machine; None: one of those in the rank table.
        rank_start: Number of a rank of this machine; given if and only if `agent_ip` is.
        dec_key: Key of encrypted models; None for plain ones.
        dec_mode: `AES-GCM` or `AES-CBC`.
    """

    distributed_address: str
    model_files: tuple[tuple[str, ...], ...]
    group_configs: tuple[str | None, ...]
    agent_start_port: int
    agent_ip: str | None
    rank_start: int | None
    dec_key: bytes | None = field(default=None, repr=False)
    dec_mode: str = "AES-GCM"


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """One agent of this machine.

    Attributes:
        rank_id: Number of its rank.
        ip: Address that it listens on.
        port: Port that it listens on.
        device_id: Number of its device.
        model_files: Absolute model files, one per subgraph.
        group_config: Absolute group configuration file; None for none.
    """

    rank_id: int
    ip: str
    port: int
    device_id: int
    model_files: tuple[str, ...]
    group_config: str | None


def check_agent_parameters(
    distributed_address: str,
    model_files: Sequence[str | Sequence[str]],
    group_config_files: Sequence[str | Sequence[str]] | None,
    agent_start_port: int,
    agent_ip: str | None,
    rank_start: int | None,
    dec_key: bytes | None,
    dec_mode: str,
    *,
    folder: Path,
) -> AgentParameters:
    """Check the parameters of `startup_agents`, as far as that can be done without the rank table.

    Args:
        distributed_address: `ip:port` of the distributed worker.
        model_files: For each rank of this machine its model file, or a list of its subgraphs.
        group_config_files: For each rank of this machine its group configuration file, or a list of at most one; None
            for none at all.
        agent_start_port: Port of the first agent, 1 to 65528.
        agent_ip: Address of this machine; None: one of those in the rank table.
        rank_start: Number of a rank of this machine; to be given if and only if `agent_ip` is.
        dec_key: Key of encrypted models, 16, 24 or 32 bytes; None for plain ones.
        dec_mode: `AES-GCM` or `AES-CBC`.
        folder: What relative files are relative to.

    Raises:
        InvalidParameter: A parameter has the wrong type or value, or does not fit another one.
        StartUpError: A file is missing or cannot be read.
    """
    worker_address(distributed_address)
    check_int("agent_start_port", agent_start_port, 1, _LARGEST_START_PORT)
    models = check_and_as_tuple_with_str_list("model_files", model_files)
    groups: Groups | None = None
    if group_config_files is not None:
        groups = check_and_as_tuple_with_str_list("group_config_files", group_config_files)
    _check_counts(models, groups)
    _check_place(agent_ip, rank_start)
    check_dec(dec_key, dec_mode)
    configs = [group[0] if group else None for group in groups or [[] for _ in models]]
    return AgentParameters(
        distributed_address=distributed_address,
        model_files=tuple(
            tuple(_readable("model file", file, folder) for file in subgraphs) for subgraphs in models
        ),
        group_configs=tuple(
            None if file is None else _readable("group config file", file, folder) for file in configs
        ),
        agent_start_port=agent_start_port,
        agent_ip=agent_ip,
        rank_start=rank_start,
        dec_key=dec_key,
        dec_mode=dec_mode,
    )


def worker_address(distributed_address: str) -> tuple[str, int]:
    """Split the address of a distributed worker into IP, without the brackets of IPv6, and port.

    Raises:
        InvalidParameter: It is no `ip:port`.
    """
    check_str("distributed_address", distributed_address)
    ip, _, port = distributed_address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= len(str(_LARGEST_PORT))
    if not _may_be_host(ip) or not is_port or not 1 <= int(port) <= _LARGEST_PORT:
        raise InvalidParameter(
            f"Parameter 'distributed_address' should be 'ip:port' with a port in range [1,{_LARGEST_PORT}], but "
            f"actually '{distributed_address}'"
        )
    return ip.removeprefix("[").removesuffix("]"), int(port)


def _may_be_host(ip: str) -> bool:
    """Whether it can be looked up; what cannot be written as a host name makes the look-up raise anything."""
    try:
        return bool(ip.encode("idna"))
    except UnicodeError:
        return False


def _check_counts(models: Groups, groups: Groups | None) -> None:
    if any(not subgraphs for subgraphs in models):
        raise InvalidParameter(
            f"Parameter 'model_files' should name at least one file for each rank, but actually {list(models)}"
        )
    shown = f"model files: {list(models)}, group config files: {None if groups is None else list(groups)}"
    if len({len(subgraphs) for subgraphs in models}) > 1:
        raise InvalidParameter(f"please check the number of  model files and group config files, {shown}")
    if groups is None:
        return
    if any(len(group) > 1 for group in groups):
        raise InvalidParameter(
            "please check the number of  group config files, currently only support one at most"
        )
    if len(models) != len(groups):
        raise InvalidParameter(
            f"Model files count {len(models)} does not equal to group config files count {len(groups)} when "
            f"group_config_files is not None, {shown}"
        )


def _check_place(agent_ip: str | None, rank_start: int | None) -> None:
    if agent_ip is not None:
        check_str("agent_ip", agent_ip)
    if rank_start is not None:
        check_int("rank_start", rank_start, 0)
    if (agent_ip is None) != (rank_start is None):
        raise InvalidParameter(
            "Parameter 'agent_ip' and parameter 'rank_start' must have values at the same time, or both None at the "
            "same time."
        )


def _readable(kind: str, file: str, folder: Path) -> str:
    path = os.path.realpath(folder / file)
    if not Path(path).is_file() or not os.access(path, os.R_OK):
        raise StartUpError(f"Cannot access {kind} '{path}'")
    return path


def local_agents(parameters: AgentParameters, table: RankTable, can_bind: CanBind) -> tuple[AgentPlace, ...]:
    """Which agents are to be started on this machine.

    Args:
        parameters: What the start script asks for.
        table: Where all ranks run.
        can_bind: Tells which addresses are of this machine.

    Returns:
        In the order of the ranks, and of the files in `parameters`.

    Raises:
        InvalidParameter: The files are not as many as the ranks of this machine, or a parameter does not fit the rank
            table.
        StartUpError: It cannot be found out which ranks are of this machine.
    """
    ip, ranks = _local_ranks(parameters, table, can_bind)
    files = parameters.model_files
    if len(ranks) != len(files):
        raise InvalidParameter(
            f"Card count {[rank.device_id for rank in ranks]} described rank table does not equal to model files size "
            f"{len(files)}, model files: {[list(subgraphs) for subgraphs in files]}"
        )
    first = parameters.agent_start_port
    if first + len(ranks) - 1 > _LARGEST_PORT:
        raise InvalidParameter(
            f"Parameter 'agent_start_port' {first} leaves no ports for {len(ranks)} agents"
        )
    places = zip(ranks, files, parameters.group_configs, strict=True)
    return tuple(
        AgentPlace(rank.rank_id, ip, first + i, rank.device_id, subgraphs, group_config)
        for i, (rank, subgraphs, group_config) in enumerate(places)
    )


def _local_ranks(
    parameters: AgentParameters, table: RankTable, can_bind: CanBind
) -> tuple[str, tuple[RankPlace, ...]]:
    """Address of this machine, and its ranks."""
    port = parameters.agent_start_port
    if parameters.agent_ip is None or parameters.rank_start is None:
        ip = next((ip for ip in table.ips if can_bind(ip, port)), None)
        if ip is None:
            raise StartUpError(
                f"Get local machine ip failed, rank table ips: {list(table.ips)}, bind port {port}"
            )
        return ip, table.ranks_on(ip)
    if not any(can_bind(parameters.agent_ip, port + i) for i in range(CARDS_OF_A_MACHINE)):
        raise StartUpError(f"Check ip 'agent_ip' valid failed, agent_ip: {parameters.agent_ip}")
    if parameters.rank_start >= len(table.ranks):
        raise InvalidParameter(
            f"Parameter 'rank_start' cannot equal or larger than rank size {len(table.ranks)}."
        )
    return parameters.agent_ip, table.ranks_on(table.ranks[parameters.rank_start].ip)
