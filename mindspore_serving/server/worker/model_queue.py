"""Chunks that wait for one graph of a model.

A graph with dynamic dimensions runs instances of one shape together. So chunks of one shape wait together, and shapes
take turns: a step has instances of one shape, as many as a batch has, wherever they came in. A shape that takes long,
as a long sequence does, has a step of its own, and results of others do not wait for it (ADR 57).
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.stages import Chunk, ChunkQueue, StageRunner
from mindspore_serving.server.worker.values import Values
from mindspore_serving.tensor import runs_of_equal


class ShapeQueue:
    """Chunks by the shapes of their inputs, in turns. Threads may append and take at the same time."""

    def __init__(self) -> None:
        self._by_shape: dict[Any, ChunkQueue] = {}  # the first one has the turn
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<ShapeQueue {len(self)} shapes>"

    def __len__(self) -> int:
        """Number of shapes that wait."""
        return len(self._by_shape)

    def append(self, item: tuple[StageRunner, Chunk]) -> None:
        """Add a chunk; where its rows differ in shape, its parts that do not."""
        stage, chunk = item
        columns = [_shapes_of(chunk.values[ref]) for ref in stage.stage.inputs]
        if all(isinstance(column, tuple) for column in columns):  # nearly always
            self._add(tuple(columns), stage, chunk)
            return
        rows = [column if isinstance(column, list) else [column] * chunk.count for column in columns]
        keys = list(zip(*rows, strict=True))
        for start, stop in runs_of_equal(keys):
            self._add(keys[start], stage, chunk.part(start, stop))

    def take(self, most: int) -> list[tuple[StageRunner, Chunk]]:
        """Remove up to `most` rows of the shape whose turn it is; what is left of it waits for its next turn."""
        with self._lock:
            if not self._by_shape:
                return []
            key = next(iter(self._by_shape))
            queue = self._by_shape.pop(key)
            taken = queue.take(most)
            if queue:
                self._by_shape[key] = queue
            return taken

    def _add(self, key: Any, stage: StageRunner, chunk: Chunk) -> None:
        with self._lock:
            self._by_shape.setdefault(key, ChunkQueue()).append((stage, chunk))


def _shapes_of(values: Values) -> tuple[int, ...] | list[tuple[int, ...] | None]:
    """The shape of all rows, or a list of that of each; None for what only becomes an array when it runs."""
    if values.spec is not None:
        return values.spec.shape
    return [item.shape if type(item) is np.ndarray else None for item in values.objects()]


class ModelQueue:
    """Chunks that wait for one graph, and how often it runs at the moment. Safe to use from several threads.

    Args:
        runner: Runs the graph.

    Attributes:
        waiting: The chunks.
        running: How often it runs now.
        concurrency: How often it may run at a time.
    """

    def __init__(self, runner: GraphRunner) -> None:
        self.runner = runner
        self.waiting = ShapeQueue() if runner.runs_by_shape else ChunkQueue()
        self.concurrency = runner.concurrency
        self.running = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<ModelQueue {len(self.waiting)} chunks, runs {self.running} of {self.concurrency} times>"

    def take(self) -> list[tuple[StageRunner, Chunk]]:
        """Take the next batch; `done` is to follow if there is one. Empty where the graph may not run once more now."""
        with self._lock:
            if self.running >= self.concurrency:
                return []
            taken = self.waiting.take(self.runner.batch_size)
            self.running += bool(taken)
            return taken

    def done(self) -> None:
        """Learn that a batch has been run."""
        with self._lock:
            self.running -= 1
