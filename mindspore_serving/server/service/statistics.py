"""What was counted: read by metadata pages, metrics and the like, written by dispatch alone (ADR 51, 62).

Those who own workers or front ends say so here, and are asked each time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from mindspore_serving import __version__
from mindspore_serving.options import Limits
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics
from mindspore_serving.server.host.process_memory import ProcessMemory
from mindspore_serving.server.service.catalog import Catalog, VersionInfo
from mindspore_serving.server.service.server_statistics import (
    CopyStatistics,
    FrontEndStatistics,
    Restart,
    ServerStatistics,
    VersionStatistics,
)
from mindspore_serving.signature import CALL_PREFIX


class WorkerSource(Protocol):
    """Who owns workers."""

    def copies(self) -> Iterable[tuple[str, int, CopyStatistics]]:
        """Each worker with the name and version of its servable; without its memory."""

    def last_restarts(self) -> Mapping[tuple[str, int], Sequence[Restart]]:
        """The last ends of workers by name and version of their servable, the newest last."""


class FrontEndSource(Protocol):
    """Who owns front ends."""

    def front_ends(self) -> Iterable[FrontEndStatistics]:
        """What listens."""

    def refused(self) -> Mapping[str, int]:
        """Requests that front ends have refused by themselves, as of `ServerStatistics.refused`."""


class Statistics:
    """What was counted of each method, and of the whole server.

    Args:
        dispatcher: Who counts.
        catalog: Knows what is to be served.
        memory: Knows the memory of processes.
    """

    def __init__(
        self, dispatcher: Dispatcher, catalog: Catalog | None = None, memory: ProcessMemory | None = None
    ) -> None:
        self._dispatcher = dispatcher
        self._catalog = catalog
        self._memory = memory or ProcessMemory()
        self._started = time.time()
        self._workers: list[WorkerSource] = []
        self._front_ends: list[FrontEndSource] = []

    def add_workers(self, source: WorkerSource) -> None:
        """Ask an owner of workers, too; safe to call twice."""
        if source not in self._workers:
            self._workers.append(source)

    def remove_workers(self, source: WorkerSource) -> None:
        """Forget an owner and its workers; safe to call twice."""
        if source in self._workers:
            self._workers.remove(source)

    def add_front_ends(self, source: FrontEndSource) -> None:
        """Ask an owner of front ends, too; safe to call twice."""
        if source not in self._front_ends:
            self._front_ends.append(source)

    def of(self, servable: str, version: int, method: str) -> MethodStatistics:
        """What was counted of a method; zeros where nobody has asked for it.

        Args:
            servable: Its name.
            version: Version number.
            method: Name of the method.
        """
        return self._dispatcher.statistics(servable, version, method)

    def server(self) -> ServerStatistics:
        """What was counted of the whole server until now. Of the event loop.

        What was counted of a method is the same object as before, as long as it has not changed. The memory of
        processes may be up to a second old.
        """
        pending = self._dispatcher.pending
        copies = self._copies()
        own = os.getpid()
        memory = self._memory.of(
            [own, *(copy.pid for group in copies.values() for copy in group if copy.pid)]
        )
        return ServerStatistics(
            build=__version__,
            started=self._started,
            uptime_s=time.time() - self._started,
            closing=self._dispatcher.closing,
            pending_requests=pending.requests,
            pending_instances=pending.instances,
            pending_bytes=pending.byte_size,
            limits=_numbers_of(pending.limits),
            refused=self._refused(),
            versions=self._versions(copies, memory),
            front_ends=tuple([one for source in self._front_ends for one in source.front_ends()]),
            memory_bytes=memory.get(own, 0),
        )

    def _copies(self) -> dict[tuple[str, int], list[CopyStatistics]]:
        found: dict[tuple[str, int], list[CopyStatistics]] = {}
        for source in self._workers:
            for servable, version, copy in source.copies():
                found.setdefault((servable, version), []).append(copy)
        return found

    def _versions(
        self, copies: Mapping[tuple[str, int], Sequence[CopyStatistics]], memory: Mapping[int, int]
    ) -> tuple[VersionStatistics, ...]:
        if self._catalog is None:
            return ()
        restarts: dict[tuple[str, int], list[Restart]] = {}
        for source in self._workers:
            for key, ends in source.last_restarts().items():
                restarts.setdefault(key, []).extend(ends)
        return tuple(
            [
                self._version(
                    servable.name,
                    version,
                    [
                        replace(copy, memory_bytes=memory.get(copy.pid, 0))
                        for copy in copies.get((servable.name, version.number), ())
                    ],
                    sorted(restarts.get((servable.name, version.number), ()), key=lambda one: one.at),
                )
                for servable in self._catalog.servables()
                for version in servable.versions
            ]
        )

    def _version(
        self, name: str, version: VersionInfo, copies: Sequence[CopyStatistics], restarts: Sequence[Restart]
    ) -> VersionStatistics:
        running = self._dispatcher.running(name, version.number)
        shown = VersionStatistics(
            servable=name,
            version=version.number,
            state=version.state.value,
            reason=version.reason,
            copies=tuple(copies),
            last_restarts=tuple(restarts[-MOST_RESTARTS:]),
        )
        if running is None:
            return shown
        counters = {
            method: counter
            for method, counter in running.counters.items()
            if not method.startswith(CALL_PREFIX)
        }
        return replace(
            shown,
            methods={method: counter.snapshot() for method, counter in counters.items()},
            pending_requests=sum([counter.pending_requests for counter in counters.values()]),
            pending_instances=sum([counter.pending_instances for counter in counters.values()]),
            waiting_instances=running.waiting_instances,
            limits=(0, 0, 0) if running.pending is None else _numbers_of(running.pending.limits),
        )

    def _refused(self) -> dict[str, int]:
        """Requests that were refused, wherever that was counted."""
        total = dict(self._dispatcher.refused)
        parts: list[Mapping[str, int]] = [source.refused() for source in self._front_ends]
        for running in self._dispatcher.servables:
            parts += [counter.refused for counter in running.counters.values() if counter.refused]
        for part in parts:
            for why, count in part.items():
                total[why] = total.get(why, 0) + count
        return total


MOST_RESTARTS = 10
"""Ends of workers that are shown of each version."""


def _numbers_of(limits: Limits) -> tuple[int, int, int]:
    return limits.requests, limits.instances, limits.byte_size
