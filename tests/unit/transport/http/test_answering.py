"""What is common to the answers of all dialects, shown on one that knows nothing of servables."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from mindspore_serving.errors import (
    Failure,
    InvalidInput,
    QueueFull,
    ServableUnavailable,
    StageError,
)
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.identity import ANYBODY, STRANGER, Identity
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.routes import Dialect
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from tests.unit.transport.http.body_reading import LENGTH

CONNECTION = "a connection"
MOST_UNTAKEN = 100
BROKEN = FailedRows(StageError("broken").failure(), 2)


class Shop:
    """A dialect of a shop; a handler is given for each test where it matters."""

    name = "shop"

    def __init__(self, handler: Callable[[HttpRequest], Awaitable[HttpReply]] | None = None) -> None:
        self.routes: Sequence[Route] = (
            Route(("GET",), "/shop/goods", self.goods),
            Route(("POST", "PUT"), "/shop/goods", handler or self.goods),
            Route(("GET",), "/shop/{shelf}/goods/{name}.txt", self.one),
            Route(("GET",), "/shop/open", self.goods, Right.NONE, probe=True),
            Route(("GET",), "/shop/closed", self.goods, wrong_verb="just look"),
        )

    async def goods(self, request: HttpRequest) -> HttpReply:
        return HttpReply(200, b"goods", "text/plain")

    async def one(self, request: HttpRequest) -> HttpReply:
        return HttpReply(200, repr(dict(request.parts)).encode())

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(failure.status, f"shop: {failure.text}".encode(), "text/plain")


class Rest:
    """A dialect for all that is nobody's, which says 200 to every request."""

    name = "rest"

    def __init__(self) -> None:
        self.routes: Sequence[Route] = (Route(("POST",), "", self.answer, wrong_verb="only POST"),)

    async def answer(self, request: HttpRequest) -> HttpReply:
        return HttpReply(200, b"rest " + request.body)

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(200, f"rest: {failure.text}".encode())


class Setting:
    """Dialects, and what their answers are made with."""

    def __init__(self, *dialects: Dialect) -> None:
        unfinished = UnfinishedBodies(1 << 24)
        self.bodies = BodyReader(1 << 24, unfinished)
        self.untaken = UntakenReplies(2 * MOST_UNTAKEN, MOST_UNTAKEN)
        self.answering = Answering(dialects, self.bodies, self.untaken, FailureLog())

    def ask(self, verb: str, target: str, body: bytes = b"", **headers: str) -> HttpReply:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest(verb, target, fields, "1.2.3.4", body=body)

        async def asked() -> HttpReply:
            try:
                return await self.answering.answer(self.answering.find(verb, target), request, CONNECTION)
            finally:
                await self.bodies.stop()

        return asyncio.run(asked())

    def refuse(self, status: int, text: str, verb: str, target: str) -> HttpReply:
        return self.answering.refuse(status, text, HttpRequest(verb, target, {"x-request-id": "7"}))


def raising(error: BaseException) -> Shop:
    async def handler(request: HttpRequest) -> HttpReply:
        raise error

    return Shop(handler)


def saying(reply: HttpReply) -> Shop:
    async def handler(request: HttpRequest) -> HttpReply:
        return reply

    return Shop(handler)


def headers_of(reply: HttpReply) -> dict[str, str]:
    assert len(dict(reply.headers)) == len(reply.headers)
    return dict(reply.headers)


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "Request " in line]


# --- Who answers ---


@pytest.mark.parametrize(
    ("verb", "target", "body"),
    [
        ("GET", "/shop/goods", b"goods"),
        ("GET", "/shop/goods?cheap#now", b"goods"),
        ("GET", "http://host:80/shop/goods?cheap", b"goods"),
        ("GET", "/shop/a/goods/b.txt", b"{'shelf': 'a', 'name': 'b'}"),
        ("GET", "/shop/a%2Fb/goods/%C3%A4%20.txt?x=/", "{'shelf': 'a/b', 'name': 'ä '}".encode()),
        ("POST", "/shop/a/goods/btxt", b"rest 1"),
        ("POST", "/shop/a/more/goods/b.txt", b"rest 1"),
        ("POST", "/shop//goods/b.txt", b"rest 1"),
        ("POST", "/shop/goods/", b"rest 1"),
        ("POST", "/", b"rest 1"),
        ("POST", "*", b"rest 1"),
        ("POST", "", b"rest 1"),
    ],
)
def test_a_target_has_its_route(verb: str, target: str, body: bytes) -> None:
    reply = Setting(Shop(), Rest()).ask(verb, target, b"1")
    assert (reply.status, reply.body, reply.headers) == (200, body, ())


@pytest.mark.parametrize(
    ("verb", "target", "status", "text", "allow"),
    [
        ("DELETE", "/shop/goods", 405, "shop: /shop/goods only supports GET and POST and PUT, but got DELETE",
         "GET, POST, PUT, OPTIONS"),
        ("HEAD", "/shop/a/goods/b.txt?x", 405, "shop: /shop/a/goods/b.txt only supports GET, but got HEAD",
         "GET, OPTIONS"),
        ("POST", "/shop/closed", 405, "shop: just look", "GET, OPTIONS"),
        ("GET", "/nowhere", 200, "rest: only POST", "POST, OPTIONS"),
        ("options", "/nowhere", 200, "rest: only POST", "POST, OPTIONS"),
    ],
)  # fmt: skip
def test_a_path_that_exists_under_another_verb(
    verb: str, target: str, status: int, text: str, allow: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = Setting(Shop(), Rest()).ask(verb, target, x_request_id="7")
    assert (reply.status, reply.body) == (status, text.encode())
    assert headers_of(reply) == {"Allow": allow, "X-Request-Id": "7"}
    [line] = logged(capsys)
    assert f"Request 7 from 1.2.3.4 failed with status 405, {verb} {target.partition('?')[0]}: " in line


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/shop/goods", "GET, POST, PUT, OPTIONS"),
        ("/shop/a/goods/b.txt", "GET, OPTIONS"),
        ("*", "POST, OPTIONS"),
    ],
)
def test_options_are_answered(target: str, allow: str, capsys: pytest.CaptureFixture[str]) -> None:
    reply = Setting(Shop(), Rest()).ask("OPTIONS", target)
    assert reply == HttpReply(200, b"", "", (("Allow", allow),))
    assert logged(capsys) == []


class Market(Shop):
    """A shop to which all paths below `/shop` belong, also those at which there is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.routes = (
            *self.routes,
            Route(("GET",), "/shop/files/{path*}", self.one),
            Route((), "/shop/{path*}", self.one),
        )


def test_a_name_for_any_number_of_segments() -> None:
    setting = Setting(Rest(), Market())
    assert setting.ask("GET", "/shop/files/a/b%2Fc/").body == b"{'path': 'a/b/c/'}"
    assert setting.ask("GET", "/shop/files/").body == b"{'path': ''}"
    assert setting.ask("GET", "/shop/a/goods/b.txt").body == b"{'shelf': 'a', 'name': 'b'}"


@pytest.mark.parametrize("verb", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("target", ["/shop/nothing", "/shop/", "/shop/a/b/c?x", "/shop/line%0Abreak"])
def test_a_dialect_words_what_is_not_there_among_its_paths(verb: str, target: str) -> None:
    setting = Setting(Rest(), Market())
    reply = setting.ask(verb, target)
    assert reply.status == 404
    assert reply.body == f"shop: There is nothing at {target.partition('?')[0]}".encode()
    assert "Allow" not in headers_of(reply)
    assert setting.refuse(413, "too large", verb, target).status in (404, 413)
    assert setting.refuse(401, "who?", verb, target).body == b"shop: who?"


def test_what_is_nobodys_is_refused_by_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("GET", "OPTIONS"):
        reply = Setting(Shop()).ask(verb, "/nowhere?x")
        assert (reply.status, reply.body) == (404, b"shop: There is nothing at /nowhere")
        assert "Allow" not in headers_of(reply)
    assert len(logged(capsys)) == 2


@pytest.mark.parametrize("other", [Shop(), Rest()])
def test_two_routes_for_the_same_are_refused(other: Dialect) -> None:
    with pytest.raises(ValueError, match=f"Two routes have the pattern .*{other.name}"):
        Setting(Shop(), Rest(), other)


def test_what_anybody_may_ask() -> None:
    find = Setting(Shop(), Rest()).answering.find
    assert find("GET", "/shop/open?x").is_open
    for verb, target in [("POST", "/shop/open"), ("GET", "/shop/open/"), ("GET", "/shop/goods"), ("OPTIONS", "*"),
                         ("OPTIONS", "/shop/open"), ("GET", "/shop/open/../goods"), ("", "")]:  # fmt: skip
        assert not find(verb, target).is_open


# --- What has failed ---


@pytest.mark.parametrize(
    ("error", "status", "text", "retry"),
    [
        (InvalidInput("wrong"), 400, "shop: wrong", False),
        (QueueFull("full"), 429, "shop: full", True),
        (ServableUnavailable("gone"), 503, "shop: gone", True),
        (StageError("broken"), 500, "shop: broken", False),
        (KeyError("x"), 500, "shop: Predict failed: KeyError('x')", False),
        (RecursionError(), 500, "shop: Predict failed: RecursionError()", False),
    ],
)
def test_what_a_handler_raises_is_answered_by_its_dialect(
    error: Exception, status: int, text: str, retry: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = Setting(raising(error), Rest()).ask("POST", "/shop/goods", x_request_id="order 7")
    assert (reply.status, reply.body, reply.content_type) == (status, text.encode(), "text/plain")
    headers = headers_of(reply)
    name = headers.pop("X-Request-Id")
    assert len(name) == 16  # what the client sent is no usable id
    assert headers == ({"Retry-After": "1"} if retry else {})
    [line] = logged(capsys)
    assert f"Request {name} from 1.2.3.4 failed with status {status}, POST /shop/goods: " in line


def test_a_request_that_is_cancelled_has_no_answer() -> None:
    with pytest.raises(asyncio.CancelledError):
        Setting(raising(asyncio.CancelledError())).ask("POST", "/shop/goods")


@pytest.mark.parametrize("status", [200, 500, 503])
def test_instances_that_failed_are_logged_and_the_reply_has_an_id(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = HttpReply(status, b"{}", headers=(("A", "b"),), failures=[BROKEN], instance_count=3)
    answer = Setting(saying(reply)).ask("POST", "/shop/goods", x_request_id="7")
    assert answer.body == b"{}"
    again = {"Retry-After": "1"} if status == 503 else {}
    assert headers_of(answer) == {"A": "b", **again, "X-Request-Id": "7"}
    [line] = logged(capsys)
    assert "Request 7 from 1.2.3.4 failed with status 500, POST /shop/goods, 2 of 3 instances: broken" in line


def test_a_reply_carries_the_id_that_its_client_has_sent_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setting = Setting(saying(HttpReply(200, b"{}", headers=(("A", "b"),))))
    assert headers_of(setting.ask("POST", "/shop/goods", x_request_id="7")) == {"A": "b", "X-Request-Id": "7"}
    assert headers_of(setting.ask("POST", "/shop/goods")) == {"A": "b"}
    assert headers_of(setting.ask("POST", "/shop/goods", x_request_id="a b")) == {"A": "b"}
    assert logged(capsys) == []


# --- What is not taken ---


@pytest.mark.parametrize(
    ("status", "verb", "target", "answered", "text", "headers"),
    [
        (400, "", "", 400, "rest: why", {}),
        (401, "POST", "/shop/goods", 401, "shop: why", {"WWW-Authenticate": "Bearer"}),
        (401, "POST", "/nowhere", 401, "rest: why", {"WWW-Authenticate": "Bearer"}),
        (408, "GET", "/shop/goods", 408, "shop: why", {}),
        (408, "POST", "/nowhere", 200, "rest: why", {}),
        (413, "POST", "/shop/goods", 413, "shop: why", {}),
        (413, "POST", "/nowhere", 200, "rest: why", {}),
        (413, "GET", "/nowhere", 200, "rest: only POST", {"Allow": "POST, OPTIONS"}),
        (413, "OPTIONS", "/nowhere", 200, "rest: why", {}),
        (431, "POST", "/nowhere", 431, "rest: why", {}),
        (503, "POST", "/nowhere", 503, "rest: why", {"Retry-After": "1"}),
        (505, "", "", 505, "rest: why", {}),
    ],
)
def test_what_is_not_read_as_a_request(
    status: int, verb: str, target: str, answered: int, text: str, headers: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    reply = Setting(Shop(), Rest()).refuse(status, "why", verb, target)
    assert (reply.status, reply.body) == (answered, text.encode())
    assert headers_of(reply) == {**headers, "X-Request-Id": "7"}
    lines = logged(capsys)
    assert len(lines) == (0 if status == 401 else 1)
    if not verb:
        assert f"Request 7 from ? failed with status {status}, no request: why" in lines[0]


def test_a_client_that_takes_no_replies_gets_no_more_of_them() -> None:
    async def handler(request: HttpRequest) -> HttpReply:
        raise AssertionError("It should not be asked")

    setting = Setting(Shop(handler), Rest())
    setting.untaken.add(CONNECTION, MOST_UNTAKEN)
    reply = setting.ask("POST", "/shop/goods")
    assert (reply.status, reply.body) == (429, f"shop: {setting.untaken.refusal}".encode())
    assert headers_of(reply)["Retry-After"] == "1"
    assert setting.ask("GET", "/shop/open").status == 200


@pytest.mark.parametrize(("size", "status"), [((1 << 14) - 1, 200), (1 << 14, 429)])
def test_a_large_reply_has_no_room_either(size: int, status: int) -> None:
    async def handler(request: HttpRequest) -> HttpReply:
        setting.untaken.add(CONNECTION, MOST_UNTAKEN)  # by other requests of this connection meanwhile
        return HttpReply(200, bytes(size))

    setting = Setting(Shop(handler))
    assert setting.ask("POST", "/shop/goods").status == status


# --- What handlers are given ---


@pytest.mark.parametrize("size", [10, 1 << 18, 1 << 23])
def test_any_dialect_reads_bodies_small_and_large(size: int) -> None:
    async def handler(request: HttpRequest) -> HttpReply:
        small = request.read_small(LENGTH, 7)
        seen.append(small is None)
        content = small or await request.read(LENGTH, 7)
        return HttpReply(200, repr(content.rest).encode())

    seen: list[bool] = []
    reply = Setting(Shop(handler)).ask("POST", "/shop/goods", b"," * size)
    assert reply.body == f"{{'length': {size}, 'argument': 7}}".encode()
    assert seen == [size == 1 << 23]


def test_the_time_of_a_client_ends_while_a_large_body_is_read() -> None:
    async def handler(request: HttpRequest) -> HttpReply:
        await request.read(LENGTH, None, 0.0, ServableUnavailable("too late"))
        raise AssertionError("It should not be read")

    reply = Setting(Shop(handler)).ask("POST", "/shop/goods", b"," * (1 << 23))
    assert (reply.status, reply.body) == (503, b"shop: too late")


@pytest.mark.parametrize(("value", "seconds"), [(None, None), ("2500", 2.5)])
def test_the_time_of_a_request(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"x-request-timeout-ms": value}
    assert HttpRequest("POST", "/", headers).timeout_s == seconds


def test_a_header_that_is_no_time_is_the_clients_fault() -> None:
    async def handler(request: HttpRequest) -> HttpReply:
        return HttpReply(200, repr(request.timeout_s).encode())

    setting = Setting(Shop(handler))
    reply = setting.ask("POST", "/shop/goods", x_request_timeout_ms="soon")
    assert (reply.status, reply.body[:34]) == (400, b"shop: Header X-Request-Timeout-Ms ")
    assert setting.ask("GET", "/shop/goods", x_request_timeout_ms="soon").status == 200


# --- Rights, and pages that are taken away ---


class Office:
    """A dialect with a path for each right."""

    name = "office"
    grpc_methods = ()

    def __init__(self) -> None:
        self.routes: Sequence[Route] = (
            *(Route(("GET",), f"/office/{right.value}", self.show, right) for right in Right),
            Route(("GET",), "/office/{room}/desk", self.show),
        )

    async def show(self, request: HttpRequest) -> HttpReply:
        return HttpReply(200, f"{request.key_name} {request.authenticated}".encode())

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(
            200, f"office: {failure.text}".encode()
        )  # as a dialect says that has no other status


NAMED = Identity("ci", frozenset((Right.NONE, Right.VIEW)))


@pytest.mark.parametrize(
    ("identity", "allowed"),
    [
        (STRANGER, "none"),
        (ANYBODY, "none infer view"),
        (NAMED, "none view"),
        (Identity("x", frozenset(Right)), "none infer view manage"),
    ],
)
@pytest.mark.parametrize("right", list(Right))
def test_a_route_is_for_those_who_have_its_right(
    identity: Identity, allowed: str, right: Right, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = Setting(Office())  # type: ignore[arg-type]
    request = HttpRequest("GET", f"/office/{right.value}", {}, "1.2.3.4", identity)
    found = setting.answering.find(request.verb, request.target)
    reply = asyncio.run(setting.answering.answer(found, request, CONNECTION))
    if right.value in allowed.split():
        assert reply == HttpReply(200, f"{identity.name} {identity is not STRANGER}".encode())
    else:
        assert (reply.status, reply.body) == (403, f"office: {identity.refusal(right)}".encode())
        [line] = logged(capsys)
        assert f"failed with status 403, GET /office/{right.value}: Not allowed" in line


def test_what_is_withdrawn_is_nobodys() -> None:
    office, shop = Office(), Shop()
    setting = Setting(shop, office)  # type: ignore[arg-type]
    for target in ("/office/view", "/office/a/desk"):
        assert setting.ask("GET", target).status == 200
    setting.answering.withdraw([office])  # type: ignore[list-item]
    for target in ("/office/view", "/office/a/desk"):
        assert setting.ask("GET", target).status == 404
    assert setting.ask("GET", "/shop/a/goods/b.txt").status == 200
    assert setting.ask("GET", "/shop/goods").status == 200
