"""Paths at which Unix sockets are bound: taken over from nobody who listens there, and never from a file."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from mindspore_serving.private_files import kind_of, private_sockets, user_name

LONGEST_PATH = 107
"""Bytes that the kernel takes for the path of a socket (`sun_path` has 108, the last of which is zero)."""
_LOCK_TRIES = 50
_LOCK_POLL_S = 0.02


def remove_dead_socket(path: str) -> None:
    """Make way for a socket: remove one that nobody listens on any more.

    Args:
        path: Where a socket is to be bound, absolute or relative to the working directory.

    Raises:
        OSError: The path is too long, somebody listens there, or it holds something else than a socket. The text says
            what is in the way, and what to do.
    """
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        raise OSError(
            f"the path of the socket has {size} bytes, at most {LONGEST_PATH} are possible: use a shorter path, or one "
            "that is relative to the working directory"
        )
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):  # to bind it tells what is missing
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(
            f"the path holds {kind_of(found.st_mode)}, which is not removed: remove it yourself, or use another path"
        )
    reason = _use_of(path, found)
    if reason:
        raise OSError(f"{reason}: end that process, or use another path")
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()


def _use_of(path: str, found: os.stat_result) -> str:
    """Why a socket cannot be taken over; empty where nobody listens on it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return ""
        except PermissionError:
            return f"the path holds a socket of {user_name(found.st_uid)}, to which this user may not connect"
        except OSError as error:
            # Too many who wait to be accepted, or datagrams: both are told only where the socket is in use.
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    return "another process listens there"


@contextlib.asynccontextmanager
async def place_for_socket(path: str) -> AsyncIterator[None]:
    """Within the block a socket can be bound at a path, which this user alone can connect to.

    The block should be short: the umask is another one, see `private_sockets`. Of several servers that are started with
    one path at the same time, one gets it: their blocks follow one another.

    Args:
        path: Where it is to be bound.

    Raises:
        OSError: As `remove_dead_socket`.
    """
    with _folder_of(path) as folder:
        for _ in range(_LOCK_TRIES if folder is not None else 0):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
                break
            except BlockingIOError:  # in a folder of many users, anybody may hold it for ever
                await asyncio.sleep(_LOCK_POLL_S)
            except OSError:  # not on every file system
                break
        remove_dead_socket(path)
        with private_sockets():
            yield


@contextlib.contextmanager
def _folder_of(path: str) -> Iterator[int | None]:
    """Descriptor of the folder that holds a path; None where it cannot be opened."""
    try:
        folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        os.close(folder)
