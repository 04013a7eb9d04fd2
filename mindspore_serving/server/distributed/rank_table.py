"""The rank table of a sharded model: on which machine and device each of its ranks runs.

The file is JSON in one of two forms. The numbers in it are text, and ranks count 0, 1, 2... in the order of the file:

    {"server_list": [{"server_id": "<ip>", "device": [{"device_id": "0", "rank_id": "0"}, ...]}, ...]}

    {"group_list": [{"instance_list": [{"server_id": "<ip>", "rank_id": "0", "devices": [{"device_id": "0"}]}, ...]}]}

Other keys are left alone, except for `device_ip` of a device, which is kept for who runs the model.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from mindspore_serving.errors import StartUpError
from mindspore_serving.private_files import PRIVATE, make_private_folder, opener

CARDS_OF_A_MACHINE = 8
_FOLDER = "temp_rank_table"
_CANONICAL = re.compile(r"0|[1-9][0-9]{0,9}")
_LARGEST_NUMBER = 2**31 - 1

_Object: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where one rank runs.

    Attributes:
        rank_id: Number of the rank, from 0 on.
        ip: Address of its machine, as the rank table calls it.
        device_id: Number of its device in that machine.
        device_ip: Address of the device itself; empty where the rank table has none.
    """

    rank_id: int
    ip: str
    device_id: int
    device_ip: str = ""


@dataclass(frozen=True, slots=True)
class RankTable:
    """The places of all ranks.

    Attributes:
        file: The file they were read from, for error texts.
        ranks: Rank r is at index r; at least one.
    """

    file: str
    ranks: tuple[RankPlace, ...]

    @property
    def ips(self) -> tuple[str, ...]:
        """Each machine once, in the order of the ranks."""
        return tuple(dict.fromkeys(rank.ip for rank in self.ranks))

    def ranks_on(self, ip: str) -> tuple[RankPlace, ...]:
        """The ranks of one machine, in order."""
        return tuple(rank for rank in self.ranks if rank.ip == ip)


def read_rank_table(file: str) -> RankTable:
    """Read a rank table of either form.

    Args:
        file: Path of the file.

    Raises:
        StartUpError: It cannot be read, or is no rank table.
    """
    try:
        content = Path(file).read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as cause:
        raise StartUpError(f"failed to get realpath of\uff1a{file}") from cause
    except OSError as cause:
        raise StartUpError(f"failed to open rank table file\uff1a{file}") from cause
    try:
        table = orjson.loads(content.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as cause:
        raise StartUpError(f"parse error:{cause} in{file}") from cause
    if not isinstance(table, dict):
        raise StartUpError(f"{file} is not json object")
    return RankTable(file, _Reader(file).ranks_of(table))


class _Reader:
    """Takes a rank table apart.

    Args:
        file: The file it comes from, for error texts.
    """

    def __init__(self, file: str) -> None:
        self._file = file

    def ranks_of(self, table: _Object) -> tuple[RankPlace, ...]:
        """The ranks of a table in either form, in the order of the file.

        Raises:
            StartUpError: Something is missing, or is not what it should be.
        """
        found = self._grouped(table) if "group_list" in table else self._listed(table)
        ranks: list[RankPlace] = []
        for rank in found:
            if rank.rank_id != len(ranks):
                raise self._wrong_size()
            ranks.append(rank)
        return tuple(ranks)

    def _listed(self, table: _Object) -> Iterator[RankPlace]:
        for server in self._items(table, "server_list"):
            ip = self._text(server, "server_id")
            for device in self._items(server, "device"):
                yield self._rank(ip, device, device)

    def _grouped(self, table: _Object) -> Iterator[RankPlace]:
        for group in self._items(table, "group_list"):
            for instance in self._items(group, "instance_list"):
                ip = self._text(instance, "server_id")
                devices = self._items(instance, "devices")
                rank = self._rank(ip, devices[0], instance)
                if len(devices) > 1:
                    raise self._wrong_size()
                yield rank

    def _rank(self, ip: str, device: object, numbered: object) -> RankPlace:
        device_id = self._number(device, "device_id")
        rank_id = self._number(numbered, "rank_id")
        device_ip = device.get("device_ip") if isinstance(device, dict) else None
        return RankPlace(rank_id, ip, device_id, device_ip if isinstance(device_ip, str) else "")

    def _items(self, holder: object, attribute: str) -> list[object]:
        value = holder.get(attribute) if isinstance(holder, dict) else None
        if not isinstance(value, list) or not value:
            raise self._empty(attribute)
        return value

    def _text(self, holder: object, attribute: str) -> str:
        value = holder.get(attribute) if isinstance(holder, dict) else None
        if not isinstance(value, str) or not value:
            raise self._empty(attribute)
        return value

    def _number(self, holder: object, attribute: str) -> int:
        text = self._text(holder, attribute)
        if not _CANONICAL.fullmatch(text) or int(text) > _LARGEST_NUMBER:
            raise StartUpError(f"{attribute}attr is invalid argument in{self._file}")
        return int(text)

    def _empty(self, attribute: str) -> StartUpError:
        return StartUpError(f"{attribute} attr is empty in{self._file}")

    def _wrong_size(self) -> StartUpError:
        return StartUpError(f"device size not match rank_id in{self._file}")


def check_ranks(table: RankTable, rank_size: int, stage_size: int) -> None:
    """Check that a rank table fits what the servable declares.

    Args:
        table: The rank table.
        rank_size: Number of ranks that the servable declares.
        stage_size: Number of pipeline stages that it declares.

    Raises:
        StartUpError: The numbers do not fit each other, or devices are given out in a way that cannot work.
    """
    count = len(table.ranks)
    if count != rank_size:
        raise StartUpError(
            f"Rank size {count} declared in rank table file '{table.file}' not equal to {rank_size} declared in "
            "servable config"
        )
    if rank_size % stage_size:
        raise StartUpError(
            f"Rank size must be an integral multiple of stage size, rank size: {rank_size}, stage size: {stage_size}"
        )
    if stage_size == 1:
        _check_devices_differ(table)
        return
    if rank_size < CARDS_OF_A_MACHINE:
        raise StartUpError(
            f"Rank size {rank_size}must >= card count {CARDS_OF_A_MACHINE} of one machine when stage size {stage_size} "
            "> 1"
        )
    _check_machines_are_full(table)


def _check_devices_differ(table: RankTable) -> None:
    used = set[tuple[str, int]]()
    for rank in table.ranks:
        if (rank.ip, rank.device_id) in used:
            raise _refused(f"device id repeatedly used by rank {rank.rank_id} in device ip {rank.ip}")
        used.add((rank.ip, rank.device_id))
        if rank.device_id >= CARDS_OF_A_MACHINE:
            raise _refused(f"device id cannot larger than {CARDS_OF_A_MACHINE}")


def _check_machines_are_full(table: RankTable) -> None:
    for rank in table.ranks:
        card = rank.rank_id % CARDS_OF_A_MACHINE
        first = table.ranks[rank.rank_id - card]
        if rank.device_id != card:
            raise _refused(f"expected device id of rank {rank.rank_id} to be {card}")
        if rank.ip != first.ip:
            raise _refused(
                f"expected device ip {rank.ip} of rank {rank.rank_id} to be equal with device ip {first.ip} of rank "
                f"{first.rank_id}"
            )


def _refused(reason: str) -> StartUpError:
    return StartUpError(f"Check rank table config failed, {reason}")


def write_rank_table(table: RankTable, folder: Path, now: datetime) -> Path:
    """Write a rank table in its first form, for the processes that run the model.

    Args:
        table: The rank table.
        folder: The file is written to a folder `temp_rank_table` in this one.
        now: Local time, for the name of the file.

    Returns:
        Path of the file.

    Raises:
        StartUpError: It cannot be written.
    """
    path = folder / _FOLDER / f"hccl_rank_table_{now:%Y%m%d_%H%M%S}_{len(table.ranks)}p.json"
    try:
        make_private_folder(path.parent)
        with open(path, "w", opener=opener(PRIVATE)) as file:
            file.write(json.dumps(_as_server_list(table), indent=4) + "\n")
    except OSError as cause:
        raise StartUpError(f"Cannot write rank table file '{path}': {cause}") from cause
    return path


def _as_server_list(table: RankTable) -> _Object:
    servers = [
        {
            "server_id": ip,
            "device": [_as_device(rank) for rank in table.ranks_on(ip)],
            "host_nic_ip": "reserve",
        }
        for ip in table.ips
    ]
    return {
        "version": "1.0",
        "server_count": str(len(servers)),
        "server_list": servers,
        "status": "completed",
    }


def _as_device(rank: RankPlace) -> dict[str, str]:
    address = {"device_ip": rank.device_ip} if rank.device_ip else {}
    return {"device_id": str(rank.device_id), **address, "rank_id": str(rank.rank_id)}
