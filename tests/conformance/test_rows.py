"""Every row of the contract has a case."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.departures import DEPARTURES, as_markdown
from tests.conformance.open_findings import OPEN_FINDINGS
from tests.conformance.row import case_of
from tests.conformance.rows import ROWS, STAND_INS
from tests.support.serving import REPOSITORY

ALL_ROWS = [f"{section}-{name}" for section, names in ROWS.items() for name in names.split()]


@pytest.fixture(scope="module")
def cases() -> list[str]:
    """Ids of all cases of this folder."""
    folder = str(Path(__file__).parent.relative_to(REPOSITORY))
    found = subprocess.run(
        [sys.executable, "-m", "pytest", folder, "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    return [case_of(line) for line in found.stdout.splitlines() if line.endswith("]")]


def stands_for_row(case: str, row: str) -> bool:
    """Whether the id of a case names a row; it may hold values of other parameters, and numbers, as well."""
    return re.search(rf"(^|[-+]){re.escape(row)}($|[-+\d_])", case) is not None


def test_every_row_has_a_case(cases: list[str]) -> None:
    known = " ".join(cases)
    without = []
    for row in ALL_ROWS:
        stand_in = STAND_INS.get(row, row)
        if stand_in.startswith("tests/"):
            path, _, test = stand_in.partition("::")
            if f"def {test}" not in (REPOSITORY / path).read_text():
                without.append(f"{row}: {stand_in}")
        elif stand_in not in known or not any(stands_for_row(case, stand_in) for case in cases):
            without.append(row)
    assert without == []


def test_rows_are_named_once() -> None:
    assert len(set(ALL_ROWS)) == len(ALL_ROWS)
    assert set(STAND_INS) <= set(ALL_ROWS)


def test_every_departure_is_a_row_or_an_observed_reply(cases: list[str]) -> None:
    rows = [departure.row for departure in DEPARTURES]
    assert len(set(rows)) == len(rows)
    unknown = [row for row in rows if row not in ALL_ROWS and not any(stands_for_row(c, row) for c in cases)]
    assert unknown == []


def test_open_findings_are_cases(cases: list[str]) -> None:
    assert set(OPEN_FINDINGS) <= set(cases)


def test_departures_can_be_printed() -> None:
    lines = as_markdown().splitlines()
    assert len(lines) == 2 + len(DEPARTURES)
    assert all(line.count("|") - line.count(r"\|") == 5 for line in lines)
