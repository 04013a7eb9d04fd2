"""When a batch stays open while the event loop is busy."""

import pytest

from mindspore_serving.server.dispatch.gathering import Gathering

US = 1e-6


class Loop:
    """A loop that asks once per iteration; the clock moves as the test says."""

    def __init__(self) -> None:
        self.gathering = Gathering()
        self.now = 1000.0

    def iterations_open(self, iteration_s: float, most: int = 1000, first: int = 1) -> int:
        """Open a batch, and count the iterations for which it stays open."""
        self.gathering.open(self.now)
        for iteration in range(most):
            self.now += iteration_s
            if not self.gathering.stays_open(self.now, lambda: first):
                return iteration
        return most

    def batches(self, number: int, requests: int, iteration_s: float = 5 * US, first: int = 1) -> list[int]:
        """Send so many batches of so many requests, of which some are there at first.

        Returns:
            For how many iterations each stayed open.
        """
        stayed = []
        for _ in range(number):
            stayed.append(self.iterations_open(iteration_s, first=first))
            self.gathering.close(requests)
        return stayed


def test_the_first_batches_go_at_once() -> None:
    assert Loop().batches(63, requests=1) == [0] * 63


def test_one_of_many_stays_open_where_that_brings_nothing() -> None:
    stayed = Loop().batches(640, requests=1)
    assert [at for at, iterations in enumerate(stayed) if iterations] == list(range(63, 640, 64))


def test_two_clients_do_not_wait_for_each_other() -> None:
    stayed = Loop().batches(6400, requests=2)
    assert sum(iterations > 0 for iterations in stayed) == 100


@pytest.mark.parametrize(("first", "requests"), [(4, 4), (4, 5), (30, 35)])
def test_requests_that_come_together_by_themselves_do_not_wait_for_more(first: int, requests: int) -> None:
    stayed = Loop().batches(6400, requests=requests, first=first)
    assert sum(iterations > 0 for iterations in stayed) == 100


def test_each_stays_open_while_that_brings_requests_together() -> None:
    loop = Loop()
    loop.batches(256, requests=8)
    assert all(loop.batches(50, requests=8))


def test_what_could_not_be_sent_says_nothing() -> None:
    loop = Loop()
    loop.batches(256, requests=8)
    loop.batches(100, requests=0)
    assert all(loop.batches(5, requests=8))


def test_when_requests_come_alone_again_it_ends() -> None:
    loop = Loop()
    loop.batches(256, requests=8)
    stayed = loop.batches(20, requests=1)
    assert all(stayed[:3])
    assert not any(stayed[8:16])


@pytest.fixture
def busy() -> Loop:
    loop = Loop()
    loop.batches(256, requests=8)
    return loop


def test_an_idle_loop_lets_go_after_a_lull(busy: Loop) -> None:
    assert busy.iterations_open(5 * US) * 5 <= 40
    assert busy.iterations_open(10 * US) * 10 <= 40


def test_a_busy_loop_lets_go_after_two_milliseconds(busy: Loop) -> None:
    assert busy.iterations_open(100 * US) == pytest.approx(20, abs=1)


def test_work_starts_the_lull_anew(busy: Loop) -> None:
    busy.gathering.open(busy.now)
    answers = []
    for iteration_s in (12, 12, 12, 100, 12, 12, 12, 12, 12):
        busy.now += iteration_s * US
        answers.append(busy.gathering.stays_open(busy.now, lambda: 1))
    assert answers == [True] * 7 + [False] * 2


def test_repr_tells_the_mean(busy: Loop) -> None:
    assert repr(Gathering()) == "<Gathering 0.0 requests a batch, 0.0 times those at first>"
    busy.batches(50, requests=8, first=2)
    assert repr(busy.gathering) == "<Gathering 8.0 requests a batch, 4.0 times those at first>"
