"""The log of Serving: leveled lines on stderr, or in rotating files.

Environment variables, read when the first line is logged:

- GLOG_v: lowest level that is logged; 0 DEBUG, 1 INFO, 2 WARNING (default), 3 ERROR.
- MS_SUBMODULE_LOG_v: `{SERVING:<level>}` overrides GLOG_v.
- GLOG_logtostderr: 1 (default) logs to stderr, 0 to `mindspore_serving.log.{pid}` in GLOG_log_dir.
- GLOG_stderrthreshold: lowest level that is copied to stderr when the log goes to a file; default 2.
- logger_maxBytes, logger_backupCount: size at which a file is rotated, default 52428800, and how many older files
  are kept, read-only, default 30.

A line reads `[LEVEL] SERVING(pid:tid,process name):YYYY-mm-dd-HH:MM:SS.mmm.uuu [file:line] message`.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import re
import stat
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path

from mindspore_serving.line_writer import PIPE_BYTES, LineWriter, wait_until_writable, write_to_pipe
from mindspore_serving.private_files import LOG, open_own_file

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)

DEFAULT_LEVEL = 2
DEFAULT_MAX_BYTES = 52428800
DEFAULT_BACKUP_COUNT = 30

_PACKAGE_PARENT = str(Path(__file__).resolve().parent.parent) + os.sep
_LOGGER_NAME = "mindspore_serving"
_MOST_WAITING = 1 << 20
"""Bytes of lines that may wait for the reader of stderr."""
_FLUSH_S = 1.0
"""How long the end of the process waits for that reader."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What the environment says about the log.

    Attributes:
        level: Lowest level that is logged, 0 to 3.
        directory: Folder of the log files; None logs to stderr only.
        max_bytes: Size at which a file is rotated.
        backup_count: Rotated files that are kept.
        stderr_level: Lowest level that is copied to stderr when the log goes to a file, 0 to 3.
    """

    level: int = DEFAULT_LEVEL
    directory: str | None = None
    max_bytes: int = DEFAULT_MAX_BYTES
    backup_count: int = DEFAULT_BACKUP_COUNT
    stderr_level: int = DEFAULT_LEVEL

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> LogSettings:
        """Read the settings.

        Args:
            environment: Name to value, for example `os.environ`.

        Raises:
            ValueError: A variable has a value that it cannot have.
        """
        level = _submodule_level(environment)
        return cls(
            level=_level(environment, "GLOG_v") if level is None else level,
            directory=_directory(environment),
            max_bytes=_positive(environment, "logger_maxBytes", DEFAULT_MAX_BYTES),
            backup_count=_positive(environment, "logger_backupCount", DEFAULT_BACKUP_COUNT),
            stderr_level=_level(environment, "GLOG_stderrthreshold"),
        )

    def as_environment(self) -> dict[str, str]:
        """The variables that have an effect, with their effective values."""
        variables = {"GLOG_v": str(self.level), "GLOG_logtostderr": "1"}
        if self.directory is not None:
            variables |= {
                "GLOG_logtostderr": "0",
                "GLOG_log_dir": self.directory,
                "logger_maxBytes": str(self.max_bytes),
                "logger_backupCount": str(self.backup_count),
                "GLOG_stderrthreshold": str(self.stderr_level),
            }
        return variables

    def handlers(self) -> list[logging.Handler]:
        """New handlers that write as these settings ask."""
        on_stderr = StderrHandler()
        handlers: list[logging.Handler] = [on_stderr]
        if self.directory is not None:
            on_stderr.setLevel(LEVELS[self.stderr_level])
            path = Path(self.directory, f"mindspore_serving.log.{os.getpid()}")
            handlers.append(
                RotatingFile(
                    path,
                    maxBytes=self.max_bytes,
                    backupCount=self.backup_count,
                    encoding="utf-8",
                    errors="backslashreplace",
                )
            )
        for handler in handlers:
            handler.setFormatter(LineFormatter())
        return handlers


def _level(environment: Mapping[str, str], variable: str) -> int:
    value = environment.get(variable) or str(DEFAULT_LEVEL)
    if value not in ("0", "1", "2", "3"):
        raise ValueError(
            f"Incorrect log level, The value of {variable} must be 0 (DEBUG), 1 (INFO), 2 (WARNING) or 3 (ERROR), "
            f"but got {value}"
        )
    return int(value)


def _submodule_level(environment: Mapping[str, str]) -> int | None:
    found = re.search(r"\bSERVING\s*:\s*([0-3])\b", environment.get("MS_SUBMODULE_LOG_v", ""))
    return int(found[1]) if found else None


def _directory(environment: Mapping[str, str]) -> str | None:
    to_stderr = environment.get("GLOG_logtostderr") or "1"
    if to_stderr not in ("0", "1"):
        raise ValueError(
            f"Incorrect value, The value of GLOG_logtostderr must be 0 or 1, 0 for a file and 1 for stderr, "
            f"but got {to_stderr}"
        )
    if to_stderr == "1":
        return None
    directory = environment.get("GLOG_log_dir")
    if not directory:
        raise ValueError(
            "When GLOG_logtostderr is set to 0, The directory of saving log must be set, "
            "GLOG_log_dir cannot be empty."
        )
    if not Path(directory).is_dir():
        raise ValueError(f"The file path does not exist. GLOG_log_dir:{directory}")
    return str(Path(directory).resolve())


def _positive(environment: Mapping[str, str], variable: str, default: int) -> int:
    value = environment.get(variable) or str(default)
    if not re.fullmatch(r"[0-9]+", value) or int(value) == 0:
        raise ValueError(
            f"Incorrect value, The value of {variable} must be positive integer. {variable} is {value}"
        )
    return int(value)


class LineFormatter(logging.Formatter):
    """Writes a record as a line of the log."""

    def __init__(self) -> None:
        super().__init__(
            "[%(levelname)s] SERVING(%(process)d:%(thread)d,%(processName)s):%(asctime)s "
            "[%(source)s:%(lineno)d] %(message)s"
        )

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the traceback where the record carries an exception."""
        record.source = record.pathname.removeprefix(_PACKAGE_PARENT)
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Local time down to microseconds, for example `2024-02-29-13:05:00.123.456`."""
        moment = datetime.fromtimestamp(record.created)
        return f"{moment:%Y-%m-%d-%H:%M:%S}.{moment.microsecond // 1000:03}.{moment.microsecond % 1000:03}"


class StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is when a line is logged, not when the log was set up.

    A line is written at once where that does not block. Where it does, because nobody reads the pipe, a thread waits
    for the reader: the server goes on. What waits is bounded; the first line after that says how many were lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writer = LineWriter(
            _write_to_stderr, self._lost_line, most_bytes=_MOST_WAITING, name="serving log"
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; as in all handlers, a failure to do so harms no caller."""
        try:
            line = f"{self.format(record)}\n"
            stream = sys.stderr
            if type(stream) is TextIOWrapper:
                self._write(stream, line)
            else:  # somebody has put another object there, which may do anything with it
                stream.write(line)
                stream.flush()
        except Exception:
            self.handleError(record)

    def _write(self, stream: TextIOWrapper, line: str) -> None:
        data = line.encode(stream.encoding, "backslashreplace")
        if self._writer.is_idle:
            descriptor = stream.fileno()
            while data and wait_until_writable(descriptor, 0):
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(descriptor, data[:PIPE_BYTES]) :]
        if data:
            self._writer.put(data)

    def flush(self) -> None:
        """Wait a moment until what waits is written; called at the end of the process."""
        self._writer.flush(_FLUSH_S)

    def _lost_line(self, count: int) -> bytes:
        text = f"{count} lines of the log were lost: nobody has read stderr in time"
        record = logging.LogRecord(_LOGGER_NAME, logging.WARNING, __file__, 0, text, None, None)
        return f"{self.format(record)}\n".encode(errors="backslashreplace")


def _write_to_stderr(lines: bytes) -> None:
    write_to_pipe(sys.stderr.fileno(), lines)


class RotatingFile(logging.handlers.RotatingFileHandler):
    """A log file that other users cannot read, and whose older parts are read-only.

    It is opened again when it was moved away: tools that rotate logs need to tell nobody.
    """

    def _open(self) -> TextIOWrapper:
        descriptor = open_own_file(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, LOG)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; as in all handlers, a failure to do so harms no caller."""
        with contextlib.suppress(OSError):  # where it cannot be opened, it goes on where it is
            if self._was_moved():
                self.reopen()
        super().emit(record)

    def _was_moved(self) -> bool:
        if self.stream is None:
            return False
        try:
            return not os.path.samestat(Path(self.baseFilename).stat(), os.fstat(self.stream.fileno()))
        except FileNotFoundError:
            return True

    def reopen(self) -> None:
        """Write to the file that has the name now, made if there is none.

        Raises:
            OSError: It cannot be opened; what is written goes where it went before.
        """
        with self.lock or contextlib.nullcontext():
            opened = self._open()
            if self.stream is not None:
                self.stream.close()
            self.stream = opened

    def rotate(self, source: str, dest: str) -> None:
        """Move the full file `source` aside to `dest`, and protect it."""
        super().rotate(source, dest)
        Path(dest).chmod(stat.S_IRUSR)


class _Log:
    """The logger of this process, set up when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logger: logging.Logger | None = None
        self._settings: LogSettings | None = None

    def forget(self) -> None:
        """Set up anew at the next use; a forked process must not write to its parent's file."""
        self._lock = threading.Lock()
        self._logger = self._settings = None

    @property
    def settings(self) -> LogSettings:
        with self._lock:
            if self._settings is None:
                self._settings = LogSettings.from_environment(os.environ)
            return self._settings

    @property
    def logger(self) -> logging.Logger:
        return self._logger or self._set_up()

    def _set_up(self) -> logging.Logger:
        settings = self.settings
        with self._lock:
            if self._logger is None:
                logger = logging.getLogger(_LOGGER_NAME)
                logger.propagate = False
                logger.setLevel(LEVELS[settings.level])
                logger.handlers[:] = settings.handlers()
                self._logger = logger
            return self._logger


_log = _Log()
os.register_at_fork(after_in_child=_log.forget)


def debug(msg: str, *args: object, exc_info: bool | BaseException = False) -> None:
    """Log what only a developer of Serving wants to see.

    Args:
        msg: Text with %-placeholders.
        args: Values of the placeholders; formatted only if the line is written.
        exc_info: An exception whose traceback follows, or True for the one being handled.

    Raises:
        ValueError: First use, and an environment variable of the log has a value that it cannot have.
    """
    if _log.logger.isEnabledFor(logging.DEBUG):
        _log.logger.log(logging.DEBUG, msg, *args, exc_info=exc_info, stacklevel=2)


def info(msg: str, *args: object, exc_info: bool | BaseException = False) -> None:
    """Log an event of normal operation; arguments as for `debug`."""
    if _log.logger.isEnabledFor(logging.INFO):
        _log.logger.log(logging.INFO, msg, *args, exc_info=exc_info, stacklevel=2)


def warning(msg: str, *args: object, exc_info: bool | BaseException = False) -> None:
    """Log something that works but needs attention; arguments as for `debug`."""
    if _log.logger.isEnabledFor(logging.WARNING):
        _log.logger.log(logging.WARNING, msg, *args, exc_info=exc_info, stacklevel=2)


def error(msg: str, *args: object, exc_info: bool | BaseException = False) -> None:
    """Log a failure; arguments as for `debug`."""
    if _log.logger.isEnabledFor(logging.ERROR):
        _log.logger.log(logging.ERROR, msg, *args, exc_info=exc_info, stacklevel=2)


def reopen() -> None:
    """Open the file of the log again, if there is one: it may have been moved."""
    for handler in _log.logger.handlers:
        if isinstance(handler, RotatingFile):
            try:
                handler.reopen()
            except OSError as cause:
                error("The log goes on where it was, %s cannot be opened: %s", handler.baseFilename, cause)


def rotation() -> tuple[int, int]:
    """Bytes at which a log file is rotated, and how many older files are kept.

    Raises:
        ValueError: An environment variable of the log has a value that it cannot have.
    """
    return _log.settings.max_bytes, _log.settings.backup_count


def get_level() -> str:
    """Lowest level that is logged: "0" DEBUG, "1" INFO, "2" WARNING or "3" ERROR.

    Raises:
        ValueError: An environment variable of the log has a value that it cannot have.
    """
    return str(_log.settings.level)


def get_log_config() -> dict[str, str]:
    """The environment variables of the log that have an effect, with their effective values.

    Raises:
        ValueError: An environment variable of the log has a value that it cannot have.
    """
    return _log.settings.as_environment()
