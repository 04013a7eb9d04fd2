"""A picture of a load: latencies by percentile, and replies in each second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.load.histogram import Histogram

INSTALL = "pip install 'mindspore_serving[bench]'"


def check_plot(path: Path) -> None:
    """Check that a picture can be drawn, before anything is measured.

    Raises:
        CommandError: It cannot; says what to install.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as cause:
        raise CommandError("--plot needs matplotlib, which is not installed", INSTALL) from cause
    if not path.parent.is_dir():
        raise CommandError(f"--plot '{path}': the folder does not exist")


def draw(path: Path, document: dict[str, Any], latency: Histogram) -> None:
    """Draw a load.

    Args:
        path: The picture, `.png`, `.svg` or `.pdf`.
        document: Its figures.
        latency: Its latencies.

    Raises:
        CommandError: It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    percentiles, replies = figure.subplots(1, 2)
    points = [(1 / max(1e-6, 1 - share), ms) for share, ms in latency.curve_ms()]
    if points:
        percentiles.plot(*zip(*points, strict=True), drawstyle="steps-post")
        percentiles.set_yscale("log")
    percentiles.set_xscale("log")
    percentiles.set_xticks([1, 10, 100, 1000, 10000], ["0", "90", "99", "99.9", "99.99"])
    percentiles.set_xlabel("percentile")
    percentiles.set_ylabel("latency, ms")
    percentiles.grid(alpha=0.3)
    seconds = document["seconds_right_and_errors"]
    replies.plot([one[0] for one in seconds], label="right replies")
    if document["errors"]:
        replies.plot([one[1] for one in seconds], label="errors", color="tab:red")
    replies.set_ylim(bottom=0)
    replies.set_xlabel("second")
    replies.set_ylabel("per second")
    replies.legend()
    replies.grid(alpha=0.3)
    figure.suptitle(f"{document['model']}, {document['protocol']}, {document['loop']} loop")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as cause:
        raise CommandError(f"--plot '{path}' cannot be written: {cause}") from cause
