"""Plots of the main table, a panel for each workload: throughput and latency against concurrency, and CPU ratios."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Record = Mapping[str, Any]
Panels = Mapping[str, Sequence[Record]]
"""The records of a workload, by its name."""

_FLOOR_COLOUR = "tab:gray"
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")
_COLUMNS = 4
_BAR_HEIGHT = 0.8
_OTHER_FLOOR = "backend alone"
"""Ratios of these rows are of another size: an instance counts as a request."""
_TITLES = {"grpc": "gRPC", "rest": "REST"}


def draw_plots(folder: Path, records: Sequence[Record]) -> list[Path]:
    """Draw everything.

    Args:
        folder: Where the PNG files go.
        records: Of the main table: for each row those of all its servers, the floor first.

    Returns:
        The files.
    """
    files = []
    for protocol in _TITLES:
        panels: dict[str, list[Record]] = {}
        for record in records:
            if record["interface"].startswith(protocol):
                panels.setdefault(record["row"], []).append(record)
        panels = {name: found for name, found in panels.items() if len({one["clients"] for one in found}) > 1}
        if panels:
            files.append(_draw_throughput(folder, protocol, panels))
            files.append(_draw_latency(folder, protocol, panels))
    return [*files, *_draw_cpu_ratios(folder, records)]


def _draw_throughput(folder: Path, protocol: str, panels: Panels) -> Path:
    figure, axes = _grid(panels, f"{_TITLES[protocol]}: requests per second against clients")
    for axis, records in zip(axes, panels.values(), strict=False):
        for server, colour in _colours(records).items():
            _line(axis, records, server, "requests_per_s", "o", server, colour)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize="x-small")
    return _save(figure, folder / f"throughput_{protocol}.png")


def _draw_latency(folder: Path, protocol: str, panels: Panels) -> Path:
    figure, axes = _grid(panels, f"{_TITLES[protocol]}: latency in ms against clients")
    for axis, records in zip(axes, panels.values(), strict=False):
        for figure_name, marker, label in (("p50_ms", "o", "p50"), ("p99_ms", "^", "p99")):
            for server, colour in _colours(records).items():
                _line(axis, records, server, figure_name, marker, f"{server} {label}", colour)
        axis.set_yscale("log")
        axis.legend(fontsize="xx-small")
    return _save(figure, folder / f"latency_{protocol}.png")


def _colours(records: Sequence[Record]) -> dict[str, str]:
    """By server; the floor is the first one."""
    floor, *others = dict.fromkeys(record["server"] for record in records)
    return {floor: _FLOOR_COLOUR, **dict(zip(others, itertools.cycle(_COLOURS), strict=False))}


def _grid(panels: Panels, title: str) -> tuple[Figure, list[Axes]]:
    columns = min(_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure, grid = plt.subplots(lines, columns, figsize=(4 * columns, 3 * lines + 0.5), squeeze=False)
    axes = list(grid.flat)
    for axis, (name, records) in zip(axes, panels.items(), strict=False):
        clients = sorted({record["clients"] for record in records})
        axis.set_title(name.partition(" ")[2], fontsize="small")
        axis.set_xscale("log", base=2)
        axis.set_xticks(clients, map(str, clients))
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title)
    return figure, axes


def _line(
    axis: Axes, records: Sequence[Record], server: str, name: str, marker: str, label: str, colour: str
) -> None:
    shown = [record for record in records if record["server"] == server]
    style = "--" if colour == _FLOOR_COLOUR else "-"
    axis.plot(
        [record["clients"] for record in shown],
        [record[name] for record in shown],
        color=colour,
        linestyle=style,
        marker=marker,
        markersize=4,
        label=label,
    )


def _draw_cpu_ratios(folder: Path, records: Sequence[Record]) -> list[Path]:
    """A group for each row, and in it a bar for each server: the median, and the spread of the turns as whiskers."""
    others = {record["row"] for record in records if record["server"] == _OTHER_FLOOR}
    groups: dict[str, list[Record]] = {}
    for record in records:
        if "cpu_over_floor" in record and record["row"] not in others:
            groups.setdefault(f"{record['row']}, {record['clients']} clients", []).append(record)
    if not groups:
        return []
    servers = list(dict.fromkeys(record["server"] for group in groups.values() for record in group))
    height = _BAR_HEIGHT / len(servers)
    figure, axis = plt.subplots(figsize=(9, 1 + 0.22 * len(servers) * len(groups)))
    for number, server in enumerate(servers):
        found = [
            (place + (number + 0.5) * height - _BAR_HEIGHT / 2, record["cpu_over_floor"])
            for place, group in enumerate(groups.values())
            for record in group
            if record["server"] == server
        ]
        places, ratios = zip(*found, strict=True)
        _bars(axis, places, ratios, height, server, _COLOURS[number % len(_COLOURS)])
    axis.set_yticks(range(len(groups)), list(groups), fontsize="x-small")
    axis.axvline(1, color=_FLOOR_COLOUR, linestyle="--")
    axis.set_ylim(len(groups) - 0.4, -0.6)
    axis.set_xlabel("CPU time per request, as a multiple of the floor's")
    axis.legend(fontsize="x-small")
    return [_save(figure, folder / "cpu_ratio.png")]


def _bars(
    axis: Axes,
    places: Sequence[float],
    ratios: Sequence[Mapping[str, float]],
    height: float,
    server: str,
    colour: str,
) -> None:
    medians = [ratio["median"] for ratio in ratios]
    whiskers = [
        [ratio["median"] - ratio["min"] for ratio in ratios],
        [ratio["max"] - ratio["median"] for ratio in ratios],
    ]
    axis.barh(places, medians, height, xerr=whiskers, color=colour, ecolor="black", label=server)


def _save(figure: Figure, file: Path) -> Path:
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file
