"""Writes down what the threads of a worker call, so that the main process can end a call that takes too long.

A thread works on instances of a stage (`work`). Each call of a function starts the clock of the thread anew. So does a
model, but within a function, whose clock goes on. What a thread merely waits for does not count: its turn at a model,
and models of other workers (`untimed`). A pipeline has no clock, because it waits for methods, whose stages have
theirs; but the models that it calls itself have (ADR 20).
"""

from __future__ import annotations

import faulthandler
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from mindspore_serving.errors import ServingError
from mindspore_serving.server.backend.contract import ConcurrentGraph, LoadedGraph
from mindspore_serving.server.channel.call_page import RECORDS, TRACEBACK_SIGNAL, CallPage, HeldRows
from mindspore_serving.server.register.definition import StageDefinition, StageKind
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.stage_functions import stage_failure
from mindspore_serving.signature import CALL_PREFIX, GraphSignature
from mindspore_serving.tensor import Array

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Work(threading.local):
    """What a thread works on.

    Attributes:
        text: What its instances get if the call does not end.
        calls: Per call, the rows of the main process's batches that it is for.
        at: Index of the current call.
        record: Where the call is written down; -1 while none is.
    """

    text = b""
    calls: Sequence[Sequence[HeldRows]] = ()
    at = 0
    record = -1


class CallWatch:
    """The calls of this worker.

    Args:
        page: Where they are written down.
        limit_ms: Milliseconds that a call may take; for error texts, the main process is who counts.
    """

    def __init__(self, page: CallPage, limit_ms: float) -> None:
        self._page = page
        self._work = _Work()
        self._free = deque(reversed(range(RECORDS)))
        self._reason = f"ran for longer than stage_timeout_ms {limit_ms:.15g}"
        self._of_nobody = f"Call Model Failed, error msg: {self._reason}".encode()
        self._exclusive = threading.Lock()

    def text_of(self, stage: StageDefinition, method: str) -> bytes:
        """What an instance gets whose call in a stage does not end."""
        if method.startswith(CALL_PREFIX):  # a name that clients do not know
            return f"Call {stage.tag} Failed, error msg: {self._reason}".encode()
        what = "a model " if stage.kind is StageKind.PIPELINE else ""
        return stage_failure(stage, method, ServingError(what + self._reason)).text.encode()

    def timed(self, stage: StageDefinition) -> StageDefinition:
        """The stage with a function that starts the clock; a pipeline's only tells which instance is next."""
        function = stage.function
        if function is None:
            return stage
        call: Callable[..., Any] = function
        advance = not stage.takes_batch
        limited = stage.kind is not StageKind.PIPELINE

        def timed_call(*args: Any) -> Any:
            self._work.at += advance
            if limited:
                self._start()
            return call(*args)

        return replace(stage, function=timed_call)

    def leave_to_parent(self) -> None:
        """In a forked child: write no more where the main process looks for calls of the parent."""
        self._page = CallPage.create()

    def time_models(self, runners: Sequence[GraphRunner]) -> None:
        """Let the graphs that are loaded in this process start the clock."""
        for runner in runners:
            if isinstance(runner, ModelRunner):
                # Graphs that exclude each other wait here, where it does not count, and not for each other.
                exclusive = threading.Lock() if isinstance(runner.graph, ConcurrentGraph) else self._exclusive
                runner.graph = _TimedGraph(runner.graph, self, exclusive)

    @contextmanager
    def work(self, text: bytes, calls: Sequence[Sequence[HeldRows]], one_by_one: bool) -> Iterator[None]:
        """Within the block, this thread works on instances; the clock stops at its end.

        Args:
            text: From `text_of`.
            calls: The rows of each call if `one_by_one`, else of any call.
            one_by_one: Whether the function takes one instance.
        """
        work = self._work
        work.text, work.calls, work.at = text, calls, -1 if one_by_one else 0
        try:
            yield
        finally:
            self._stop()
            work.text, work.calls = b"", ()

    def origin(self) -> Sequence[HeldRows]:
        """The rows for which this thread calls something; empty if it is not one of Serving's own."""
        work = self._work
        return work.calls[work.at] if 0 <= work.at < len(work.calls) else ()

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Within the block the clock of this thread stands still."""
        record = self._work.record
        if record < 0:
            yield
            return
        spent = time.monotonic_ns() - self._page.begun(record)
        self._page.set_begun(record, 0)
        try:
            yield
        finally:
            self._page.set_begun(record, time.monotonic_ns() - spent)

    def waiting(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """The function, `untimed`."""

        def untimed_call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with self.untimed():
                return function(*args, **kwargs)

        return untimed_call

    @contextmanager
    def model_call(self, exclusive: threading.Lock) -> Iterator[None]:
        """Within the block this thread runs a model, with its clock on.

        Args:
            exclusive: Held meanwhile.
        """
        with self.untimed():
            exclusive.acquire()
        try:
            own = self._work.record < 0
            if own:
                self._start()
            try:
                yield
            finally:
                if own:
                    self._stop()
        finally:
            exclusive.release()

    def _start(self) -> None:
        work = self._work
        if work.record < 0:
            if not self._free:  # only threads of the user's own can be so many
                return
            work.record = self._free.pop()
        self._page.begin(work.record, time.monotonic_ns(), work.text or self._of_nobody, self.origin())

    def _stop(self) -> None:
        work = self._work
        if work.record >= 0:
            self._page.set_begun(work.record, 0)
            self._free.append(work.record)
            work.record = -1


class _TimedGraph:
    """A graph whose runs are written down.

    Args:
        graph: The graph.
        watch: Writes them down.
        exclusive: Held while it runs.
    """

    def __init__(self, graph: LoadedGraph, watch: CallWatch, exclusive: threading.Lock) -> None:
        self._graph = graph
        self._watch = watch
        self._exclusive = exclusive

    @property
    def signature(self) -> GraphSignature:
        """As the graph's."""
        return self._graph.signature

    @property
    def dynamic_batch(self) -> bool:
        """As the graph's."""
        return self._graph.dynamic_batch

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the graph; see `LoadedGraph.predict`."""
        with self._watch.model_call(self._exclusive):
            return self._graph.predict(arrays)

    def close(self) -> None:
        """Unload the graph."""
        self._graph.close()


def end_with_traceback_on_signal() -> None:
    """Let `TRACEBACK_SIGNAL` write to stderr where each thread is, also while native code runs, and end the process."""
    signal.signal(TRACEBACK_SIGNAL, signal.SIG_DFL)
    faulthandler.register(TRACEBACK_SIGNAL, chain=True)
