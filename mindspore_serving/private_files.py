"""Files, folders and sockets that other users of the machine have no business with."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

PRIVATE = 0o600
"""Mode of a file for this user alone."""
LOG = 0o640
"""Mode of a log, which the group may read: tools that collect logs run as another user."""
OLD_LOG = 0o440
"""Mode of a log that nothing is written to any more."""
LOG_FOLDER = 0o750
PRIVATE_FOLDER = 0o700
_NOT_FOR_OTHERS = 0o077
_WRITTEN_BY_OTHERS = 0o022
_ALL_BUT_OWN_ACCESS = 0o177
_ROOT = 0
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
)


class FileNotPrivate(PermissionError):
    """A file or folder is not what it should be, or another user could change what is written there."""


def kind_of(mode: int) -> str:
    """What a file is, to be read in a sentence.

    Args:
        mode: `st_mode` of its status.
    """
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "a device")


def user_name(uid: int) -> str:
    """A user, to be read in a sentence: `user bob (1000)`."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:  # not in the list of users, as often in containers
        return f"user {uid}"


def opener(mode: int) -> Callable[[str, int], int]:
    """For `open`: makes a new file with this mode, less what the umask takes. A file that is there keeps its own.

    What it opens is a regular file, of this user or of root: `open` raises PermissionError for anything else, and waits
    for nobody.
    """

    def open_with_mode(path: str, flags: int) -> int:
        return open_own_file(path, flags, mode)

    return open_with_mode


def open_own_file(path: str, flags: int, mode: int = PRIVATE, folder: int | None = None) -> int:
    """Open a regular file of this user or of root, and wait for nobody.

    Args:
        path: The file; not followed if it is a symbolic link.
        flags: As for `os.open`.
        mode: Of a new file, less what the umask takes.
        folder: Descriptor of the folder that the path names; None to look for that folder by its name.

    Raises:
        OSError: It cannot be opened. `FileNotPrivate` where it is no regular file, or another user's.
    """
    name = path if folder is None else Path(path).name
    careful = (flags & ~os.O_TRUNC) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, careful, mode, dir_fd=folder)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            _check_file(path, os.stat(name, dir_fd=folder, follow_symlinks=False), folder)
        raise
    try:
        _check_file(path, os.fstat(descriptor), folder)
        os.set_blocking(descriptor, True)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_file(path: str, found: os.stat_result, folder: int | None) -> None:
    """Check what was found at a path.

    Raises:
        FileNotPrivate: It is no regular file, or another user's, or has a second name that others may have given it.
    """
    if not stat.S_ISREG(found.st_mode):
        raise FileNotPrivate(
            f"'{path}' is {kind_of(found.st_mode)} of {user_name(found.st_uid)}, and should be a regular file: remove "
            "it"
        )
    user = os.geteuid()
    owners, shared = {user, _ROOT}, False
    if folder is not None:
        holder = os.fstat(folder)  # checked by `own_folder`
        owners.add(holder.st_uid)
        shared = bool(holder.st_mode & _WRITTEN_BY_OTHERS)
    if found.st_uid not in owners:
        raise FileNotPrivate(
            f"'{path}' belongs to {user_name(found.st_uid)}, and this process runs as {user_name(user)}. Run as that "
            f"user, remove the file, or give it away: chown {user} '{path}'"
        )
    if shared and found.st_nlink > 1:
        raise FileNotPrivate(
            f"'{path}' is one of several names of a file, in a folder where others can make such names: remove it"
        )


@contextlib.contextmanager
def own_folder(folder: Path, mode: int) -> Iterator[int]:
    """A folder of this user, made where there is none; within the block it can be used by its descriptor.

    Other users cannot write to it: where they could, their right is taken away. A folder of root is as good if they
    cannot write to it, or cannot replace what others have put there (sticky bit).

    Args:
        folder: Its path. It may be a symbolic link of this user or of root.
        mode: Of a new folder, less what the umask takes.

    Yields:
        A descriptor, for `dir_fd`.

    Raises:
        OSError: It cannot be made or opened. `FileNotPrivate` where it is another user's.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode)
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid in (os.geteuid(), _ROOT):
        found = folder.stat()
    elif not stat.S_ISDIR(found.st_mode):
        raise FileNotPrivate(
            f"'{folder}' is {kind_of(found.st_mode)} of {user_name(found.st_uid)}, and should be a directory: remove it"
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _keep_others_out(folder, descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _keep_others_out(folder: Path, descriptor: int) -> None:
    """See to it that other users cannot write to a folder.

    Raises:
        FileNotPrivate: They can.
    """
    found = os.fstat(descriptor)
    mode = stat.S_IMODE(found.st_mode)
    user = os.geteuid()
    if found.st_uid == user:
        if mode & _WRITTEN_BY_OTHERS and not mode & stat.S_ISVTX:
            os.fchmod(descriptor, mode & ~_WRITTEN_BY_OTHERS)
    elif found.st_uid != _ROOT and _keeps_owners(descriptor, found.st_uid):
        raise FileNotPrivate(
            f"'{folder}' belongs to {user_name(found.st_uid)}, and this process runs as {user_name(user)}: the owner "
            "could read and replace what is written there. Run as that user, remove the folder, or give it away: "
            f"chown {user} '{folder}'"
        )
    elif found.st_uid == _ROOT and mode & _WRITTEN_BY_OTHERS and not mode & stat.S_ISVTX:
        raise FileNotPrivate(
            f"'{folder}' belongs to {user_name(_ROOT)}, and other users could replace what is written there (mode "
            f"{mode:04o}). Remove the folder, or give it away: chown {user} '{folder}'"
        )


def _keeps_owners(folder: int, owner: int) -> bool:
    """Whether the file system tells who owns a file; some show one owner for all, whoever makes them."""
    name = f".owner_{os.getpid()}"
    try:
        probe = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE, dir_fd=folder)
    except OSError:
        return True
    try:
        return os.fstat(probe).st_uid != owner
    finally:
        os.close(probe)
        os.unlink(name, dir_fd=folder)


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user can enter; one that is there is closed to others.

    Raises:
        OSError: It cannot be made, or is another user's.
    """
    with own_folder(folder, PRIVATE_FOLDER) as descriptor:
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and found.st_mode & _NOT_FOR_OTHERS:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_NOT_FOR_OTHERS)


@contextlib.contextmanager
def private_sockets() -> Iterator[None]:
    """Within the block, sockets are bound with mode 0600: whoever may not write to one cannot connect.

    The umask is that of the whole process, so the block should be short.
    """
    previous = os.umask(_ALL_BUT_OWN_ACCESS)
    try:
        yield
    finally:
        os.umask(previous)
