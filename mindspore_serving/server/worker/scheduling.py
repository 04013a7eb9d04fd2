"""What a worker does next: the one place where that is decided.

Synchronous functions over plain state. They have no clock, no I/O, no threads and no locks, and change nothing. The
engine and the loop of the process ask here and do what the answer says. The rules (ADR 46):

* Methods take turns, so that a busy one cannot starve another. Of the method whose turn it is, the latest stage with
  waiting rows runs: what is nearly done leaves first, and a worker holds few half-finished rows.
* Models have turns of their own, because a model runs instances of all methods together. A model whose graph already
  runs as often as it may is passed over.
* A function that takes a batch runs as many rows as its batch has. One that takes an instance gets `SLICED` of them;
  the time slice of `FunctionRunner` ends the step earlier where they are slow.
* Models run on the main thread if the process has no thread for them. Where it has, quick models still run on the main
  thread while no function waits, because a hand-over costs more than they do. Everything else is handed over.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from enum import Enum
from typing import Protocol

from mindspore_serving.signature import PARTIAL_REPLY_S

SLICED = 64
"""Most rows of one step of a function that takes one instance."""
QUICK_MODEL_S = 0.001
"""Below this time for a batch, a model runs on the main thread if nothing waits for a function."""


class ModelState(Protocol):
    """What is looked at in one graph of a model."""

    @property
    def waiting(self) -> Sized:
        """The chunks that wait for it."""

    @property
    def running(self) -> int:
        """How often it runs now."""

    @property
    def concurrency(self) -> int:
        """How often it may run at a time."""


class ModelsRun(Enum):
    """Where models run next."""

    HERE = "on the main thread"
    HANDED_OVER = "on threads of their own, which are to be woken"


def next_stage(waiting: Sequence[Sequence[Sized]], turn: int) -> tuple[int, int] | None:
    """Which stage runs a step next.

    Args:
        waiting: Per method and stage, the chunks that wait there for a function or built-in.
        turn: Index of the method that is looked at first.

    Returns:
        Indices of its method and, within that, of the stage; None where nothing waits.
    """
    count = len(waiting)
    for step in range(count):
        method = (turn + step) % count
        stages = waiting[method]
        if not any(stages):
            continue
        for stage in range(len(stages) - 1, -1, -1):
            if stages[stage]:
                return method, stage
    return None


def next_model(models: Sequence[ModelState], turn: int) -> int | None:
    """Which graph runs a batch next.

    Args:
        models: The graphs of all models.
        turn: Index of the graph that is looked at first.

    Returns:
        Its index; None where nothing waits that may run now.
    """
    count = len(models)
    for step in range(count):
        at = (turn + step) % count
        model = models[at]
        if model.waiting and model.running < model.concurrency:
            return at
    return None


def rows_of_step(takes_batch: bool, batch_size: int) -> int:
    """Most rows that one step of a function takes from its queue.

    Args:
        takes_batch: Whether the function is called once for all of them.
        batch_size: Most rows of one call, where it is.
    """
    return batch_size if takes_batch else SLICED


def where_models_run(
    *, has_threads: bool, may_run_here: bool, model_s: float, functions_wait: bool
) -> ModelsRun:
    """Which thread runs models next, of which one has work that may run now.

    Args:
        has_threads: Whether the process has threads for models.
        may_run_here: Whether models may run on the main thread although there are such threads.
        model_s: Seconds that a batch of a model has taken of late.
        functions_wait: Whether work for functions waits, which only the main thread does.
    """
    if not has_threads:
        return ModelsRun.HERE
    quick = model_s < QUICK_MODEL_S
    return ModelsRun.HERE if may_run_here and quick and not functions_wait else ModelsRun.HANDED_OVER


def is_report_due(pending: int, since_report_s: float) -> bool:
    """Whether results of a job are to be sent now.

    Args:
        pending: Rows without an outcome.
        since_report_s: Seconds since its last report, or since it arrived.
    """
    return pending == 0 or since_report_s > PARTIAL_REPLY_S
