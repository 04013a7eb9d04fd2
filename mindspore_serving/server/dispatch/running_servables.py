"""The servables that run, and which of them answers a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from mindspore_serving.errors import ServableUnavailable, UnknownTarget
from mindspore_serving.options import ServableSettings
from mindspore_serving.server.dispatch.admitted_inputs import InputCheck
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.failures import request_spec
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.host.settings import DEFAULT_LATENCY_BUCKETS
from mindspore_serving.signature import CALL_PREFIX, MethodSignature


class RunningServables:
    """Every version of every servable that has been started.

    Args:
        loop: The event loop on which all methods are called.
        suspect_wait_s: How long an instance whose worker was lost waits for another copy before it runs on the last,
            in seconds.
        on_change: Called when copies have come or gone.
        latency_buckets: Bounds of the buckets in which times are counted, in seconds.

    Attributes:
        found: What `find_and_keep` has found in this generation, by name, method and version that were asked for.
        generation: Grows whenever a destination that was found before may be another one now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        suspect_wait_s: float,
        on_change: Callable[[], None],
        latency_buckets: tuple[float, ...] = DEFAULT_LATENCY_BUCKETS,
    ) -> None:
        self.found: dict[tuple[str, str, int], Destination] = {}
        self.generation = 0
        self._loop = loop
        self._suspect_wait_s = suspect_wait_s
        self._on_change = on_change
        self._latency_buckets = latency_buckets
        self._servables: dict[str, dict[int, RunningServable]] = {}
        self._settings: dict[tuple[str, int], ServableSettings] = {}

    def __iter__(self) -> Iterator[RunningServable]:
        return (servable for versions in self._servables.values() for servable in versions.values())

    def __repr__(self) -> str:
        return f"<RunningServables {list(self)}>"

    def servable(self, name: str, version: int) -> RunningServable:
        """The entry of a servable version, made at first use."""
        versions = self._servables.setdefault(name, {})
        if version not in versions:
            versions[version] = RunningServable(
                name, version, self._loop, self._copies_changed, self._suspect_wait_s, self._latency_buckets
            )
            if (name, version) in self._settings:
                versions[version].configure(self._settings[name, version])
        return versions[version]

    def configure(self, settings: ServableSettings) -> None:
        """Take the settings of a servable version; see `Dispatcher.configure`."""
        name, version = settings.servable_name, settings.version_number
        self._settings[name, version] = settings
        running = self._servables.get(name, {}).get(version)
        if running is not None:
            running.configure(settings)

    def methods(self, name: str, version: int) -> tuple[MethodSignature, ...]:
        """What clients may call of a servable version; nothing until its first worker has registered."""
        servable = self._servables.get(name, {}).get(version)
        return () if servable is None else servable.methods

    def statistics(self, name: str, version: int, method: str) -> MethodStatistics:
        """What has been counted until now of what clients may call; see `Dispatcher.statistics`."""
        servable = self._servables.get(name, {}).get(version)
        counter = None if servable is None else servable.counters.get(method)
        if counter is None or method.startswith(CALL_PREFIX):
            return MethodStatistics()
        return counter.snapshot()

    def running(self, name: str, version: int) -> RunningServable | None:
        """The entry of a servable version, if there is one."""
        return self._servables.get(name, {}).get(version)

    def find(self, name: str, method: str, version: int) -> Destination:
        """Find who answers a request; arguments and errors as of `Dispatcher.resolve`."""
        return self._destination(self._running(name, method, version), method, version)

    def find_called(self, name: str, method: str, version: int) -> Destination:
        """Find who answers what another method calls; it may wait for a copy that is being started again.

        Arguments and errors as of `find`.
        """
        versions = {n: one for n, one in self._servables.get(name, {}).items() if one.has_registered}
        number = version or max((n for n, one in versions.items() if one.copies), default=0)
        servable = versions.get(number)
        if (
            servable is None and versions and not version
        ):  # all are being started again, or the highest one says why not
            servable = versions[max(versions, key=lambda n: (versions[n].serves(method), n))]
        if servable is None:
            raise UnknownTarget(f"Request {request_spec(name, method, version)}, servable is not available")
        return self._destination(servable, method, version)

    def _destination(self, servable: RunningServable, method: str, version: int) -> Destination:
        signature = servable.method(method)
        if signature is None or method.startswith(CALL_PREFIX):
            raise UnknownTarget(
                f"Request {request_spec(servable.name, method, version)}, method is not available"
            )
        if not servable.serves(method):
            raise ServableUnavailable(servable.unavailable(method).text)
        check = InputCheck(signature) if signature.declares_inputs else None
        return Destination(servable, signature, version, self.generation, check)

    def find_and_keep(self, name: str, method: str, version: int) -> Destination:
        """Find who answers a request, as `find` does, and who answers all like it."""
        destination = self.found[name, method, version] = self.find(name, method, version)
        return destination

    def find_again(self, before: Destination) -> Destination:
        """Find who answers a request, as workers may have come and gone since.

        Args:
            before: Who would have answered it.

        Raises:
            UnknownTarget: There is no such target any more.
            ServableUnavailable: No worker of it is left, or its method has other inputs now.
        """
        destination = self.find(before.servable.name, before.method.name, before.version)
        if destination.method.input_names != before.method.input_names:
            raise before.unavailable()
        return destination

    def forget_found(self) -> None:
        """Let every destination be found again, also by whoever has kept one."""
        self.found.clear()
        self.generation += 1

    def _running(self, name: str, method: str, version: int) -> RunningServable:
        """The version that a request is for, which has a copy at least."""
        # One that no worker has registered yet is not there: clients are told the same of what is not started.
        known = self._servables.get(name, {}).items()
        versions = {number: servable for number, servable in known if servable.has_registered}
        number = version or max((n for n, servable in versions.items() if servable.copies), default=0)
        found = versions.get(number)
        if found is not None and found.copies:
            return found
        text = f"Request {request_spec(name, method, version)}, servable is not available"
        raise ServableUnavailable(text) if found or (versions and not version) else UnknownTarget(text)

    def _copies_changed(self) -> None:
        self.forget_found()
        self._on_change()
