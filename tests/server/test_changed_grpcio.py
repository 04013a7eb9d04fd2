"""A server whose grpcio is another than it was written for: it serves all the same, and its log says what has changed.

`./build.sh check` runs the first test with other releases: it is they that serve, and by their C core.
"""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc._cython import cygrpc

from mindspore_serving.client import Client
from mindspore_serving.server.host.unix_socket import LONGEST_PATH
from tests.support.serving import RunningScript, add_servable, free_port, running_script

ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(lambda x: x, x, outputs_count=1)
"""
SCRIPT = """\
import threading

from grpc._cython import cygrpc

{change}

from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "one", 0))
server.start_grpc_server({address!r})
print("listens", flush=True)
"""
FALLBACK = "gRPC is served by grpc.aio"

# How a start script changes grpcio: its classes cannot be changed, but others can take their place. The client of the
# server's check is of the same process, and so is changed alike.
NO_OPERATION = "del cygrpc.ReceiveCloseOnServerOperation"
OTHER_PARAMETERS = """
class Server(cygrpc.Server):
    def request_call(self, queue, tag):
        return super().request_call(queue, queue, tag)


cygrpc.Server = Server
"""
MORE_TO_CONSTRUCT = """
class SendMessageOperation(cygrpc.SendMessageOperation):
    def __new__(cls, message, flags, coding):
        return super().__new__(cls, message, flags)


cygrpc.SendMessageOperation = SendMessageOperation
"""
OTHER_REPLY = """
send = cygrpc.SendMessageOperation
cygrpc.SendMessageOperation = lambda message, flags: send(message + b"!", flags)
"""
OTHER_BATCHES = """
class Changed:
    def __init__(self, original):
        self.original = original

    def __getattr__(self, name):
        return getattr(self.original, name)


class Call(Changed):
    def start_server_batch(self, operations, tag):
        {body}


class Event(Changed):
    @property
    def call(self):
        return Call(self.original.call)


class CompletionQueue(cygrpc.CompletionQueue):
    def poll(self, deadline=None):
        event = super().poll(deadline)
        return Event(event) if isinstance(event, cygrpc.RequestCallEvent) else event


cygrpc.CompletionQueue = CompletionQueue
"""
FAILING_BATCHES = OTHER_BATCHES.format(body='raise TypeError("operations have changed")')
BATCHES_WITHOUT_END = OTHER_BATCHES.format(body="return 0")
NO_EVENTS = """
class CompletionQueue(cygrpc.CompletionQueue):
    def poll(self, deadline=None):
        threading.Event().wait()


cygrpc.CompletionQueue = CompletionQueue
"""


CHANGES = {
    "operation missing": (NO_OPERATION, "ReceiveCloseOnServerOperation"),
    "parameters": (OTHER_PARAMETERS, r"Server\.request_call takes \(self, queue, tag\), expected"),
    "constructor": (MORE_TO_CONSTRUCT, r"SendMessageOperation\(b'', 0\): TypeError"),
    "reply": (OTHER_REPLY, "the reply of a call to itself is b'a message!!', expected b'a message'"),
    "batches fail": (FAILING_BATCHES, "operations have changed"),
}
HANGING = {"batches without end": BATCHES_WITHOUT_END, "no events": NO_EVENTS}


@contextlib.contextmanager
def started(folder: Path, change: str, **environment: str) -> Iterator[tuple[RunningScript, str]]:
    """A start script that changes grpcio, and the address of its server."""
    add_servable(folder, "one", ECHO)
    address = f"127.0.0.1:{free_port()}"
    script = folder / "start_server.py"
    script.write_text(SCRIPT.format(change=change, address=address))
    environment |= {"SERVING_BACKEND": "stub", "SERVING_GRPC": "core"}
    with running_script(script, environment=environment) as running:
        yield running, address


def is_answered(address: str) -> bool:
    return bool(Client(address, "one", "echo").infer({"x": np.float32(1)})[0]["y"] == 1)


def loaded_cores(pid: int) -> set[str]:
    """Paths of gRPC's compiled library that a process has loaded."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if "/cygrpc." in line}


def check(running: RunningScript, address: str, said: str) -> None:
    """It serves, has said why not by the core, and ends in order."""
    running.wait_for_line("listens")
    assert is_answered(address)
    output = running.read_output()
    assert f"{FALLBACK}, which takes more CPU time: the C core of grpcio {grpc.__version__} " in output
    assert re.search(said, output)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[RunningScript, str]]]:
    """Servers that wait in vain for their own calls, while the other tests go on."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(started(tmp_path_factory.mktemp("hanging"), change))
            for name, change in HANGING.items()
        }


def test_a_server_runs_on_the_core_of_the_grpcio_of_its_tests(tmp_path: Path) -> None:
    with started(tmp_path, "") as (running, address):
        running.wait_for_line("listens")
        assert is_answered(address)
        assert loaded_cores(running.process.pid) == {cygrpc.__file__}
        assert FALLBACK not in running.read_output()


def test_a_server_finds_its_core_fit_where_no_socket_has_a_place_for_its_file(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * LONGEST_PATH)
    folder.mkdir()
    with started(tmp_path, "", TMPDIR=str(folder)) as (running, address):
        running.wait_for_line("listens")
        assert is_answered(address)
        assert FALLBACK not in running.read_output()


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("kind", CHANGES)
def test_a_server_serves_with_a_grpcio_that_has_changed(tmp_path: Path, kind: str) -> None:
    change, said = CHANGES[kind]
    with started(tmp_path, change) as (running, address):
        check(running, address, said)


@pytest.mark.parametrize("kind", HANGING)
def test_a_server_does_not_wait_for_ever_for_a_grpcio_that_hangs(
    hanging: dict[str, tuple[RunningScript, str]], kind: str
) -> None:
    check(*hanging[kind], said="did not end within|DEADLINE_EXCEEDED")
