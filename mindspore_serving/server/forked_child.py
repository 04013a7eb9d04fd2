"""What a forked child of a start script gives up: sockets of the server that goes on in its parent."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from pathlib import Path


def let_go_of_sockets(addresses: Collection[str]) -> None:
    """Drop the sockets at some addresses, connections and listening ones, in the child that has inherited them.

    Else they would stay open when the parent has closed them: its port would be taken as long as the child lives, and
    clients would wait for an end that does not come. Their numbers lead nowhere from now on, and are not used for
    another file, because objects of the parent that are left in the child may still close them.

    Args:
        addresses: Each `ip:port`, or `unix:path` as it was bound.
    """
    if not addresses:
        return
    places = {_place_of(address) for address in addresses}
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if _own_place(descriptor) in places:
            os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _place_of(address: str) -> int | str:
    """The port, whatever the ip; or the path."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    return int(address.rpartition(":")[2])


def _own_place(descriptor: int) -> int | str | None:
    """Where this end of a stream is; None for what is no such thing."""
    try:
        end = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        if end.type is not socket.SOCK_STREAM:
            return None
        if end.family is socket.AF_UNIX:
            return str(end.getsockname())
        return int(end.getsockname()[1]) if end.family in (socket.AF_INET, socket.AF_INET6) else None
    except OSError:
        return None
    finally:
        end.detach()
