"""Regions of shared memory over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import Failure
from mindspore_serving.server.dialect.open_inference.http.shared_memory import SharedMemoryRest
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

MOST_BYTES = 1 << 20
SYSTEM, CUDA = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
REGION = {"key": "/input", "offset": 2, "byte_size": 4}


class OnlyMemory:
    """A dialect that knows nothing else."""

    name = "memory"
    grpc_methods = ()

    def __init__(self, regions: SharedMemoryRegions) -> None:
        self.routes = SharedMemoryRest(regions).routes

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(failure.status, json.dumps({"error": failure.text}).encode())


class OwnConnection:
    def peer_is_own_user(self) -> bool:
        return True


class Bench:
    """The dialect, with shared memory in a folder."""

    def __init__(self, folder: Path, allowed: bool = True) -> None:
        (folder / "input").write_bytes(b"0123456789")
        dialect = OnlyMemory(SharedMemoryRegions(allowed, folder))
        bodies = BodyReader(MOST_BYTES, UnfinishedBodies(MOST_BYTES))
        untaken = UntakenReplies(MOST_BYTES, MOST_BYTES)
        self.answering = Answering([dialect], bodies, untaken, FailureLog())

    def ask(self, verb: str, target: str, body: Any = b"", *, own: bool = True) -> tuple[int, Any]:
        """Status and document of a reply."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = HttpRequest(verb, target, {}, "127.0.0.1", body=body)
        request.connection = OwnConnection() if own else None
        answer = self.answering.answer(self.answering.find(verb, target), request, "a connection")
        reply = asyncio.run(answer)
        assert reply.content_type == ("application/json" if reply.body else "")
        return reply.status, json.loads(reply.body) if reply.body else None


def test_a_region_comes_and_goes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.ask("POST", f"{SYSTEM}/region/a%20b/register", REGION) == (200, None)
    assert bench.ask("POST", f"{SYSTEM}/region/c/register", {"key": "/input", "byte_size": 10}) == (200, None)
    a = {"name": "a b", "key": "/input", "offset": 2, "byte_size": 4}
    c = {"name": "c", "key": "/input", "offset": 0, "byte_size": 10}
    assert bench.ask("GET", f"{SYSTEM}/status") == (200, [a, c])
    assert bench.ask("GET", f"{SYSTEM}/region/a%20b/status") == (200, [a])
    assert bench.ask("POST", f"{SYSTEM}/region/a%20b/unregister") == (200, None)
    assert bench.ask("GET", f"{SYSTEM}/status") == (200, [c])
    assert bench.ask("POST", f"{SYSTEM}/unregister", {}) == (200, None)
    assert bench.ask("GET", f"{SYSTEM}/status") == (200, [])
    assert bench.ask("GET", f"{SYSTEM}/region/c/status")[0] == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "failed to parse the request JSON"),
        (b"{", "failed to parse the request JSON"),
        (b"[" * 100000, "failed to parse the request JSON"),
        ([], "should be a JSON object"),
        ({}, "'key' should be the name of a shared memory as a string, but got nothing"),
        ({**REGION, "key": 3}, "but got 3"),
        ({**REGION, "key": "/missing"}, "Unable to open"),
        ({**REGION, "offset": "0"}, "'offset' should be a number of bytes, but got \"0\""),
        ({**REGION, "offset": True}, "'offset' should be a number of bytes, but got true"),
        ({**REGION, "offset": 0.5}, "'offset' should be a number of bytes, but got 0.5"),
        ({**REGION, "offset": 10**30}, "'offset' should be a number of bytes"),
        ({**REGION, "offset": -1}, "invalid offset -1"),
        ({"key": "/input"}, "'byte_size' should be a number of bytes, but got nothing"),
        ({**REGION, "byte_size": 100}, "it has 10 bytes, but the region ends at 102"),
        ({**REGION, "byte_size": [[1] * 1000]}, "characters)"),
    ],
)
def test_a_registration_that_is_refused(body: Any, text: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    status, document = bench.ask("POST", f"{SYSTEM}/region/a/register", body)
    assert status == 400
    assert text in document["error"]
    assert bench.ask("GET", f"{SYSTEM}/status") == (200, [])


TARGETS = [
    ("GET", "/status"),
    ("GET", "/region/a/status"),
    ("POST", "/region/a/register"),
    ("POST", "/region/a/unregister"),
    ("POST", "/unregister"),
]


@pytest.mark.parametrize(("verb", "target"), TARGETS)
def test_what_is_off_and_what_is_not_there(verb: str, target: str, tmp_path: Path) -> None:
    off, on = Bench(tmp_path, allowed=False), Bench(tmp_path)
    for bench, path, own, expected, text in (
        (off, SYSTEM, True, 501, "allow_client_shared_memory=True"),
        (off, CUDA, True, 501, "allow_client_shared_memory=True"),
        (on, CUDA, True, 501, "CUDA shared memory is not supported"),
        (on, SYSTEM, False, 403, "only for clients on the machine"),
        (on, CUDA, False, 403, "only for clients on the machine"),
    ):
        status, document = bench.ask(verb, path + target, REGION, own=own)
        assert (status, text in document["error"]) == (expected, True)
    other = "POST" if verb == "GET" else "GET"
    assert on.ask(other, SYSTEM + target)[0] == 405
