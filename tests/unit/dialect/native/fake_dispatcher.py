"""A dispatcher for tests of dialects: it keeps what it is given, and the test says what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from mindspore_serving.errors import ServingError, UnknownTarget
from mindspore_serving.rows import Reply, Rows
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import DataType
from tests.support.rows import model_types

Outcome = Callable[[list[Rows]], "Reply | ServingError | None"]


def echo(blocks: list[Rows]) -> Reply:
    """Each instance as it came."""
    return list(blocks)


class FakeDispatcher:
    """Knows methods of the servable `add`, each in version 1.

    Args:
        outcome: The outcome of instances; an error refuses them, None leaves them without any.
        room: Raised where room is asked for; None has room.
        inputs: Names of inputs, by method.
        types: Data types of inputs.

    Attributes:
        admitted: The instances of each request.
        times: The seconds that each was given.
        held: How many requests count as pending while their bodies are read.
        most_held: The most of them at a time.
        reading_begun: Set once there was one.
        submitted: Set once there was a request with instances.
        room: As above.
        refusal: Raised where a target is looked up; None finds it.
        futures: Of all requests.
    """

    def __init__(
        self,
        outcome: Outcome = echo,
        room: ServingError | None = None,
        inputs: Mapping[str, tuple[str, ...]] | None = None,
        types: Mapping[str, DataType] | None = None,
    ) -> None:
        methods = inputs or {"add": ("x1", "x2"), "echo": ("x",), "none": ()}
        self._signatures = {
            name: MethodSignature(name, names, 8, inputs=model_types(types or {}))
            for name, names in methods.items()
        }
        self._outcome = outcome
        self.room = room
        self.refusal: ServingError | None = None
        self.admitted: list[list[Rows]] = []
        self.times: list[float | None] = []
        self.held = 0
        self.most_held = 0
        self.reading_begun = asyncio.Event()
        self.submitted = asyncio.Event()
        self.futures: list[asyncio.Future[Reply]] = []

    def resolve(self, name: str, method: str, version: int) -> Destination:
        """The destination of a method."""
        if self.refusal is not None:
            raise self.refusal
        if name != "add" or version not in (0, 1) or method not in self._signatures:
            raise UnknownTarget(f"no {name}/{version}:{method}")
        servable: Any = SimpleNamespace(name=name, version=1)
        return Destination(servable, self._signatures[method])

    def check_room(self, destination: Destination) -> None:
        """Refuse where the test says so."""
        if self.room is not None:
            raise self.room

    @contextlib.contextmanager
    def reading(self, destination: Destination) -> Iterator[SimpleNamespace]:
        """Count a request whose body is being read."""
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        self.reading_begun.set()
        try:
            yield SimpleNamespace(admit=partial(self.admit, destination))
        finally:
            self.held -= 1

    def admit(
        self, destination: Destination, blocks: Sequence[Rows], timeout_s: float | None = None
    ) -> asyncio.Future[Reply]:
        """Have the outcome that the test says."""
        self.admitted.append(list(blocks))
        self.times.append(timeout_s)
        outcome = self._outcome(list(blocks))
        if isinstance(outcome, ServingError):
            raise outcome
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if outcome is not None:
            future.set_result(outcome)
        self.futures.append(future)
        self.submitted.set()
        return future
