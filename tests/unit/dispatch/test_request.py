"""A request and its pieces, as outcomes come in."""

from __future__ import annotations

import asyncio

import pytest

from mindspore_serving.errors import Failure, StatusCode
from mindspore_serving.rows import FailedRows, Reply
from mindspore_serving.server.dispatch.request import LARGEST_PIECE, Request, pieces_of
from tests.support.rows import numbered, numbers_in

FAILURE = Failure(StatusCode.FAILED, "it failed")


@pytest.fixture
def future(loop: asyncio.AbstractEventLoop) -> asyncio.Future[Reply]:
    return loop.create_future()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_outcomes_stand_in_the_order_of_the_instances(
    future: asyncio.Future[Reply], order: tuple[int, ...]
) -> None:
    request = Request([numbered(6)], future)
    for number in order:
        assert not request.ended
        request.settle(2 * number, numbered(2, 2 * number))
    assert numbers_in(future.result()) == [0, 1, 2, 3, 4, 5]
    assert (request.ended, request.pending) == (True, 0)


def test_a_request_that_is_given_up_fails_as_a_whole_and_takes_no_outcome(
    future: asyncio.Future[Reply],
) -> None:
    request = Request([numbered(3), numbered(2)], future)
    request.settle(0, numbered(2))
    request.give_up(FAILURE)
    request.settle(2, numbered(3))
    request.give_up(Failure(StatusCode.FAILED, "another"))
    assert future.result() == [FailedRows(FAILURE, 5)]
    assert request.pending == 3


def test_the_state_shows_in_the_repr(future: asyncio.Future[Reply]) -> None:
    request = Request([numbered(3)], future)
    request.settle(0, numbered(2))
    [piece] = pieces_of(request)
    assert repr(piece.part(1, 3)) == "<Piece 1:3 of <Request 2/3 done>>"
    future.cancel()
    assert (repr(request), request.ended) == ("<Request ABANDONED>", True)


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        ([1], [1]),
        ([LARGEST_PIECE], [LARGEST_PIECE]),
        ([LARGEST_PIECE + 1], [LARGEST_PIECE, 1]),
        ([2, 3], [2, 3]),
        ([LARGEST_PIECE + 2, 3], [LARGEST_PIECE, 2, 3]),
    ],
)
def test_pieces_cover_a_request(future: asyncio.Future[Reply], counts: list[int], sizes: list[int]) -> None:
    blocks = [numbered(count, 10_000 * i) for i, count in enumerate(counts)]
    request = Request(blocks, future)
    assert (request.count, request.byte_size) == (sum(counts), 4 * sum(counts))
    pieces = pieces_of(request, 7.0)
    assert [piece.rows.count for piece in pieces] == sizes
    assert numbers_in([piece.rows for piece in pieces]) == numbers_in(blocks)
    assert [piece.start for piece in pieces] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert {piece.arrived for piece in pieces} == {7.0}
    assert sum(piece.byte_size for piece in pieces) == request.byte_size


def test_a_part_keeps_what_is_known_of_its_piece(future: asyncio.Future[Reply]) -> None:
    [piece] = pieces_of(Request([numbered(5)], future), 3.0)
    piece.attempts, piece.reached = 1, True
    part = piece.part(1, 4).part(1, 3)
    assert (part.start, part.attempts, part.arrived, part.reached) == (2, 1, 3.0, True)
    assert (numbers_in([part.rows]), part.byte_size) == ([2, 3], 8)
    part.settle(FailedRows(FAILURE, 2))
    piece.part(0, 2).settle(numbered(2))
    piece.part(4, 5).settle(numbered(1, 4))
    first, failed, last = future.result()
    assert (numbers_in([first, last]), failed) == ([0, 1, 4], FailedRows(FAILURE, 2))
