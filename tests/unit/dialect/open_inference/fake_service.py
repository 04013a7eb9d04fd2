"""A service for tests of the dialect: methods as the test declares them, outcomes as the test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from mindspore_serving.errors import ServingError, UnknownTarget
from mindspore_serving.rows import Reply, Rows
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.readiness import STARTING, WorkerHealth
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.statistics import Statistics
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

Outcome = Callable[[list[Rows]], "Reply | ServingError | None"]
FLOATS = TensorType("x", DataType.FLOAT32, (2,))


def method(
    name: str = "add",
    inputs: Sequence[TensorType] = (FLOATS,),
    outputs: Sequence[TensorType] = (FLOATS,),
    *,
    rows: bool = True,
    **more: Any,
) -> MethodSignature:
    """A method whose tensors are declared."""
    return MethodSignature(
        name,
        tuple(one.name for one in inputs),
        4,
        output_names=tuple(one.name for one in outputs),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        rows=rows,
        **more,
    )


def untyped(name: str, inputs: Sequence[str], outputs: Sequence[str], **more: Any) -> MethodSignature:
    """A method of which only names are known."""
    known = [TensorType(one) for one in inputs], [TensorType(one) for one in outputs]
    return method(name, *known, **{"rows": False, **more})


def echo(blocks: list[Rows]) -> Reply:
    """Each instance as it came."""
    return list(blocks)


class FakeDispatcher:
    """Runs methods without workers.

    Args:
        methods: By servable and version.
        outcome: The outcome of instances; an error refuses them, None leaves them without any.

    Attributes:
        admitted: Blocks, seconds, priority and parameters of each request.
        room: Raised where room is asked for; None has room.
        lost: Servables of which no worker is left.
        counted: Statistics by servable, version and method.
        held: How many requests count as pending while bodies are read.
        most_held: The most of them at a time.
        begun: Set once there was one.
        submitted: Set once there was a request with instances.
    """

    closing = ""

    def __init__(
        self, methods: Mapping[tuple[str, int], Sequence[MethodSignature]], outcome: Outcome = echo
    ) -> None:
        self.known = dict(methods)
        self.on_change: Callable[[], None] = lambda: None
        self.outcome = outcome
        self.admitted: list[tuple[list[Rows], float | None, int, Any]] = []
        self.futures: list[asyncio.Future[Reply]] = []
        self.room: ServingError | None = None
        self.lost: set[str] = set()
        self.counted: dict[tuple[str, int, str], MethodStatistics] = {}
        self.held = self.most_held = 0
        self.begun = asyncio.Event()
        self.submitted = asyncio.Event()
        self.resolved = 0

    def methods(self, name: str, version: int) -> tuple[MethodSignature, ...]:
        return tuple(self.known.get((name, version), ()))

    def statistics(self, name: str, version: int, called: str) -> MethodStatistics:
        return self.counted.get((name, version, called), MethodStatistics())

    def resolve(self, name: str, called: str, version: int) -> Destination:
        self.resolved += 1
        number = version or max(number for known, number in self.known if known == name)
        for one in self.known.get((name, number), ()):
            if one.name == called and name not in self.lost:
                servable: Any = SimpleNamespace(name=name, version=number)
                return Destination(servable, one, version)
        raise UnknownTarget("nobody knows")

    def check_room(self, destination: Destination) -> None:
        if self.room is not None:
            raise self.room

    @contextlib.contextmanager
    def reading(self, destination: Destination) -> Iterator[SimpleNamespace]:
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        self.begun.set()
        try:
            yield SimpleNamespace(destination=destination, admit=partial(self.admit, destination))
        finally:
            self.held -= 1

    @contextlib.contextmanager
    def writing(self, destination: Destination) -> Iterator[None]:
        yield

    def admit(
        self,
        destination: Destination,
        blocks: Sequence[Rows],
        timeout_s: float | None = None,
        *,
        priority: int = 0,
        parameters: Any = None,
    ) -> asyncio.Future[Reply]:
        self.admitted.append((list(blocks), timeout_s, priority, parameters))
        outcome = self.outcome(list(blocks))
        if isinstance(outcome, ServingError):
            raise outcome
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if outcome is not None:
            future.set_result(outcome)
        self.futures.append(future)
        self.submitted.set()
        return future


class Workers:
    """Who has a worker for each version of each servable.

    Args:
        versions: Servable and version, with why it does not serve; "" where it does.
    """

    def __init__(self, versions: Mapping[tuple[str, int], str]) -> None:
        self.versions = dict(versions)

    def workers_health(self) -> list[WorkerHealth]:
        return [
            WorkerHealth(
                name, number, "device0", STARTING if reason == STARTING else "up", not reason, reason
            )
            for (name, number), reason in self.versions.items()
        ]


def service_of(
    methods: Mapping[tuple[str, int], Sequence[MethodSignature]] | Sequence[MethodSignature],
    outcome: Outcome = echo,
    not_ready: Mapping[tuple[str, int], str] | None = None,
) -> tuple[Service, FakeDispatcher]:
    """A service that serves methods.

    Args:
        methods: By servable and version; methods alone are those of version 1 of `m`.
        outcome: As of `FakeDispatcher`.
        not_ready: Why versions do not serve.
    """
    known = methods if isinstance(methods, Mapping) else {("m", 1): methods}
    dispatcher = FakeDispatcher({key: found for key, found in known.items() if found}, outcome)
    as_dispatcher = cast("Dispatcher", dispatcher)
    catalog = Catalog(as_dispatcher)
    reasons = not_ready or {}
    catalog.add(Workers({key: reasons.get(key, "") for key in (*known, *reasons)}))
    return Service(as_dispatcher, catalog, Statistics(as_dispatcher)), dispatcher
