"""The orderly end of a worker or an agent: what Python does when a program ends, but within a limited time.

Python itself would also destroy every object of the process, and let native libraries clean up. That may hang, where
ranks of a model are gone for example, or crash, where a daemon thread is still in native code. So this module does what
users rely on, in Python's order, and leaves the rest to the system, which takes everything back:

1. threads that are no daemons come to their end, and with them thread pools;
2. functions of `atexit` run: those of users, of `weakref.finalize` and `logging`, of `multiprocessing`, of MindSpore;
3. modules of the servable are emptied, so that what they hold closes itself: files, archives, temporary files;
4. what is left in buffers of files that are still open is written.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from mindspore_serving import log
from mindspore_serving.server.host.forked_child import SIGNALS
from mindspore_serving.server.host.process_tree import kill_children

END_WITHIN_S = 4.0
"""How long the end may take: less than the 5 s after which the main process kills a worker that it has told to stop."""


def end_process(
    code: int,
    *,
    deadline: float,
    folder: Path | None = None,
    is_orphan: Callable[[], bool] = lambda: False,
) -> NoReturn:
    """End this process in order, with what its user code has started; for the main thread.

    Args:
        code: The exit code.
        deadline: When the process ends all the same, in seconds of `time.monotonic`.
        folder: Of the servable, whose modules are emptied; None for no servable.
        is_orphan: Whether the process that would end what this one leaves is gone.
    """
    disregard_signals()
    threading.Thread(target=end_at, args=(deadline, code), name="end within", daemon=True).start()
    with contextlib.suppress(BaseException):  # whatever a thread or a signal raises here, the process ends
        threading._shutdown()  # type: ignore[attr-defined]  # as Python does at the end of its main thread
    atexit._run_exitfuncs()
    if folder is not None:
        _empty_modules(folder)
    _write_buffers()
    leave(code, with_group=is_orphan())


def leave(code: int, *, with_group: bool = False) -> NoReturn:
    """End this process at once, and what its user code has started.

    Args:
        code: The exit code.
        with_group: Also end the process group of this process, which it leads: what was started by children that are
            gone is in it. This process ends by SIGKILL then.
    """
    kill_children(os.getpid())
    if with_group:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(code)


def disregard_signals() -> None:
    """Let signals that end this process do so no more, because it ends already; for the main thread."""
    for number in SIGNALS:
        signal.signal(number, _already_ends)  # unlike SIG_IGN not inherited by other programs


def _already_ends(*_: object) -> None:
    """Take a signal that asks for what is under way."""


def end_at(deadline: float, code: int, *, with_group: bool = False) -> NoReturn:
    """End the process when its time is over, and say what was not done; for a thread of its own.

    Args:
        deadline: As of `end_process`.
        code: The exit code.
        with_group: As of `leave`.
    """
    time.sleep(max(0.0, deadline - time.monotonic()))
    log.warning(
        "The process ends before its functions of atexit and its threads have come to their end, which took too long. "
        "Where they were:"
    )
    with contextlib.suppress(Exception):  # standard error may be no file any more
        faulthandler.dump_traceback()
    leave(code, with_group=with_group)


def _empty_modules(folder: Path) -> None:
    """Let go of what the servable's modules hold, the latest first: what comes later may need what came before."""
    own = [module for name, module in sys.modules.items() if name.split(".")[0] == folder.name]
    for module in own:
        if folder in Path(getattr(module, "__file__", None) or "").parents:  # others may be installed ones
            content = vars(module)
            while content:
                content.popitem()


def _write_buffers() -> None:
    """Write what files hold back, those first that write to others of them."""
    gc.unfreeze()
    files = [each for each in gc.get_objects() if _may_hold_data(each)]
    for kind in (_TEXT, _OF_PYTHON, _BUFFERED):
        for file in files:
            with contextlib.suppress(Exception):  # closed, a class of the user's, or on a disk that is full
                if _kind_of(file) == kind:
                    # Compressed files have an end, which they write when they are closed.
                    file.close() if kind == _OF_PYTHON else file.flush()


_TEXT, _OF_PYTHON, _BUFFERED = range(3)
_BUFFERS = (io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair)


def _may_hold_data(each: object) -> bool:
    """Whether something is a file with a buffer. Its type alone is looked at: proxies act when they are asked."""
    kind = type(each)
    return issubclass(kind, (io.TextIOWrapper, io.BufferedIOBase)) and kind not in (
        io.BytesIO,
        io.BufferedReader,
    )


def _kind_of(file: Any) -> int:
    if isinstance(file, io.TextIOWrapper):
        return _TEXT
    return _BUFFERED if isinstance(file, _BUFFERS) else _OF_PYTHON
