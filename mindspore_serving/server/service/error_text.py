"""What clients read of an error.

The text of an error may come from anywhere: functions of users, the system, MindSpore. To whoever may ask it should say
what was wrong, and neither where files lie on this machine nor how the code is made. The log has all of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import orjson

from mindspore_serving.errors import LONGEST_TEXT, Failure, shortened

MOST_TOLD: Final = 2000
"""Characters of an error that a client reads."""
MOST_SEARCHED: Final = 1 << 16
"""Characters of the errors of one reply that are searched for paths; errors behind them are shown up to their first
suspicious character. Each takes up to two microseconds, and clients may have a say in texts."""

_SUSPICIOUS = re.compile(r"[/\\\n]")

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r"(\s+)File \"[^\"]*\", line \d+")
_NATIVE_FRAME = re.compile(r"\s*(?:(?:frame )?#\d+:?|@)\s.*0x[0-9a-f]{4}")
_RULE = re.compile(r"-{10,}\s*")
_HIDDEN_SECTION = re.compile(r"- .*(?:Call Stack|Traceback|For framework developers)")
_LINKS = frozenset(
    (
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    )
)

_ROOT = r"(?:~[\w.-]*/|/|[A-Za-z]:[\\/]|\\\\)"
_NAME = r"(?:\\ |[^\s\\/:'\"`<>()\[\]{}|,;])+"
_REST_TARGET = re.compile(r"/(?:version/\d+/)?model/[\w-]+(?:/version/\d+)?:[A-Za-z_]\w*")
_FOUND = re.compile(
    # What looks like a path and is none: URLs, and targets of REST.
    r"(?P<kept>(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^/\s][^\s'\"`<>,;]*"
    rf"|(?<![\w./\\]){_REST_TARGET.pattern})"
    # A path between quotes may have blanks.
    rf"|(?P<quote>['\"`])(?P<quoted>{_ROOT}[^'\"`\n]*)(?P=quote)"
    # A slash within or behind a word is a fraction, a media type, a relative path.
    rf"|(?<![A-Za-z0-9_.~/\\#-])(?P<bare>{_ROOT}(?:[\\/]*{_NAME})(?:[\\/]+{_NAME})*[\\/]*)"
)
_PARTS = re.compile(r"[\\/]+(?! )")


def text_for_client(failure: Failure) -> str:
    """The text of a failure as a client reads it; see `texts_for_client`."""
    return texts_for_client([failure])[0]


def encode_failure(failure: Failure) -> bytes:
    """The JSON in which the native dialect and all pages say that a request has failed as a whole."""
    return orjson.dumps({"error_msg": text_for_client(failure)})


def texts_for_client(failures: Sequence[Failure]) -> list[str]:
    """The texts of the failures of one reply as a client reads them.

    Absolute paths and those below a home are shown by their last part. Tracebacks of Python and call stacks of native
    code are left out. What the client did wrong is shown as it is: Serving itself has worded that, of what was sent.

    Args:
        failures: Why a request or instances have no result.

    Returns:
        For each, about `MOST_TOLD` characters at most, that can be encoded; never empty.
    """
    told: dict[tuple[str, bool], str] = {}
    searched = 0
    for failure in failures:
        key = failure.text, failure.status >= 500
        if key in told:
            continue
        text = failure.text[:LONGEST_TEXT].encode(errors="replace").decode()
        missing = len(failure.text) - len(text)
        if key[1] and _SUSPICIOUS.search(text):
            searched += len(text)
            text = (
                hidden(text) if searched <= MOST_SEARCHED else _SUSPICIOUS.split(text, maxsplit=1)[0] + "..."
            )
        told[key] = shortened(text, MOST_TOLD, missing) or "Predict failed"
    return [told[failure.text, failure.status >= 500] for failure in failures]


def hidden(text: str) -> str:
    """A text without paths, tracebacks and call stacks, that can be encoded."""
    text = text.encode(errors="replace").decode()
    if "\n" in text:
        text = _without_stacks(text)
    return _FOUND.sub(_last_part, text)


def _without_stacks(text: str) -> str:
    """The lines that belong to no traceback and no call stack."""
    kept: list[str] = []
    indent = -1  # that lines of the stack which is being left out go beyond
    section = False  # the lines belong to a section of MindSpore that is left out
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if _RULE.fullmatch(line):
            title = lines[at + 1] if at + 1 < len(lines) else ""
            if title.startswith("- "):
                section = _HIDDEN_SECTION.match(title) is not None
            if section:
                continue
        if section or line.strip() in _LINKS:
            continue
        if indent >= 0 and (not line.strip() or _indent_of(line) > indent):
            continue
        indent = -1
        before, found, _ = line.partition(_TRACEBACK)
        frame = _FRAME.match(line)
        if found:
            indent = _indent_of(line)
            if before.strip(" +|"):
                kept.append(before.rstrip())
        elif frame is not None:
            indent = len(frame[1])
        elif _NATIVE_FRAME.match(line) is None:
            kept.append(line)
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())


def _last_part(found: re.Match[str]) -> str:
    """What is shown instead of something that looks like a path."""
    if found["kept"]:
        return found[0]
    quote, path = found["quote"] or "", found["quoted"] or found["bare"]
    parts = [part for part in _PARTS.split(path) if part]
    if len(parts) < 2 or _REST_TARGET.fullmatch(path):  # a single part tells nothing, and may be no path
        return found[0]
    return f"{quote}{parts[-1]}{quote}"
