"""Rows, their ratios and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.open_table import generator_limits
from benchmarks.processes import Memory
from benchmarks.report import markdown, markdown_table, write_report
from benchmarks.rows import line_of, rounded, row_of, spread_of
from benchmarks.turns import Turn


def turn(requests: int, cpu_us: float, p50_ms: float = 1.0, wrong: int = 0) -> Turn:
    return Turn("own", requests, 2.0, p50_ms, 2 * p50_ms, cpu_us, wrong, checked=3)


def a_row(clients: int = 8) -> dict[str, object]:
    pairs = [
        (turn(200, 10.0), turn(100, 15.0, 1.5)),
        (turn(400, 20.0), turn(100, 20.0, 1.1, wrong=2)),
        (turn(100, 10.0, wrong=1), turn(100, 14.0, 1.2)),
    ]
    row = row_of("gRPC identity, 1 instance", clients, 32, pairs, Memory(70.4, 400.2))
    return row | {"interface": "grpc", "floor_name": "echo"}


def test_ratios_are_taken_between_neighbours() -> None:
    row = a_row()
    assert row["cpu_ratio"] == {"median": 1.4, "min": 1.0, "max": 1.5}
    assert row["rate_ratio"] == {"median": 0.5, "min": 0.25, "max": 1.0}
    assert row["p50_over_floor_ms"] == {"median": 0.2, "min": 0.1, "max": 0.5}


def test_a_row_has_medians_and_sums() -> None:
    row = a_row()
    assert (row["requests_per_s"], row["instances_per_s"], row["cpu_us"]) == (50.0, 1600.0, 15.0)
    assert (row["checked"], row["wrong"]) == (18, 3)
    assert row["memory_mb"] == {"main": 70, "workers": 400, "tree": 471}
    assert "3 WRONG" in line_of(row)


def test_figures_are_rounded_to_what_they_can_tell() -> None:
    assert (rounded(123456.0), rounded(0.00123456)) == (123500.0, 0.001235)
    assert spread_of(iter([3.0, 1.0, 2.0])) == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_a_table_has_a_column_for_each_figure_of_any_row() -> None:
    rows = [
        {"row": "one", "rate_per_s": 12345.6, "floor": {"p50_ms": 0.51234}, "turns": [1, 2]},
        {"row": "a|b", "ratio": {"median": 1.5, "min": 1.0, "max": 2.0}, "sizes": [1, 2], "none": None},
    ]
    assert markdown_table(rows) == [
        "| row | rate/s | floor p50 ms | ratio | sizes | none |",
        "| --- | --- | --- | --- | --- | --- |",
        "| one | 12346 | 0.5123 |  |  |  |",
        "| a\\|b |  |  | 1.5 (1 to 2) | 1, 2 |  |",
    ]


def test_the_text_tells_what_was_measured_with() -> None:
    text = markdown({"machine": {"cores": 2, "packages": {"numpy": "1.26"}}}, {"Requests": [{"row": "one"}]})
    assert "**machine**: cores 2; packages numpy 1.26" in text
    assert "## Requests\n\n| row |" in text


def test_all_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tables = {"Requests": [a_row(1), a_row(8)], "Nothing": []}
    files = write_report(tmp_path / "new", {"machine": {"cores": 2}}, tables)
    names = ["results.json", "results.md", "throughput_grpc.png", "latency_grpc.png", "cpu_ratio.png"]
    assert [file.name for file in files] == names
    assert all(file.stat().st_size for file in files)
    results = json.loads(files[0].read_text())
    assert list(results["tables"]) == ["Requests"]
    assert len(results["tables"]["Requests"][0]["turns"]) == 3


@pytest.mark.parametrize(
    ("late_p50_ms", "late_p99_ms", "limits"), [(0.1, 1.0, False), (0.6, 1.0, True), (0.1, 6.0, True)]
)
def test_a_late_generator_is_told(late_p50_ms: float, late_p99_ms: float, limits: bool) -> None:
    figures = {"p50_ms": 1.0, "p99_ms": 10.0, "late_p50_ms": late_p50_ms, "late_p99_ms": late_p99_ms}
    assert generator_limits(figures) is limits
