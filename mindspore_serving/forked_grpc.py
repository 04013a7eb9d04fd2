"""What gRPC leaves usable in a forked child.

gRPC has threads, and a child that is forked has none of them. It starts them anew in the child, unless the variable
GRPC_ENABLE_FORK_SUPPORT was 0 when it was imported, as it is in processes of the server: calls would then wait for
ever, whatever their timeout.
"""

from __future__ import annotations

import os

import grpc  # noqa: F401 - reads the variable when it is imported, and never again

from mindspore_serving.errors import ServingError

__all__ = ["check_usable", "note_use"]

_NO = ("0", "f", "false", "n", "no")
_STARTS_ANEW = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1").lower() not in _NO
_users: set[int] = set()
"""This process if it has used gRPC, and those of its ancestors that had when they forked."""


def note_use() -> None:
    """Say that this process uses gRPC from now on."""
    _users.add(os.getpid())


def check_usable() -> None:
    """Check that gRPC has its threads in this process.

    Raises:
        ServingError: It has been in use before this process was forked, and was told not to care about forks.
    """
    if not _STARTS_ANEW and _users and os.getpid() not in _users:
        raise ServingError(
            f"gRPC does not work in process {os.getpid()}: it was forked from one that uses gRPC, with "
            "GRPC_ENABLE_FORK_SUPPORT=0, as servers do. Start it by the method 'spawn' or 'forkserver' of "
            "multiprocessing, or fork it before a server starts and before a client is used"
        )
