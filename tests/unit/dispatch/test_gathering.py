"""When a batch is held back while the event loop is busy."""

import pytest

from mindspore_serving.server.dispatch.gathering import Gathering

US = 1e-6


class Loop:
    """A loop that asks once per turn; the clock moves as the test says."""

    def __init__(self) -> None:
        self.gathering = Gathering()
        self.now = 1000.0

    def turns_held(self, turn_s: float, most: int = 1000) -> int:
        """Open a batch, and count the turns until it is let go."""
        self.gathering.open(self.now)
        for turn in range(most):
            self.now += turn_s
            if not self.gathering.holds(self.now):
                return turn
        return most

    def batches(self, number: int, requests: int, turn_s: float = 5 * US) -> list[int]:
        """Send so many batches of so many requests; returns for how many turns each was held."""
        held = []
        for _ in range(number):
            held.append(self.turns_held(turn_s))
            self.gathering.close(requests)
        return held


def test_the_first_batches_go_at_once() -> None:
    assert Loop().batches(15, requests=1) == [0] * 15


def test_one_of_sixteen_is_held_where_that_brings_nothing() -> None:
    held = Loop().batches(160, requests=1)
    assert [at for at, turns in enumerate(held) if turns] == list(range(15, 160, 16))


def test_two_clients_do_not_wait_for_each_other() -> None:
    held = Loop().batches(1600, requests=2)
    assert sum(turns > 0 for turns in held) == 100


def test_each_is_held_while_that_brings_requests_together() -> None:
    loop = Loop()
    loop.batches(64, requests=8)
    assert all(loop.batches(50, requests=8))


def test_what_could_not_be_sent_says_nothing() -> None:
    loop = Loop()
    loop.batches(64, requests=8)
    loop.batches(100, requests=0)
    assert all(loop.batches(5, requests=8))


def test_when_requests_come_alone_again_it_ends() -> None:
    loop = Loop()
    loop.batches(64, requests=8)
    held = loop.batches(20, requests=1)
    assert all(held[:3])
    assert not any(held[8:16])


@pytest.fixture
def busy() -> Loop:
    loop = Loop()
    loop.batches(64, requests=8)
    return loop


def test_an_idle_loop_lets_go_after_a_lull(busy: Loop) -> None:
    assert busy.turns_held(5 * US) * 5 <= 40
    assert busy.turns_held(10 * US) * 10 <= 40


def test_a_busy_loop_lets_go_after_two_milliseconds(busy: Loop) -> None:
    assert busy.turns_held(100 * US) == pytest.approx(20, abs=1)


def test_work_starts_the_lull_anew(busy: Loop) -> None:
    busy.gathering.open(busy.now)
    answers = []
    for turn_s in (12, 12, 12, 100, 12, 12, 12, 12, 12):
        busy.now += turn_s * US
        answers.append(busy.gathering.holds(busy.now))
    assert answers == [True] * 7 + [False] * 2


def test_repr_tells_the_mean(busy: Loop) -> None:
    assert repr(Gathering()) == "<Gathering 0.0 requests a batch>"
    busy.batches(50, requests=8)
    assert repr(busy.gathering) == "<Gathering 8.0 requests a batch>"
