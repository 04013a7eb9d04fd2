"""Ties the life of a process to that of the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with_owner(owner: int) -> None:
    """Let the kernel kill this process as soon as its owner is gone, whatever this process does then.

    A thread that looks for the owner would not do: MindSpore keeps the interpreter lock while it waits for other ranks.
    The kernel acts when the *thread* that started this process ends, so that thread has to live as long as its process.

    Args:
        owner: Process id of the parent.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:  # it was gone before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)
