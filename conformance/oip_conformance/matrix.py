"""Joins the results of several servers into one Markdown page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oip_conformance.check import Check, Outcome, Tier
from oip_conformance.report import FORMAT

_LONGEST_CELL = 300
_WORDS = {
    Outcome.PASS: "pass",
    Outcome.REMARK: "*remark*",
    Outcome.FAIL: "**fail**",
    Outcome.NOT_OFFERED: "not offered",
    Outcome.SKIPPED: "skipped",
}
_HEAD = """# Open Inference Protocol: servers side by side

A row for each check of `oip-conformance`, a column for each server. **fail**: the server does something else than the
document says. *remark*: it keeps the rule to the letter only; most often a malformed request is refused with a status
that says the server itself has failed. not offered: an extension that the server has not. skipped: the server lacks
what the check needs. What was expected and what came stands below the tables; requests and replies stand in the JSON
files that this page is made from, with `python -m oip_conformance --matrix`."""


@dataclass(frozen=True)
class Run:
    """A saved run: the server's name, and results by id of the check."""

    name: str
    results: Mapping[str, Mapping[str, Any]]

    def outcome(self, check: Check) -> Outcome | None:
        """Return what a check found; None when it did not run."""
        found = self.results.get(check.id)
        return None if found is None else Outcome(found["outcome"])


def read_run(path: Path) -> Run:
    """Read a file of ``--json``.

    Raises:
        ValueError: It is not such a file.
    """
    try:
        found = json.loads(path.read_text())
        server = found["server"]
        results = {result["id"]: result for result in found["results"]}
        for result in results.values():
            Outcome(result["outcome"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file that --json has written: {error}") from error
    if found.get("format") != FORMAT:
        raise ValueError(f"{path} has format {found.get('format')}, expected {FORMAT}: run the checks again")
    return Run(f"{server.get('name', path.stem)} {server.get('version', '')}".strip(), results)


def matrix_of(runs: Sequence[Run], checks: Iterable[Check]) -> str:
    """Return the page: a row for each check that a run has, a column for each run, and the deviations below."""
    known = [check for check in checks if any(check.id in run.results for run in runs)]
    parts = [_HEAD, _totals(runs, known)]
    parts += [_area(area, known, runs) for area in dict.fromkeys(check.area for check in known)]
    for run in runs:
        parts.append(_found(f"Deviations of {run.name}", run, known, Outcome.FAIL))
        parts.append(_found(f"Remarks on {run.name}", run, known, Outcome.REMARK))
    return "\n\n".join(parts) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def _totals(runs: Sequence[Run], checks: Sequence[Check]) -> str:
    rows = []
    for tier in Tier:
        mine = [check for check in checks if check.tier is tier]
        rows.append([f"{tier.value} ({len(mine)})", *(_counts(run, mine) for run in runs)])
    return "## Totals\n\n" + _table(["Tier", *(run.name for run in runs)], rows)


def _counts(run: Run, checks: Sequence[Check]) -> str:
    found = [run.outcome(check) for check in checks]
    return ", ".join(f"{found.count(each)} {each.value}" for each in Outcome if each in found)


def _area(area: str, checks: Sequence[Check], runs: Sequence[Run]) -> str:
    rows = []
    for check in checks:
        if check.area == area:
            words = [_WORDS[each] if (each := run.outcome(check)) else "" for run in runs]
            rows.append([_escaped(check.title), check.tier.value, *words])
    return f"## {area}\n\n" + _table(["Check", "Tier", *(run.name for run in runs)], rows)


def _found(heading: str, run: Run, checks: Sequence[Check], wanted: Outcome) -> str:
    rows = []
    for check in checks:
        if run.outcome(check) is wanted:
            result = run.results[check.id]
            got = f"expected {result.get('expected', '')}; got {_shortened(result.get('got', ''))}"
            title = f"{_escaped(check.title)} (`{check.id}`)"
            rows.append([title, _escaped(got), _escaped(f"{check.says} {check.source}")])
    table = _table(["Check", "What came", "Rule, and where it stands"], rows) if rows else "None."
    return f"## {heading}\n\n{table}"


def _escaped(text: str) -> str:
    """Return text of a request or reply as Markdown that shows it."""
    return "".join(f"&#{ord(each)};" if each in "\\`*_{}[]<>#|" else each for each in text)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}..."
