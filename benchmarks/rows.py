"""Rows of a table: figures of columns that took turns, as medians and as ratios with their spread.

A row is a record for each of its columns. The first one is what the others are compared with: in most tables a floor.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from benchmarks.columns import Column
from benchmarks.goals import judged
from benchmarks.processes import Memory
from benchmarks.turns import Turn

BEFORE = "before"
"""Name of the server of another environment."""
FLOOR = "floor"
"""What the first column of a row is, unless its table says otherwise."""

Record = dict[str, Any]
_Seen = TypeVar("_Seen")
Figures = Mapping[str, Callable[[_Seen], float]]

_COMPARED: Figures[Turn] = {
    "cpu": lambda turn: turn.cpu_us,
    "rate": lambda turn: turn.rate,
    "p50": lambda turn: turn.p50_ms,
    "p99": lambda turn: turn.p99_ms,
}


def rounded(value: float, digits: int = 4) -> float:
    """A figure with so many significant digits."""
    return float(f"{value:.{digits}g}")


def spread_of(values: Iterable[float]) -> dict[str, float]:
    """Median, least and most."""
    found = list(values)
    return {
        "median": rounded(statistics.median(found)),
        "min": rounded(min(found)),
        "max": rounded(max(found)),
    }


def ratios_of(
    name: str, rounds: Sequence[Mapping[str, _Seen]], figures: Figures[_Seen], base: str = FLOOR
) -> dict[str, dict[str, float]]:
    """How the figures of a column relate to those of the first one, and of `BEFORE` if that is there, round by round.

    Args:
        name: Of the column.
        rounds: What was seen of each column.
        figures: What to compare, by name.
        base: What the first column is.

    Returns:
        Such as `cpu_over_floor`.
    """
    first = next(iter(rounds[0]))
    return {
        f"{figure}_over_{title}": spread_of(value(seen[name]) / value(seen[column]) for seen in rounds)
        for title, column in {base: first, BEFORE: BEFORE}.items()
        if column in rounds[0] and name not in (column, first)
        for figure, value in figures.items()
    }


def records_of(
    name: str,
    clients: int,
    columns: Sequence[Column],
    rounds: Sequence[Mapping[str, Turn]],
    memory: Mapping[str, Memory],
    base: str = FLOOR,
) -> list[Record]:
    """The figures of a row, a record for each of its columns; ratios are taken within a round.

    Args:
        name: Of the workload.
        clients: Closed loops.
        columns: All of them.
        rounds: A turn of each.
        memory: After the last turn, of those that have a process.
        base: What the first column is.
    """
    return [_record(name, clients, column, rounds, memory.get(column.name), base) for column in columns]


def _record(
    name: str,
    clients: int,
    column: Column,
    rounds: Sequence[Mapping[str, Turn]],
    memory: Memory | None,
    base: str,
) -> Record:
    turns = [seen[column.name] for seen in rounds]
    record = {
        "row": name,
        "clients": clients,
        "server": column.name,
        "load": turns[0].generator,
        **_medians(turns),
        "instances_per_s": rounded(column.instances * statistics.median(turn.rate for turn in turns)),
        **ratios_of(column.name, rounds, _COMPARED, base),
        "memory_mb": memory
        and {
            "main": round(memory.main_mb),
            "workers": round(memory.workers_mb),
            "tree": round(memory.tree_mb),
        },
        "checked": sum(turn.checked for turn in turns),
        "wrong": sum(turn.wrong for turn in turns),
        "turns": [asdict(turn) for turn in turns],
    }
    return record | {"goals": judged(record)}


def _medians(turns: Sequence[Turn]) -> dict[str, float]:
    figures: Figures[Turn] = {
        "requests_per_s": lambda turn: turn.rate,
        "p50_ms": lambda turn: turn.p50_ms,
        "p99_ms": lambda turn: turn.p99_ms,
        "cpu_us": lambda turn: turn.cpu_us,
    }
    return {name: rounded(statistics.median(map(figure, turns))) for name, figure in figures.items()}


def lines_of(records: Sequence[Record], base: str = FLOOR) -> str:
    """A row for the terminal: a line with its name, and one for each column, of which the first one is `base`."""
    first = records[0]
    lines = [_line(record, base) for record in records]
    return "\n".join([f"{first['row']}, {first['clients']} clients", *lines])


def _line(record: Record, base: str) -> str:
    figures = (
        f"{record['requests_per_s']:>7.0f} req/s  p50 {record['p50_ms']:>7.3f} p99 {record['p99_ms']:>7.3f} ms  "
        f"CPU {record['cpu_us']:>6.0f} us"
    )
    return f"    {record['server']:31} {figures}{_ratios_in_words(record, base)}{ending_of(record)}"


def _ratios_in_words(record: Record, base: str) -> str:
    """Of the base: all. Of `BEFORE`: the CPU time."""
    if f"cpu_over_{base}" not in record:
        return ""
    words = f" = {_spread_in_words(record[f'cpu_over_{base}'])} of the {base}"
    for figure in ("rate", "p50", "p99"):
        words += f", {figure} {record[f'{figure}_over_{base}']['median']:.2f} x"
    if "cpu_over_before" in record:
        words += f"; CPU {_spread_in_words(record['cpu_over_before'])} of {BEFORE}"
    return words


def _spread_in_words(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.2f} x ({spread['min']:.2f}-{spread['max']:.2f})"


def ending_of(record: Record) -> str:
    """The end of a line for the terminal: goals, and how many replies were wrong."""
    goals = "".join(f"  [{goal}]" for goal in record["goals"])
    return goals + (f"  {record['wrong']} WRONG" if record["wrong"] else "")
