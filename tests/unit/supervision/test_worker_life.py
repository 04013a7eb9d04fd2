"""The states of a worker, and what follows each of its ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindspore_serving.server.supervision.restart_policy import (
    FIRST_DELAY_S,
    GIVEN_UP_S,
    MOST_ENDS,
    RestartPolicy,
)
from mindspore_serving.server.supervision.worker_end import EndCause, WorkerEnd
from mindspore_serving.server.supervision.worker_life import (
    ALLOWED_MOVES,
    OVER,
    Done,
    GiveUp,
    StartAgain,
    TryAgain,
    WorkerState,
    comes_back,
    next_step,
)

NOW = 1000.0
SERVED = WorkerEnd(EndCause.DIED, NOW, "died", served=True)
IDLE = replace(SERVED, served=False)
BEFORE_IT_SERVED = GiveUp("died before it served anything; it is not started again")
WITH_AGENTS = GiveUp("died, and its agents with it; it is not started again")
TOO_MANY = GiveUp("is not started again: too many workers of its servable have died")


def policy_after(*ends: WorkerEnd) -> RestartPolicy:
    """A policy of one worker that has died like this."""
    policy = RestartPolicy(1)
    for end in ends:
        policy.ended(0, end.at, end.ready_s, end.text, blameless=end.blameless)
    return policy


@pytest.mark.parametrize(
    ("state", "end", "deaths", "may_return", "step"),
    [
        (WorkerState.EXITED, replace(SERVED, cause=EndCause.ON_PURPOSE), 0, True, Done()),
        (WorkerState.EXITED, replace(SERVED, cause=EndCause.ON_PURPOSE), 0, False, Done()),
        (WorkerState.DEAD, SERVED, 1, True, StartAgain(NOW + FIRST_DELAY_S)),
        (WorkerState.DEAD, SERVED, 2, True, StartAgain(NOW + 2 * FIRST_DELAY_S)),
        (WorkerState.DEAD, SERVED, 3, True, StartAgain(NOW + 4 * FIRST_DELAY_S)),
        (WorkerState.DEAD, SERVED, MOST_ENDS, True, TOO_MANY),
        (WorkerState.DEAD, IDLE, 1, True, BEFORE_IT_SERVED),
        (WorkerState.DEAD, IDLE, MOST_ENDS, True, BEFORE_IT_SERVED),
        (WorkerState.DEAD, SERVED, 1, False, WITH_AGENTS),
        (WorkerState.DEAD, IDLE, 0, False, WITH_AGENTS),
        (WorkerState.FAILED, SERVED, MOST_ENDS, True, TryAgain(NOW + 7 + GIVEN_UP_S)),
        (WorkerState.FAILED, IDLE, 1, True, TryAgain(NOW + 7 + GIVEN_UP_S)),
        (WorkerState.FAILED, IDLE, 0, False, Done()),
    ],
)
def test_what_follows_an_end(
    state: WorkerState, end: WorkerEnd, deaths: int, may_return: bool, step: object
) -> None:
    policy = policy_after(*[end] * deaths)
    assert next_step(state, end, policy, 0, NOW + 7, may_return=may_return) == step


@pytest.mark.parametrize("cause", [EndCause.HUNG, EndCause.OVERDUE_CALL, EndCause.NO_PROCESS])
def test_a_worker_that_has_served_is_started_again_after_each_kind_of_end(cause: EndCause) -> None:
    end = replace(SERVED, cause=cause)
    assert next_step(WorkerState.DEAD, end, RestartPolicy(1), 0, NOW) == StartAgain(NOW + FIRST_DELAY_S)


def test_the_delay_counts_from_the_end() -> None:
    steps = {next_step(WorkerState.DEAD, SERVED, RestartPolicy(1), 0, NOW + late) for late in (0, 0.5, 30)}
    assert steps == {StartAgain(NOW + FIRST_DELAY_S)}


@pytest.mark.parametrize(
    ("end", "may_return", "expected"),
    [
        (SERVED, True, True),
        (SERVED, False, False),
        (IDLE, True, False),
        (replace(SERVED, cause=EndCause.ON_PURPOSE), True, False),
        (replace(SERVED, cause=EndCause.OVERDUE_CALL), True, True),
    ],
)
def test_who_is_waited_for(end: WorkerEnd, may_return: bool, expected: bool) -> None:
    assert comes_back(end, may_return=may_return) is expected


@pytest.mark.parametrize(
    ("end", "blameless"),
    [
        (SERVED, False),
        (replace(SERVED, over_suspect=True), True),
        (replace(SERVED, cause=EndCause.OVERDUE_CALL), True),
        (replace(SERVED, cause=EndCause.HUNG), False),
    ],
)
def test_who_is_to_blame(end: WorkerEnd, blameless: bool) -> None:
    assert end.blameless is blameless


def test_every_state_has_its_moves_and_leads_to_an_end() -> None:
    assert set(ALLOWED_MOVES) == set(WorkerState)
    for state in WorkerState:
        reached, new = set(), {state}
        while new:
            reached |= new
            new = {to for one in new for to in ALLOWED_MOVES[one]} - reached
        assert reached & set(OVER)
    assert not ALLOWED_MOVES[WorkerState.EXITED]
