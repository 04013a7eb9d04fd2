"""What is printed: the list of one run, its JSON, and the Markdown matrix of several runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oip_conformance.check import Check, Outcome, Result, Tier

FORMAT = 1
_SIGNS = {
    Outcome.PASS: "pass",
    Outcome.REMARK: "remark",
    Outcome.FAIL: "FAIL",
    Outcome.NOT_OFFERED: "not offered",
    Outcome.SKIPPED: "skipped",
}
_LONGEST_CELL = 300


# --- Text -------------------------------------------------------------------------------------------------------------


def line_of(result: Result) -> str:
    """Return one line for a result, and more for a failure."""
    check = result.check
    head = f"  {_SIGNS[result.outcome]:<12} {check.id:<36} {check.title}"
    if result.outcome is Outcome.REMARK:
        return f"{head} (got {result.got})"
    if result.outcome is Outcome.FAIL:
        return "\n".join(
            [
                head,
                f"               tier     {check.tier.value}",
                f"               expected {result.expected}",
                f"               got      {result.got}",
                f"               rule     {check.says}",
                f"               in       {check.source}",
            ]
        )
    return f"{head} ({result.reason})" if result.reason else head


def counts_of(results: Iterable[Result]) -> dict[Tier, dict[Outcome, int]]:
    """Return how many checks of each tier had each outcome."""
    counts = {tier: dict.fromkeys(Outcome, 0) for tier in Tier}
    for result in results:
        counts[result.check.tier][result.outcome] += 1
    return counts


def summary_of(results: Sequence[Result]) -> str:
    """Return the table of tiers and outcomes."""
    lines = [f"{'':<22}" + "".join(f"{outcome.value:>13}" for outcome in Outcome)]
    for tier, row in counts_of(results).items():
        lines.append(f"{tier.value:<22}" + "".join(f"{row[outcome]:>13}" for outcome in Outcome))
    return "\n".join(lines)


# --- JSON -------------------------------------------------------------------------------------------------------------


def as_json(server: Mapping[str, Any], results: Iterable[Result]) -> dict[str, Any]:
    """Return a run as JSON values."""
    return {
        "format": FORMAT,
        "server": dict(server),
        "results": [_result_as_json(result) for result in results],
    }


def check_as_json(check: Check) -> dict[str, str]:
    """Return what a check is."""
    return {
        "id": check.id,
        "area": check.area,
        "tier": check.tier.value,
        "title": check.title,
        "says": check.says,
        "source": str(check.source),
    }


def _result_as_json(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = {**check_as_json(result.check), "outcome": result.outcome.value}
    for key in ("expected", "got", "reason"):
        if getattr(result, key):
            told[key] = getattr(result, key)
    if result.evidence:
        told["evidence"] = list(result.evidence)
    return told


# --- Markdown ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A saved run: the server's name, and results by id of the check."""

    name: str
    results: Mapping[str, Mapping[str, Any]]


def read_run(path: Path) -> Run:
    """Read a file of ``--json``.

    Raises:
        ValueError: It is not such a file.
    """
    try:
        found = json.loads(path.read_text())
        server = found["server"]
        results = {result["id"]: result for result in found["results"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file that --json has written: {error}") from error
    if found.get("format") != FORMAT:
        raise ValueError(f"{path} has format {found.get('format')}, expected {FORMAT}: run the checks again")
    return Run(f"{server.get('name', path.stem)} {server.get('version', '')}".strip(), results)


def matrix_of(runs: Sequence[Run]) -> str:
    """Return the Markdown page: a row for each check, a column for each server, and the deviations below."""
    described: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for check_id, result in run.results.items():
            described.setdefault(check_id, result)
    parts = [_totals(runs)]
    for area in dict.fromkeys(result["area"] for result in described.values()):
        parts.append(_area_table(area, [each for each in described.values() if each["area"] == area], runs))
    parts += [_deviations(run) for run in runs]
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def _totals(runs: Sequence[Run]) -> str:
    rows = []
    for tier in Tier:
        row = [tier.value]
        for run in runs:
            mine = [result["outcome"] for result in run.results.values() if result["tier"] == tier.value]
            row.append(
                ", ".join(f"{mine.count(each.value)} {each.value}" for each in Outcome if each.value in mine)
            )
        rows.append(row)
    return "## Totals\n\n" + _table(["Tier", *(run.name for run in runs)], rows)


def _area_table(area: str, checks: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> str:
    rows = [
        [check["title"], check["tier"], *(_cell(run.results.get(check["id"])) for run in runs)]
        for check in checks
    ]
    return f"## {_escaped(area)}\n\n" + _table(
        ["Check", "Tier", *(run.name for run in runs)], [[_escaped(row[0]), *row[1:]] for row in rows]
    )


def _cell(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return ""
    outcome = str(result["outcome"])
    return "**fail**" if outcome == Outcome.FAIL.value else outcome


def _escaped(text: str) -> str:
    """Return text of a request or reply as Markdown that shows it."""
    for character in "\\`*_{}[]<>#":
        text = text.replace(character, f"&#{ord(character)};" if character in "<>`" else f"\\{character}")
    return text


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}..."


def _deviations(run: Run) -> str:
    failed = [result for result in run.results.values() if result["outcome"] == Outcome.FAIL.value]
    if not failed:
        return f"## Deviations of {run.name}\n\nNone."
    rows = [
        [
            result["id"],
            result["tier"],
            _escaped(_shortened(result["expected"])),
            _escaped(_shortened(result["got"])),
            f"{_escaped(result['says'])} ({_escaped(result['source'])})",
        ]
        for result in failed
    ]
    return f"## Deviations of {run.name}\n\n" + _table(["Check", "Tier", "Expected", "Got", "Rule"], rows)
