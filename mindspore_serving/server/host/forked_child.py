"""What a forked child of a start script, or of a stage function, does not share with its parent.

A child of a start script is a process of the user's, and goes on with the script. A child of a stage function does what
the function wants of it, and ends where it would become a second worker: when the function has come to its end there.

Between the fork and the moment at which the child has put its handlers right, signals are held: Python would forget one
that comes then, and its number would be told to the parent through the wake-up descriptor that both have.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Those that end processes of Serving in order."""
_actions: list[Callable[[], object]] = []
_thread = threading.local()
_starts = threading.RLock()


class _ThisProcess:
    """What is known of this process.

    Attributes:
        forked: Whether it is a child that user code of a worker or an agent has forked.
    """

    __slots__ = ("forked",)

    def __init__(self) -> None:
        self.forked = False


this_process = _ThisProcess()


def end_forked_children() -> None:
    """Let every child that this process forks from now on end instead of going on with what the process does.

    Whoever calls user code looks at `this_process.forked` when that code has returned or raised.
    """

    def mark() -> None:
        this_process.forked = True

    run_in_forked_children(mark)


def end_forked_child(error: BaseException | None = None) -> NoReturn:
    """End this process, a forked child, as the end of a program would, but for what it shares with its parent.

    Functions of `atexit` and buffers of files are its parent's, and stay there.

    Args:
        error: What the user code has raised; None if it has returned.
    """
    code = 0
    try:
        if isinstance(error, SystemExit) and isinstance(error.code, (int, type(None))):
            code = error.code or 0
        elif error is not None:
            code = 1
            if isinstance(error, SystemExit):
                print(error.code, file=sys.stderr)
            else:
                traceback.print_exception(error)
    finally:
        os._exit(code & 0xFF)


def run_in_forked_children(action: Callable[[], object]) -> None:
    """Let every child that this process forks from now on do something, before it takes signals."""
    _actions.append(action)


@contextlib.contextmanager
def no_forks() -> Iterator[None]:
    """Within the block no other thread forks this process; for starting another one.

    A child that is forked in that moment would keep open what tells the end of the start, for which `Popen` waits, and
    what is for the new process alone.
    """
    with _starts:
        yield


def _before_fork() -> None:
    _starts.acquire()
    _thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, signal.SIGHUP))


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _thread.mask)
    _starts.release()


def _after_fork_in_child() -> None:
    try:
        for action in _actions:
            action()
    finally:
        _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def let_go_of_sockets(addresses: Collection[str], numbers: Collection[int] = ()) -> None:
    """Drop the sockets at some addresses, connections and listening ones, in the child that has inherited them.

    Else they would stay open when the parent has closed them: its port would be taken as long as the child lives, and
    clients would wait for an end that does not come. Their numbers lead nowhere from now on, and are not used for
    another file, because objects of the parent that are left in the child may still close them.

    Args:
        addresses: Each `ip:port`, or `unix:path` as it was bound.
        numbers: Inodes of sockets without an address.
    """
    if not addresses and not numbers:
        return
    places = {_place_of(address) for address in addresses}
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if _own_place(descriptor) in places or _inode(descriptor) in numbers:
            os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _inode(descriptor: int) -> int | None:
    """Of a socket; None for what is none."""
    try:
        found = os.fstat(descriptor)
    except OSError:  # the one by which the list was read
        return None
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else None


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
