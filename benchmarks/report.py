"""What a run leaves in its folder: results.json with all figures, results.md with the tables, and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Table = Sequence[Mapping[str, Any]]

_NOT_SHOWN = ("turns", "interface")
_SPREAD = {"median", "min", "max"}


def write_report(folder: Path, about: Mapping[str, Any], tables: Mapping[str, Table]) -> list[Path]:
    """Write everything.

    Args:
        folder: Made if it is not there.
        about: Machine, settings and what else was found out, by name.
        tables: Rows by the title of their table; titles of empty tables are left out.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    filled = {title: list(rows) for title, rows in tables.items() if rows}
    results, text = folder / "results.json", folder / "results.md"
    results.write_text(json.dumps({**about, "tables": filled}, indent=1) + "\n")
    text.write_text(markdown(about, filled))
    return [results, text, *_plots(folder, filled)]


def _plots(folder: Path, tables: Mapping[str, Table]) -> list[Path]:
    rows = [row for table in tables.values() for row in table if "interface" in row]
    if not rows:
        return []
    from benchmarks.plots import draw_plots  # matplotlib takes a while to import

    return draw_plots(folder, rows)


def markdown(about: Mapping[str, Any], tables: Mapping[str, Table]) -> str:
    """All tables as text, after what they were measured with."""
    lines = ["# Benchmark of MindSpore Serving", ""]
    for title, facts in about.items():
        lines += [f"**{_words(title)}**: {_inline(facts)}", ""]
    for title, rows in tables.items():
        lines += [f"## {title}", "", *markdown_table(rows), ""]
    return "\n".join(lines)


def markdown_table(rows: Table) -> list[str]:
    """Rows as a Markdown table; a column for each figure that any of them has, after the one that precedes it there."""
    flat = [_flat(row) for row in rows]
    columns: list[str] = []
    for row in flat:
        place = 0
        for name in row:
            if name not in columns:
                columns.insert(place, name)
            place = columns.index(name) + 1
    head = "| " + " | ".join(map(_words, columns)) + " |"
    rule = "|" + " --- |" * len(columns)
    return [head, rule, *("| " + " | ".join(row.get(name, "") for name in columns) + " |" for row in flat)]


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Cells by column; figures of a nested mapping get its name before theirs."""
    cells: dict[str, str] = {}
    for name, value in row.items():
        if name in _NOT_SHOWN:
            continue
        if isinstance(value, Mapping) and value.keys() != _SPREAD:
            cells |= _flat(value, f"{before}{name} ")
        else:
            cells[f"{before}{name}"] = _cell(value)
    return cells


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{_cell(value['median'])} ({_cell(value['min'])} to {_cell(value['max'])})"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    return "" if value is None else str(value).replace("|", "\\|")


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{_words(name)} {_inline(one)}" for name, one in value.items())
    return _cell(value)


def _words(name: str) -> str:
    return name.replace("_per_s", "/s").replace("_", " ")
