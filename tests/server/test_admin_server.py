"""Pages on listeners of their own, rights of keys, and pages while the server drains."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mindspore_serving import server
from tests.support.grpc_messages import PREDICT
from tests.support.http_requests import HttpReply, send
from tests.support.serving import RunningServer, add_servable, free_port, serving
from tests.support.watch import wait_until

INFER = "0123456789-may-only-infer"
VIEW = "0123456789-may-only-view"
BOTH = "0123456789-may-do-both"
SERVABLE = """\
import time
from pathlib import Path

from mindspore_serving.server import register


def until_told(x):
    while not Path("go_on").exists():
        time.sleep(0.02)
    return x


@register.register_method(output_names=["y"])
def echo(x):
    return x


@register.register_method(output_names=["y"])
def wait(x):
    return register.add_stage(until_told, x, outputs_count=1)
"""
CONFIG = '".", "one", num_parallel_workers=1'
BODY = {"instances": {"x": 7}}


class Listeners:
    """A server, and what it has for pages alone."""

    def __init__(self, server: RunningServer, pages: str) -> None:
        self.server = server
        self.pages = pages


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    """A server that asks for keys, with an admin listener that was started before all else."""
    folder = tmp_path_factory.mktemp("guarded")
    add_servable(folder, "one", SERVABLE, ())
    (folder / "keys.txt").touch(0o600)
    (folder / "keys.txt").write_text(
        f"{INFER} name=client rights=infer\n{VIEW} rights=view name=board\n{BOTH}\n"
    )
    admin = f"127.0.0.1:{free_port()}"
    keys = "api_keys='keys.txt'"
    settings = f"server.start_admin_server({admin!r}, {keys}, public_pages=['metrics'])"
    with serving(folder, [CONFIG], grpc_options=keys, rest_options=keys, settings=settings) as running:
        yield Listeners(running, admin)


def get(address: str, path: str, key: str | None = None) -> HttpReply:
    return send(address, "GET", path, headers={"X-API-Key": key} if key else {})


@pytest.mark.parametrize(
    ("path", "statuses"),
    [  # without a key, and with the right to infer, to view, and both
        ("/metrics", [200, 200, 200, 200]),  # public
        ("/status", [401, 403, 200, 200]),
        ("/openapi.json", [401, 403, 200, 200]),
        ("/console", [200, 200, 200, 200]),  # without any data
        ("/console/console.js", [200, 200, 200, 200]),
        ("/console/methods", [401, 403, 200, 200]),
        ("/console/log", [401, 403, 403, 403]),
        ("/healthz/live", [200, 200, 200, 200]),
        ("/healthz/ready", [200, 200, 200, 200]),
        ("/model/one:echo", [401, 404, 404, 404]),
    ],
)
def test_who_sees_which_page(guarded: Listeners, path: str, statuses: list[int]) -> None:
    assert [get(guarded.pages, path, key).status for key in (None, INFER, VIEW, BOTH)] == statuses


def test_a_key_without_the_right_is_told_which_one_it_lacks(guarded: Listeners) -> None:
    assert json.loads(get(guarded.pages, "/status", INFER).body)["error_msg"] == (
        "Not allowed, this needs the right 'view', but 'client' has only 'infer': use a key that has it, or add it to "
        "its rights"
    )
    reply = send(guarded.server.rest, "POST", "/model/one:echo", BODY, {"X-API-Key": VIEW})
    assert reply.status == 403
    assert "needs the right 'infer', but 'board' has only 'view'" in reply.error


@pytest.mark.parametrize("key", [INFER, BOTH])
def test_a_key_with_the_right_is_served(guarded: Listeners, key: str) -> None:
    reply = send(guarded.server.rest, "POST", "/model/one:echo", BODY, {"X-API-Key": key})
    assert (reply.status, reply.text) == (200, '{"instances":[{"y":7}]}')


@pytest.mark.parametrize(
    ("key", "code"),
    [(VIEW, "PERMISSION_DENIED"), (INFER, "INTERNAL"), (VIEW + "x", "UNAUTHENTICATED")],
)
def test_rights_hold_over_grpc(guarded: Listeners, key: str, code: str) -> None:
    with grpc.insecure_channel(guarded.server.grpc) as channel:
        call = channel.unary_unary(PREDICT)
        with pytest.raises(grpc.RpcError) as raised:
            call(b"\xff no message", timeout=20, metadata=(("x-api-key", key),))
    error: Any = raised.value
    assert error.code().name == code
    if key == VIEW:
        assert "this needs the right 'infer', but 'board' has only 'view'" in error.details()


def test_pages_with_a_listener_of_their_own_are_not_on_rest(guarded: Listeners) -> None:
    for path in ("/metrics", "/status", "/openapi.json"):
        assert get(guarded.server.rest, path, BOTH).status != 200
        assert get(guarded.server.rest, path).status == 401


def test_the_listener_is_among_those_that_metrics_tell_of(guarded: Listeners) -> None:
    text = get(guarded.pages, "/metrics").text
    assert f'serving_connections{{address="{guarded.pages}",kind="admin"}} 1.0\n' in text


def test_pages_are_answered_until_the_server_has_drained(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", SERVABLE, ())
    listener = f"127.0.0.1:{free_port()}"
    # The metrics listener is started after REST, which has had the page before.
    rest = f'pages=None)\nassert server.start_metrics_server({listener!r}) is None\nprint("late"'
    settings = "server.master.context.set_drain_timeout_s(60)"
    with serving(tmp_path, [CONFIG], rest_options=rest, settings=settings) as running:
        assert get(running.rest, "/metrics").status != 200
        assert get(running.rest, "/status").status == 200
        assert get(listener, "/status").status == 404
        assert "serving_closing 0.0\n" in get(listener, "/metrics").text
        replies: list[HttpReply] = []
        asking = threading.Thread(
            target=lambda: replies.append(send(running.rest, "POST", "/model/one:wait", BODY))
        )
        asking.start()
        wait_until(lambda: "serving_pending_requests 1.0\n" in get(listener, "/metrics").text, "it is asked")
        running.signal(signal.SIGTERM)
        wait_until(lambda: "serving_closing 1.0\n" in get(listener, "/metrics").text, "it drains")
        assert get(listener, "/healthz/ready").status == 503
        (tmp_path / "go_on").touch()
        asking.join()
        assert (replies[0].status, replies[0].text) == (200, '{"instances":[{"y":7}]}')
        assert running.wait() == 0


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("start_admin_server", {"address": "unix:a"}, "admin server does not support binding to unix domain socket"),
        ("start_metrics_server", {"address": "127.0.0.1"}, "metrics server"),
        ("start_metrics_server", {"ssl_config": "a.crt"}, "The type of ssl_config should be class of SSLConfig"),
        ("start_admin_server", {"public_pages": ["all"]}, "Parameter 'public_pages' has 'all', expected are some of"),
        ("start_restful_server", {"pages": ["x"]}, "Parameter 'pages' has 'x', expected are some of 'metrics', "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        getattr(server, name)(**{"address": "127.0.0.1:1", **options})
    assert text in str(raised.value)
