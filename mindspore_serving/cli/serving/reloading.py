"""`--dev`: a servable whose files change is reloaded, and what cannot be loaded is waited for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import AFTER_SIGNAL, USAGE
from mindspore_serving.cli.output import err, report
from mindspore_serving.errors import ServingError
from mindspore_serving.options import folder_of
from mindspore_serving.server.start.reload import reload_servable
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.start.server import server_of_process

_LOGS = "serving_logs"
_DEBOUNCE_MS = 400
"""Editors write a file in several steps, and version control many files: so long is waited for more."""
_LOOK_MS = 1000
"""How often is looked for folders that were deleted and are made anew."""


class Watch:
    """The files of servables.

    Args:
        servables: Whose files.

    Raises:
        CommandError: The package that watches files is not installed.
    """

    def __init__(self, servables: Sequence[ServableStartConfig]) -> None:
        try:
            import watchfiles  # noqa: F401  # an extra, which only --dev needs
        except ImportError as cause:
            raise CommandError(
                "--dev needs the package watchfiles, which is not installed",
                "pip install 'mindspore_serving[reload]'",
                USAGE,
            ) from cause
        self._places: Mapping[Path, ServableStartConfig] = {folder_of(one): one for one in servables}
        self._stopped = threading.Event()
        self._changed: queue.SimpleQueue[list[ServableStartConfig]] = queue.SimpleQueue()

    def start(self) -> None:
        """Look for changes from now on, in a thread of its own."""
        threading.Thread(target=self._look, name="serving watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def next(self) -> list[ServableStartConfig]:
        """The servables of which files have changed since this was asked last, each once; waits for a change."""
        found = self._changed.get()
        while not self._changed.empty():  # while the last ones were reloaded
            found = [*found, *self._changed.get()]
        return list({id(one): one for one in found}.values())

    def _look(self) -> None:
        """Body of the thread. A folder that is deleted is lost to the system's watch, also when it is made anew."""
        folders: dict[Path, list[ServableStartConfig]] = {}
        for place, config in self._places.items():
            folders.setdefault(place if place.is_dir() else place.parent, []).append(config)
        absent: Set[Path] = frozenset()
        while not self._stopped.is_set():
            present = {folder for folder in folders if folder.is_dir()}
            for folder in absent & present:
                self._changed.put(folders[folder])
            absent = set(folders) - present
            if present:
                absent = absent | self._look_at(present, absent)
            else:
                self._stopped.wait(_LOOK_MS / 1000)

    def _look_at(self, present: Set[Path], absent: Set[Path]) -> Set[Path]:
        """Look at folders until one goes, or one of the absent ones comes; returns those that have gone."""
        from watchfiles import Change, DefaultFilter, watch

        known = DefaultFilter()

        def counts(change: Change, path: str) -> bool:
            return known(change, path) and (Path(path) in present or bool(self.servables_of([path])))

        try:
            for changes in watch(
                *present,
                watch_filter=counts,
                stop_event=self._stopped,
                debounce=_DEBOUNCE_MS,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
            ):
                self.take([path for _, path in changes])
                deleted = {Path(path) for change, path in changes if change is Change.deleted}
                gone = {folder for folder in present if folder in deleted or not folder.is_dir()}
                if gone or any(folder.is_dir() for folder in absent):
                    return gone
        except FileNotFoundError:  # it has gone just now
            return present
        return frozenset()

    def take(self, paths: Sequence[str]) -> None:
        """Let `next` give the servables to which files belong, if any.

        Args:
            paths: Of the files.
        """
        found = self.servables_of(paths)
        if found:
            self._changed.put(found)

    def servables_of(self, paths: Sequence[str]) -> list[ServableStartConfig]:
        """The servables to which files belong. Logs that the server writes belong to none.

        Args:
            paths: Of the files.
        """
        found = []
        for place, config in self._places.items():
            for path in map(Path, paths):
                own = path == place or place in path.parents
                if own and _LOGS not in path.relative_to(place).parts:
                    found.append(config)
                    break
        return found


def serve_and_reload(
    servables: Sequence[ServableStartConfig], enable_lite: bool, start: Callable[[], Any]
) -> None:
    """Start the server, reload what changes, and return when the server has stopped.

    A servable that cannot be loaded ends nothing: the reason is printed, and the next change is waited for.

    Args:
        servables: What is served.
        enable_lite: Whether MindSpore Lite runs models.
        start: Starts the server; called again after a change if it fails.

    Raises:
        CommandError: The package that watches files is not installed.
    """
    server_of_process.outlives_workers = True
    watch = Watch(servables)
    watch.start()
    while not _is_started(start):
        watch.next()
    threading.Thread(target=_reload, args=(watch, enable_lite), name="serving reload", daemon=True).start()
    try:
        server_of_process.wait()
    finally:
        watch.stop()


def _is_started(start: Callable[[], Any]) -> bool:
    try:
        start()
    except CommandError as error:
        if error.exit_code in AFTER_SIGNAL.values():
            raise  # no file has to change: the user wants to go
        report(error)
        err.print("Waiting for a change of its files")
        return False
    return True


def _reload(watch: Watch, enable_lite: bool) -> None:
    """Body of the thread that reloads."""
    while True:
        for servable in watch.next():
            name = servable.servable_name
            err.print(f"Files of {name} have changed: reloading", markup=False)
            try:
                reload_servable(servable, enable_lite)
            except ServingError as error:
                err.print(f"{name} cannot be reloaded: {error}", markup=False, soft_wrap=True)
                err.print("What was served before serves on, if it still can. Waiting for the next change")
            else:
                err.print(f"Reloaded {name}", markup=False)
