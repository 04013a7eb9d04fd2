"""Fills the page: what there is now, and the figures of each window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mindspore_serving.server.console.status.counted import NOTHING, Counted
from mindspore_serving.server.console.status.document import (
    WINDOWS,
    CopyStatus,
    FrontEndStatus,
    Limit,
    MethodStatus,
    RestartOf,
    StatusDocument,
    VersionStatus,
    Window,
)
from mindspore_serving.server.console.status.history import MethodKey, Reading
from mindspore_serving.server.console.status.windows import window_of
from mindspore_serving.server.service.error_text import hidden
from mindspore_serving.server.service.server_statistics import (
    FrontEndStatistics,
    ServerStatistics,
    VersionStatistics,
)

MOST_METHODS: Final = 50
"""Methods with figures on a page, unless it is asked for others."""
MOST_VERSIONS: Final = 200
"""Versions on a page."""
_READY: Final = "ready"
_PENDING: Final = ("pending_requests", "pending_instances", "pending_bytes")
_BUSY_WINDOW: Final = "1m"
"""Of the requests in it, which methods and versions are the busiest."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is wanted on the page.

    Attributes:
        servable: Only this servable; "" for all.
        most_methods: Methods with figures, of all versions together.
    """

    servable: str = ""
    most_methods: int = MOST_METHODS


@dataclass(frozen=True, slots=True)
class Moment:
    """All that a page is made of.

    Attributes:
        statistics: Of now.
        reading: Made of these.
        earlier: For each window, the reading at its begin.
        not_ready: Why the server is not ready; "" where it is.
        usable_memory_bytes: That the server may use.
    """

    statistics: ServerStatistics
    reading: Reading
    earlier: Mapping[str, Reading]
    not_ready: str
    usable_memory_bytes: int


def status_document(moment: Moment, choice: Choice) -> StatusDocument:
    """The page.

    Args:
        moment: What it is made of.
        choice: What is wanted.
    """
    statistics = moment.statistics
    wanted = [one for one in statistics.versions if choice.servable in ("", one.servable)]
    shown = _most_important(wanted, moment)
    busiest = _busiest_methods(shown, moment, choice.most_methods)
    memory = statistics.memory_bytes + sum(
        copy.memory_bytes for version in statistics.versions for copy in version.copies
    )
    return StatusDocument(
        build=statistics.build,
        started_unix_s=round(statistics.started, 3),
        uptime_s=round(statistics.uptime_s, 3),
        ready=not moment.not_ready,
        reason=hidden(moment.not_ready),
        pending_requests=statistics.pending_requests,
        pending_instances=statistics.pending_instances,
        pending_bytes=statistics.pending_bytes,
        memory_bytes=memory,
        refused={why: count for why, count in statistics.refused.items() if count},
        limits=(
            *_pending_limits("server", _pending_of(statistics), statistics.limits),
            *_limit("memory_bytes", "server", memory, moment.usable_memory_bytes),
            *(limit for front_end in statistics.front_ends for limit in _connections(front_end)),
        ),
        front_ends=tuple(
            FrontEndStatus(one.kind, hidden(one.address), one.connections if one.connections >= 0 else None)
            for one in statistics.front_ends
        ),
        windows=_windows_of_server(moment),
        versions=tuple(
            _version(one, moment, busiest)
            for one in sorted(shown, key=lambda one: (one.servable, one.version))
        ),
        versions_left_out=len(wanted) - len(shown),
    )


def _windows_of_server(moment: Moment) -> dict[str, Window]:
    now = moment.reading
    return {
        name: window_of(now.total, begin.total, now.at - begin.at) for name, begin in moment.earlier.items()
    }


def _version(version: VersionStatistics, moment: Moment, busiest: frozenset[MethodKey]) -> VersionStatus:
    label = f"{version.servable}/{version.version}"
    keys = [MethodKey(version.servable, version.version, name) for name in version.methods]
    shown = [key for key in keys if key in busiest]
    used = (version.pending_requests, version.pending_instances)
    ends_s = moment.statistics.started + moment.statistics.uptime_s
    return VersionStatus(
        servable=version.servable,
        version=version.version,
        state=version.state,
        reason=hidden(version.reason),
        pending_requests=version.pending_requests,
        pending_instances=version.pending_instances,
        waiting_instances=version.waiting_instances,
        limits=_pending_limits(label, used, version.limits),
        copies=tuple(
            CopyStatus(
                copy.worker,
                copy.device,
                copy.state,
                copy.pid,
                copy.memory_bytes,
                copy.slots,
                copy.slots_used,
                copy.restarts,
            )
            for copy in version.copies
        ),
        last_restarts=tuple(
            RestartOf(round(one.at, 3), round(max(0.0, ends_s - one.at), 1), one.worker, hidden(one.reason))
            for one in version.last_restarts
        ),
        methods=tuple(MethodStatus(key.method, _windows_of_method(key, moment)) for key in shown),
        methods_left_out=len(keys) - len(shown),
    )


def _windows_of_method(key: MethodKey, moment: Moment) -> dict[str, Window]:
    found = {}
    now = moment.reading
    for name in WINDOWS:
        begin = moment.earlier[name]
        counted, before = _counted(now, key), _counted(begin, key)
        if counted is not None and before is not None:
            found[name] = window_of(counted, before, now.at - begin.at)
    return found


def _counted(reading: Reading, key: MethodKey) -> Counted | None:
    """What was counted of a method; None where it was not kept."""
    return reading.methods.get(key, NOTHING)


def _requests_in_last_minute(key: MethodKey, moment: Moment) -> tuple[int, int]:
    """Of a method: requests in the last minute, and since the start; what was not kept counts as nothing."""
    now = sum((_counted(moment.reading, key) or NOTHING).requests.values())
    before = sum((_counted(moment.earlier[_BUSY_WINDOW], key) or NOTHING).requests.values())
    return now - before, now


def _busiest_methods(
    versions: Iterable[VersionStatistics], moment: Moment, most: int
) -> frozenset[MethodKey]:
    keys = [MethodKey(one.servable, one.version, name) for one in versions for name in one.methods]
    if len(keys) > most:
        keys.sort(key=lambda key: _requests_in_last_minute(key, moment), reverse=True)
    return frozenset(keys[:most])


def _most_important(versions: Sequence[VersionStatistics], moment: Moment) -> Sequence[VersionStatistics]:
    """Those that are not ready, and then the busiest."""
    if len(versions) <= MOST_VERSIONS:
        return versions

    def weight(version: VersionStatistics) -> tuple[bool, int]:
        keys = [MethodKey(version.servable, version.version, name) for name in version.methods]
        return version.state != _READY, sum(_requests_in_last_minute(key, moment)[0] for key in keys)

    return sorted(versions, key=weight, reverse=True)[:MOST_VERSIONS]


def _pending_of(statistics: ServerStatistics) -> tuple[int, int, int]:
    return statistics.pending_requests, statistics.pending_instances, statistics.pending_bytes


def _pending_limits(of: str, used: Sequence[int], most: Sequence[int]) -> tuple[Limit, ...]:
    return tuple(
        limit
        for name, here, limit_ in zip(_PENDING, used, most, strict=False)
        for limit in _limit(name, of, here, limit_)
    )


def _connections(front_end: FrontEndStatistics) -> tuple[Limit, ...]:
    if front_end.connections < 0:
        return ()
    of = f"{front_end.kind} {hidden(front_end.address)}"
    return _limit("connections", of, front_end.connections, front_end.most_connections)


def _limit(name: str, of: str, used: int, most: int) -> tuple[Limit, ...]:
    """A limit, if there is one."""
    return (Limit(name, of, used, most, round(used / most, 4)),) if most > 0 else ()
