"""A connection of HTTP, with a transport, a service and a clock of the test's own."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterator

import pytest
from aiohttp import web

from mindspore_serving.errors import InvalidInput, MessageTooLarge, UnsupportedCoding
from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.transport.content_coding import decompress_body
from mindspore_serving.server.transport.http.reply_heads import ReplyHeads
from mindspore_serving.server.transport.http_routes import HttpReply
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies, room_for_bodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from tests.support.http_peer import CONTINUE, LIMITS, Peer, close_peers
from tests.support.smuggling import HIDDEN, SMUGGLING

FIRST = b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
SECOND = b"POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo"
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.fixture(autouse=True)
def _closed_peers() -> Iterator[None]:
    yield
    close_peers()


@pytest.fixture
def peer() -> Peer:
    return Peer()


def later(body: bytes = b"") -> bytes:
    return b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


# --- Requests ---


def test_a_reply_is_one_write_with_a_head_that_says_all(peer: Peer) -> None:
    peer.send(FIRST)
    assert peer.transport.written == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"Content-Length: 16\r\n\r\nPOST /first  one"
    )
    assert peer.transport.writes == 1
    assert not peer.transport.closed


CHUNKED = (
    b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\non\r\n1\r\ne\r\n0\r\n"
    b"Content-Encoding: br\r\nExpect: 100-continue\r\n\r\n"
)
OFFERED = FIRST.replace(b"Host: a\r\n", b"Host: a\r\n" + OFFER)
ONE = (200, b"POST /first  one")
TWO = (200, b"POST /second  two")


@pytest.mark.parametrize(
    "data", [FIRST + SECOND, CHUNKED + SECOND, OFFERED + SECOND, OFFERED + OFFERED.replace(b"first", b"1")]
)
def test_bytes_may_be_split_anywhere(data: bytes) -> None:
    whole = Peer()
    whole.send(data)
    assert whole.replies[0] == ONE
    assert len(whole.replies) == 2
    for at in range(1, len(data)):
        peer = Peer()
        peer.send(data[:at])
        peer.send(data[at:])
        assert peer.replies == whole.replies, at
    peer = Peer()
    for byte in data:
        peer.send(bytes([byte]))
    assert peer.replies == whole.replies


def test_a_trailer_is_no_header_of_the_request_behind_it(peer: Peer) -> None:
    peer.send(CHUNKED + SECOND)
    assert [request.coding for request in peer.asked] == [b"", b""]


def test_the_time_that_a_client_gives_its_request(peer: Peer) -> None:
    timed = FIRST.replace(b"Host: a", b"Host: a\r\nx-request-TIMEOUT-ms: 25 ")
    twice = FIRST.replace(b"Host: a", b"Host: a\r\nX-Request-Timeout-Ms: 5\r\nX-Request-Timeout-Ms: 6")
    peer.send(timed + SECOND + twice + FIRST.replace(b"Host: a", b"Host: a\r\nX-Request-Timeout-Ms:"))
    assert [request.timeout_ms for request in peer.asked] == [b"25", None, b"5, 6", b""]


def test_requests_are_answered_in_order_and_one_at_a_time(peer: Peer) -> None:
    peer.send(later() + FIRST + later() + SECOND)
    assert len(peer.asked) == 1
    peer.complete(0, "0")
    assert peer.replies == [(200, b"0"), ONE]
    peer.complete(1, "1")
    assert peer.replies == [(200, b"0"), ONE, (200, b"1"), TWO]


def test_what_comes_behind_a_request_under_way_waits_and_is_bounded(peer: Peer) -> None:
    peer.send(later())
    sent = 0
    while peer.transport.reading:
        peer.send(FIRST)
        sent += 1
    assert len(peer.asked) == 1
    assert sent * len(FIRST) < 100_000
    peer.complete(0, "0")
    assert peer.replies == [(200, b"0")] + [ONE] * sent
    assert peer.transport.reading


@pytest.mark.parametrize(
    ("head", "connection", "open_"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\n", b"", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n", b"", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", b"Connection: close\r\n", False),
        (b"POST / HTTP/1.0\r\n", b"Connection: close\r\n", False),
        (b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n", b"Connection: keep-alive\r\n", True),
    ],
)
def test_whether_a_connection_is_kept(peer: Peer, head: bytes, connection: bytes, open_: bool) -> None:
    peer.send(head + b"\r\n")
    assert peer.replies == [(200, b"POST /  ")]
    assert b"".join(line for line in peer.heads[0].splitlines(True) if b"onnection" in line) == connection
    assert peer.transport.closed == ("" if open_ else "closed")


def test_a_request_is_answered_although_bytes_follow_that_it_said_would_not(peer: Peer) -> None:
    peer.send(FIRST.replace(b"Host: a", b"Host: a\r\nConnection: close") + SECOND)
    assert peer.replies == [ONE]
    assert peer.transport.ended
    peer.end_side()
    assert len(peer.asked) == 1


def test_head_has_no_body(peer: Peer) -> None:
    peer.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert peer.transport.written.endswith(b"Content-Length: 8\r\n\r\n")


def test_a_large_reply(peer: Peer) -> None:
    peer.send(later())
    peer.complete(0, "x" * 1_000_000)
    assert peer.replies == [(200, b"x" * 1_000_000)]


LARGE = 4_000_000


@pytest.fixture
def reluctant() -> Iterator[Peer]:
    """A peer whose transport takes 1.2 MB, and has got a reply of 4 MB, with what is behind it."""
    untaken = UntakenReplies(100_000_000, 50_000_000)
    peer = Peer(untaken=untaken)
    peer.transport.taken = 1_200_000
    peer.send(later() + FIRST)
    peer.complete(0, "x" * LARGE)
    yield peer
    peer.close()


def test_what_a_client_does_not_take_is_kept_back_and_counted(reluctant: Peer) -> None:
    assert reluctant.transport.most_buffered == 1 << 16
    assert 1_200_000 < len(reluctant.transport.written) < 1_800_000
    counted = reluctant.counted
    assert LARGE - len(reluctant.transport.written) < counted < 3_000_000
    assert len(reluctant.asked) == 1
    assert reluctant.connection.owes_reply
    reluctant.take(2_400_000)
    assert 2_400_000 < len(reluctant.transport.written) < 3_000_000
    assert reluctant.counted < counted - 1_000_000
    assert len(reluctant.asked) == 1
    reluctant.take()
    assert reluctant.counted == 0
    assert reluctant.replies == [(200, b"x" * LARGE), ONE]
    assert reluctant.connection._writer.unsent.obj == b""  # a view of the reply would keep all of it
    assert not reluctant.connection.owes_reply


def test_what_was_kept_back_is_no_longer_counted_once_the_connection_is_lost(reluctant: Peer) -> None:
    reluctant.lose()
    assert reluctant.counted == 0


def test_the_last_reply_leaves_as_a_whole_before_the_connection_is_closed(reluctant: Peer) -> None:
    reluctant.connection.stop()
    assert not reluctant.transport.closed
    reluctant.take()
    assert reluctant.replies[0] == (200, b"x" * LARGE)
    reluctant.wait(11)
    assert reluctant.transport.closed == "closed"


def test_a_reply_leaves_as_a_whole_if_the_client_ends_its_side(reluctant: Peer) -> None:
    assert not reluctant.end_side()
    assert reluctant.replies == [(200, b"x" * LARGE)]
    assert reluctant.counted > 0
    reluctant.lose()
    assert reluctant.counted == 0


def test_a_small_reply_that_is_not_taken_counts(reluctant: Peer) -> None:
    peer = Peer(untaken=reluctant.untaken)
    before = reluctant.counted
    peer.transport.taken = 0
    peer.send(FIRST + SECOND)
    assert peer.replies == [ONE]
    assert reluctant.counted == before + len(peer.transport.written)
    peer.take()
    assert peer.replies == [ONE, TWO]
    assert reluctant.counted == before
    peer.close()


def test_blank_lines_between_requests_are_skipped(peer: Peer) -> None:
    peer.send(FIRST + b"\r\n\r\n")
    peer.send(b"\r\n" + SECOND)
    assert peer.replies == [ONE, TWO]


# --- Offers and expectations ---


@pytest.mark.parametrize("behind", [b"", SECOND])
def test_an_offer_of_another_protocol_is_ignored(peer: Peer, behind: bytes) -> None:
    head, _, body = OFFERED.partition(b"\r\n\r\n")
    peer.send(head + b"\r\n\r\n")
    assert peer.replies == []
    peer.send(body + behind)
    assert peer.replies == [ONE, TWO][: 2 if behind else 1]


def test_an_offer_keeps_the_other_headers(peer: Peer) -> None:
    peer.send(
        b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
        b"Content-Encoding: gzip\r\n" + OFFER + b"\r\n"
    )
    assert peer.transport.written == CONTINUE
    peer.send(b"3\r\none\r\n0\r\n\r\n")
    assert peer.replies == [(200, b"POST /first gzip one")]


def test_connect_is_answered_and_ends_the_connection(peer: Peer) -> None:
    peer.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nanything")
    assert peer.refusal == (200, b"CONNECT a:1  ")


KEY = b"0123456789-this-is-the-key"
REFUSAL = (
    b"Not let in, this server asks for a valid API key, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
)
KEPT_OUT = (401, REFUSAL)


def test_a_key_is_found_wherever_bytes_are_split() -> None:
    guard = Guard(ApiKeys([KEY.decode()]), ())
    data = OFFERED.replace(b"Connection", b"X-Api-Key: " + KEY + b"\r\nConnection") + SECOND
    for at in range(1, len(data)):
        peer = Peer(guard=guard)
        peer.send(data[:at])
        peer.send(data[at:])
        assert peer.replies == [ONE, KEPT_OUT], at
        assert len(peer.asked) == 1
        assert peer.heads[1].count(b"Connection: close\r\n") == 1


def test_what_comes_behind_a_refusal_is_thrown_away() -> None:
    peer = Peer(guard=Guard(ApiKeys([KEY.decode()]), ()))
    peer.send(b"POST /first HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 900\r\n\r\n")
    assert peer.refusal == KEPT_OUT
    peer.send(b"x" * 900 + FIRST)
    assert not peer.asked
    assert CONTINUE not in peer.transport.written
    peer.wait(LIMITS.linger_s + 1)
    assert peer.transport.closed == "closed"


@pytest.mark.parametrize(
    ("rights", "target", "status"),
    [
        ("infer", b"/first", 200),
        ("view", b"/first", 403),
        ("view", b"/open", 200),
        ("view", b"/own", 403),  # a route of the user's own
        ("infer", b"/own", 200),
    ],
)
def test_a_key_without_the_right_is_refused_before_the_body_is_read(
    rights: str, target: bytes, status: int
) -> None:
    guard = Guard(ApiKeys([f"{KEY.decode()} name=ci rights={rights}"]), ())

    async def own(_: web.Request) -> web.Response:
        return web.Response(body=b"own")

    peer = Peer(guard=guard, change=lambda application: application.router.add_get("/own", own))
    verb = b"POST" if target == b"/first" else b"GET"
    length = b"Content-Length: 900\r\nExpect: 100-continue\r\n" if verb == b"POST" else b""
    peer.send(
        verb + b" " + target + b" HTTP/1.1\r\nHost: a\r\n" + length + b"X-API-Key: " + KEY + b"\r\n\r\n"
    )
    assert (CONTINUE in peer.transport.written) == (verb == b"POST" and status == 200)
    if verb == b"POST" and status == 200:
        peer.send(b"x" * 900)
    [(got, body)] = peer.replies
    assert got == status
    if status == 403:
        text = b"Not allowed, this needs the right 'infer', but 'ci' has only 'view'"
        assert body.startswith(text)
        assert b"Connection: close\r\n" in peer.heads[0]
        assert not peer.asked


EXPECTING = FIRST.replace(b"Host: a", b"Host: a\r\nExpect: 100-Continue")


def test_a_client_that_waits_for_leave_gets_it_once(peer: Peer) -> None:
    head, _, body = EXPECTING.partition(b"\r\n\r\n")
    peer.send(head)
    assert peer.transport.written == b""
    peer.send(b"\r\n\r\n")
    assert peer.transport.written == CONTINUE
    peer.send(body[:1])
    peer.send(body[1:])
    assert peer.transport.written.count(CONTINUE) == 1
    assert peer.replies == [ONE]


def test_leave_is_given_after_the_reply_before(peer: Peer) -> None:
    peer.send(later() + EXPECTING[:-3])
    assert peer.transport.written == b""
    peer.complete(0, "0")
    assert peer.transport.written.endswith(b"\r\n\r\n0" + CONTINUE)


@pytest.mark.parametrize("data", [EXPECTING, EXPECTING[:-1], EXPECTING[:-3].replace(b"1.1", b"1.0")])
def test_no_leave_where_none_is_waited_for(peer: Peer, data: bytes) -> None:
    peer.send(data)
    assert CONTINUE not in peer.transport.written


# --- What is refused ---


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (b"\0\1\2", 400, "http message invalid, Invalid method encountered"),
        (
            b"POST /\xe2\x82\xac HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
            "http message invalid, Invalid char in url path",
        ),
        (b"POST / HTTP/1.1\nHost: a\n\n", 400, None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400, None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400, None),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            None,
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400, None),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\n" + OFFER + b"Transfer-Encoding: c\xffunked\r\n\r\n",
            400,
            "http message invalid, Transfer-Encoding should be chunked, in HTTP/1.1, but got c\xffunked, in HTTP/1.1",
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, None),
        (b"POST / HTTP/0.9\r\n\r\n", 505, "http message invalid, HTTP version 0.9 is not supported"),
        (b"POST / HTTP/2.0\r\n\r\n", 505, "http message invalid, HTTP version 2.0 is not supported"),
        (b"POST / HTTP/1.2\r\n\r\n", 505, "http message invalid, Invalid HTTP version"),
        (b"POST / HTTP/1.1\r\n\r\n", 400, "http message invalid, header Host is missing"),
        (b"POST / HTTP/1.1\r\n" + OFFER + b"\r\n", 400, "http message invalid, header Host is missing"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            400,
            "http message invalid, more than one header Host",
        ),
        (
            b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            400,
            "http message invalid, more than one header Host",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 12,
            431,
            "http message invalid, more than 10 headers",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\na: " + b"b" * 4096,
            431,
            "http message invalid, headers of more than 4096 bytes",
        ),
        (b"POST /" + b"a" * 9000, 431, None),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
            413,
            "http message is bigger than 1000",
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n", 413, None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n" + OFFER + b"\r\n", 413, None),
    ],
)
@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_refusals(peer: Peer, data: bytes, status: int, text: str | None, piece: int) -> None:
    for at in range(0, len(data), piece):
        peer.send(data[at : at + piece])
    assert peer.refusal[0] == status
    assert CONTINUE not in peer.transport.written
    if text is not None:
        assert peer.refusal[1].decode().startswith(text)
    assert peer.asked == []
    peer.send(FIRST)
    assert len(peer.replies) == 1
    assert not peer.end_side()


def test_a_refusal_waits_for_the_replies_before_it(peer: Peer) -> None:
    peer.send(later() + FIRST + b"\0nonsense\r\n")
    assert peer.transport.written == b""
    peer.complete(0, "0")
    assert [status for status, _ in peer.replies] == [200, 200, 400]
    assert peer.refusal[0] == 400


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def test_chunked_bodies_up_to_the_limit(peer: Peer) -> None:
    head = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    peer.send(head + chunked(b"a" * 500, b"b" * 500))
    assert peer.replies[0] == (200, b"POST /c  " + b"a" * 500 + b"b" * 500)
    peer.send(head + chunked(*[b"a"] * 1000))
    peer.send(head + chunked(b"a" * 500, b"b" * 501))
    assert peer.refusal == (413, b"http message is bigger than 1000")
    assert len(peer.asked) == 2


@pytest.mark.parametrize("endless", [b"a" * 100, b"x: y\r\n", b"1;" + b"e" * 98])
def test_what_brings_no_body_may_not_go_on_for_ever(peer: Peer, endless: bytes) -> None:
    start = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    peer.send(start + (b"0\r\n" if endless[:1] != b"1" else b""))
    for _ in range(100):
        peer.send(endless)
        if peer.replies:
            break
    assert peer.refusal[0] in (400, 431)


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_answered_or_ends(seed: int) -> None:
    noise = random.Random(seed)
    data = bytearray(noise.choice([FIRST, CHUNKED, OFFERED, EXPECTING]) * 3)
    for _ in range(noise.randrange(1, 6)):
        data[noise.randrange(len(data))] = noise.choice(b"\r\n\0 :;0aZ\xff")
    peer = Peer()
    at = 0
    while at < len(data):
        size = noise.randrange(1, 60)
        peer.send(bytes(data[at : at + size]))
        at += size
    for _ in range(3):
        peer.wait(1000)
    assert peer.transport.closed
    assert all(status in (200, 400, 408, 413, 431, 505) for status, _ in peer.replies)
    peer.lose()
    peer.close()


@pytest.mark.parametrize("kind", SMUGGLING)
def test_a_request_with_two_readings_is_refused_and_nothing_behind_it_is_read(kind: str) -> None:
    data = SMUGGLING[kind] + HIDDEN
    for piece in (len(data), 1, 7):
        peer = Peer()
        for at in range(0, min(len(data), 8000), piece):
            peer.send(data[at : at + piece])
        assert peer.refusal[0] in (400, 413, 431), piece
        assert len(peer.replies) == 1
        assert peer.asked == []
        peer.close()


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b"  chunked "])
def test_chunks_and_what_may_be_written_differently(peer: Peer, coding: bytes) -> None:
    peer.send(
        b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:%b\r\n\r\n003\r\none\r\n0\r\n\r\n" % coding
    )
    peer.send(b"POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 0003 \r\n\r\ntwo")
    assert peer.replies == [ONE, TWO]


# --- Bodies of all connections together ---

BUSY = (503, b"Serving Error: bytes of unfinished requests exceed the limit 1000")


def unfinished_request(size: int, chunks: bool = False) -> bytes:
    """A request of which more is to come than `size` bytes of its body."""
    if chunks:
        return b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (
            size,
            b"a" * size,
        )
    return b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n" + b"a" * size


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("ending", ["complete", "lost", "late", "refused", "held"])
def test_unfinished_bodies_of_all_connections_are_bounded(chunks: bool, ending: str) -> None:
    unfinished = UnfinishedBodies(1000)
    first, second, third = (Peer(unfinished=unfinished) for _ in range(3))
    if ending == "held":  # what has to wait for the reply before it
        first.send(later())
    first.send(unfinished_request(600, chunks))
    if ending == "held":
        first.complete(0, "0")
    second.send(unfinished_request(400, chunks))
    second.send(b"1\r\na\r\n" if chunks else b"a")
    assert second.refusal == BUSY  # whoever asks for more than there is; the others go on
    second.send(b"a" * 300)
    third.send(unfinished_request(400, chunks))
    assert third.replies == []
    if ending == "complete":
        first.send(b"0\r\n\r\n" if chunks else b"a" * 399)
        assert first.replies == [(200, b"POST /c  " + b"a" * (600 if chunks else 999))] or not chunks
    elif ending == "late":
        first.wait(101)
        assert first.refusal[0] == 408
    elif ending == "refused":
        first.send(b"nonsense" if chunks else b"a" * 500)
    else:
        first.lose()
    third.lose()
    assert repr(unfinished) == "<UnfinishedBodies 0 of 1000 bytes>"
    for peer in (first, second, third):
        peer.close()


def test_bodies_that_are_complete_are_no_matter_how_many(peer: Peer) -> None:
    peers = [Peer(unfinished=UnfinishedBodies(1)) for _ in range(3)]
    for one in peers:
        one.send(FIRST + SECOND)
        assert one.replies == [ONE, TWO]
        one.close()


def test_there_is_room_for_a_body_of_any_size_that_is_allowed() -> None:
    assert room_for_bodies(1) >= 256 << 20
    assert room_for_bodies(1 << 50) == 1 << 50


# --- Time ---


def test_an_idle_connection_is_closed(peer: Peer) -> None:
    peer.wait(99)
    peer.send(FIRST)
    peer.wait(100)
    assert not peer.transport.closed
    peer.wait(1)
    assert (peer.transport.closed, peer.replies) == ("closed", [ONE])


@pytest.mark.parametrize("data", [b"P", b"POST / HTTP/1.1\r\nHost:", FIRST[:-1], CHUNKED[:-1], OFFERED[:-1]])
def test_a_request_that_does_not_arrive_is_refused(peer: Peer, data: bytes) -> None:
    for byte in data[:20]:
        peer.send(bytes([byte]))
        peer.wait(1)
    peer.send(data[20:])
    peer.wait(100 - min(len(data), 20))
    assert peer.replies == []
    peer.wait(1)
    assert peer.refusal == (408, b"http message was not received within 100 s")
    peer.wait(11)
    assert peer.transport.closed == "closed"


def test_an_answer_may_take_its_time(peer: Peer) -> None:
    peer.send(later())
    peer.wait(10_000)
    peer.complete(0, "0")
    assert peer.replies == [(200, b"0")]
    peer.wait(99)
    assert not peer.transport.closed


# --- Clients that do not read, or go away ---


def test_no_request_is_answered_while_the_client_takes_no_reply(peer: Peer) -> None:
    peer.send(later() + FIRST)
    peer.connection.pause_writing()
    peer.complete(0, "0")
    peer.send(SECOND)
    assert [request.target for request in peer.asked] == [b"/later"]
    peer.take()
    assert peer.replies == [(200, b"0"), ONE, TWO]


@pytest.mark.parametrize("more", [b"", FIRST])
def test_a_client_that_takes_nothing_is_cut_off_one_that_is_slow_is_not(peer: Peer, more: bytes) -> None:
    peer.send(later() + more)
    peer.connection.pause_writing()
    peer.complete(0, "0")
    for left in range(500, 400, -1):
        peer.transport.buffered = left
        peer.wait(90)
    peer.wait(90)  # since it has last taken something
    assert not peer.transport.closed
    peer.wait(11)
    assert peer.transport.closed == "aborted"


def test_a_lost_connection_abandons_its_request(peer: Peer) -> None:
    peer.send(later() + later())
    peer.lose()
    assert peer.futures[0].cancelled()
    peer.settle()
    assert (len(peer.asked), peer.transport.written, peer.connections) == (1, b"", set())


def test_a_reply_that_comes_together_with_the_loss_is_dropped(peer: Peer) -> None:
    peer.send(later() + FIRST)
    peer.futures[0].set_result("0")
    peer.lose()
    peer.settle()
    assert (len(peer.asked), peer.transport.written) == (1, b"")


def test_a_future_that_somebody_else_cancels_ends_the_connection(peer: Peer) -> None:
    peer.send(later())
    peer.futures[0].cancel()
    peer.settle()
    assert peer.transport.closed == "aborted"


@pytest.mark.parametrize("sent", [b"", FIRST, FIRST[:-1], b"later"])
def test_who_ends_its_side_is_gone(peer: Peer, sent: bytes) -> None:
    peer.send(later() + FIRST if sent == b"later" else sent)
    written = peer.transport.written
    assert not peer.end_side()  # the transport closes
    peer.settle()
    peer.wait(1)
    peer.lose()
    assert peer.transport.written == written
    assert peer.connections == set()


def test_who_ends_its_side_abandons_the_request(peer: Peer) -> None:
    peer.send(later())
    peer.end_side()
    assert peer.futures[0].cancelled()


def test_who_ends_its_side_and_takes_nothing_is_cut_off(peer: Peer) -> None:
    peer.send(FIRST + later())
    peer.transport.buffered = 1000
    peer.end_side()
    peer.wait(1)
    assert not peer.transport.closed
    peer.wait(LIMITS.idle_s + 1)
    assert peer.transport.closed == "aborted"


def test_many_offers_at_once_are_all_declined(peer: Peer) -> None:
    offer = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n"
    peer.send(offer * 1200)
    assert len(peer.asked) == 1200
    assert not peer.transport.closed


# --- The end ---


def test_the_stop_closes_what_is_idle(peer: Peer) -> None:
    peer.send(FIRST)
    peer.connection.stop()
    assert peer.transport.closed == "closed"
    peer.lose()
    assert peer.connections == set()


def test_the_stop_lets_a_request_under_way_end_and_no_other_begin(peer: Peer) -> None:
    peer.send(later() + FIRST)
    peer.connection.stop()
    assert not peer.transport.closed
    peer.complete(0, "0")
    assert peer.replies == [(200, b"0")]
    assert b"Connection: close\r\n" in peer.heads[0]
    assert peer.transport.closed or peer.transport.ended


@pytest.mark.parametrize("end", ["stop", "drain"])
def test_a_connection_whose_reply_was_begun_before_the_stop_is_closed_behind_it(end: str) -> None:
    peer = Peer()
    peer.transport.taken = 0
    peer.send(FIRST)
    getattr(peer.connection, end)()
    assert not peer.transport.closed
    peer.take()
    assert peer.replies == [ONE]
    assert peer.transport.closed == "closed"


def test_a_drain_closes_what_is_idle(peer: Peer) -> None:
    peer.send(FIRST)
    peer.connection.drain()
    assert peer.transport.closed == "closed"


def test_in_a_drain_a_new_connection_gets_one_reply(peer: Peer) -> None:
    peer.connection.drain()
    assert not peer.transport.closed
    peer.send(FIRST)
    assert peer.replies == [ONE]
    assert b"Connection: close\r\n" in peer.heads[0]
    assert peer.transport.closed == "closed"


def test_a_reply_is_owed_until_it_has_left(peer: Peer) -> None:
    assert not peer.connection.owes_reply
    peer.send(FIRST[:-1])
    assert not peer.connection.owes_reply
    peer.lose()

    other = Peer()
    other.send(later())
    assert other.connection.owes_reply
    other.complete(0, "0")
    assert not other.connection.owes_reply
    other.transport.buffered = 1
    assert other.connection.owes_reply
    other.lose()


def test_the_stop_lets_a_request_arrive(peer: Peer) -> None:
    peer.send(FIRST[:-1])
    peer.connection.stop()
    peer.send(FIRST[-1:])
    assert peer.replies == [ONE]
    assert peer.transport.closed == "closed"


def test_clients_of_ipv4_at_a_socket_for_all_addresses_have_the_name_that_they_know(peer: Peer) -> None:
    peer.transport.peer = "::ffff:10.0.0.1"
    peer.connection.connection_made(peer.transport)
    peer.send(b"nonsense")
    assert [request.peer for _, request in peer.dialect.refused] == ["10.0.0.1"]


def test_ids_belong_to_their_request(peer: Peer) -> None:
    peer.send(FIRST)
    peer.send(SECOND.replace(b"Host: a", b"Host: a\r\nX-Request-ID: two"))
    peer.send(b"\x00 no HTTP")
    assert [request.given_id for request in peer.asked] == [b"", b"two"]
    assert [(request.verb, request.target) for _, request in peer.dialect.refused] == [("", "")]


def test_heads_tell_the_time() -> None:
    heads = ReplyHeads(0.0)
    reply = HttpReply(429, b"{}", headers=(("Retry-After", "1"),))
    assert b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in heads.head(reply, b"")
    heads.set_time(86400.0)
    assert heads.head(reply, b"") == (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
        b"Date: Fri, 02 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\nRetry-After: 1\r\n\r\n"
    )
    named = heads.head(reply._replace(headers=(*reply.headers, ("X-Request-Id", "name"))), b"")
    assert named == heads.head(reply, b"")[:-2] + b"X-Request-Id: name\r\n\r\n"


# --- Compressed bodies ---

TEXT = json.dumps(list(range(300))).encode()


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b" GZIP ", gzip.compress(TEXT)),
        (b"x-gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
        (b"identity", TEXT),
    ],
)
def test_compressed_bodies(coding: bytes, body: bytes) -> None:
    assert decompress_body(body, coding, len(TEXT)) == TEXT
    if coding != b"identity":
        with pytest.raises(MessageTooLarge):
            decompress_body(body, coding, len(TEXT) - 1)


def test_a_body_that_grows_without_end_is_refused() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(MessageTooLarge, match="http message is bigger than 1000"):
        decompress_body(bomb, b"gzip", 1000)


@pytest.mark.parametrize("body", [TEXT, gzip.compress(TEXT)[:-1], gzip.compress(TEXT) + b"more", b"\x1f"])
def test_what_is_not_compressed_as_it_says(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="http message invalid, body is not gzip"):
        decompress_body(body, b"gzip", 10_000)


@pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"\xff"])
def test_other_codings(coding: bytes) -> None:
    with pytest.raises(UnsupportedCoding, match="only gzip, deflate and identity are"):
        decompress_body(b"x", coding, 10)
