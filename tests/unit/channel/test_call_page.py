"""Calls that one side writes down, and the other side reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mindspore_serving.server.channel.call_page import (
    LONGEST_TEXT,
    MOST_RANGES,
    RECORDS,
    CallPage,
    HeldRows,
    WrittenCall,
)

ROWS = (HeldRows(7, 3, 2), HeldRows(0xFFFFFFFF, 0, 1))


@pytest.fixture
def page() -> Iterator[CallPage]:
    page = CallPage.create()
    yield page
    page.close()


@pytest.fixture
def other_side(page: CallPage) -> Iterator[CallPage]:
    other_side = CallPage(os.dup(page.fd))
    yield other_side
    other_side.close()


def test_the_other_side_reads_what_runs(page: CallPage, other_side: CallPage) -> None:
    assert other_side.running() == []
    page.begin(5, 1000, "größer".encode(), ROWS)
    page.begin(RECORDS - 1, 2000, b"", ())
    first, second = other_side.running()
    assert (first[0], first[2]) == (5, 1000)
    assert (second[0], second[2]) == (RECORDS - 1, 2000)
    assert other_side.read(*first) == WrittenCall("größer", ROWS)
    assert other_side.read(*second) == WrittenCall("", None)


def test_a_call_that_has_ended_is_not_read(page: CallPage, other_side: CallPage) -> None:
    page.begin(0, 1000, b"one", ROWS)
    [told] = other_side.running()
    page.set_begun(0, 0)
    assert other_side.running() == []
    assert other_side.read(*told) is None
    page.begin(0, 1000, b"two", ROWS)  # within the same nanosecond
    assert other_side.read(*told) is None
    [told] = other_side.running()
    page.begin(0, 2000, b"three", ROWS)
    assert other_side.read(*told) is None


def test_a_clock_that_stood_still_goes_on_for_the_same_call(page: CallPage, other_side: CallPage) -> None:
    page.begin(0, 1000, b"one", ROWS)
    [(_, serial, _)] = other_side.running()
    page.set_begun(0, 0)
    assert other_side.running() == []
    page.set_begun(0, 1500)
    assert other_side.running() == [(0, serial, 1500)]
    assert page.begun(0) == 1500


def test_what_is_too_long_is_cut_or_unknown(page: CallPage, other_side: CallPage) -> None:
    many = [HeldRows(i, 2 * i, 1) for i in range(MOST_RANGES + 1)]
    page.begin(0, 1, b"x" * (LONGEST_TEXT - 1) + "ö".encode(), many)
    page.begin(1, 1, b"", many[1:])
    cut, whole = (other_side.read(*told) for told in other_side.running())
    assert cut == WrittenCall("x" * (LONGEST_TEXT - 1), None)
    assert whole == WrittenCall("", tuple(many[1:]))


def test_closing_twice_gives_the_descriptor_back_once() -> None:
    page = CallPage.create()
    fd = page.fd
    page.close()
    page.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
