"""How the time of a method is shared by its stages."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mindspore_serving.server.backend.contract import LoadedGraph
from mindspore_serving.server.register.definition import MethodDefinition, StageDefinition, StageKind
from mindspore_serving.tensor import Array


def name_of(stage: StageDefinition) -> str:
    """How a stage is called."""
    return f"{stage.index}. {stage.kind.value} {stage.target}"


class StageClock:
    """Adds up the seconds of functions and models.

    Attributes:
        seconds: By the name of what has run. What a function calls counts as the function's.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._busy = False

    def measure(self, name: str, call: Callable[[], Any]) -> Any:
        """Call something, and add its time to a name."""
        if self._busy:
            return call()
        self._busy = True
        begin = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds[name] += time.perf_counter() - begin
            self._busy = False

    def watching(self, method: MethodDefinition) -> MethodDefinition:
        """The method, its functions measured under `name_of` their stages."""
        return replace(method, stages=tuple(self._watched(stage) for stage in method.stages))

    def _watched(self, stage: StageDefinition) -> StageDefinition:
        function = stage.function
        if stage.kind is not StageKind.FUNCTION or function is None:
            return stage

        @functools.wraps(function)
        def measured(*args: Any) -> Any:
            returned = self.measure(name_of(stage), lambda: function(*args))
            return self._items(name_of(stage), returned) if isinstance(returned, Generator) else returned

        return replace(stage, function=measured)

    def _items(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (item := self.measure(name, lambda: next(items, end))) is not end:
            yield item


class WatchedGraph:
    """A graph whose time is measured.

    Args:
        graph: The graph.
        name: What it counts as.
        clock: Takes its time.
    """

    def __init__(self, graph: LoadedGraph, name: str, clock: StageClock) -> None:
        self._graph = graph
        self._name = name
        self._clock = clock

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the graph; arguments and errors as the contract has them."""
        outputs: list[Array] = self._clock.measure(self._name, lambda: self._graph.predict(arrays))
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)
