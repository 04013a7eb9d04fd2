"""`GET /status` of real servers: under load, after a worker was killed, before anything was asked, with keys."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.host.process_memory import resident_bytes, resident_of
from tests.support.command_line import Terminal
from tests.support.http_requests import post, send
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.traffic import Traffic
from tests.support.watch import kill, wait_until

RESTART_TIMEOUT_S = 60.0
KEY = "a-key-that-may-see-pages"
INFER_KEY = "a-key-that-may-only-infer"
HOSTILE = "\"'<script>alert(1)</script>[bold red][/x]{}%s"

ADD = """\
import os
import time

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=True)


def checked(x1):
    if x1.flat[0] < 0:
        raise register.InvalidInput("x1 is negative")
    return x1


@register.register_method(output_names=["y"])
def predict(x1, x2):
    x1 = register.add_stage(checked, x1, outputs_count=1)
    return register.add_stage(model, x1, x2, outputs_count=1)


def named(x):
    return x


named.__name__ = HOSTILE
register.register_method(output_names=["y"])(named)
""".replace("HOSTILE", repr(HOSTILE))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of one servable, whose keys have different rights."""
    folder = tmp_path_factory.mktemp("status")
    add_servable(folder, "add", ADD)
    keys = [f"{KEY} name=watcher rights=view", f"{INFER_KEY} name=client rights=infer"]
    with serving(folder, ['".", "add", device_ids=0'], rest_options=f"api_keys={keys!r}") as server:
        yield server


def status(server: RunningServer, query: str = "", key: str = KEY) -> Any:
    reply = send(server.rest, "GET", f"/status{query}", headers={"x-api-key": key})
    assert reply.status == 200, reply.text
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["cache-control"] == "no-store"
    return json.loads(reply.body)


def added(client: Client, number: int) -> Any:
    """Ask for a sum; what is wrong with the reply."""
    try:
        reply = client.infer({"x1": np.float32([number, 0]), "x2": np.float32([1, 1])})
    except RuntimeError:  # the worker was killed, and there is no other
        return None
    if isinstance(reply, dict):  # likewise
        return None if "error" in reply else reply
    return None if reply[0]["y"][0] == number + 1 else reply


def figures_of(served: RunningServer, window: str) -> Any:
    """Figures of the method `predict`."""
    methods = status(served)["versions"][0]["methods"]
    return next(one for one in methods if one["method"] == "predict")["windows"].get(window)


def test_before_anything_was_asked(served: RunningServer) -> None:
    said = status(served, "?explain=1")
    assert (said["ready"], said["reason"], said["pending_requests"]) == (True, "", 0)
    assert said["uptime_s"] > 0
    assert said["memory_bytes"] > 10 << 20
    [version] = said["versions"]
    assert (version["servable"], version["version"], version["state"]) == ("add", 1, "ready")
    [copy] = version["copies"]
    assert (copy["state"], copy["pid"], copy["restarts"]) == ("ready", served.workers()[0], 0)
    methods = {one["method"]: one["windows"] for one in version["methods"]}
    assert set(methods) == {"predict", HOSTILE}
    assert methods[HOSTILE]["start"]["requests"] == {}
    wait_until(
        lambda: {one["kind"] for one in status(served)["front_ends"]} == {"grpc", "rest"}, "both are told of"
    )
    assert [one["rule"] for one in said["advice"]] == []
    assert str(served.folder) not in json.dumps(said)


def test_under_load_and_after_a_worker_was_killed(served: RunningServer) -> None:
    with Traffic(served.grpc, "add", "predict", added) as traffic:
        traffic.wait_for(200)
        wait_until(lambda: figures_of(served, "10s")["requests"].get("ok", 0) >= 150, "requests are counted")
        said = status(served)
        [first] = served.workers()
        kill(first)
        wait_until(
            lambda: status(served)["versions"][0]["last_restarts"], "the end is told", RESTART_TIMEOUT_S
        )
        wait_until(lambda: status(served)["ready"], "the worker is back", RESTART_TIMEOUT_S)
        traffic.wait_for(100)
        after = status(served, "?explain=1&servable=add")
    assert traffic.wrong == []
    figures = next(one for one in said["versions"][0]["methods"] if one["method"] == "predict")["windows"][
        "10s"
    ]
    assert figures["requests_per_s"] == pytest.approx(
        sum(figures["requests"].values()) / figures["seconds"], rel=0.01
    )
    for phase in ("decode", "queue", "input", "compute", "output", "encode", "total"):
        times = figures["phases"][phase]
        assert 0 <= times["p50_ms"] <= times["p95_ms"] <= times["p99_ms"], phase
        assert times["mean_ms"] > 0
    parts = sum(figures["phases"][phase]["mean_ms"] for phase in ("queue", "input", "compute", "output"))
    assert parts <= figures["phases"]["total"]["mean_ms"] * 1.2
    assert sum(figures["batch_sizes"].values()) == figures["batches"] > 0
    assert sum(step["share"] for step in figures["steps"]) == pytest.approx(1, abs=0.01)
    assert {step["name"] for step in figures["steps"]} >= {"tensor_add.mindir"}
    assert said["windows"]["10s"]["requests"]["ok"] == figures["requests"]["ok"]
    [version] = after["versions"]
    [restart] = version["last_restarts"]
    assert "9" in restart["reason"] or "SIGKILL" in restart["reason"]
    assert 0 <= restart["ago_s"] < RESTART_TIMEOUT_S
    assert version["copies"][0]["restarts"] == 1
    assert version["copies"][0]["pid"] != first


def test_requests_that_are_wrong_are_counted(served: RunningServer) -> None:
    body = {"instances": [{"x1": [-1.0, 0.0], "x2": [1.0, 1.0]}]}
    before = figures_of(served, "start")["requests"].get("invalid", 0)
    for _ in range(5):
        reply = send(served.rest, "POST", "/model/add:predict", body, {"x-api-key": INFER_KEY})
        assert (reply.status, reply.error) == (400, "x1 is negative")
    wait_until(
        lambda: figures_of(served, "start")["requests"].get("invalid", 0) == before + 5, "they are counted"
    )


@pytest.mark.parametrize(("key", "expected"), [("", 401), (INFER_KEY, 403)])
def test_who_may_not_see_it(served: RunningServer, key: str, expected: int) -> None:
    reply = send(served.rest, "GET", "/status?explain=1", headers={"x-api-key": key} if key else {})
    assert reply.status == expected
    for text in ("add/", "predict", "uptime_s"):
        assert text not in reply.text


def test_strangers_are_counted(served: RunningServer) -> None:
    before = status(served)["refused"].get("unauthorized", 0)
    assert send(served.rest, "GET", "/status").status == 401
    wait_until(lambda: status(served)["refused"]["unauthorized"] > before, "they are counted")


def test_head_and_other_verbs(served: RunningServer) -> None:
    headers = {"x-api-key": KEY}
    reply = send(served.rest, "HEAD", "/status", headers=headers)
    assert (reply.status, reply.body) == (200, b"")
    refused = send(served.rest, "POST", "/status", "{}", headers)
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert send(served.rest, "GET", "/status?methods=many", headers=headers).status == 400


def test_the_command_line_shows_it(
    served: RunningServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    terminal = Terminal(capsys, monkeypatch)
    refused = terminal.type(f"status {served.rest}")
    assert (refused.code, refused.out) == (4, "")
    assert "--api-key" in refused.err
    may_not = terminal.type(f"status {served.rest} --api-key {INFER_KEY}")
    assert (may_not.code, may_not.out) == (4, "")
    file = tmp_path / "key"
    file.write_text(KEY)
    status(served)
    send(
        served.rest,
        "POST",
        f"/model/add:{quote(HOSTILE)}",
        {"instances": [{"x": 1}]},
        {"x-api-key": INFER_KEY},
    )
    shown = terminal.type(f"status {served.rest} --explain --window start --api-key @{file}")
    assert shown.code == 0
    assert "add.predict" in shown.out
    assert KEY not in shown.out + shown.err


def test_the_memory_of_a_worker_has_what_it_has_started() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) as parent:
        try:
            wait_until(
                lambda: resident_bytes([parent.pid])[parent.pid] > resident_of(parent.pid) > 0,
                "its child is seen",
            )
        finally:
            for child in psutil.Process(parent.pid).children():
                child.kill()


def test_it_is_not_on_a_listener_that_has_no_pages(served: RunningServer) -> None:
    reply = post(served.rest, "/status/more", "{}")
    assert reply.status == 401
