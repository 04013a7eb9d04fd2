"""Rank tables for tests, as their files would hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

Place = tuple[str, int]
"""Address of a machine and number of a device in it."""


def places(machines: int, cards: int = 8) -> list[Place]:
    """Full machines, one after the other."""
    return [(f"10.0.0.{machine + 1}", card) for machine in range(machines) for card in range(cards)]


def server_list(ranks: Sequence[Place]) -> dict[str, Any]:
    """A table of the first form; each run of ranks on one machine is an entry of it."""
    servers: list[dict[str, Any]] = []
    numbered: Iterable[tuple[int, Place]] = enumerate(ranks)
    for ip, run in groupby(numbered, lambda item: item[1][0]):
        devices = [{"device_id": str(card), "rank_id": str(rank)} for rank, (_, card) in run]
        servers.append({"server_id": ip, "device": devices, "host_nic_ip": "reserve"})
    return {
        "version": "1.0",
        "server_count": str(len(servers)),
        "server_list": servers,
        "status": "completed",
    }


def group_list(ranks: Sequence[Place], groups: int = 1) -> dict[str, Any]:
    """A table of the second form, its ranks spread over some groups."""
    instances = [
        {
            "server_id": ip,
            "rank_id": str(rank),
            "devices": [{"device_id": str(card), "device_ip": "192.1.0.1"}],
        }
        for rank, (ip, card) in enumerate(ranks)
    ]
    size = -(-len(instances) // groups)
    parts = [instances[start : start + size] for start in range(0, len(instances), size)]
    return {"group_list": [{"group_name": f"g{i}", "instance_list": part} for i, part in enumerate(parts)]}


def change(table: Any, path: Sequence[str | int], *value: Any) -> Any:
    """Set what is found along a path, or remove it if no value is given."""
    holder = table
    for step in path[:-1]:
        holder = holder[step]
    if value:
        holder[path[-1]] = value[0]
    else:
        del holder[path[-1]]
    return table
