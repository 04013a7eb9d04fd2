"""A load's figures: as a document, as a table."""

from __future__ import annotations

from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mindspore_serving.cli.asking.method import Method
from mindspore_serving.cli.load.run import LoadPlan, Outcome
from mindspore_serving.cli.load.tally import Tally


def document_of(
    plan: LoadPlan, method: Method, protocol: str, rows: int, tally: Tally, outcome: Outcome
) -> dict[str, Any]:
    """All figures of a load.

    Args:
        plan: Its plan.
        method: What was asked.
        protocol: In which protocol.
        rows: Instances of a request.
        tally: What was counted.
        outcome: What it has shown.
    """
    right = tally.latency.count
    seconds = outcome.seconds
    document: dict[str, Any] = {
        "url": str(plan.address),
        "model": method.model,
        "version": method.version or None,
        "protocol": protocol,
        "over": plan.address.over,
        "loop": "closed" if plan.rate is None else "open",
        "clients": plan.clients,
        "rate": plan.rate,
        "arrivals": None if plan.rate is None else "even" if plan.even else "poisson",
        "warm_up_s": plan.warm_up_s,
        "seconds": round(seconds, 3),
        "instances_per_request": rows,
        "requests": right + tally.errors.total(),
        "right": right,
        "errors": dict(tally.errors.most_common()),
        "error_texts": {kind: text for kind, text in tally.texts.items() if text},
        "contents_checked": tally.looked_at,
        "requests_per_s": round(right / seconds, 2),
        "instances_per_s": round(right * rows / seconds, 2),
        "latency_from": "the time when a request was sent"
        if plan.rate is None
        else "the time when a request was due",
        "latency_ms": tally.latency.summary_ms(),
        "generator_cpu_share": round(outcome.cpu_share, 3),
        "interrupted": outcome.interrupted,
        "notes": outcome.notes,
        "seconds_right_and_errors": [tally.seconds[second] for second in sorted(tally.seconds)],
    }
    if plan.rate is not None:
        document["from_send_ms"] = tally.from_send.summary_ms()
        document["lateness_ms"] = tally.lateness.summary_ms()
    return document


def show(out: Console, document: dict[str, Any]) -> None:
    """Print the figures as tables."""
    loop = (
        f"closed loop, {document['clients']} clients"
        if document["loop"] == "closed"
        else f"open loop, {document['rate']:g} requests/s ({document['arrivals']}), {document['clients']} connections"
    )
    title = f"{document['model']} at {document['url']}, {document['protocol']}; {loop}"
    out.print(title, style="bold", markup=False, soft_wrap=True)
    table = Table()
    for column in ("latency", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"):
        justify: Literal["left", "right"] = "left" if column == "latency" else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    rows = [("ms", "latency_ms")]
    if document["loop"] == "open":
        rows = [("ms from due", "latency_ms"), ("ms from send", "from_send_ms")]
    for label, key in rows:
        cells = ["-" if value is None else f"{value:.3f}" for value in document[key].values()]
        table.add_row(label, *cells)
    out.print(table)
    instances = document["instances_per_request"]
    more = f", {document['instances_per_s']:,.0f} instances/s" if instances > 1 else ""
    out.print(
        f"{document['right']} right replies in {document['seconds']:.1f} s: "
        f"{document['requests_per_s']:,.1f} requests/s{more}; {document['contents_checked']} contents checked",
        markup=False,
        soft_wrap=True,
    )
    for kind, count in document["errors"].items():
        said = document["error_texts"].get(kind, "")
        text = f"{count} x {kind}" + (f": {said}" if said else "")
        out.print(Text(text, "red"), soft_wrap=True)
    out.print(f"This load generator used {document['generator_cpu_share']:.0%} of a core.")
