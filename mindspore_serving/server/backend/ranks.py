"""How the processes of a model that is spread over ranks come together, for the family that runs such models.

The stub's ranks need not come together: each answers for itself (ADR 14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mindspore_serving.server.backend.contract import Backend
from mindspore_serving.server.backend.families import family_of_ranks

if TYPE_CHECKING:
    from mindspore_serving.server.backend.mindspore.ranks import Scheduler


def backend_of_ranks() -> Backend:
    """The backend that runs one rank's part of a model."""
    return family_of_ranks().new_backend()


def start_scheduler(device_type: str, ip: str, rank_size: int) -> Scheduler | None:
    """Start what brings the ranks together; None where they need nothing.

    Args:
        device_type: `ascend`, `gpu` or `cpu`.
        ip: Address of this machine that all ranks reach.
        rank_size: Number of ranks.

    Raises:
        StartUpError: It cannot be started, or does not listen.
    """
    if family_of_ranks().stands_in:
        return None
    from mindspore_serving.server.backend.mindspore.ranks import Scheduler, needs_scheduler

    return Scheduler(ip, rank_size) if needs_scheduler(device_type) else None


def join_ranks(
    *,
    device_type: str,
    device_id: int,
    rank_id: int,
    rank_size: int,
    ip: str,
    scheduler: str,
    rank_table_file: str | None,
) -> None:
    """Make this process a rank; returns when all ranks have joined. See `join_ranks` of the family for the arguments.

    Raises:
        StartUpError: The family does not take the device, or the ranks do not come together.
    """
    if family_of_ranks().stands_in:
        return
    from mindspore_serving.server.backend.mindspore import ranks

    ranks.join_ranks(
        device_type=device_type,
        device_id=device_id,
        rank_id=rank_id,
        rank_size=rank_size,
        ip=ip,
        scheduler=scheduler,
        rank_table_file=rank_table_file,
    )
