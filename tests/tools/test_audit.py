"""What the audit of packages makes of pip-audit's report, and of a source that cannot be reached."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

AUDIT = runpy.run_path(str(Path(__file__).resolve().parents[2] / ".ci" / "audit.py"))
REPORT: dict[str, Any] = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "own", "skip_reason": "not found"},
        {
            "name": "bad",
            "version": "2.0",
            "vulns": [
                {"id": "PYSEC-1", "aliases": ["CVE-1", "GHSA-a"], "fix_versions": ["2.1", "3.0"]},
                {"id": "GHSA-b", "aliases": [], "fix_versions": []},
            ],
        },
    ]
}
FIRST = "bad 2.0: PYSEC-1, mended in 2.1, 3.0"
SECOND = "bad 2.0: GHSA-b, mended in no release yet"


@pytest.mark.parametrize(
    ("ignored", "found"),
    [
        ("", [FIRST, SECOND]),
        ("# a comment\n\nGHSA-b we do not call it\n", [FIRST]),
        ("CVE-1 only on Windows", [SECOND]),
        ("PYSEC-1 x\nGHSA-b y", []),
    ],
)
def test_findings_are_those_that_are_not_ignored(ignored: str, found: list[str]) -> None:
    assert AUDIT["findings"](REPORT, AUDIT["ignored_identifiers"](ignored)) == found


def test_nothing_is_ignored_without_a_reason() -> None:
    with pytest.raises(SystemExit, match="CVE-1 has no reason"):
        AUDIT["ignored_identifiers"]("CVE-1 \n")


def test_the_list_that_is_kept_can_be_read() -> None:
    assert isinstance(AUDIT["ignored_identifiers"](AUDIT["IGNORED"].read_text()), dict)


def test_a_source_that_is_not_there_is_told_from_one_that_is() -> None:
    assert not AUDIT["can_be_reached"]("http://127.0.0.1:1/")
