"""Plots of the main table, a panel for each workload: throughput and latency against concurrency, and CPU ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = Mapping[str, Any]

_SERVER_COLOUR, _FLOOR_COLOUR = "tab:blue", "tab:gray"
_COLUMNS = 4
_TITLES = {"grpc": "gRPC", "rest": "REST"}


def draw_plots(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Draw everything.

    Args:
        folder: Where the PNG files go.
        rows: Of the main table.

    Returns:
        The files.
    """
    files = []
    for protocol in _TITLES:
        panels: dict[str, list[Row]] = {}
        for row in rows:
            if row["interface"].startswith(protocol):
                panels.setdefault(row["row"], []).append(row)
        panels = {name: found for name, found in panels.items() if len(found) > 1}
        if panels:
            files.append(_draw_throughput(folder, protocol, panels))
            files.append(_draw_latency(folder, protocol, panels))
    files.append(_draw_cpu_ratios(folder, rows))
    return files


def _draw_throughput(folder: Path, protocol: str, panels: Mapping[str, Sequence[Row]]) -> Path:
    figure, axes = _grid(panels, f"{_TITLES[protocol]}: requests per second against clients")
    for axis, rows in zip(axes, panels.values(), strict=False):
        _line(axis, rows, "requests_per_s", of_floor=False, marker="o", label="server")
        _line(axis, rows, "requests_per_s", of_floor=True, marker="o", label=rows[0]["floor_name"])
        axis.set_ylim(bottom=0)
        axis.legend(fontsize="x-small")
    return _save(figure, folder / f"throughput_{protocol}.png")


def _draw_latency(folder: Path, protocol: str, panels: Mapping[str, Sequence[Row]]) -> Path:
    figure, axes = _grid(panels, f"{_TITLES[protocol]}: latency in ms against clients")
    for axis, rows in zip(axes, panels.values(), strict=False):
        for figure_name, marker, label in (("p50_ms", "o", "p50"), ("p99_ms", "^", "p99")):
            _line(axis, rows, figure_name, of_floor=False, marker=marker, label=f"server {label}")
            floor_label = f"{rows[0]['floor_name']} {label}"
            _line(axis, rows, figure_name, of_floor=True, marker=marker, label=floor_label)
        axis.set_yscale("log")
        axis.legend(fontsize="xx-small")
    return _save(figure, folder / f"latency_{protocol}.png")


def _grid(panels: Mapping[str, Sequence[Row]], title: str) -> tuple[Figure, list[Axes]]:
    columns = min(_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure, grid = plt.subplots(lines, columns, figsize=(4 * columns, 3 * lines + 0.5), squeeze=False)
    axes = list(grid.flat)
    for axis, (name, rows) in zip(axes, panels.items(), strict=False):
        clients = [row["clients"] for row in rows]
        axis.set_title(name.partition(" ")[2], fontsize="small")
        axis.set_xscale("log", base=2)
        axis.set_xticks(clients, map(str, clients))
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title)
    return figure, axes


def _line(axis: Axes, rows: Sequence[Row], name: str, of_floor: bool, marker: str, label: str) -> None:
    values = [(row["floor"] if of_floor else row)[name] for row in rows]
    style: dict[str, Any] = (
        {"color": _FLOOR_COLOUR, "linestyle": "--"} if of_floor else {"color": _SERVER_COLOUR}
    )
    axis.plot([row["clients"] for row in rows], values, marker=marker, markersize=4, label=label, **style)


def _draw_cpu_ratios(folder: Path, rows: Sequence[Row]) -> Path:
    """Bars with the medians, and the spread of the turns as whiskers."""
    shown = [row for row in reversed(rows) if row["floor_name"] not in ("backend alone", "one copy")] or rows
    figure, axis = plt.subplots(figsize=(9, 1 + 0.22 * len(shown)))
    ratios = [row["cpu_ratio"] for row in shown]
    medians = [ratio["median"] for ratio in ratios]
    whiskers = [
        [ratio["median"] - ratio["min"] for ratio in ratios],
        [ratio["max"] - ratio["median"] for ratio in ratios],
    ]
    places = range(len(shown))
    axis.barh(places, medians, xerr=whiskers, color=_SERVER_COLOUR, ecolor="black", height=0.7)
    axis.set_yticks(places, [f"{row['row']}, {row['clients']} clients" for row in shown], fontsize="x-small")
    axis.axvline(1, color=_FLOOR_COLOUR, linestyle="--")
    axis.set_ylim(-0.6, len(shown) - 0.4)
    axis.set_xlabel("CPU time per request, as a multiple of the floor's")
    return _save(figure, folder / "cpu_ratio.png")


def _save(figure: Figure, file: Path) -> Path:
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file
