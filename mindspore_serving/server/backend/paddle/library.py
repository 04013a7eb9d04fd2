"""Paddle in this process: its import leaves signals, environment and standard output as they were.

Paddle's import handles SIGTERM and the signals of crashes with code of its own, which ends the process or prints to
stderr, and sets OMP_NUM_THREADS for all that comes later; OpenCV, which it imports where that is installed, changes
LD_LIBRARY_PATH. While a model loads, it prints lines for its developers to
standard output.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.kept_signals import KeptSignals

_libc = ctypes.CDLL(None)
_libc.fflush.argtypes = (ctypes.c_void_p,)
LIBRARY = "Paddle Inference"
"""In error texts."""
_INSTALL = "pip install 'mindspore_serving[paddle]'"
_ENVIRONMENT = {"KMP_BLOCKTIME": "1"}
"""Threads that compute wait for the next operator, and by default go on for 200 ms after the last one: with the CPU
time that other processes need. Milliseconds."""
_UNSTOPPABLE = (signal.SIGKILL, signal.SIGSTOP)
_STDOUT = 1
_REASON = re.compile(r"(?:^|\n)\s*(?:\((\w+)\)|(\w+Error):)\s+(.+?)\s*(?=\n\s*\[|\(at /|$)", re.DOTALL)


def import_paddle() -> Any:
    """Import Paddle; returns the module `paddle`.

    Raises:
        StartUpError: It is not installed, or cannot be imported; names the command that installs it.
    """
    if "paddle" in sys.modules:
        return importlib.import_module("paddle")
    signals = KeptSignals(number for number in signal.valid_signals() if number not in _UNSTOPPABLE)
    try:
        with signals, _kept_environment(), printing_nothing(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            paddle = importlib.import_module("paddle")
            importlib.import_module("paddle.inference")
    except ImportError as cause:
        raise StartUpError(f"Paddle cannot be imported: {cause}; install it with: {_INSTALL}") from cause
    return paddle


def messages() -> Any:
    """The module of the messages that Paddle's files hold. Paddle is to be imported before."""
    return importlib.import_module("paddle.base.proto.framework_pb2")


@contextmanager
def printing_nothing() -> Iterator[None]:
    """A context in which standard output of the process leads nowhere, also for native code."""
    _flush()
    kept = os.dup(_STDOUT)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _flush() -> None:
    """Let Python and native code write to standard output what they have kept."""
    sys.stdout.flush()
    _libc.fflush(None)


def reason_of(error: BaseException) -> str:
    """What an error says, without the call stacks, hints and places in its own code that Paddle adds."""
    text = str(error)
    match = _REASON.search(text.rpartition("Error Message Summary:")[2])
    if match is None:
        return " ".join(text.split()) or repr(error)
    kind = (match[1] or match[2]).removesuffix("Error")
    return f"{kind}: {' '.join(match[3].split())}"


@contextmanager
def _kept_environment() -> Iterator[None]:
    """A context whose changes of the environment are taken back at its end, but for what this module sets."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    kept = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - kept.keys():
            del os.environ[name]
        os.environ.update(kept)
