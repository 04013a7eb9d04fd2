"""What the user sees while servables load: a line that turns for each, where stderr is a terminal.

Where it is none, the lines that a start script prints say the same.

Two threads take part, and must not wait for each other. The server's loop prints lines, which the display holds up
while it is drawn. So what is drawn asks the loop nothing: another thread does, between two drawings.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from mindspore_serving.cli.output import err
from mindspore_serving.server.service.catalog import ServableInfo, VersionState
from mindspore_serving.server.start.server import server_of_process

_PER_SECOND = 8
_ASKED_EVERY_S = 0.2


class LoadingTable:
    """A line for each servable.

    Attributes:
        servables: As they were when the server was asked last.
    """

    def __init__(self) -> None:
        self.servables: tuple[ServableInfo, ...] = ()
        self._spinner = Spinner("dots")

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for servable in self.servables:
            for row in self._rows_of(servable):
                table.add_row(*row)
        return table

    def _rows_of(self, servable: ServableInfo) -> Iterator[tuple[Spinner | Text, Text, str]]:
        for version in servable.versions:
            ready = sum(worker.serves for worker in version.workers)
            is_ready = version.state is VersionState.READY and ready == len(version.workers)
            mark = Text("ok", "green") if is_ready else self._spinner
            name = Text(f"{servable.name} version {version.number}")
            yield mark, name, f"{ready} of {len(version.workers)} workers ready"

    def follow(self, over: threading.Event) -> None:
        """Ask the server again and again, until that is over."""
        while not over.wait(_ASKED_EVERY_S):
            self.servables = server_of_process.servables()


@contextlib.contextmanager
def shown_progress() -> Iterator[None]:
    """Show how far the servables are, while the block starts them."""
    if not err.is_terminal:
        yield
        return
    table, over = LoadingTable(), threading.Event()
    following = threading.Thread(target=table.follow, args=(over,), name="serving progress", daemon=True)
    following.start()
    try:
        with Live(table, console=err, refresh_per_second=_PER_SECOND, transient=True):
            yield
    finally:
        over.set()
        following.join()
