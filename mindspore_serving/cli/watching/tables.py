"""The status of a server as tables that fit into 80 columns."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mindspore_serving.cli.watching.source import Document
from mindspore_serving.cli.watching.words import milliseconds, percent, plain, rate, size, span

WINDOWS: Final = ("10s", "1m", "5m", "start")
_PHASES: Final = ("decode", "queue", "input", "compute", "output", "encode", "total")
_MOST_ROWS: Final = 20
_MOST_RESTARTS: Final = 5
_NEAR: Final = 0.8
_WORTH_SAYING: Final = 0.01
_STATE_STYLES: Final = {"ready": "green", "loading": "yellow", "starting": "yellow"}
_LEVEL_STYLES: Final = {"problem": "bold red", "hint": "bold yellow", "note": "bold"}


def whole_status(document: Document, at: str, window: str) -> RenderableType:
    """Everything.

    Args:
        document: What the server says.
        at: Its address.
        window: Name of the window whose figures are shown.
    """
    parts = (
        headline(document, at),
        windows_table(document),
        limits_line(document),
        *methods(document, window),
        *versions(document),
        *restarts(document),
        *advice(document),
    )
    blank = Text()
    return Group(*(one for part in parts for one in (part, blank)))


def headline(document: Document, at: str) -> Text:
    """What it is, and how it is."""
    ready = bool(document.get("ready"))
    state = "ready" if ready else f"not ready: {plain(document.get('reason')) or 'unknown'}"
    return Text.assemble(
        ("MindSpore Serving ", "bold"),
        (plain(document.get("build")), "bold"),
        f" at {plain(at)}: ",
        (state, "bold green" if ready else "bold red"),
        f", up {span(document.get('uptime_s'))}, {size(document.get('memory_bytes'))}",
    )


def windows_table(document: Document) -> Table:
    """Rates and percentiles of all requests, a row for each window."""
    table = _table("last", "requests/s", "instances/s", "failed", "refused", "p50 ms", "p95 ms", "p99 ms")
    uptime_s = _dict(document, "windows", "start").get("seconds")
    for name in WINDOWS:
        window = _dict(document, "windows", name)
        if window and (name == "start" or window.get("seconds") != uptime_s):
            total = _dict(window, "phases", "total")
            table.add_row(
                _label(name, window),
                rate(window.get("requests_per_s")),
                rate(window.get("instances_per_s")),
                _count(_failed(window)),
                _count(sum(_numbers(_dict(window, "refused")))),
                *(milliseconds(total.get(key)) for key in ("p50_ms", "p95_ms", "p99_ms")),
            )
    return table


def limits_line(document: Document) -> Text:
    """How much is pending, and which limits are near."""
    parts = [f"Pending: {document.get('pending_requests', 0)} requests"]
    parts.append(f"{document.get('pending_instances', 0)} instances")
    parts.append(size(document.get("pending_bytes")) if document.get("pending_bytes") else "0 bytes")
    line = Text(", ".join(parts))
    for limit in _list(document, "limits"):
        share = limit.get("share")
        if isinstance(share, (int, float)) and share >= _WORTH_SAYING:
            of = "" if limit.get("of") == "server" else f" of {plain(limit.get('of'))}"
            line.append(
                f"; {percent(share)} of the limit of {plain(limit.get('name')).replace('_', ' ')}{of}",
                "bold red" if share >= _NEAR else "",
            )
    return line


def versions(document: Document) -> Iterator[RenderableType]:
    """A row for each version of a servable."""
    found = _list(document, "versions")
    if not found:
        return
    table = _table("servable", "state", "workers", "pending", "waiting", "memory", "restarts", left=2)
    for version in found[:_MOST_ROWS]:
        copies = _list(version, "copies")
        ready = sum(copy.get("state") == "ready" for copy in copies)
        state = plain(version.get("state"))
        told = Text(state, _STATE_STYLES.get(state, "red"))
        if version.get("reason"):
            told.append(f"\n{plain(version['reason'])}")
        table.add_row(
            Text(f"{plain(version.get('servable'))}/{plain(version.get('version'))}"),
            told,
            f"{ready} of {len(copies)}",
            _count(version.get("pending_instances")),
            _count(version.get("waiting_instances")),
            size(sum(_numbers({place: copy.get("memory_bytes") for place, copy in enumerate(copies)}))),
            _count(sum(_numbers({place: copy.get("restarts") for place, copy in enumerate(copies)}))),
        )
    more = len(found) - _MOST_ROWS
    left_out = max(more, 0) + _number(document.get("versions_left_out"))
    if left_out:
        table.add_row(Text(f"... {left_out} more", "dim"))
    yield table


def methods(document: Document, window: str) -> Iterator[RenderableType]:
    """The busiest methods, and the phases of the busiest one of all.

    Args:
        document: What the server says.
        window: Whose figures.
    """
    found = sorted(_methods_in(document, window), key=lambda one: -_number(one[1].get("requests_per_s")))
    if not found:
        yield Text("No method was called so far.", "dim")
        return
    table = _table(f"method, last {window}", "requests/s", "failed", "p50 ms", "p99 ms", "batch", "padding")
    for name, figures in found[:_MOST_ROWS]:
        total = _dict(figures, "phases", "total")
        batch = figures.get("mean_batch")
        table.add_row(
            Text(name),
            rate(figures.get("requests_per_s")),
            _count(_failed(figures)),
            milliseconds(total.get("p50_ms")),
            milliseconds(total.get("p99_ms")),
            f"{batch:.3g}" if isinstance(batch, (int, float)) else "-",
            percent(figures.get("padding_share")),
        )
    more = len(found) - _MOST_ROWS
    left_out = max(more, 0) + sum(_number(one.get("methods_left_out")) for one in _list(document, "versions"))
    if left_out:
        table.add_row(Text(f"... {left_out} more", "dim"))
    yield table
    name, figures = found[0]
    if _dict(figures, "phases"):
        yield phases_table(name, figures)
    if len(_list(figures, "steps")) > 1:
        yield steps_table(name, figures)


def phases_table(name: str, figures: Mapping[str, Any]) -> Table:
    """How long requests were in each phase; percentiles are estimates."""
    total = _dict(figures, "phases", "total")
    whole = _number(total.get("mean_ms")) * _number(total.get("count"))
    table = _table(f"{name}: phase", "share", "mean ms", "p50 ms", "p95 ms", "p99 ms")
    for phase in _PHASES:
        times = _dict(figures, "phases", phase)
        if times:
            spent = _number(times.get("mean_ms")) * _number(times.get("count"))
            table.add_row(
                phase,
                percent(spent / whole) if whole else "-",
                *(milliseconds(times.get(key)) for key in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")),
            )
    return table


def steps_table(name: str, figures: Mapping[str, Any]) -> Table:
    """What workers spend their time on: the stages and models of a method."""
    table = _table(f"{name}: stage", "share", "mean ms", "batches")
    for step in _list(figures, "steps")[:_MOST_ROWS]:
        table.add_row(
            Text(plain(step.get("name"))),
            percent(step.get("share")),
            milliseconds(step.get("mean_ms")),
            _count(step.get("runs")),
        )
    return table


def restarts(document: Document) -> Iterator[RenderableType]:
    """The last workers that have ended."""
    found = [one for version in _list(document, "versions") for one in _list(version, "last_restarts")]
    found.sort(key=lambda one: -_number(one.get("at_unix_s")))
    if found:
        table = _table("worker ended", "ago", "why", left=3)
        for one in found[:_MOST_RESTARTS]:
            table.add_row(
                Text(plain(one.get("worker"))), span(one.get("ago_s")), Text(plain(one.get("reason")))
            )
        yield table


def advice(document: Document) -> Iterator[RenderableType]:
    """What stands out; nothing where it was not asked for."""
    said = document.get("advice")
    if said is None:
        return
    if not said:
        yield Text("Nothing stands out.", "dim")
    for one in _list(document, "advice"):
        level = plain(one.get("level"))
        yield Text.assemble(
            (f"{level.capitalize()}: ", _LEVEL_STYLES.get(level, "")), plain(one.get("text"), 1000)
        )


def clock(unix_s: float) -> str:
    """The time of day."""
    return datetime.datetime.fromtimestamp(unix_s).strftime("%H:%M:%S")


def _methods_in(document: Document, window: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for version in _list(document, "versions"):
        for method in _list(version, "methods"):
            figures = _dict(method, "windows", window)
            if figures and (_dict(figures, "requests") or _dict(figures, "refused")):
                yield f"{plain(version.get('servable'))}.{plain(method.get('method'))}", figures


def _failed(window: Mapping[str, Any]) -> int:
    requests = _dict(window, "requests")
    return sum(_numbers({kind: count for kind, count in requests.items() if kind != "ok"}))


def _label(name: str, window: Mapping[str, Any]) -> str:
    return "start" if name == "start" else f"{_number(window.get('seconds')):.0f} s"


def _count(value: Any) -> str:
    return f"{_number(value):,}"


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) else 0


def _numbers(counts: Mapping[Any, Any]) -> Iterator[Any]:
    return (_number(count) for count in counts.values())


def _dict(document: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A part of a document; nothing where it is not there."""
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _list(document: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = document.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _table(*columns: str, left: int = 1) -> Table:
    """A table.

    Args:
        columns: Heads of its columns.
        left: How many of them hold words; the others hold numbers.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
    for place, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if place < left else "right"
        table.add_column(Text(column), justify=justify, overflow="fold")
    return table
