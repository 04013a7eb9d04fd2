"""Why a TCP address cannot be bound, and who listens there, for the text of the error."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

from mindspore_serving.private_files import user_name
from mindspore_serving.server.host.socket_table import LISTENING, listed_sockets

_MOST_OF_COMMAND = 100


def bind_fault(address: str, cause: Exception | None = None) -> str:
    """Why an address cannot be bound, to follow the text of an error.

    Args:
        address: `ip:port`, or anything else that cannot be bound.
        cause: What the system said; None where nobody knows, which has it asked once more.

    Returns:
        Begins with a colon; "" where the system finds nothing wrong.
    """
    host, _, port = address.rpartition(":")
    if host == "unix" or not port.isdecimal():
        return f": {cause}" if cause else ""
    cause = cause or _fault_of(host.removeprefix("[").removesuffix("]"), int(port))
    if cause is None:
        return ""
    if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
        who = who_listens(int(port))
        return ": Address already in use" + (f", {who} listens on port {port}" if who else "")
    return f": {getattr(cause, 'strerror', None) or cause}"


def _fault_of(host: str, port: int) -> Exception | None:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except (OSError, OverflowError, UnicodeError) as fault:
        return fault
    return None


def who_listens(port: int, proc: Path = Path("/proc")) -> str:
    """Who listens on a port of this machine, at whatever address.

    Args:
        port: TCP port.
        proc: Where the system tells about processes.

    Returns:
        A process, or a user into whose processes this one may not look; "" for nobody.
    """
    sockets = [
        one
        for one in listed_sockets(proc / "self" / "net")
        if one.state == LISTENING and int(one.local.rpartition(":")[2], 16) == port
    ]
    if not sockets:
        return ""
    return _holder({one.inode for one in sockets}, proc) or f"a process of {user_name(sockets[0].user)}"


def _holder(inodes: set[str], proc: Path) -> str:
    """The first process that has one of these sockets open; "" where none does that this user may look into."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            if any(_target(entry) in wanted for entry in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                whose = "this process" if int(process.name) == os.getpid() else f"process {process.name}"
                return f"{whose} ({' '.join(command.split())[:_MOST_OF_COMMAND]})"
    return ""


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""
