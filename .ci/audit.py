"""Compares the installed packages with known vulnerabilities; part of `./build.sh check`.

A vulnerability that is not in audit-ignored.txt is a failure. That the vulnerabilities cannot be had is none, but a
line says so: a check must not depend on somebody else's server.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCE = "https://pypi.org/pypi/pip/24.0/json"
"""A page of the source that pip-audit asks, to find out quickly whether it can be reached. Mirrors often lack these."""
REACHED_WITHIN_S = 10
AUDITED_WITHIN_S = 180
IGNORED = Path(__file__).with_name("audit-ignored.txt")


def ignored_identifiers(text: str) -> dict[str, str]:
    """Identifier to reason.

    Raises:
        SystemExit: A line has no reason.
    """
    reasons = {}
    for line in text.splitlines():
        identifier, _, reason = line.strip().partition(" ")
        if not identifier or identifier.startswith("#"):
            continue
        if not reason.strip():
            raise SystemExit(f"{IGNORED.name}: {identifier} has no reason, expected 'IDENTIFIER reason'")
        reasons[identifier] = reason.strip()
    return reasons


def findings(report: Mapping[str, Any], ignored: Mapping[str, str]) -> list[str]:
    """A line for each vulnerability that is not ignored.

    Args:
        report: What pip-audit writes as JSON.
        ignored: Identifiers that are no findings.
    """
    lines = []
    for package in report["dependencies"]:
        for known in package.get("vulns", ()):
            if not {known["id"], *known.get("aliases", ())} & set(ignored):
                mended = ", ".join(known["fix_versions"]) or "no release yet"
                lines.append(f"{package['name']} {package['version']}: {known['id']}, mended in {mended}")
    return lines


def can_be_reached(url: str) -> bool:
    """Whether the source of vulnerabilities answers in time."""
    try:
        with urllib.request.urlopen(url, timeout=REACHED_WITHIN_S) as reply:
            return bool(reply.status == 200 and "vulnerabilities" in json.load(reply))
    except (OSError, ValueError):
        return False


def report_of_installed() -> Mapping[str, Any] | None:
    """What pip-audit says of this environment; None where it could not find out in time."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner=off"]
        try:
            subprocess.run(
                [*command, "--format=json", f"--output={output}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=AUDITED_WITHIN_S,
                check=False,  # 1 is for findings as well as for failures; only the former have a report
            )
            report: Mapping[str, Any] = json.loads(output.read_text())
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return report


def main() -> int:
    """Audit; returns the exit code."""
    ignored = ignored_identifiers(IGNORED.read_text(encoding="utf-8"))
    report = report_of_installed() if can_be_reached(SOURCE) else None
    if report is None:
        print(f"Not audited: the known vulnerabilities cannot be had from here, {SOURCE} gives none.")
        return 0
    found = findings(report, ignored)
    for line in found:
        print(line)
    skipped = [package["name"] for package in report["dependencies"] if "skip_reason" in package]
    audited = len(report["dependencies"]) - len(skipped)
    print(f"{audited} packages audited, {len(found)} known vulnerabilities that are not in {IGNORED.name}")
    if skipped:
        print(f"Not audited, because the source does not know them: {', '.join(skipped)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
