"""Why Lite failed, out of what it says: a status of a few words, and lines of its log."""

from __future__ import annotations

import re

_LINE = re.compile(r"^\[(?P<level>WARNING|ERROR)\] \w+\([^)]*\):\S+ \[[^\]]*\] (?:[^\]]*\] )?(?P<text>.*)")
_CALL_STACK = re.compile(r"\n-{10,}\n- C\+\+ Call Stack.*?\n-{10,}\n.*?(?=\n\n|\Z)", re.DOTALL)
_TELLING_WARNING = re.compile(r"fail|error|cannot|unsupported", re.IGNORECASE)
_SAYS_NOTHING = (
    "Common error code.",
    "Runtime error for null exception handler.",
    "Open libnuma.so failed!try libnuma.so.1 again.",  # of every machine without libnuma, whatever fails later
)
_MOST_LINES = 6

NEWER_MINDIR = "can only support the maximum mind ir version"
"""What Lite says of a MindIR file that a newer MindSpore has written."""


def reason_of(text: str) -> str:
    """The reason as one line, the innermost first.

    Args:
        text: The status, and below it lines of the log, oldest first.
    """
    status, _, log = _CALL_STACK.sub("", text).strip().partition("\n")
    lines = [] if status in _SAYS_NOTHING else [status.strip()]
    for line in log.splitlines():
        found = _LINE.match(line)
        if found is None or (found["level"] == "WARNING" and not _TELLING_WARNING.search(found["text"])):
            continue
        told = found["text"].strip().removeprefix("Catch exception: ")
        if told and told not in lines and told not in _SAYS_NOTHING:
            lines.append(told)
    return "; ".join(lines[:_MOST_LINES]) or status or "no reason given"
