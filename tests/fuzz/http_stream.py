"""The bytes of an HTTP connection: in one piece, byte by byte and in two pieces they are the same requests."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from mindspore_serving.server.transport.http.http_reader import (
    HEAD_TOO_LARGE,
    HttpLimits,
    HttpReader,
    HttpRequest,
    Refusal,
    Turn,
)
from mindspore_serving.server.transport.http.http_reply import CLOSED, KEPT, KEPT_1_0

from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Door, Guard
from tests.fuzz.oracle import LONGEST_TEXT, demand

LIMITS = HttpLimits(body_bytes=2000, head_bytes=1000, headers=16)
KEY = "k" * 16


def one_input(data: bytes) -> None:
    """Read a stream, with and without a guard."""
    for door in (None, _door()):
        whole = _read([data], door)
        _check(whole)
        pieces = [data[at : at + 1] for at in range(len(data))]
        for cut in (pieces, [data[: len(data) // 2], data[len(data) // 2 :]]):
            other = _read(cut, door)
            demand(_agree(whole, other), "pieces do not matter", _seen(whole), _seen(other))


@cache
def _door() -> Door:
    return Door(Guard(ApiKeys([KEY]), (), now=lambda: 0.0), "peer", lambda verb, target: target == b"/open")


def _read(pieces: Iterable[bytes], door: Door | None) -> HttpReader:
    reader = HttpReader(LIMITS)
    if door is not None:
        reader.guard(door)
    for piece in pieces:
        if reader.ended:
            break
        reader.feed(piece)
        demand(not (reader.ended and reader.started), "what has ended is not under way")
    return reader


def _check(reader: HttpReader) -> None:
    for turn in reader.turns:
        demand(turn.connection in (KEPT, KEPT_1_0, CLOSED), "a connection is kept or closed", turn)
        question = turn.question
        if isinstance(question, HttpRequest):
            demand(len(question.body) <= LIMITS.body_bytes, "a body is within the limit", len(question.body))
            demand(bool(question.method and question.target), "a request has verb and target", question)
        else:
            demand(0 < len(question.text) <= LONGEST_TEXT, "a refusal has a short text", question)
            demand(turn.connection is CLOSED and turn is reader.turns[-1], "a refusal is the end", turn)
    last = reader.turns[-1] if reader.turns else None
    demand(reader.ended == (last is not None and last.connection is CLOSED), "the end is said", last)


def _agree(whole: HttpReader, other: HttpReader) -> bool:
    """Whether the same was read, up to headers that are too long: what arrives with their begin does not count."""
    (ended, asked), (other_ended, other_asked) = _seen(whole), _seen(other)
    if HEAD_TOO_LARGE in (_last_status(whole), _last_status(other)):
        common = min(len(asked), len(other_asked)) - 1
        return asked[:common] == other_asked[:common]
    return (ended, asked) == (other_ended, other_asked)


def _last_status(reader: HttpReader) -> int:
    question = reader.turns[-1].question if reader.turns else None
    return question.status if isinstance(question, Refusal) else 0


def _seen(reader: HttpReader) -> tuple[bool, list[object]]:
    """What was read; of a stream that is wrong in two ways, either may be found first."""
    return reader.ended, [_asked(turn) for turn in reader.turns]


def _asked(turn: Turn) -> object:
    return turn if isinstance(turn.question, HttpRequest) else "refused"
