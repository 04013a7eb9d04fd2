"""A rank table: it is read whole or refused, and what was read can be sent and written."""

from __future__ import annotations

from datetime import datetime

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.agent_messages import AgentSettings
from mindspore_serving.server.channel.frames import TO_AGENT, FrameSplitter, frame_of, message_of
from mindspore_serving.server.distributed.rank_table import (
    RankTable,
    check_ranks,
    read_rank_table,
    write_rank_table,
)
from tests.fuzz.oracle import demand, demand_text, file_with, scratch_folder

_NOW = datetime(2000, 1, 1)


def one_input(data: bytes) -> None:
    """Read a file, and do with the table what a distributed worker does."""
    file = str(file_with(data, "rank_table.json"))
    try:
        table = read_rank_table(file)
    except StartUpError as error:
        demand(file in demand_text(error), "the file is named", error)
        return
    numbers = [rank.rank_id for rank in table.ranks]
    demand(bool(numbers) and numbers == list(range(len(numbers))), "ranks count from 0 on", numbers)
    for stages in (1, 2):
        try:
            check_ranks(table, len(table.ranks), stages)
        except StartUpError as error:
            demand_text(error)
    _send(table)
    path = write_rank_table(table, scratch_folder(), _NOW)
    if _is_grouped(table):
        demand(read_rank_table(str(path)).ranks == table.ranks, "a table is written as it is", table)


def _send(table: RankTable) -> None:
    settings = AgentSettings(
        "s",
        tuple(rank.ip for rank in table.ranks),
        tuple(rank.device_id for rank in table.ranks),
        tuple(rank.device_ip for rank in table.ranks),
        True,
        (),
        1,
    )
    [frame] = FrameSplitter().feed(frame_of(settings))
    demand(message_of(*frame, TO_AGENT) == settings, "a table arrives as it was sent", settings)


def _is_grouped(table: RankTable) -> bool:
    """Whether the ranks of each machine follow each other; one that interleaves them is for reading only."""
    ordered = [rank for ip in table.ips for rank in table.ranks_on(ip)]
    return tuple(ordered) == table.ranks
