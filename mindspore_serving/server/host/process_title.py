"""What tools that list processes show of a process of Serving."""

from __future__ import annotations

import sys

import setproctitle


def show_as(script: str) -> None:
    """Show this process as a script with the arguments that the process has; bytes that are no text are escaped.

    Args:
        script: Name of the script.
    """
    title = " ".join([script, *sys.argv[1:]])
    setproctitle.setproctitle(title.encode(errors="backslashreplace").decode())
