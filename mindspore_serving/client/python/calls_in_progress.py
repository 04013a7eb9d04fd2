"""The calls of this process's clients, and forks, which wait a moment for them.

gRPC cannot give a forked child what it needs while another thread is inside it: such a child crashes now and then, in
its first call. So calls that begin during a fork wait for its end, and the fork waits for those in progress, but not
long: a call may take minutes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Hashable

LONGEST_WAIT_S = 0.5
"""Of a fork for calls in progress."""
LONGEST_HOLD_S = 2.0
"""Of a call for a fork: this may itself wait for a lock that the thread of the call holds."""
_LOOK_AGAIN_S = 0.001

_calls: set[Hashable] = set()
_no_fork = threading.Event()
_no_fork.set()


def begin(call: Hashable) -> None:
    """A call begins; returns when no fork is under way.

    Args:
        call: The number of the thread that waits for it, or whatever stands for it until `end`.
    """
    _calls.add(call)
    if not _no_fork.is_set():
        _calls.discard(call)
        _no_fork.wait(LONGEST_HOLD_S)
        _calls.add(call)


end = _calls.discard
"""A call has ended; one that never began is fine."""


def _before_fork() -> None:
    _no_fork.clear()
    end_of_wait = time.monotonic() + LONGEST_WAIT_S
    # What a signal handler forks in the middle of a call is not waited for by this call's own thread.
    while _calls - {threading.get_ident()} and time.monotonic() < end_of_wait:
        time.sleep(_LOOK_AGAIN_S)


def _after_fork_in_child() -> None:
    global _no_fork  # a thread of the parent may have been in the middle of it
    _calls.clear()
    _no_fork = threading.Event()
    _no_fork.set()


os.register_at_fork(
    before=_before_fork, after_in_parent=lambda: _no_fork.set(), after_in_child=_after_fork_in_child
)
