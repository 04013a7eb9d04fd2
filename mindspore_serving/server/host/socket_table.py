"""The TCP sockets of the network that this process is in, as the kernel lists them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ESTABLISHED = "01"
LISTENING = "0A"
"""States of sockets, as the kernel writes them."""
_TABLES = ("tcp", "tcp6")


class ListedSocket(NamedTuple):
    """One socket.

    Attributes:
        local: Address and port of its own end, in hexadecimal digits.
        remote: Those of the other end.
        state: For example `ESTABLISHED`.
        user: User id of its owner.
        inode: Its number, as links in /proc/{pid}/fd have it.
    """

    local: str
    remote: str
    state: str
    user: int
    inode: str

    @classmethod
    def of_line(cls, line: str) -> ListedSocket:
        """A socket as a line of the list has it."""
        _, local, remote, state, _, _, _, user, _, inode = line.split()[:10]
        return cls(local, remote, state, int(user), inode)


def count_established(port: int) -> int:
    """How many connections have come to a port of this machine, and are open."""
    ending = f":{port:04X}"
    return sum([one.state == ESTABLISHED and one.local.endswith(ending) for one in listed_sockets()])


def listed_sockets(folder: Path = Path("/proc/thread-self/net")) -> Iterator[ListedSocket]:
    """All sockets, those of IPv4 first.

    Args:
        folder: Where the kernel has its lists. One that cannot be read counts as empty.
    """
    for table in _TABLES:
        with contextlib.suppress(OSError):
            yield from map(ListedSocket.of_line, (folder / table).read_text().splitlines()[1:])
