"""Whether this server can answer for all that it was told to serve: what health checks are told.

Nothing is counted here: those who own workers are asked each time, so that the answer cannot differ from what requests
meet. Everything runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

STARTING = "starting"
"""Why a worker does not serve that is being started for the first time."""


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One worker as health checks see it.

    Attributes:
        servable: Name of the servable that it loads.
        version: Version of that.
        place: `device0`, `extra0`, or the address of a worker of a cluster.
        status: Where it is in its life.
        serves: Whether it answers requests, and has run each of its models once.
        reason: Why it does not; "" where it does.
        silent_s: Seconds since it last said that it lives; None where it is not expected to.
    """

    servable: str
    version: int
    place: str
    status: str
    serves: bool
    reason: str = ""
    silent_s: float | None = None


@dataclass(frozen=True, slots=True)
class ServableHealth:
    """One version of a servable as health checks see it.

    Attributes:
        name: Servable name.
        version: Version number.
        workers: Those that are to serve it, at least one.
    """

    name: str
    version: int
    workers: tuple[WorkerHealth, ...]

    @property
    def label(self) -> str:
        """`{name}/{version}`."""
        return f"{self.name}/{self.version}"

    @property
    def ready(self) -> bool:
        """Whether a worker serves."""
        return any(worker.serves for worker in self.workers)

    @property
    def reason(self) -> str:
        """Why none serves, by the worker from which most is to be hoped; "" where one does."""
        if self.ready:
            return ""
        reasons = [worker.reason for worker in self.workers if worker.reason]
        return STARTING if STARTING in reasons else next(iter(reasons), "no worker")


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """The whole server as health checks see it.

    Attributes:
        closing: `draining` or `stopping`; "" where it does neither.
        servables: Everything that is to be served.
    """

    closing: str
    servables: tuple[ServableHealth, ...]

    @property
    def ready(self) -> bool:
        """Whether the server takes requests, and all that is to be served is."""
        return self.reason == ""

    @property
    def reason(self) -> str:
        """Why it is not ready; "" where it is."""
        if self.closing:
            return self.closing
        if not self.servables:
            return "no servable is started"
        missing = sum(not servable.ready for servable in self.servables)
        return f"{missing} of {len(self.servables)} servables not ready" if missing else ""

    def serves(self, service: str) -> bool | None:
        """Whether a request for a service would be answered.

        Args:
            service: "" for the whole server, `{name}/{version}`, or `{name}` for the highest version that runs.

        Returns:
            None where nobody has declared such a service.
        """
        if not service:
            return self.ready
        found = [one.ready for one in self.servables if service in (one.name, one.label)]
        return (not self.closing and any(found)) if found else None


class HealthSource(Protocol):
    """Who owns workers."""

    def workers_health(self) -> Iterable[WorkerHealth]:
        """The workers that are to serve, those that do not at the moment included."""


class Readiness:
    """What health checks ask.

    Attributes:
        changed: Set, and replaced by another event, when a service may have become ready, or may no longer be.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._sources: list[HealthSource] = []
        self._closing = ""

    def __repr__(self) -> str:
        return f"<Readiness {self.look().reason or 'ready'}>"

    def add(self, source: HealthSource) -> None:
        """Ask for the workers of another owner, too."""
        self._sources.append(source)
        self.notify()

    def remove(self, source: HealthSource) -> None:
        """Forget an owner and its workers; safe to call twice."""
        if source in self._sources:
            self._sources.remove(source)
            self.notify()

    def close(self, closing: str) -> None:
        """Be ready for nothing from now on.

        Args:
            closing: `draining` or `stopping`.
        """
        self._closing = closing
        self.notify()

    def notify(self) -> None:
        """Wake those who wait for `changed`."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def look(self) -> ServerHealth:
        """How everything is now."""
        found: dict[tuple[str, int], list[WorkerHealth]] = {}
        for source in self._sources:
            for worker in source.workers_health():
                found.setdefault((worker.servable, worker.version), []).append(worker)
        servables = [ServableHealth(*key, tuple(workers)) for key, workers in sorted(found.items())]
        return ServerHealth(self._closing, tuple(servables))
