"""The bytes of an HTTP connection: in one piece, byte by byte and in two pieces they are the same requests."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.transport.http.faults import HEAD_TOO_LARGE
from mindspore_serving.server.transport.http.limits import HttpLimits
from tests.fuzz.oracle import LONGEST_TEXT, demand
from tests.support.http_peer import Asked, Peer, close_peers

LIMITS = HttpLimits(body_bytes=2000, head_bytes=1000, headers=16)
KEY = "k" * 16


class _Seen(NamedTuple):
    """What a connection has made of a stream.

    Attributes:
        asked: Requests that a dialect got.
        refusals: Statuses of what was refused.
        over: Whether it reads nothing more.
    """

    asked: list[Asked]
    refusals: list[int]
    over: bool


def one_input(data: bytes) -> None:
    """Read a stream, with and without a guard."""
    for guard in (None, _guard()):
        whole = _read([data], guard)
        pieces = [data[at : at + 1] for at in range(len(data))]
        for cut in (pieces, [data[: len(data) // 2], data[len(data) // 2 :]]):
            other = _read(cut, guard)
            demand(_agree(whole, other), "pieces do not matter", whole, other)


@cache
def _guard() -> Guard:
    return Guard(ApiKeys([KEY]), (), now=lambda: 0.0)


def _read(pieces: Iterable[bytes], guard: Guard | None) -> _Seen:
    peer = Peer(limits=LIMITS, guard=guard)
    for piece in pieces:
        if peer.transport.closed or peer.transport.ended:
            break
        peer.send(piece)
    seen = _checked(peer)
    close_peers()
    return seen


def _checked(peer: Peer) -> _Seen:
    refused = peer.dialect.refused
    over = bool(peer.transport.closed) or peer.transport.ended
    for asked in peer.asked:
        demand(len(asked.body) <= LIMITS.body_bytes, "a body is within the limit", len(asked.body))
        demand(bool(asked.method and asked.target), "a request has verb and target", asked)
    for failure, _ in refused:
        demand(0 < len(failure.text) <= LONGEST_TEXT, "a refusal has a short text", failure)
    # Of a verb that the path does not have: such a request is answered, and the next one read.
    final = [failure.status for failure, request in refused if failure.status != _WRONG_VERB]
    demand(len(final) <= 1, "a refusal is the end", final)
    demand(over or not final, "a refusal is the end", final)
    closings = peer.transport.written.count(b"\r\nConnection: close\r\n")
    demand(closings == over, "the end is said, once", closings, over)
    return _Seen(peer.asked, final, over)


_WRONG_VERB = 405


def _agree(whole: _Seen, other: _Seen) -> bool:
    """Whether the same was read, up to headers that are too long: what arrives with their begin does not count."""
    if HEAD_TOO_LARGE in (*whole.refusals, *other.refusals):
        common = min(len(whole.asked), len(other.asked))
        return whole.asked[:common] == other.asked[:common]
    # Of a stream that is wrong in two ways, either may be found first.
    return (whole.asked, bool(whole.refusals), whole.over) == (other.asked, bool(other.refusals), other.over)
