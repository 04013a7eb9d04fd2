"""Rows, their ratios and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.columns import Column, rounds_of
from benchmarks.dialect_table import NATIVE, dialect_rows
from benchmarks.goals import GOALS, judged
from benchmarks.open_table import generator_limits
from benchmarks.processes import Memory
from benchmarks.report import markdown, markdown_table, write_report
from benchmarks.rows import Record, lines_of, records_of, rounded, spread_of
from benchmarks.turns import Turn
from benchmarks.workloads import workloads


def turn(requests: int, cpu_us: float, p50_ms: float = 1.0, wrong: int = 0) -> Turn:
    return Turn("own", requests, 2.0, p50_ms, 2 * p50_ms, cpu_us, wrong, checked=3)


def a_row(clients: int = 8) -> list[Record]:
    rounds = [
        {"echo": turn(200, 10.0), "core": turn(100, 15.0, 1.5), "before": turn(100, 30.0)},
        {"echo": turn(400, 20.0), "core": turn(100, 20.0, 1.1, wrong=2), "before": turn(100, 20.0)},
        {"echo": turn(100, 10.0, wrong=1), "core": turn(100, 14.0, 1.2), "before": turn(100, 28.0)},
    ]
    columns = [Column(name, lambda _: turn(1, 1.0), instances=32) for name in rounds[0]]
    memory = {"core": Memory(70.4, 400.2)}
    records = records_of("gRPC identity, 1 instance", clients, columns, rounds, memory)
    return [record | {"interface": "grpc"} for record in records]


def test_ratios_are_taken_within_a_round() -> None:
    _, core, before = a_row()
    assert core["cpu_over_floor"] == {"median": 1.4, "min": 1.0, "max": 1.5}
    assert core["rate_over_floor"] == {"median": 0.5, "min": 0.25, "max": 1.0}
    assert core["p50_over_floor"] == {"median": 1.2, "min": 1.1, "max": 1.5}
    assert core["cpu_over_before"] == {"median": 0.5, "min": 0.5, "max": 1.0}
    assert before["cpu_over_floor"] == {"median": 2.8, "min": 1.0, "max": 3.0}


def test_nothing_is_compared_with_itself() -> None:
    floor, _, before = a_row()
    assert not [name for name in floor if "_over_" in name]
    assert not [name for name in before if name.endswith("_over_before")]


def test_a_row_has_a_record_for_each_server() -> None:
    floor, core, _ = a_row()
    assert (core["requests_per_s"], core["instances_per_s"], core["cpu_us"]) == (50.0, 1600.0, 15.0)
    assert (core["checked"], core["wrong"], floor["wrong"]) == (9, 2, 1)
    assert core["memory_mb"] == {"main": 70, "workers": 400, "tree": 471}
    assert floor["memory_mb"] is None
    lines = lines_of([floor, core]).splitlines()
    assert lines[0] == "gRPC identity, 1 instance, 8 clients"
    assert lines[1].endswith("1 WRONG")
    assert "1.40 x (1.00-1.50) of the floor" in lines[2] and lines[2].endswith("2 WRONG")


def test_the_first_column_may_be_another_base() -> None:
    rounds = [
        {NATIVE: turn(100, 20.0), "OIP": turn(100, 22.0)},
        {NATIVE: turn(100, 10.0), "OIP": turn(50, 12.0)},
    ]
    columns = [Column(name, lambda _: turn(1, 1.0)) for name in rounds[0]]
    native, other = records_of("gRPC identity, 1 row", 8, columns, rounds, {}, NATIVE)
    assert other["cpu_over_native"] == {"median": 1.15, "min": 1.1, "max": 1.2}
    assert other["goals"] == ["cpu over native at most 1.15: met"]
    assert not [name for name in native if "_over_" in name]
    line = lines_of([native, other], NATIVE).splitlines()[2]
    assert "= 1.15 x (1.10-1.20) of the native, rate 0.75 x" in line and line.endswith("1.15: met]")


def test_every_server_begins_a_round_once() -> None:
    order: list[str] = []
    turns = {name: lambda number, name=name: order.append(f"{name}{number}") or number for name in "abc"}
    rounds = rounds_of(turns, 3)
    assert order == ["a0", "b0", "c0", "b1", "c1", "a1", "c2", "a2", "b2"]
    assert rounds == [dict.fromkeys("abc", number) for number in range(3)]
    assert [list(seen) for seen in rounds] == [["a", "b", "c"]] * 3


@pytest.mark.parametrize(
    ("row", "clients", "ratio", "median", "verdicts"),
    [
        ("gRPC identity, 1 instance", 1, "cpu_over_floor", 1.6, ["cpu over floor at most 1.6: met"]),
        ("gRPC identity, 1 instance", 128, "cpu_over_floor", 0.61, ["cpu over floor at most 0.6: MISSED"]),
        (
            "gRPC three Python stages, 1 instance",
            8,
            "cpu_over_floor",
            1.15,
            ["cpu over floor at most 1.15: met"],
        ),
        ("gRPC add, 1 instance", 32, "cpu_over_floor", 1.1, ["cpu over floor at most 1: MISSED"]),
        ("gRPC add without batch dimension, 1 instance", 32, "cpu_over_floor", 1.1, []),
        ("gRPC image float32, 8 instances", 32, "cpu_over_floor", 1.3, ["cpu over floor at most 1.3: met"]),
        ("gRPC identity, 1 instance", 64, "cpu_over_before", 0.5, ["cpu over before at most 0.4: MISSED"]),
        ("gRPC identity, 1 instance", 8, "p50_over_floor", 9.0, []),
        ("REST identity, 1 instance", 32, "cpu_over_before", 1.0, ["cpu over before at most 1.05: met"]),
    ],
)
def test_goals_are_judged(row: str, clients: int, ratio: str, median: float, verdicts: list[str]) -> None:
    record = {
        "row": row,
        "clients": clients,
        "server": "core",
        ratio: {"median": median, "min": 0.1, "max": 9.9},
    }
    assert judged(record) == verdicts
    assert judged(record | {"server": "aio"}) == []


def test_a_goal_of_the_open_loop() -> None:
    record = {"server": "core", "p99_over_floor": {"median": 1.3, "min": 1.0, "max": 2.0}}
    name = "gRPC identity, 1 instance, open loop at {} of the rate"
    assert judged(record | {"row": name.format(0.5)}) == ["p99 over floor at most 1.2: MISSED"]
    assert judged(record | {"row": name.format(0.8)}) == []


@pytest.mark.parametrize(
    ("row", "server", "ratio", "median", "verdicts"),
    [
        (
            "gRPC image float32, 1 row",
            "OIP",
            "cpu_over_native",
            1.16,
            ["cpu over native at most 1.15: MISSED"],
        ),
        (
            "REST identity, 32 rows",
            "OIP binary",
            "cpu_over_native",
            0.9,
            ["cpu over native at most 1.15: met"],
        ),
        ("REST identity, 32 rows", "OIP JSON", "cpu_over_native", 9.0, []),
        ("gRPC OIP add", "MLServer", "cpu_of_ours", 0.51, ["cpu of ours at most 0.5: MISSED"]),
        ("REST OIP add", "MLServer", "cpu_of_ours", 0.4, ["cpu of ours at most 0.5: met"]),
        ("REST add", "LitServe", "cpu_of_ours", 0.6, []),
    ],
)
def test_goals_of_dialects_and_of_other_servers(
    row: str, server: str, ratio: str, median: float, verdicts: list[str]
) -> None:
    assert judged({"row": row, "clients": 8, "server": server, ratio: {"median": median}}) == verdicts


def test_rows_of_goals_are_measured() -> None:
    names = [workload.name for workload in workloads()]
    names += [f"{name}, open loop at 0.5 of the rate" for name in names]
    measured = {(name, "core") for name in names}
    measured |= {(row.name, dialect) for row in dialect_rows() for dialect in row.requests}
    measured |= {(f"{form} add", "MLServer") for form in ("REST OIP", "gRPC OIP")}
    assert not [
        goal
        for goal in GOALS
        if not any(name.startswith(goal.row) and server == goal.server for name, server in measured)
    ]


def test_figures_are_rounded_to_what_they_can_tell() -> None:
    assert (rounded(123456.0), rounded(0.00123456)) == (123500.0, 0.001235)
    assert spread_of(iter([3.0, 1.0, 2.0])) == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_a_table_has_a_column_for_each_figure_of_any_row() -> None:
    rows = [
        {"row": "one", "rate_per_s": 12345.6, "floor": {"p50_ms": 0.51234}, "sizes": 3, "turns": [1, 2]},
        {"row": "a|b", "ratio": {"median": 1.5, "min": 1.0, "max": 2.0}, "sizes": [1, 2], "none": None},
    ]
    assert markdown_table(rows) == [
        "| row | ratio | rate/s | floor p50 ms | sizes | none |",
        "| --- | --- | --- | --- | --- | --- |",
        "| one |  | 12346 | 0.5123 | 3 |  |",
        "| a\\|b | 1.5 (1 to 2) |  |  | 1, 2 |  |",
    ]


def test_the_text_tells_what_was_measured_with() -> None:
    text = markdown({"machine": {"cores": 2, "packages": {"numpy": "1.26"}}}, {"Requests": [{"row": "one"}]})
    assert "**machine**: cores 2; packages numpy 1.26" in text
    assert "## Requests\n\n| row |" in text


def test_all_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tables = {"Requests": [*a_row(1), *a_row(8)], "Nothing": []}
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
