"""Logs of child processes: the files that their stdout and stderr lead to.

Children append, and nothing empties a log but its rotation. The owner of the children keeps each log open with a lock
on it, which ends with the process however that ends: a second owner in the same folder finds the lock, and takes
another name. The lock is on a description of the file that no child has, because one that outlives its owner
would keep it.

A log that has reached its size is copied to `NAME.1`, and then emptied: whoever appends goes on at its begin, a child
that hangs as well as what it has started itself. A log that others have moved away (logrotate) is opened again when the
owner is told to; its children are then told the new file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mindspore_serving import log
from mindspore_serving.private_files import LOG, LOG_FOLDER, OLD_LOG, open_own_file, own_folder
from mindspore_serving.server.host.forked_child import run_in_forked_children
from mindspore_serving.server.supervision.log_copy import LogCopy

LOG_DIRECTORY = "serving_logs"
_LOOK_EVERY_S = 1.0
_COPY_EVERY_S = 0.2
_CHUNK = 8 << 20
_TAIL = 8 << 10
_LONGEST_LINE = 1 << 16
_TRIES = 8
_APPEND = os.O_WRONLY | os.O_APPEND


class ProcessLog:
    """One log, which this process owns. Opened by `ProcessLogs`.

    Args:
        find_folder: Tells where the folder of the log is now; None if it cannot be any more.
        name: Name that it has if no other process owns that.

    Attributes:
        name: As above.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, find_folder: Callable[[], Path | None], name: str) -> None:
        self._find_folder = find_folder
        self.name = name
        self._lock = threading.Lock()
        self._changing = threading.Lock()  # held for longer, while a file takes the place of another one
        self._begin = 0
        self._rotate_at = 0
        self._descriptor, self._path = _claim(find_folder(), name)
        self._copied = os.fstat(self._descriptor).st_size

    def __repr__(self) -> str:
        return f"<ProcessLog {self.path}>"

    @property
    def path(self) -> Path:
        """Where it is, or was last."""
        folder = self._find_folder()
        return self._path if folder is None else folder / self._path.name

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file."""
        with self._lock:
            found = os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    def output(self) -> int:
        """A descriptor for the stdout of a process that is started now; `last_lines` begins here.

        Raises:
            OSError: The system has no descriptor left.
        """
        with self._lock:
            self._begin = os.fstat(self._descriptor).st_size
            return self._open(_APPEND)

    def last_lines(self, count: int) -> list[str]:
        """The end of what the process that was started last has written.

        Args:
            count: Most lines.

        Raises:
            OSError: The log cannot be read.
        """
        with self._lock, os.fdopen(self._open(os.O_RDONLY), "rb") as file:
            file.seek(max(self._begin, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read(_TAIL).decode(errors="replace").splitlines()[-count:]

    def end(self, most_bytes: int) -> bytes:
        """The end of what is in it, of all processes that were started.

        Args:
            most_bytes: Most bytes of it.

        Raises:
            OSError: It cannot be read.
        """
        with self._lock, os.fdopen(self._open(os.O_RDONLY), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most_bytes))
            return file.read(most_bytes)

    def new_lines(self) -> bytes:
        """What was written since the last call, or since it was opened, up to the end of a line; empty for nothing.

        Raises:
            OSError: The log cannot be read.
        """
        with self._lock:
            size = os.fstat(self._descriptor).st_size
            if size < self._copied:  # somebody has emptied it
                self._copied = 0
            if size == self._copied:
                return b""
            with os.fdopen(self._open(os.O_RDONLY), "rb") as file:
                file.seek(self._copied)
                data = file.read(_LONGEST_LINE)
            end = data.rfind(b"\n") + 1 or (len(data) if len(data) == _LONGEST_LINE else 0)
            self._copied += end
            return data[:end]

    def follow(self, *, wait: bool = True) -> bool:
        """Open the file that has the name now, made if there is none.

        Args:
            wait: Whether to wait for a rotation that is under way; otherwise nothing is done then.

        Returns:
            Whether it is another one than before.

        Raises:
            OSError: It cannot be opened. The log stays where it is.
        """
        if not self._changing.acquire(blocking=wait):
            return False
        try:
            if self._is_in_place():
                return False
            descriptor, path = _claim(self._find_folder(), self.name)
            with self._lock:
                earlier, self._descriptor, self._path = self._descriptor, descriptor, path
                self._begin = self._rotate_at = 0
                self._copied = os.fstat(descriptor).st_size
            os.close(earlier)
            return True
        finally:
            self._changing.release()

    def rotate(self, max_bytes: int, backup_count: int) -> None:
        """Move what is in it to `NAME.1` if that has reached a size; one that was deleted is emptied instead.

        Nothing is done to a log that somebody has moved away: it is his.

        Args:
            max_bytes: The size.
            backup_count: How many older parts are kept, with higher numbers.

        Raises:
            OSError: That cannot be done; it is tried again once the log has grown by as much.
        """
        with self._changing:
            found = os.fstat(self._descriptor)
            if found.st_size < max(max_bytes, self._rotate_at):
                return
            self._rotate_at = found.st_size + max_bytes
            if self._is_in_place():
                path = self.path
                with own_folder(path.parent, LOG_FOLDER) as folder:
                    _make_room(path.name, backup_count, folder)
                    self._copy_to(f"{path}.1", folder)
            elif found.st_nlink:
                return
            with self._lock:
                os.ftruncate(self._descriptor, 0)
                self._begin = self._rotate_at = self._copied = 0

    def close(self) -> None:
        """Give the log up; safe to call twice."""
        with self._changing, self._lock:
            self.leave_to_parent()

    def leave_to_parent(self) -> None:
        """Close the descriptor of a forked child, whose lock nobody may hold."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._descriptor))
        except OSError:  # it is not there, or cannot be reached
            return False

    def _open(self, flags: int) -> int:
        """A description of its own of the file, wherever that is by now."""
        return os.open(f"/proc/self/fd/{self._descriptor}", flags | os.O_CLOEXEC)

    def _copy_to(self, path: str, folder: int) -> None:
        source = self._open(os.O_RDONLY)
        try:
            copy = open_own_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, LOG, folder)
            try:
                while os.sendfile(copy, source, None, _CHUNK):
                    continue
                os.fchmod(copy, OLD_LOG)
            except BaseException:
                os.unlink(Path(path).name, dir_fd=folder)
                raise
            finally:
                os.close(copy)
        finally:
            os.close(source)


def _make_room(name: str, backup_count: int, folder: int) -> None:
    """Give older parts of a log their next number, so that no `NAME.1` is left."""
    for number in range(backup_count - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{name}.{number}", f"{name}.{number + 1}", src_dir_fd=folder, dst_dir_fd=folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{name}.1", dir_fd=folder)


def _claim(folder: Path | None, name: str) -> tuple[int, Path]:
    """Open a log, and make it that of this process.

    Args:
        folder: Its folder, made if there is none; None if there cannot be one.
        name: Its name. Where another process owns that, the log gets one with the number of this process.

    Returns:
        A descriptor with a lock, and the path.

    Raises:
        OSError: It cannot be opened.
    """
    if folder is None:
        raise FileNotFoundError("the working directory has been removed")
    with own_folder(folder, LOG_FOLDER) as descriptor:
        for candidate in _names(name):
            path = folder / candidate
            opened = _own(path, descriptor)
            if opened is None:
                continue
            if candidate != name:
                log.warning(
                    "Another server writes to %s: what this one's process prints goes to %s",
                    folder / name,
                    path,
                )
            return opened, path
    raise OSError(f"other processes own {folder / name} and all names that are like it")


def _names(name: str) -> Iterator[str]:
    yield name
    stem, suffix = Path(name).stem, Path(name).suffix
    yield f"{stem}.{os.getpid()}{suffix}"
    for number in range(2, _TRIES):  # processes of two containers may have the same number
        yield f"{stem}.{os.getpid()}_{number}{suffix}"


def _own(path: Path, folder: int) -> int | None:
    """Open and lock a log; None where another process has locked it."""
    for _ in range(_TRIES):
        descriptor = open_own_file(str(path), _APPEND | os.O_CREAT, LOG, folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:  # not on every file system
            log.info("Nothing keeps other servers from writing to %s: %s", path, error)
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(
                os.stat(path.name, dir_fd=folder, follow_symlinks=False), os.fstat(descriptor)
            ):
                return descriptor
        os.close(descriptor)  # it was moved away meanwhile
    return None


class ProcessLogs:
    """The logs of all children of one owner, with the thread that rotates and follows them.

    Args:
        find_folder: Tells where they are now; None if they can be nowhere any more.
        rotation: Bytes at which a log is rotated, and how many older parts are kept.
        on_moved: Called, in that thread, after `follow` has found logs in another file than before.
        copy: Where what is written to them is copied; None for nowhere.
    """

    def __init__(
        self,
        find_folder: Callable[[], Path | None],
        rotation: tuple[int, int],
        on_moved: Callable[[], None],
        copy: LogCopy | None = None,
    ) -> None:
        self._copy = copy
        self._find_folder = find_folder
        self._on_moved = on_moved
        self._max_bytes, self._backup_count = rotation
        self._logs: dict[str, ProcessLog] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._follow = False
        self._ended = False
        self._thread: threading.Thread | None = None
        _living.add(self)

    def __repr__(self) -> str:
        return f"<ProcessLogs {list(self._logs.values())}>"

    def open(self, name: str) -> ProcessLog:
        """The log of a process that is started, or started again.

        Args:
            name: Its name in the folder.

        Raises:
            OSError: It cannot be opened.
        """
        with self._lock:
            opened = self._logs.get(name)
            if opened is None:
                opened = self._logs[name] = ProcessLog(self._find_folder, name)
            else:
                _follow_quietly(opened, wait=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="serving logs", daemon=True)
                self._thread.start()
        return opened

    def follow(self) -> None:
        """Open again what others have moved away; returns at once."""
        self._follow = True
        self._wake.set()

    def close(self) -> None:
        """Give all logs up; safe to call twice."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if self._copy is not None:
            self._copy_new(self._logs.values())
            self._copy.close()
        for opened in self._logs.values():
            opened.close()

    def leave_to_parent(self) -> None:
        """Give all logs up in a forked child, where the thread does not run."""
        for opened in self._logs.values():
            opened.leave_to_parent()

    def _watch(self) -> None:
        """Body of the thread."""
        while not self._ended:
            self._wake.wait(_LOOK_EVERY_S if self._copy is None else _COPY_EVERY_S)
            self._wake.clear()
            with self._lock:
                logs = list(self._logs.values())
            self._copy_new(logs)
            if self._follow:
                self._follow = False
                moved = [_follow_quietly(opened) for opened in logs]
                if any(moved):
                    self._on_moved()
            for opened in logs:
                try:
                    opened.rotate(self._max_bytes, self._backup_count)
                except OSError as error:
                    log.error("%s is not rotated: %s", opened.path, error)

    def _copy_new(self, logs: Iterable[ProcessLog]) -> None:
        if self._copy is None:
            return
        for opened in logs:
            try:
                self._copy.copy(opened)
            except OSError as error:
                log.error("%s is not copied to standard output: %s", opened.path, error)


def _follow_quietly(opened: ProcessLog, *, wait: bool = True) -> bool:
    """Follow a log, which stays where it is if that cannot be done; returns whether it is another file now."""
    try:
        return opened.follow(wait=wait)
    except OSError as error:
        log.error("What goes to %s goes on there, the log cannot be opened again: %s", opened.path, error)
        return False


_living: weakref.WeakSet[ProcessLogs] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for logs in list(_living):
        logs.leave_to_parent()


run_in_forked_children(_leave_all_to_parent)
