"""Wishes to stop: signals are given back to who had them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from mindspore_serving.server._stop_request import StopRequest


@pytest.fixture
def handlers() -> Iterator[list[object]]:
    """The handlers of now, which are there again afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.getsignal(number) for number in numbers]
    yield list(earlier)
    for number, handler in zip(numbers, earlier, strict=True):
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)


def handlers_now() -> list[object]:
    return [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]


def test_a_signal_is_a_wish(handlers: list[object]) -> None:
    request = StopRequest()
    request.begin()
    signal.raise_signal(signal.SIGTERM)
    assert request.wanted
    assert request.signal == signal.SIGTERM


def test_nothing_is_left_of_a_request_that_is_withdrawn(handlers: list[object]) -> None:
    for _ in range(3):
        request = StopRequest()
        request.begin()
        request.withdraw()
    assert handlers_now() == handlers
    assert signal.set_wakeup_fd(-1) == -1


def test_an_outer_request_goes_on_after_an_inner_one_is_withdrawn(handlers: list[object]) -> None:
    outer, inner = StopRequest(), StopRequest()
    outer.begin()
    inner.begin()
    inner.withdraw()
    signal.raise_signal(signal.SIGINT)
    assert outer.signal == signal.SIGINT
