"""Servers under load: those under test and their floors, and what is sent to them and has to come back."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.checking import Checker, new_client
from benchmarks.connections import rest_exchange
from benchmarks.http2 import grpc_frame
from benchmarks.messages import Instances, is_reply, path_of, request_bytes
from benchmarks.servers import free_port, running, running_start_script
from benchmarks.workloads import Sample, Workload

_HERE = Path(__file__).resolve().parent
_TIMEOUT_S = 60.0

_START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "{servable}", device_ids={device_ids}))
server.start_grpc_server("127.0.0.1:{grpc}")
server.start_restful_server("127.0.0.1:{rest}")
print("started", flush=True)
"""


@dataclass(frozen=True)
class Subject:
    """A MindSpore Serving to measure.

    Attributes:
        name: What it is called in tables.
        python: The Python that has it.
        variables: Of the environment of its server, beside those of this process.
    """

    name: str
    python: str = sys.executable
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A process that listens.

    Attributes:
        name: What it is called in tables.
        pid: Of its main process.
        addresses: `grpc`, `rest` or both, to `host:port`.
    """

    name: str
    pid: int
    addresses: dict[str, str]


@dataclass(frozen=True)
class Target:
    """One kind of request to one server.

    Attributes:
        server: The server.
        protocol: `grpc` or `rest`.
        path: For gRPC, of the method.
        body: The serialized message, or the HTTP body.
        expected: The right reply, in the form that this server gives it.
        body_file: `body`, for gRPC with its prefix.
        plain_file: `body`.
        expected_file: `expected`.
    """

    server: Server
    protocol: str
    path: str
    body: bytes
    expected: bytes
    body_file: Path
    plain_file: Path
    expected_file: Path

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.server.addresses[self.protocol]

    @property
    def url(self) -> str:
        """For load tools."""
        return f"http://{self.address}{self.path}"

    def checker(self) -> Checker:
        """A client with a connection of its own that compares replies."""
        return Checker(new_client(self.protocol, self.address, self.path, self.body), self.expected)


def export_models(folder: Path, networks: bool) -> None:
    """Put the servables into a folder, with their models."""
    for name in ("bench", "networks"):
        shutil.copytree(
            _HERE / "servables" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    command = [sys.executable, str(_HERE / "export_models.py"), str(folder)]
    command += ["--networks"] if networks else []
    environment = {"GLOG_v": "3", **os.environ}
    subprocess.run(command, cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def serving(models: Path, folder: Path, servable: str, subject: Subject, copies: int = 1) -> Iterator[Server]:
    """A server under test, started by a start script in a new folder.

    Args:
        models: Filled by `export_models`.
        folder: For the script, the servable and the logs.
        servable: Its name.
        subject: Which MindSpore Serving.
        copies: Workers, each on a device of its own.
    """
    shutil.copytree(models / servable, folder / servable)
    grpc, rest = free_port(), free_port()
    script = _START.format(servable=servable, device_ids=tuple(range(copies)), grpc=grpc, rest=rest)
    with running_start_script(folder, script, subject.python, subject.variables) as process:
        addresses = {"grpc": f"127.0.0.1:{grpc}", "rest": f"127.0.0.1:{rest}"}
        yield Server(subject.name, process.pid, addresses)


@contextlib.contextmanager
def echo(protocol: str, loop: str, *, hop: bool = False) -> Iterator[Server]:
    """A floor: a bare server of a well-known library that gives back what it gets.

    Args:
        protocol: `grpc` or `rest`.
        loop: `uvloop` or `asyncio`.
        hop: Whether each request goes to a second process and back.
    """
    port = free_port()
    library = "grpc.aio" if protocol == "grpc" else "aiohttp"
    command = [sys.executable, "-m", "benchmarks.floor", protocol, str(port), loop]
    if hop:
        command.append("hop")
    way = "through a process" if hop else f"on {loop}"
    with running(command, _HERE.parent) as process:
        yield Server(f"{library} echo {way}", process.pid, {protocol: f"127.0.0.1:{port}"})


@contextlib.contextmanager
def core_echo() -> Iterator[Server]:
    """A bare server on gRPC's C core that gives back what it gets."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.core_echo", str(port)], _HERE.parent) as process:
        yield Server("C core echo", process.pid, {"grpc": f"127.0.0.1:{port}"})


def target_of(workload: Workload, sample: Sample, server: Server, folder: Path) -> Target:
    """A workload's requests to a server under test, whose reply is looked at closely once.

    Args:
        workload: What is asked for.
        sample: Instances and results.
        server: Whom.
        folder: A new folder for the files of the load generators.

    Raises:
        RuntimeError: The reply is wrong.
    """
    path = path_of(workload.protocol, workload.servable, workload.method)
    body = request_bytes(workload.interface, workload.servable, workload.method, sample.instances)
    reply = _ask(workload.protocol, server, path, body)
    _require(workload, reply, sample.results)
    return _with_files(server, workload.protocol, path, body, reply, folder)


def echo_target_of(workload: Workload, sample: Sample, server: Server, folder: Path) -> Target:
    """The same requests to an echo, which are the right replies as well."""
    path = path_of(workload.protocol, workload.servable, workload.method)
    body = request_bytes(workload.interface, workload.servable, workload.method, sample.instances)
    return _with_files(server, workload.protocol, path, body, body, folder)


def _require(workload: Workload, reply: bytes, results: Instances) -> None:
    if not is_reply(workload.protocol, reply, results):
        raise RuntimeError(f"{workload.name}: the reply is wrong, it begins with {reply[:300]!r}")


def _ask(protocol: str, server: Server, path: str, body: bytes) -> bytes:
    client = new_client(protocol, server.addresses[protocol], path, body)
    try:
        return client.ask()
    finally:
        client.close()


def _with_files(
    server: Server, protocol: str, path: str, body: bytes, expected: bytes, folder: Path
) -> Target:
    folder.mkdir(parents=True)
    files = [folder / name for name in ("body", "plain", "expected")]
    contents = (grpc_frame(body) if protocol == "grpc" else body, body, expected)
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return Target(server, protocol, path, body, expected, *files)


def reply_bytes_on_wire(target: Target) -> int:
    """Bytes of one right reply of a REST server, its head included; all its replies have as many."""
    host, _, port = target.address.rpartition(":")
    request = rest_exchange(target.address, target.path, target.body, b"").request
    with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
        connection.sendall(request)
        received = b""
        while not received.endswith(target.expected):
            piece = connection.recv(1 << 20)
            if not piece:
                raise RuntimeError(
                    f"{target.url}: another reply than before, it begins with {received[:300]!r}"
                )
            received += piece
    return len(received)
