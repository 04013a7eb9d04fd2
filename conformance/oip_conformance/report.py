"""What one run prints, and its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oip_conformance.check import Outcome, Result, Tier

FORMAT = 1
_SIGNS = {
    Outcome.PASS: "pass",
    Outcome.REMARK: "remark",
    Outcome.FAIL: "FAIL",
    Outcome.NOT_OFFERED: "not offered",
    Outcome.SKIPPED: "skipped",
}


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
    """Return a run as JSON values; what a check is stands in the program, by its id."""
    return {
        "format": FORMAT,
        "server": dict(server),
        "results": [_result_as_json(result) for result in results],
    }


def _result_as_json(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = {"id": result.check.id, "outcome": result.outcome.value}
    for key in ("expected", "got", "reason"):
        if getattr(result, key):
            told[key] = getattr(result, key)
    if result.evidence:
        told["evidence"] = list(result.evidence)
    return told
