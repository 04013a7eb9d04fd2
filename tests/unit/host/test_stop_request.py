"""Wishes to stop: signals are given back to who had them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from mindspore_serving.server.host.stop_request import StopRequest
from mindspore_serving.server.start.server import Server
from tests.support.fresh_process import told_by_fresh_process

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def handlers() -> Iterator[list[object]]:
    """The handlers of now, which are there again afterwards."""
    earlier = handlers_now()
    yield list(earlier)
    for number, handler in zip(NUMBERS, earlier, strict=True):
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)


def handlers_now() -> list[Any]:
    return [signal.getsignal(number) for number in NUMBERS]


def test_a_signal_is_a_wish(handlers: list[object]) -> None:
    request = StopRequest()
    request.begin()
    signal.raise_signal(signal.SIGTERM)
    assert request.wanted
    assert request.signal == signal.SIGTERM


def test_the_end_of_the_last_worker_makes_no_wish_urgent() -> None:
    server = Server()
    request = server._stop_request
    for _ in range(2):  # the first time it is the wish
        server._on_no_workers_left()
        assert request.wanted
        assert not request.is_urgent()
    request.want()
    assert request.is_urgent()


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


@pytest.mark.parametrize("own_wakeup_fd", [False, True], ids=["told by number", "told by its handler"])
def test_sighup_without_a_terminal_is_no_wish(handlers: list[object], own_wakeup_fd: bool) -> None:
    own, other = socket.socketpair()
    with own, other:
        own.setblocking(False)
        if own_wakeup_fd:
            signal.set_wakeup_fd(own.fileno())
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        told: list[str] = []
        request = StopRequest(lambda: told.append("hang-up"))
        generation = request.begin()
        signal.raise_signal(signal.SIGHUP)
        assert not request.wanted
        request.want()
        request.wait(generation)
        while not told:
            request.is_urgent()
        assert not request.is_urgent()
        request.withdraw()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
        signal.set_wakeup_fd(-1)


@pytest.mark.parametrize("own", [signal.SIG_IGN, lambda number, frame: None], ids=["nohup", "a handler"])
def test_who_ignores_or_handles_sighup_keeps_that(handlers: list[object], own: Any) -> None:
    signal.signal(signal.SIGHUP, own)
    request = StopRequest(lambda: pytest.fail("it is not this process's affair"))
    generation = request.begin()
    assert signal.getsignal(signal.SIGHUP) == own
    signal.raise_signal(signal.SIGHUP)
    request.want()
    request.wait(generation)
    assert not request.is_urgent()


def test_one_signal_is_not_urgent_and_two_are(handlers: list[object]) -> None:
    request = StopRequest()
    generation = request.begin()
    for signals in range(1, 3):
        signal.raise_signal(signal.SIGTERM)
        request.wait(generation)
        assert request.is_urgent() == (signals == 2)
    request.begin()
    assert not request.is_urgent()


def test_signals_are_counted_where_the_descriptor_is_the_users_own(handlers: list[object]) -> None:
    own, other = socket.socketpair()
    with own, other:
        own.setblocking(False)
        signal.set_wakeup_fd(own.fileno())
        request = StopRequest()
        request.begin()
        signal.raise_signal(signal.SIGINT)
        assert request.wanted
        assert not request.is_urgent()
        signal.raise_signal(signal.SIGTERM)
        assert request.is_urgent()
        signal.set_wakeup_fd(-1)


def test_a_signal_after_another_wish_is_urgent(handlers: list[object]) -> None:
    request = StopRequest()
    request.begin()
    request.want()
    assert not request.is_urgent()
    signal.raise_signal(signal.SIGTERM)
    assert request.is_urgent()


def test_a_forked_child_takes_signals_as_before_and_keeps_them_to_itself() -> None:
    assert told_by_fresh_process(end_of_a_child_and_what_its_parent_saw) == "(-15, False, 0, False)"


def end_of_a_child_and_what_its_parent_saw() -> str:
    request = StopRequest()
    request.begin()
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return str((ended, request.is_urgent(), request.signal, request.wanted))
