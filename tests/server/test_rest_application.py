"""Routes of the user's own beside those of Serving, in our server and in one of the user's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.http_requests import post, send
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving

ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(lambda x: x, x, outputs_count=1)
"""
ROUTES = """\
from aiohttp import web


async def about(request):
    return web.json_response({"about": request.match_info.get("what", "")})


async def fail(request):
    raise ValueError("on purpose")


async def talk(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data + " back")
    return socket


application = server.rest_application()
assert application is server.rest_application()
application.router.add_get("/about/{what}", about)
application.router.add_get("/{what}", about)
application.router.add_get("/fail/now", fail)
application.router.add_get("/talk/now", talk)
"""
BODY = {"instances": [{"x": 1}]}
REPLY = {"instances": [{"y": 1}]}
KEY = "0123456789-this-is-the-key"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("application")
    add_servable(folder, "one", ECHO)
    with serving(
        folder, ['".", "one", 0'], settings=ROUTES, rest_options='cors_origins=["https://page.example"]'
    ) as running:
        yield running


def test_routes_of_the_users_own_and_those_of_serving(running: RunningServer) -> None:
    for _ in range(2):
        assert json.loads(post(running.rest, "/model/one:echo", BODY).body) == REPLY
        reply = send(running.rest, "GET", "/about/us")
        assert (reply.status, json.loads(reply.body)) == (200, {"about": "us"})
        assert json.loads(send(running.rest, "GET", "/anything").body) == {"about": "anything"}
        assert send(running.rest, "GET", "/healthz/live").status == 200
    assert json.loads(send(running.rest, "GET", "/model/one:echo").body)["name"] == "one"
    assert send(running.rest, "PUT", "/model/one:echo").status == 405
    assert post(running.rest, "/model/nobody:echo", BODY).status == 404


def test_a_handler_that_fails(running: RunningServer) -> None:
    assert send(running.rest, "GET", "/fail/now").status == 500
    assert "ValueError: on purpose" in running.read_output()
    assert json.loads(post(running.rest, "/model/one:echo", BODY).body) == REPLY


def test_websockets(running: RunningServer) -> None:
    async def talk() -> list[str]:
        async with aiohttp.ClientSession() as session, session.ws_connect(running.url("/talk/now")) as socket:
            replies = []
            for text in ("one", "two"):
                await socket.send_str(text)
                replies.append(await socket.receive_str())
            return replies

    assert asyncio.run(talk()) == ["one back", "two back"]


def test_a_page_elsewhere(running: RunningServer) -> None:
    origin = {"Origin": "https://page.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    reply = send(running.rest, "OPTIONS", "/model/one:echo", headers=asked)
    assert reply.status == 200
    assert reply.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert reply.headers["access-control-allow-headers"] == "x-api-key"
    for path, verb in (("/model/one:echo", "POST"), ("/about/us", "GET"), ("/model/no:one", "POST")):
        reply = send(running.rest, verb, path, json.dumps(BODY) if verb == "POST" else b"", headers=origin)
        assert reply.headers["access-control-allow-origin"] == "https://page.example"
        assert reply.headers["vary"] == "Origin"


def test_keys_are_asked_for_routes_of_the_users_own(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", ECHO)
    with serving(tmp_path, ['".", "one", 0'], settings=ROUTES, rest_options=f"api_keys=[{KEY!r}]") as running:
        assert send(running.rest, "GET", "/about/us").status == 401
        assert send(running.rest, "GET", "/about/us", headers={"X-API-Key": KEY}).status == 200


MIDDLEWARE = """\
from aiohttp import web


@web.middleware
async def pass_on(request, handler):
    return await handler(request)


server.rest_application().middlewares.append(pass_on)
"""


def test_behind_a_middleware_only_who_shows_a_key_reads_details(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", ECHO)
    keys = f"api_keys=[{KEY!r}]"
    with serving(tmp_path, ['".", "one", 0'], settings=MIDDLEWARE, rest_options=keys) as running:
        assert "servables" not in json.loads(send(running.rest, "GET", "/healthz/ready").body)
        for shown in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            assert "servables" in json.loads(send(running.rest, "GET", "/healthz/ready", headers=shown).body)


def test_an_application_that_nobody_would_serve_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    script.write_text(
        f"""\
from mindspore_serving import server

server.start_restful_server("127.0.0.1:{free_port()}")
try:
    server.rest_application()
except RuntimeError as error:
    print("refused:", error, flush=True)
server.stop()
"""
    )
    with running_script(script) as late:
        late.wait_for_line(
            "refused: Serving Error: rest_application should be called before start_restful_server"
        )


HOOKS = (
    ROUTES
    + """\


async def begin(application):
    print("begins", flush=True)


async def shut(application):
    print("shuts", flush=True)
    raise ValueError("of a hook")


async def clean(application):
    print("cleans up", flush=True)


application.on_startup.append(begin)
application.on_shutdown.append(shut)
application.on_cleanup.append(clean)
"""
)


def test_hooks_of_the_users_own_run_once_and_do_not_keep_the_server(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", ECHO)
    with serving(tmp_path, ['".", "one", 0'], settings=HOOKS) as running:
        running.process.terminate()
        assert running.wait() == 0
    said = [line for line in running.lines if line in ("begins", "shuts", "cleans up")]
    assert said == ["begins", "shuts", "cleans up"]
    assert "on_shutdown of the REST application failed: ValueError('of a hook')" in running.output


MOUNTED = """\
import json
from aiohttp import web
from mindspore_serving import server


async def about(request):
    return web.json_response({{"about": "mine"}})


server.start_servables(server.ServableStartConfig(".", "one", 0))
mine = web.Application(client_max_size=50_000_000)
mine.router.add_get("/", about)
mine.add_subapp("/serving", server.rest_application())
web.run_app(mine, host="127.0.0.1", port={port}, print=lambda text: print("mine runs", flush=True))
server.stop()
print("all has ended", flush=True)
"""


def test_mounted_into_a_server_of_the_users(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", ECHO)
    port = free_port()
    script = tmp_path / "start.py"
    script.write_text(MOUNTED.format(port=port))
    rest = f"127.0.0.1:{port}"
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("mine runs")
        assert json.loads(send(rest, "GET", "/").body) == {"about": "mine"}
        for _ in range(2):
            assert json.loads(post(rest, "/serving/model/one:echo", BODY).body) == REPLY
        assert send(rest, "GET", "/serving/healthz/ready").status == 200
        tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
        reply = post(rest, "/serving/v2/models/one.echo/infer", {"inputs": [tensor]})
        assert json.loads(reply.body)["outputs"] == [{**tensor, "name": "y"}]
        assert json.loads(send(rest, "GET", "/serving/v2/nothing").body).keys() == {"error"}
        assert post(rest, "/serving/model/nobody:echo", BODY).status == 404
        assert post(rest, "/model/one:echo", BODY).status == 404
        large = {"instances": [{"x": list(range(40_000))}]}
        reply = post(rest, "/serving/model/one:echo", large)
        assert json.loads(reply.body) == {"instances": [{"y": large["instances"][0]["x"]}]}
        running.process.terminate()
        assert running.wait() == 0
        assert "all has ended" in running.lines
