"""When workers that have died are started again, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mindspore_serving.server.supervision.restart_policy import (
    GIVEN_UP_S,
    LONGEST_DELAY_S,
    MOST_ENDS,
    WINDOW_S,
    RestartPolicy,
)

STEADY = 60.0


def delays_after(*served_s: float, blameless: Sequence[int] = ()) -> list[float]:
    """Delays of a worker that dies again and again, so rarely that nobody gives it up."""
    policy, delays = RestartPolicy(3), []
    for i, seconds in enumerate(served_s):
        now = 1000.0 * i
        assert not policy.ended(0, now, seconds, "", blameless=i in blameless)
        delays.append(policy.delay_s(0))
    return delays


@pytest.mark.parametrize(
    ("served_s", "delays"),
    [
        ([5], [1]),
        ([1000], [1]),
        ([0] * 8, [1, 2, 4, 8, 16, 30, 30, 30]),
        ([5, 59.9, STEADY, 0, 0], [1, 2, 1, 2, 4]),
        ([STEADY] * 3, [1, 1, 1]),
    ],
)
def test_the_delay_doubles_until_a_worker_has_served_for_a_while(
    served_s: list[float], delays: list[float]
) -> None:
    assert delays_after(*served_s) == delays


def test_ends_that_an_instance_has_brought_about_leave_the_delay() -> None:
    assert delays_after(5, 5, 5, blameless=[0, 1, 2]) == [1, 1, 1]
    assert delays_after(5, 5, 5, 5, blameless=[2, 3]) == [1, 2, 1, 1]
    assert delays_after(5, 5, 5, 5, blameless=[1]) == [1, 1, 1, 2]
    assert delays_after(5, 5, STEADY, 5, blameless=[2]) == [1, 2, 1, 1]


def test_each_worker_has_a_delay_of_its_own() -> None:
    policy = RestartPolicy(3)
    for now in (0.0, 1.0, 2.0):
        policy.ended(0, now, 0, "", blameless=False)
    policy.ended(1, 3.0, 0, "", blameless=False)
    assert (policy.delay_s(0), policy.delay_s(1)) == (4, 1)


def test_many_ends_in_a_short_time_give_all_up() -> None:
    policy = RestartPolicy(3)
    reached = [policy.ended(i % 3, float(i), 0, f"end {i}", blameless=False) for i in range(MOST_ENDS + 2)]
    assert reached.index(True) == MOST_ENDS - 1
    assert reached.count(True) == 1
    assert policy.given_up
    policy.ended(0, MOST_ENDS - 1 + GIVEN_UP_S - 0.1, 1000, "", blameless=False)
    assert policy.given_up


def test_after_a_while_one_end_is_one_again() -> None:
    policy = RestartPolicy(3)
    for i in range(MOST_ENDS):
        policy.ended(0, float(i), 0, "", blameless=False)
    now = MOST_ENDS - 1 + GIVEN_UP_S
    reached = [policy.ended(1, now + i, 0, "", blameless=False) for i in range(MOST_ENDS)]
    assert reached == [False] * (MOST_ENDS - 1) + [True]


def test_starts_without_a_process_are_no_ends_and_become_rarer() -> None:
    policy, delays = RestartPolicy(1), []
    policy.ended(0, 0.0, 5, "", blameless=False)
    for _ in range(20):
        delays.append(policy.delay_s(0))
        policy.could_not_start(0)
    assert delays == [1, 2, 4, 8, 16] + [LONGEST_DELAY_S] * 15
    assert (policy.given_up, len(policy.ends)) == (False, 1)
    assert not policy.ended(0, 500.0, STEADY, "", blameless=False)
    assert policy.delay_s(0) == 1


def test_what_was_counted_is_told() -> None:
    policy = RestartPolicy(3)
    policy.ended(0, 0.0, 0, "long ago", blameless=False)
    policy.ended(0, 1.0, 0, "over an instance", blameless=True)
    for i in range(MOST_ENDS):
        policy.ended(0, WINDOW_S + i, 0, f"end {i}", blameless=False)
    assert policy.ends == [f"end {i}" for i in range(MOST_ENDS)]
    assert policy.given_up


@pytest.mark.parametrize(("apart_s", "given_up"), [(WINDOW_S / 4, False), (WINDOW_S / 4 - 0.1, True)])
def test_ends_that_lie_far_apart_do_not_add_up(apart_s: float, given_up: bool) -> None:
    policy = RestartPolicy(3)
    for i in range(20):
        policy.ended(i, i * apart_s, 0, "", blameless=False)
    assert policy.given_up is given_up


def test_ends_that_an_instance_has_brought_about_do_not_count() -> None:
    policy = RestartPolicy(3)
    for i in range(50):
        policy.ended(0, i / 10, 0, "", blameless=True)
    reached = [policy.ended(0, 6.0 + i, 0, "", blameless=False) for i in range(MOST_ENDS)]
    assert reached.index(True) == MOST_ENDS - 1


def test_an_end_by_which_an_instance_became_a_suspect_is_excused() -> None:
    policy = RestartPolicy(3)
    for i in range(20):
        assert not policy.ended(i % 3, float(i), 0, "an instance becomes a suspect", blameless=False)
        assert not policy.ended((i + 1) % 3, i + 0.5, 0, "it runs alone", blameless=True)
    assert policy.ends == []
    assert policy.delay_s(0) == 1


@pytest.mark.parametrize(("workers", "most"), [(1, 5), (4, 5), (5, 6), (8, 9)])
def test_one_incident_that_ends_each_worker_once_gives_nobody_up(workers: int, most: int) -> None:
    policy = RestartPolicy(workers)
    reached = [policy.ended(i % workers, i / 100, 0, "", blameless=False) for i in range(most)]
    assert reached == [False] * (most - 1) + [True]


def test_the_end_of_a_worker_over_a_call_that_took_too_long_neither_counts_nor_excuses() -> None:
    policy = RestartPolicy(3)
    policy.ended(0, 0.0, 0, "counts", blameless=False)
    policy.ended(0, 1.0, 0, "counts too", blameless=False)
    for i in range(2 * MOST_ENDS):
        assert not policy.ended(0, 2.0 + i, 0, "overdue", blameless=True, excuses=False)
    assert policy.ends == ["counts", "counts too"]
    assert policy.delay_s(0) == 2
