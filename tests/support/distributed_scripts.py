"""Distributed servables for tests: the server script and the scripts that start agents, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mindspore_serving.client import Client
from tests.support.serving import START_TIMEOUT_S, RunningScript, running_script
from tests.support.traffic import Traffic
from tests.support.watch import kill, lives

CONFIG = """\
from mindspore_serving.server import distributed, register

model = distributed.declare_servable(rank_size={ranks}, stage_size={stages}{options})


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)
"""

SERVER = """\
from mindspore_serving import server
from mindspore_serving.server import distributed

distributed.start_servable(".", "sharded", {table!r}, distributed_address={address!r}{options})
server.start_grpc_server({grpc!r})
server.start_restful_server({rest!r})
print("server is up", flush=True)
"""

AGENTS = """\
from mindspore_serving.server import distributed

distributed.startup_agents({address!r}, {files!r}, agent_start_port={port}{options})
print("agents are up", flush=True)
"""

SERVER_UP, AGENTS_UP = "server is up", "agents are up"
INFO = {"GLOG_v": "1", "SERVING_BACKEND": "stub"}
STOP_TIMEOUT_S = 30.0

_LOWEST_PORT, _HIGHEST_PORT = 10000, 32000
"""Below the ports from which systems take those of outgoing connections."""


def free_ports(count: int, ip: str = "127.0.0.1") -> int:
    """The first of `count` neighbouring TCP ports that nothing uses."""
    while True:
        first = random.randrange(_LOWEST_PORT, _HIGHEST_PORT)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind((ip, port))
            return first


def server_list(*ips: str) -> str:
    """A rank table of the first form, with a rank for each address; devices of an address count from 0."""
    devices: dict[str, list[dict[str, str]]] = {}
    for rank, ip in enumerate(ips):
        of_ip = devices.setdefault(ip, [])
        of_ip.append({"device_id": str(len(of_ip)), "rank_id": str(rank)})
    servers = [{"server_id": ip, "device": of_ip, "host_nic_ip": "reserve"} for ip, of_ip in devices.items()]
    table = {"version": "1.0", "server_count": str(len(servers)), "server_list": servers}
    return json.dumps({**table, "status": "completed"})


def group_list(*ips: str) -> str:
    """The same in the second form."""
    seen: dict[str, int] = {}
    instances = []
    for rank, ip in enumerate(ips):
        device = seen[ip] = seen.get(ip, -1) + 1
        devices = [{"device_id": str(device), "device_ip": f"10.0.0.{rank}"}]
        instances.append({"server_id": ip, "rank_id": str(rank), "devices": devices})
    return json.dumps({"group_list": [{"instance_list": instances}]})


@dataclass
class Distributed:
    """A distributed servable that is being started, or runs.

    Attributes:
        folder: Where the server script and the servable are.
        ranks: Number of ranks.
        grpc: Address of the gRPC server.
        rest: Address of the REST server.
        address: Address on which agents join.
        agent_port: First port of agents.
        environment: Variables of all scripts.
        starters: The scripts that start agents, so far.
    """

    folder: Path
    ranks: int
    grpc: str
    rest: str
    address: str
    agent_port: int
    environment: Mapping[str, str]
    starters: list[RunningScript] = field(default_factory=list)
    _server: RunningScript | None = None
    _seen: set[int] = field(default_factory=set)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def server(self) -> RunningScript:
        """The server script."""
        assert self._server is not None
        return self._server

    @property
    def starter(self) -> RunningScript:
        """The only script that starts agents."""
        [starter] = self.starters
        return starter

    def start_server(
        self,
        options: str = "",
        *,
        ready: str = SERVER_UP,
        script: str = SERVER,
        environment: Mapping[str, str] | None = None,
    ) -> RunningScript:
        """Start the server script.

        Args:
            options: Further arguments of `start_servable` as source, each after a comma.
            ready: Line to wait for; empty for none.
            script: Template of the script.
            environment: Variables for this script alone.
        """
        body = script.format(
            table="rank_table.json", address=self.address, options=options, grpc=self.grpc, rest=self.rest
        )
        self._server = self._run(self.folder / "start_server.py", body, ready, environment)
        return self._server

    def start_agents(
        self,
        options: str = "",
        *,
        files: Sequence[str | Sequence[str]] = (),
        ready: str = AGENTS_UP,
        script: str = AGENTS,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> RunningScript:
        """Start a script that starts agents, in a folder of its own.

        Args:
            options: Further arguments of `startup_agents` as source, each after a comma.
            files: Model files; those that do not begin with `missing` are made. By default one for each rank.
            ready: Line to wait for; empty for none.
            script: Template of the script.
            port: First port of its agents; by default the one of `self`.
            environment: Variables for this script alone.
        """
        folder = self.folder / f"agents{len(self.starters)}"
        files = files or [f"device{rank}/tensor_add.mindir" for rank in range(self.ranks)]
        for entry in files:
            for file in [entry] if isinstance(entry, str) else entry:
                if not file.startswith("missing"):
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    (folder / file).touch()
        body = script.format(address=self.address, files=files, port=port or self.agent_port, options=options)
        starter = self._run(folder / "serving_agent.py", body, ready, environment)
        self.starters.append(starter)
        return starter

    def wait_until_up(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until everything that was started is ready."""
        for starter in self.starters:
            starter.wait_for_line(AGENTS_UP, timeout_s)
        self.server.wait_for_line(SERVER_UP, timeout_s)
        self.processes()

    def worker(self) -> int:
        """Process id of the distributed worker."""
        [worker] = self.server.workers()
        self._seen.add(worker)
        return worker

    def agents(self) -> list[int]:
        """Process ids of the agents that live, by rank."""
        found = [pid for starter in self.starters for pid in starter.workers()]
        self._seen.update(found)
        return sorted(found, key=rank_of)

    def processes(self) -> dict[int, str]:
        """Everything that runs, process ids with names."""
        named = {pid: f"agent of rank {rank_of(pid)}" for pid in self.agents()}
        named.update((starter.process.pid, "agent start-up") for starter in self.starters)
        if self._server is not None:
            named.update((pid, "worker") for pid in self.server.workers())
            named[self.server.process.pid] = "main"
        self._seen.update(named)
        return named

    def log_of(self, rank: int, starter: int = 0) -> str:
        """What an agent has logged."""
        path = self.starters[starter].folder / "serving_logs" / f"log_sharded_agent_rank{rank}.log"
        return path.read_text(errors="replace")

    def ask(
        self, count: int = 1, value: float = 1, shape: tuple[int, ...] = (2,), method: str = "add"
    ) -> Any:
        """Send one request of `count` instances on a connection of its own: value + value * i."""
        x = np.full(shape, value, np.float32)
        with Client(self.grpc, "sharded", method) as client:
            return client.infer([{"x1": x, "x2": x * i} for i in range(count)], timeout=60)

    def traffic(self, threads: int = 4) -> Traffic:
        """Requests without end, each checked."""
        return Traffic(self.grpc, "sharded", "add", add, threads)

    def close(self) -> None:
        """End everything, by process id."""
        with contextlib.suppress(AssertionError, ValueError):
            self.processes()
        self._stack.close()
        kill(*(pid for pid in self._seen if lives(pid)))

    def _run(self, path: Path, body: str, ready: str, environment: Mapping[str, str] | None) -> RunningScript:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
        together = {**self.environment, **(environment or {})}
        running = self._stack.enter_context(running_script(path, environment=together))
        self._seen.add(running.process.pid)
        if ready:
            running.wait_for_line(ready)
        return running


def rank_of(agent: int) -> int:
    """Rank of the agent with that process id; -1 where it has ended meanwhile."""
    with contextlib.suppress(OSError):
        for argument in Path(f"/proc/{agent}/cmdline").read_text().replace("\0", " ").split():
            if argument.startswith("--rank="):
                return int(argument.removeprefix("--rank="))
    return -1


def sums(reply: Any) -> list[float]:
    """Of each instance the first number of `y`, all of whose numbers are the same."""
    assert isinstance(reply, list), reply
    for instance in reply:
        assert "y" in instance and (instance["y"] == instance["y"].flat[0]).all(), instance
    return [float(instance["y"].flat[0]) for instance in reply]


def error_of(reply: Any) -> str:
    """The one error of a reply in which nothing succeeded; empty for any other."""
    errors = {entry.get("error", "") for entry in (reply if isinstance(reply, list) else [reply])}
    return str(errors.pop()) if len(errors) == 1 else ""


def add(client: Client, number: int) -> Any:
    """Ask for some sums; returns what was wrong."""
    value = float(number % 97)
    x = np.full((2,), value, np.float32)
    reply = client.infer([{"x1": x, "x2": x * i} for i in range(3)], timeout=60)
    good = isinstance(reply, list) and all(
        "y" in instance and (instance["y"] == value * (1 + i)).all() for i, instance in enumerate(reply)
    )
    return None if good else reply


@contextlib.contextmanager
def distributed_scripts(
    folder: Path,
    ranks: int = 2,
    *,
    stages: int = 1,
    options: str = "",
    config: str = CONFIG,
    table: str = "",
    **environment: str,
) -> Iterator[Distributed]:
    """Write a distributed servable `sharded`; its scripts are started by what this yields, and ended on exit.

    Args:
        folder: Where everything goes.
        ranks: Number of ranks.
        stages: Number of pipeline stages.
        options: Further arguments of `declare_servable` as source, each after a comma.
        config: Template of the servable_config.py.
        table: Rank table; by default all ranks are on 127.0.0.1.
        environment: Variables for all scripts.
    """
    home = folder / "sharded"
    home.mkdir(parents=True, exist_ok=True)
    (home / "servable_config.py").write_text(config.format(ranks=ranks, stages=stages, options=options))
    (folder / "rank_table.json").write_text(table or server_list(*["127.0.0.1"] * ranks))
    port = free_ports(3 + ranks)
    made = Distributed(
        folder=folder,
        ranks=ranks,
        grpc=f"127.0.0.1:{port}",
        rest=f"127.0.0.1:{port + 1}",
        address=f"127.0.0.1:{port + 2}",
        agent_port=port + 3,
        environment={**INFO, **environment},
    )
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def distributed_serving(
    folder: Path, ranks: int = 2, *, files: Sequence[str | Sequence[str]] = (), **options: Any
) -> Iterator[Distributed]:
    """A distributed servable with one agent script that serves; arguments as of `distributed_scripts`."""
    with distributed_scripts(folder, ranks, **options) as made:
        made.start_server(ready="")
        made.start_agents(files=files, ready="")
        made.wait_until_up()
        yield made
