"""The working directory that the main process had when it started its workers, wherever it is by now."""

from __future__ import annotations

import os
from pathlib import Path


class WorkingDirectory:
    """A folder that is followed when it is renamed, and missed when it is removed.

    Raises:
        OSError: The working directory cannot be opened.
    """

    def __init__(self) -> None:
        self._descriptor = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __repr__(self) -> str:
        return f"<WorkingDirectory {self.path() or 'removed'}>"

    def path(self) -> Path | None:
        """Where it is now; None if it has been removed."""
        path = Path(f"/proc/self/fd/{self._descriptor}").readlink()
        try:
            return path if path.samefile(f"/proc/self/fd/{self._descriptor}") else None
        except OSError:
            return None

    def close(self) -> None:
        """Follow it no more; not to be called twice."""
        os.close(self._descriptor)
