"""What the main process has logged, sorted into what was to be expected and what was not."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from tests.soak.servables import POISON_TEXT

_HEAD = re.compile(r"^\[(DEBUG|INFO|WARNING|ERROR)\] SERVING\(.*?\):\S+ \[[^\]]*\] ")
_LATE = "A call in "
_SILENT = "Recv Pong Time Out from"
_END_OF_WORKER = "Worker of "
_NEVER_SEEN = "never retrieved"
_FAILED_REQUEST = re.compile(r"Request \S+ from \S+ (failed with status \d+)")
_OF_SERVER = ("Predict failed", "mindspore_serving/server/")
"""What tells that a request has failed in the server itself, and not in a function."""
_NUMBER = re.compile(r"\d+")


@dataclass
class Findings:
    """What stands in a log.

    Attributes:
        poisoned: Instances that were given up because they end workers.
        late: Workers that were ended because a call took too long.
        silent: Workers that were killed because they were silent.
        surprises: Errors that nothing in the test brings about, and tracebacks.
        kinds: How often each kind of line stands there; numbers are left out of it.
    """

    poisoned: int = 0
    late: int = 0
    silent: int = 0
    surprises: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


def findings_in(log: str) -> Findings:
    """Read a log; lines without a head belong to the record before them."""
    found = Findings()
    for record in _records(log):
        head = _HEAD.match(record)
        level = head[1] if head else ""
        text = record[head.end() :] if head else record
        failed = _FAILED_REQUEST.match(text)
        kind = failed[1] if failed else _NUMBER.sub("#", text.splitlines()[0])[:120]
        found.kinds[f"{level} {kind}".strip()] += 1
        if failed and not any(sign in text for sign in _OF_SERVER):
            continue
        if level == "ERROR" and POISON_TEXT in text:
            found.poisoned += 1
        elif level == "ERROR" and text.startswith(_LATE):
            found.late += 1
        elif level == "ERROR" and _SILENT in text:
            found.silent += 1
        elif level == "ERROR" or _NEVER_SEEN in text or _is_traceback(text):
            found.surprises.append(record[:2000])
    return found


def _is_traceback(text: str) -> bool:
    """Whether the main process itself has failed; where a worker has ended, the end of its log is shown."""
    return "Traceback" in text and not text.startswith(_END_OF_WORKER)


def _records(log: str) -> list[str]:
    records: list[str] = []
    for line in log.splitlines():
        if records and not _HEAD.match(line) and not line.startswith("Serving: "):
            records[-1] += f"\n{line}"
        elif line:
            records.append(line)
    return records
