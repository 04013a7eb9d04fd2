"""Whether the start script has failed, while threads of the server still keep its process alive.

Python tells nobody that an exception or `sys.exit` has left a script: it waits for the threads first. But the outermost
frame of the main thread remembers the last instruction that it has executed. That is a return where the script has
come to its end, and only there.
"""

from __future__ import annotations

import sys
import threading
from opcode import opmap
from types import FrameType

_RETURNS = {opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in opmap}


class StartScript:
    """What the main thread runs at the moment at which this is made."""

    def __init__(self) -> None:
        self._frame = next(reversed(_frames_of_main_thread()), None)

    def has_failed(self) -> bool:
        """Whether it has ended by an exception or `sys.exit`; never so in an interactive session, or while it runs."""
        frame = self._frame
        if frame is None or frame in _frames_of_main_thread():
            return False
        if sys.flags.inspect or hasattr(sys, "ps1"):
            return False
        return frame.f_code.co_code[frame.f_lasti] not in _RETURNS


def _frames_of_main_thread() -> list[FrameType]:
    """The innermost first; none if the thread has ended."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames
