"""What was found, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mindspore_serving.cli.checking.advice import Candidate
from mindspore_serving.cli.trial.jobs import BatchTime, Found


def show_found(out: Console, title: str, found: Found) -> None:
    """Print what a trial has found.

    Args:
        out: Where.
        title: Above it.
        found: It.
    """
    out.print(Text(title, "bold"))
    if found.models:
        table = _table("model", "runs on", "batch", "inputs", "outputs")
        for one in found.models:
            batch = "none" if not one.with_batch_dim else f"{'1 to ' if one.dynamic else ''}{one.batch_size}"
            inputs, outputs = (
                "\n".join(tensor.text for tensor in side) for side in (one.inputs, one.outputs)
            )
            table.add_row(*map(Text, (one.name, one.platform, batch, inputs, outputs)))
        out.print(table)
    if found.methods:
        table = _table("method", "inputs", "outputs", "examples")
        for method in found.methods:
            inputs, outputs = "\n".join(method.inputs), "\n".join(method.outputs)
            examples = f"{method.examples} answered" if method.examples else "none"
            table.add_row(*map(Text, (method.name, inputs, outputs, examples)))
        out.print(table)
    _show_times(out, found)
    memory = found.memory
    out.print(
        f"Loaded in {found.load_s:.1f} s. Memory: {memory.before_mb:.0f} MiB before, {memory.loaded_mb:.0f} loaded, "
        f"{memory.after_mb:.0f} after all runs."
    )


def _show_times(out: Console, found: Found) -> None:
    rows = [("model", one.name, one.times, "") for one in found.models if one.times]
    for method in found.methods:
        if method.times:
            shares = "\n".join(f"{stage.share:.0%} {stage.stage}" for stage in method.stages)
            rows.append(("method", method.name, method.times, shares))
    if not rows:
        return
    table = _table("", "", "instances: ms", "best", "stages")
    for kind, name, times, shares in rows:
        best = max(times, key=lambda one: one.per_s)
        table.add_row(
            *map(Text, (kind, name, times_text(times), f"{best.per_s:,.0f}/s at {best.rows}", shares))
        )
    out.print(table)


def times_text(times: Sequence[BatchTime]) -> str:
    """Times of batches, a line for each."""
    return "\n".join(f"{one.rows}: {one.ms:.3g}" for one in times)


def show_candidates(out: Console, candidates: Sequence[Candidate]) -> None:
    """Print files that do the same side by side."""
    table = _table("file", "runs on", "instances: ms", "best")
    for one in sorted(candidates, key=lambda one: -(one.best.per_s if one.best else 0.0)):
        if one.model is None:
            table.add_row(*map(Text, (one.label, one.place.model_format, "", one.problem.splitlines()[0])))
            continue
        best = one.best
        told = f"{best.per_s:,.0f}/s at {best.rows}" if best else one.model.not_timed
        table.add_row(*map(Text, (one.label, one.model.platform, times_text(one.model.times), told)))
    out.print(table)


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
