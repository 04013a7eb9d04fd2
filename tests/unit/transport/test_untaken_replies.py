"""Replies that clients do not take: which connections get no further one, and which are closed."""

from __future__ import annotations

import pytest

from mindspore_serving.server.transport.untaken_replies import PATIENCE_S, UntakenReplies, untaken_replies


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def untaken(clock: Clock) -> UntakenReplies:
    return UntakenReplies(100, 40, clock)


def test_a_connection_above_its_share_gets_no_further_reply(untaken: UntakenReplies) -> None:
    untaken.add("a", 39)
    assert untaken.has_room("a")
    untaken.add("a", 20)
    assert not untaken.has_room("a")
    assert untaken.has_room("b")
    untaken.taken("a", 20)
    assert untaken.has_room("a")
    assert untaken.refused == 1


def test_all_connections_together_are_limited(untaken: UntakenReplies) -> None:
    for name in "abcde":
        untaken.add(name, 20)
    assert not untaken.has_room("a")
    assert not untaken.has_room("new")
    untaken.forget("c")
    assert untaken.has_room("new")
    assert repr(untaken) == "<UntakenReplies 80 of 100 bytes, 4 connections>"


def test_a_connection_that_takes_nothing_for_long_is_closed(untaken: UntakenReplies, clock: Clock) -> None:
    untaken.add("slow", 60)
    untaken.add("small", 10)
    clock.s += PATIENCE_S / 2
    untaken.taken("slow", 5)
    clock.s += PATIENCE_S / 2
    assert untaken.stalled() == []
    clock.s += PATIENCE_S / 2
    assert untaken.stalled() == ["slow"]
    untaken.forget("slow")
    clock.s += 100 * PATIENCE_S
    assert untaken.stalled() == []


def test_the_longest_idle_are_closed_until_the_rest_has_room(untaken: UntakenReplies, clock: Clock) -> None:
    for name in "abcde":
        untaken.add(name, 25)
        clock.s += 0.5
    assert untaken.stalled() == ["a", "b"]
    untaken.forget("a")
    untaken.forget("b")
    assert untaken.stalled() == []


def test_what_comes_late_for_a_connection_that_is_gone_counts_no_more(untaken: UntakenReplies) -> None:
    untaken.add("a", 50)
    untaken.forget("a")
    untaken.taken("a", 50)
    untaken.forget("a")
    assert repr(untaken) == "<UntakenReplies 0 of 100 bytes, 0 connections>"


def test_the_largest_reply_has_room() -> None:
    assert untaken_replies(1 << 60).most_of_one == 1 << 60
    small = untaken_replies(1)
    assert small.most_of_one == small.most_bytes // 2
