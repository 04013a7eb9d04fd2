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
from benchmarks.connections import JSON_HEADERS, Exchange, grpc_exchange, rest_exchange
from benchmarks.http2 import grpc_frame
from benchmarks.messages import Request, native_request
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
        headers: Of HTTP, beside `Host` and `Content-Length`.
    """

    server: Server
    protocol: str
    path: str
    body: bytes
    expected: bytes
    body_file: Path
    plain_file: Path
    expected_file: Path
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.server.addresses[self.protocol]

    @property
    def url(self) -> str:
        """For load tools."""
        return f"http://{self.address}{self.path}"

    @property
    def exchange(self) -> Exchange:
        """For our own generator."""
        if self.protocol == "grpc":
            return grpc_exchange(self.body, self.expected)
        return rest_exchange(self.address, self.path, self.body, self.expected, self.headers)

    def checker(self) -> Checker:
        """A client with a connection of its own that compares replies."""
        client = new_client(self.protocol, self.address, self.path, self.body, self.headers)
        return Checker(client, self.expected)


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
    return answered_target(workload.name, _request_of(workload, sample), server, folder)


def answered_target(name: str, request: Request, server: Server, folder: Path) -> Target:
    """Requests to a server that has answered the first one rightly.

    Args:
        name: For the error.
        request: What is asked.
        server: Whom.
        folder: A new folder for the files of the load generators.

    Raises:
        RuntimeError: The reply is wrong, or there is none.
    """
    reply = _ask(request, server)
    if not request.is_right(reply):
        raise RuntimeError(f"{name}: the reply is wrong, it begins with {reply[:300]!r}")
    return _with_files(server, request, reply, folder)


def echo_target_of(workload: Workload, sample: Sample, server: Server, folder: Path) -> Target:
    """The same requests to an echo, which are the right replies as well."""
    request = _request_of(workload, sample)
    return _with_files(server, request, request.body, folder)


def _request_of(workload: Workload, sample: Sample) -> Request:
    return native_request(
        workload.interface, workload.servable, workload.method, sample.instances, sample.results
    )


def _ask(request: Request, server: Server) -> bytes:
    address = server.addresses[request.protocol]
    client = new_client(request.protocol, address, request.path, request.body, request.headers)
    try:
        return client.ask()
    finally:
        client.close()


def _with_files(server: Server, request: Request, expected: bytes, folder: Path) -> Target:
    folder.mkdir(parents=True)
    files = [folder / name for name in ("body", "plain", "expected")]
    body = request.body
    contents = (grpc_frame(body) if request.protocol == "grpc" else body, body, expected)
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return Target(server, request.protocol, request.path, body, expected, *files, headers=request.headers)


def reply_bytes_on_wire(target: Target) -> int:
    """Bytes of one right reply of a REST server, its head included; all its replies have as many."""
    host, _, port = target.address.rpartition(":")
    with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
        connection.sendall(target.exchange.request)
        received = b""
        while not received.endswith(target.expected):
            piece = connection.recv(1 << 20)
            if not piece:
                raise RuntimeError(
                    f"{target.url}: another reply than before, it begins with {received[:300]!r}"
                )
            received += piece
    return len(received)
