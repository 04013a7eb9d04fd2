"""Lines for who has started the script: on standard output, beside the log."""

from __future__ import annotations

import contextlib
import sys


def say(line: str) -> None:
    """Print a line. What the encoding of standard output lacks is escaped, since a path need not be text.

    That nothing can be printed is no reason to fail: the disk is full, nobody reads, or standard output is closed.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError):
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
