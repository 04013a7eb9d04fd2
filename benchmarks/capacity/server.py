"""The server under test: copies of the servable `capacity` with the stub backend, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.connections import connect, grpc_exchange, rest_exchange
from benchmarks.load import Load, children_of, grpc_load, rest_load
from benchmarks.messages import is_reply, path_of, request_bytes
from benchmarks.servers import free_port, running_start_script

_SERVABLE = Path(__file__).resolve().parents[1] / "servables" / "capacity"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_GRPC_PREFIX_BYTES = 5

_START = """\
import os

os.environ["SERVING_BACKEND"] = "stub"

from mindspore_serving import server
from mindspore_serving.server.master import context

context.set_max_enqueued_requests({most_requests})
names = {names}
server.start_servables([server.ServableStartConfig(".", name, device) for device, name in enumerate(names)])
server.start_grpc_server("{grpc}")
server.start_restful_server("{rest}")
print("started", flush=True)
"""


@dataclass(frozen=True)
class CapacityServer:
    """A running server.

    Attributes:
        pid: Its main process.
        addresses: `host:port` by interface.
        servables: Their names.
        folder: Where the servables are.
    """

    pid: int
    addresses: dict[str, str]
    servables: tuple[str, ...]
    folder: Path

    def serving_pids(self, servable: str) -> list[int]:
        """The main process, and the workers of one servable."""
        argument = f"--servable_name={servable}"
        workers = [pid for pid in children_of(self.pid) if argument in _command_line(pid).split()]
        return [self.pid, *workers]


@dataclass(frozen=True)
class Memory:
    """Memory of a process in MB (2**20 bytes).

    Attributes:
        resident: All of its pages that are in memory.
        proportional: The same, where a page of n processes counts as 1/n.
    """

    resident: float
    proportional: float


@contextlib.contextmanager
def capacity_server(folder: Path, count: int, most_requests: int = 10_000) -> Iterator[CapacityServer]:
    """Start a server with some copies of the servable.

    Args:
        folder: An empty folder.
        count: Servables; each has a worker process of its own.
        most_requests: How many requests may wait.

    Raises:
        RuntimeError: It did not start.
    """
    names = tuple(f"capacity{number}" for number in range(count))
    for name in names:
        shutil.copytree(_SERVABLE, folder / name)
        (folder / name / "1").mkdir()
        (folder / name / "1" / "tensor_add.mindir").touch()
    addresses = {interface: f"127.0.0.1:{free_port()}" for interface in ("grpc", "rest")}
    script = _START.format(most_requests=most_requests, names=names, **addresses)
    with running_start_script(folder, script) as process:
        yield CapacityServer(process.pid, addresses, names, folder)


class Question:
    """A request whose reply is known: the first one was compared with the values that it should hold.

    Args:
        server: Who is asked.
        interface: `grpc` or `rest`.
        servable: Its name.
        method: `add` or `identity`.

    Raises:
        RuntimeError: The first reply was wrong.
    """

    def __init__(self, server: CapacityServer, interface: str, servable: str, method: str) -> None:
        x1, x2 = np.array([[1, 2], [3, 4]], np.float32), np.full((2, 2), 2, np.float32)
        self.interface = interface
        self.address = server.addresses[interface]
        self.path = path_of(interface, servable, method)
        self.body = request_bytes(interface, servable, method, [{"x1": x1, "x2": x2}])
        self.reply = asyncio.run(self._ask())
        if not is_reply(interface, self.reply, [{"y": x1 + x2 if method == "add" else x1}]):
            raise RuntimeError(f"{self.address}{self.path} answered {self.reply!r}")

    def load(self, clients: int, seconds: float) -> Load:
        """Ask from closed loops."""
        run = grpc_load if self.interface == "grpc" else rest_load

        async def asking() -> Load:
            return await run(self.address, self.path, self.body, self.reply, clients, seconds)

        return asyncio.run(asking())

    async def _ask(self) -> bytes:
        connection = await connect(self.interface, self.address, self.path)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        connection.send(exchanged(self.interface, self.address, self.path, self.body), answered.set_result)
        reply = await answered
        connection.close()
        return message_in(self.interface, reply)


def exchanged(interface: str, address: str, path: str, body: bytes) -> bytes:
    """A request as a connection of the load generator takes it."""
    if interface == "grpc":
        return grpc_exchange(body, b"").request
    return rest_exchange(address, path, body, b"").request


def message_in(interface: str, reply: bytes) -> bytes:
    """The message in a reply as a connection of the load generator gives it."""
    return reply[_GRPC_PREFIX_BYTES:] if interface == "grpc" else reply


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes so far, without their children."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def memory_of(pid: int) -> Memory:
    """Memory of one process."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) / 1024
    return Memory(found["Rss"], found["Pss"])


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
