"""What a worker does next, as tables: state on the left, the decision on the right."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from mindspore_serving.server.worker.scheduling import (
    QUICK_MODEL_S,
    SLICED,
    ModelsRun,
    is_report_due,
    next_model,
    next_stage,
    rows_of_step,
    where_models_run,
)
from mindspore_serving.signature import PARTIAL_REPLY_S

N: list[str] = []
"""Nothing waits at a stage."""
W = ["chunk"]


@pytest.mark.parametrize(
    ("waiting", "turn", "expected"),
    [
        ([], 0, None),
        ([[]], 0, None),  # a method without stages
        ([[N, N], [N]], 1, None),
        ([[W]], 0, (0, 0)),
        ([[W]], 1, (0, 0)),  # the turn after the last method is the first one's
        ([[W, N, N]], 0, (0, 0)),
        ([[W, W, N]], 0, (0, 1)),  # the latest stage with waiting rows
        ([[W, W, W]], 0, (0, 2)),
        ([[N, W], [W, N]], 0, (0, 1)),
        ([[N, W], [W, N]], 1, (1, 0)),  # methods take turns, however much waits at others
        ([[W, W], [], [N, W]], 1, (2, 1)),  # methods without work are passed over
        ([[W, W], [N], [N, N]], 1, (0, 1)),
        ([[N], [W], [W]], 3, (1, 0)),
    ],
)
def test_next_stage(waiting: list[list[list[str]]], turn: int, expected: tuple[int, int] | None) -> None:
    assert next_stage(waiting, turn) == expected


def test_methods_take_turns_until_all_are_served() -> None:
    waiting = [[["a"] * 3], [["b"] * 2], [["c"]]]
    turn, order = 0, ""
    while (at := next_stage(waiting, turn)) is not None:
        method, stage = at
        order += waiting[method][stage].pop()
        turn = method + 1
    assert order == "abcaba"


class Graph(NamedTuple):
    waiting: list[str]
    running: int = 0
    concurrency: int = 1


@pytest.mark.parametrize(
    ("models", "turn", "expected"),
    [
        ([], 0, None),
        ([Graph(N)], 0, None),
        ([Graph(W)], 0, 0),
        ([Graph(W)], 1, 0),
        ([Graph(W, running=1)], 0, None),  # it runs already
        ([Graph(W, running=1, concurrency=2)], 0, 0),
        ([Graph(W, running=2, concurrency=2)], 0, None),
        ([Graph(W), Graph(W)], 1, 1),
        ([Graph(W), Graph(N)], 1, 0),
        ([Graph(W), Graph(W, running=1), Graph(W)], 1, 2),
    ],
)
def test_next_model(models: list[Graph], turn: int, expected: int | None) -> None:
    assert next_model(models, turn) == expected


@pytest.mark.parametrize(("takes_batch", "batch_size", "expected"), [(True, 5, 5), (False, 5, SLICED)])
def test_rows_of_a_step(takes_batch: bool, batch_size: int, expected: int) -> None:
    assert rows_of_step(takes_batch, batch_size) == expected


HERE, HANDED_OVER = ModelsRun.HERE, ModelsRun.HANDED_OVER
QUICK, SLOW = QUICK_MODEL_S / 2, QUICK_MODEL_S


@pytest.mark.parametrize(
    ("has_threads", "may_run_here", "model_s", "functions_wait", "expected"),
    [
        (False, False, SLOW, True, HERE),  # nobody else would run them
        (False, True, QUICK, False, HERE),
        (True, True, QUICK, False, HERE),  # a hand-over costs more than they do
        (True, True, QUICK, True, HANDED_OVER),  # functions need the main thread
        (True, True, SLOW, False, HANDED_OVER),
        (True, False, QUICK, False, HANDED_OVER),  # they are waited for, and no work of this process
    ],
)
def test_where_models_run(
    has_threads: bool,
    may_run_here: bool,
    model_s: float,
    functions_wait: bool,
    expected: ModelsRun,
) -> None:
    where = where_models_run(
        has_threads=has_threads,
        may_run_here=may_run_here,
        model_s=model_s,
        functions_wait=functions_wait,
    )
    assert where is expected


@pytest.mark.parametrize(
    ("pending", "since_s", "expected"),
    [
        (0, 0.0, True),  # all is done
        (1, 0.0, False),
        (1, PARTIAL_REPLY_S, False),
        (1, 1.01 * PARTIAL_REPLY_S, True),  # batch-mates of a slow instance wait no longer
    ],
)
def test_is_report_due(pending: int, since_s: float, expected: bool) -> None:
    assert is_report_due(pending, since_s) is expected
