"""Whether this server can answer for all that it is to serve: what health checks report (ADR 23).

Plain data and what follows from it. `Catalog.health` asks those who own workers.
"""

from __future__ import annotations

from dataclasses import dataclass

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
