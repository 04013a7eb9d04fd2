"""What the user sees while servables load: a line that turns for each, where stderr is a terminal.

Where it is none, the lines that a start script prints say the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from mindspore_serving.cli.output import err
from mindspore_serving.server.service.catalog import ServableInfo, VersionState
from mindspore_serving.server.start.server import server_of_process

_PER_SECOND = 8


class _LoadingTable:
    """Asks the server each time that it is drawn."""

    def __init__(self) -> None:
        self._spinner = Spinner("dots")

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for servable in server_of_process.servables():
            table.add_row(*self._row_of(servable))
        return table

    def _row_of(self, servable: ServableInfo) -> tuple[Spinner | Text, str, str]:
        version = servable.versions[-1]
        ready = sum(worker.serves for worker in version.workers)
        is_ready = version.state is VersionState.READY and ready == len(version.workers)
        mark = Text("ok", "green") if is_ready else self._spinner
        return (
            mark,
            f"{servable.name} version {version.number}",
            f"{ready} of {len(version.workers)} workers ready",
        )


@contextlib.contextmanager
def shown_progress() -> Iterator[None]:
    """Show how far the servables are, while the block starts them."""
    if not err.is_terminal:
        yield
        return
    with Live(_LoadingTable(), console=err, refresh_per_second=_PER_SECOND, transient=True):
        yield
