"""The application in which dialects answer what no route of the user's own does."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.application import DialectApplication
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from tests.support.http_peer import PLENTY, EchoDialect, NoBodies, Peer, close_peers

ASKED = b"POST /model/a:b?x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
ECHO = (200, b"POST /model/a:b?x  one")
KEY = "0123456789-this-is-the-key"
OWN = b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"


@pytest.fixture(autouse=True)
def _closed_peers() -> Iterator[None]:
    yield
    close_peers()


async def own(_: web.Request) -> web.Response:
    return web.json_response({"own": True})


async def upload(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def failing(_: web.Request) -> web.Response:
    raise ValueError("on purpose")


def with_routes(application: web.Application) -> None:
    application.router.add_get("/own", own)
    application.router.add_get("/{page}", own)
    application.router.add_post("/upload", upload)
    application.router.add_get("/failing/now", failing)


OWN_REPLY = (200, b'{"own": true}')


@pytest.mark.parametrize("add", [with_routes, lambda _: None])
def test_what_no_route_has_is_a_dialects_the_first_time_and_later(add: Any) -> None:
    peer = Peer(change=add)
    peer.send(ASKED + ASKED)
    peer.send(ASKED)
    assert peer.replies == [ECHO] * 3
    assert b"Server:" not in peer.transport.written  # aiohttp has written none of them


def test_routes_of_the_users_own_are_served_in_order_with_others() -> None:
    peer = Peer(change=with_routes)
    peer.send(OWN + ASKED + OWN.replace(b"/own", b"/anything") + UPLOAD + ASKED)
    assert peer.replies == [OWN_REPLY, ECHO, OWN_REPLY, (200, b"one"), ECHO]
    assert len(peer.asked) == 2


def test_another_verb_at_a_path_of_the_users_own_is_a_dialects() -> None:
    peer = Peer(change=with_routes)
    peer.send(ASKED.replace(b"/model/a:b?x", b"/own"))
    assert peer.replies == [(200, b"POST /own  one")]


def test_what_is_known_of_a_path_is_known_of_a_verb() -> None:
    peer = Peer(change=with_routes)
    peer.send(ASKED.replace(b"/model/a:b?x", b"/own") + OWN + ASKED.replace(b"/model/a:b?x", b"/own"))
    assert [status for status, _ in peer.replies] == [200] * 3
    assert peer.replies[1] == OWN_REPLY
    assert len(peer.asked) == 2


def test_a_key_is_asked_for_routes_of_the_users_own() -> None:
    peer = Peer(change=with_routes, guard=Guard(ApiKeys([KEY]), ()))
    peer.send(OWN.replace(b"Host: a", b"Host: a\r\nX-API-Key: " + KEY.encode()) + OWN)
    assert [status for status, _ in peer.replies] == [200, 401]


def test_who_asks_is_known_behind_middlewares_of_the_users_own() -> None:
    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> Any:
        return await handler(request)  # so each request goes through the application

    key = b"Host: a\r\nX-API-Key: " + KEY.encode()
    for with_key, guard in ((True, Guard(ApiKeys([KEY]), ())), (False, None)):
        peer = Peer(change=lambda application: application.middlewares.append(middleware), guard=guard)
        peer.send(ASKED.replace(b"Host: a", key) if with_key else ASKED)
        assert peer.replies == [ECHO]


def test_a_handler_that_fails_gets_500() -> None:
    peer = Peer(change=with_routes)
    peer.send(OWN.replace(b"/own", b"/failing/now"))
    assert [status for status, _ in peer.replies] == [500]
    assert peer.transport.closed == "closed"


def test_the_body_of_a_route_of_the_users_own_has_the_limits_of_the_server() -> None:
    for data in (
        UPLOAD.replace(b"3\r\n\r\none", b"1001\r\n\r\n"),
        UPLOAD.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked").replace(
            b"one", b"3e8\r\n" + b"a" * 1000 + b"\r\n1\r\na"
        ),
    ):
        peer = Peer(change=with_routes)
        peer.send(data)
        assert peer.replies == [(413, b"http message is bigger than 1000")]
        assert peer.refusal[0] == 413


@pytest.mark.parametrize("data", [UPLOAD[:-1], UPLOAD[:20]])
def test_a_request_for_a_route_of_the_users_own_has_to_arrive(data: bytes) -> None:
    peer = Peer(change=with_routes)
    peer.send(data)
    peer.wait(101)
    assert peer.refusal == (408, b"http message was not received within 100 s")


def test_a_stop_lets_a_handler_of_the_users_own_end() -> None:
    peer = Peer(change=with_routes)
    peer.send(UPLOAD[:-1])
    peer.connection.stop()
    peer.send(UPLOAD[-1:])
    assert peer.replies == [(200, b"one")]
    assert b"Connection: close\r\n" in peer.heads[0]
    assert peer.transport.closed == "closed"


def test_middlewares_of_the_users_own_see_all_requests() -> None:
    seen = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        seen.append(request.path)
        response: web.StreamResponse = await handler(request)
        response.headers["X-Seen"] = "yes"
        return response

    def add(application: web.Application) -> None:
        with_routes(application)
        application.middlewares.append(note)

    peer = Peer(change=add)
    peer.send(ASKED + OWN + ASKED)
    assert peer.replies == [ECHO, OWN_REPLY, ECHO]
    assert seen == ["/model/a:b", "/own", "/model/a:b"]
    assert all(b"X-Seen: yes\r\n" in head for head in peer.heads)


def test_a_sub_application_for_a_host_is_asked_each_time() -> None:
    def add(application: web.Application) -> None:
        other = web.Application()
        other.router.add_post("/model/a:b", upload)
        application.add_domain("other", other)

    peer = Peer(change=add)
    peer.send(ASKED + ASKED.replace(b"Host: a", b"Host: other") + ASKED)
    assert peer.replies == [ECHO, (200, b"one"), ECHO]


def test_a_sub_application_has_its_prefix_and_nothing_else() -> None:
    def add(application: web.Application) -> None:
        other = web.Application()
        with_routes(other)
        application.add_subapp("/sub", other)
        application.router.add_get("/{page}", own)

    peer = Peer(change=add)
    peer.send(ASKED + OWN.replace(b"/own", b"/sub/own") + ASKED + OWN)
    assert peer.replies == [ECHO, OWN_REPLY, ECHO, OWN_REPLY]


def test_paths_that_are_long_are_not_remembered() -> None:
    answering = Answering([EchoDialect()], NoBodies(), UntakenReplies(PLENTY, PLENTY), FailureLog())
    application = DialectApplication(answering, asyncio.new_event_loop())
    with_routes(application.application)
    find = application.finder()
    for path, known in (("/" + "a" * 1023, True), ("/" + "a" * 1024, False)):
        application._remember("GET", path)
        assert (find("GET", path) is not None) is known


def test_pages_see_responses_of_the_users_own_also_streams() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Vary": "Accept"})
        await response.prepare(request)
        return response

    def add(application: web.Application) -> None:
        with_routes(application)
        application.router.add_get("/stream/now", stream)

    peer = Peer(change=add, cors=Cors(["http://page"]))
    for path in (b"/stream/now", b"/own", b"/failing/now"):
        peer.send(OWN.replace(b"/own", path).replace(b"Host: a", b"Host: a\r\nOrigin: http://page"))
    written = peer.transport.written
    assert written.count(b"HTTP/1.1 ") == 3
    assert written.count(b"Access-Control-Allow-Origin: http://page\r\n") == 3
    assert written.count(b"Vary: Origin\r\n") == 3


@pytest.mark.parametrize(
    "target", ["/serving/model/a:b", "http://h/serving/model/a:b", "/servin%67/model/a:b"]
)
def test_mounted_where_bodies_are_decompressed_and_targets_name_hosts(target: str) -> None:
    dialect = EchoDialect()
    answering = Answering([dialect], NoBodies(), UntakenReplies(PLENTY, PLENTY), FailureLog())

    async def run() -> bytes:
        mounted = DialectApplication(answering, asyncio.get_running_loop())
        application = web.Application()
        application.add_subapp("/serving", mounted.application)
        async with TestServer(application) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            body = gzip.compress(b"one")
            writer.write(
                f"POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            reply = await reader.read()
            writer.close()
            return reply.partition(b"\r\n\r\n")[2]

    assert asyncio.run(run()) == b"POST /model/a:b  one"


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same loop", "another thread"])
def test_mounted_into_an_application_of_the_users(elsewhere: bool) -> None:
    dialect = EchoDialect()
    answering = Answering([dialect], NoBodies(), UntakenReplies(PLENTY, PLENTY), FailureLog())
    threads = []
    answer = dialect.answer

    async def noted(request: Any) -> Any:
        threads.append(threading.current_thread())
        return await answer(request)

    dialect.answer = noted  # type: ignore[method-assign]
    dialect.routes = tuple(route.__class__(route.verbs, route.pattern, noted) for route in dialect.routes)
    answering = Answering([dialect], NoBodies(), UntakenReplies(PLENTY, PLENTY), FailureLog())

    async def run(loop: asyncio.AbstractEventLoop | None) -> list[tuple[int, str]]:
        mounted = DialectApplication(answering, loop or asyncio.get_running_loop())
        with_routes(mounted.application)
        application = web.Application()
        application.router.add_get("/", own)
        application.add_subapp("/serving", mounted.application)
        replies = []
        async with TestClient(TestServer(application)) as client:
            for method, path in (
                ("POST", "/serving/model/a:b"),
                ("GET", "/serving/own"),
                ("GET", "/"),
                ("POST", "/serving/model/a:b"),
                ("POST", "/model/a:b"),
            ):
                async with client.request(method, path, data=b"one") as reply:
                    replies.append((reply.status, await reply.text()))
        return replies

    if elsewhere:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        replies = asyncio.run(run(loop))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    else:
        thread = threading.current_thread()
        replies = asyncio.run(run(None))
    assert [reply[0] for reply in replies] == [200, 200, 200, 200, 404]
    assert replies[0] == replies[3] == (200, "POST /model/a:b  one")
    assert threads == [thread, thread]
