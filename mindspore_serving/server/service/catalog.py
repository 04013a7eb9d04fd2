"""What there is: servables, versions, their methods, and the state of each.

Nothing is counted here: those who own workers are asked each time, so that the answer cannot differ from what requests
meet (ADR 23). Everything runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Protocol

from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.readiness import STARTING, ServableHealth, ServerHealth, WorkerHealth
from mindspore_serving.signature import MethodSignature


class VersionState(Enum):
    """Where a version of a servable is in its life."""

    UNAVAILABLE = "unavailable"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version of a servable.

    Attributes:
        number: Version number.
        state: Where it is in its life.
        reason: Why it is not ready; "" where it is.
        workers: Those that are to serve it, at least one.
        methods: What clients may call: names and types of inputs and outputs, description, examples; nothing until its
            first worker is ready.
    """

    number: int
    state: VersionState
    reason: str
    workers: tuple[WorkerHealth, ...]
    methods: tuple[MethodSignature, ...]

    def method(self, name: str) -> MethodSignature | None:
        """The method of that name, if there is one."""
        return next((method for method in self.methods if method.name == name), None)


@dataclass(frozen=True, slots=True)
class ServableInfo:
    """One servable.

    Attributes:
        name: Its name.
        versions: Its versions, the lowest first; at least one.
    """

    name: str
    versions: tuple[VersionInfo, ...]

    def version(self, number: int) -> VersionInfo | None:
        """The version of that number, if there is one.

        Args:
            number: Version number; 0 for the highest one that is ready, or else the highest one.
        """
        if number:
            return next((version for version in self.versions if version.number == number), None)
        ready = [version for version in self.versions if version.state is VersionState.READY]
        return (ready or self.versions)[-1]


class HealthSource(Protocol):
    """Who owns workers."""

    def workers_health(self) -> Iterable[WorkerHealth]:
        """The workers that are to serve, those that do not at the moment included."""


class Catalog:
    """What this server is to serve, and how that is.

    Args:
        dispatcher: Who runs it.

    Attributes:
        changed: Set, and replaced by another event, when anything may have become ready, or may no longer be.
        default: What a request means that names no servable: `servable`, or `servable.method`; "" where nobody has said
            that.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.changed = asyncio.Event()
        self.default = ""
        self._dispatcher = dispatcher
        self._sources: list[HealthSource] = []
        dispatcher.on_change = self.notify

    def __repr__(self) -> str:
        return f"<Catalog {self.health().reason or 'ready'}>"

    def add(self, source: HealthSource) -> None:
        """Ask for the workers of another owner, too."""
        self._sources.append(source)
        self.notify()

    def remove(self, source: HealthSource) -> None:
        """Forget an owner and its workers; safe to call twice."""
        if source in self._sources:
            self._sources.remove(source)
            self.notify()

    def notify(self) -> None:
        """Wake those who wait for `changed`."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def health(self) -> ServerHealth:
        """How everything is now, for health checks."""
        found: dict[tuple[str, int], list[WorkerHealth]] = {}
        for source in self._sources:
            for worker in source.workers_health():
                found.setdefault((worker.servable, worker.version), []).append(worker)
        servables = [ServableHealth(*key, tuple(workers)) for key, workers in sorted(found.items())]
        return ServerHealth(self._dispatcher.closing, tuple(servables))

    def servables(self) -> tuple[ServableInfo, ...]:
        """Everything that is to be served, by name."""
        health = self.health()
        return tuple(
            ServableInfo(name, tuple([self._version(one, health.closing) for one in versions]))
            for name, versions in groupby(health.servables, lambda one: one.name)
        )

    def servable(self, name: str) -> ServableInfo | None:
        """The servable of that name, if there is one."""
        return next((servable for servable in self.servables() if servable.name == name), None)

    def _version(self, health: ServableHealth, closing: str) -> VersionInfo:
        return VersionInfo(
            number=health.version,
            state=_state_of(health, closing),
            reason=closing or health.reason,
            workers=health.workers,
            methods=self._dispatcher.methods(health.name, health.version),
        )


def _state_of(health: ServableHealth, closing: str) -> VersionState:
    """The state of a version. There are four cases, of which the first that holds counts."""
    if closing:  # the whole server ends; what was admitted may still be served
        return VersionState.UNLOADING
    if health.ready:
        return VersionState.READY
    if any(worker.status == STARTING for worker in health.workers):  # for the first time, or again
        return VersionState.LOADING
    return VersionState.UNAVAILABLE
