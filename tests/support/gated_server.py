"""A server whose stages wait at a gate, and what it holds: for tests of calls that end before they are answered."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mindspore_serving.client import Client, SSLConfig
from mindspore_serving.server.host.settings import MEMORY_IDLE_VARIABLE
from tests.support.certificates import Authority
from tests.support.gate import Gate
from tests.support.holdings import Holdings, holdings_of, wait_until_as_before
from tests.support.http_requests import post
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

ANSWER_TIMEOUT_S = 20.0
_WISHES = "wishes"
_OWN_TASKS = 2

_SERVABLE = """\
import numpy as np

from mindspore_serving.server import register


def method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


def gated(instances):
    pass_gate()
    return [x * 2 for x, in instances]


def large(x):
    return np.zeros(int(x), np.uint8)


def twice(x):
    return x * 2


method("gated", gated, 100)
method("large", large)
method("twice", twice)
"""

# Tells how many tasks of asyncio there are: a call that nobody waits for should have none.
_SETTINGS = """\
import asyncio
import gc
import threading


def tell_tasks():
    with open({wishes!r}) as wishes:
        for wish in wishes:
            tasks = [one for one in gc.get_objects() if issubclass(type(one), asyncio.Task) and not one.done()]
            print(f"wish {{int(wish)}} tasks {{len(tasks)}}", flush=True)


threading.Thread(target=tell_tasks, daemon=True).start()
server.master.context.set_max_enqueued_requests({limit})
"""


@dataclass
class GatedServer:
    """The servable `one`, with `gated`, `large` and `twice`, and the same as `two`, each with one worker.

    Attributes:
        running: The server.
        gate: Where `gated` waits.
        limit: Requests that may be pending.
        authority: File of the certificate that clients are to trust; empty without TLS.
    """

    running: RunningServer
    gate: Gate
    limit: int
    authority: str
    _wishes: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def port(self) -> int:
        """Of gRPC."""
        return int(self.running.grpc.rpartition(":")[2])

    def client(self, servable: str, method: str) -> Client:
        """A client."""
        tls = SSLConfig(custom_ca=self.authority) if self.authority else None
        return Client(f"localhost:{self.port}", servable, method, ssl_config=tls)

    def ask(self, servable: str, method: str, value: int = 21) -> Any:
        """The result for a number, or the text of the error."""
        with self.client(servable, method) as client:
            reply = client.infer({"x": np.array(value, np.int64)}, timeout=ANSWER_TIMEOUT_S)
            return int(reply[0]["y"]) if isinstance(reply, list) else reply["error"]

    def is_full(self) -> bool:
        """Whether it refuses a further request. Asked by one without instances, which never takes a place itself."""
        status = post(self.running.rest, "/model/two:twice", {"instances": []}).status
        assert status in (400, 429), status
        return status == 429

    def tasks(self) -> int:
        """How many tasks there are."""
        number = next(self._numbers)
        os.write(self._wishes, b"%d\n" % number)
        return int(self.running.wait_for_line(f"wish {number} tasks ", ANSWER_TIMEOUT_S).split()[3])

    def wait_for_tasks(self, before: int) -> None:
        """Wait until there are no more tasks than before, but for what the server does by itself at times."""
        wait_until(lambda: self.tasks() <= before + _OWN_TASKS, f"there are {before} tasks, as before")

    @contextlib.contextmanager
    def leaving_nothing(self, memory: int = 60 << 20) -> Iterator[Holdings]:
        """What the server holds at the end of the block, it is to have held at its begin.

        Args:
            memory: Bytes that it may hold beyond that.
        """
        assert self.ask("two", "twice") == 42
        workers, tasks = self.running.workers(), self.tasks()
        before = holdings_of(self.running.process.pid)
        yield before
        self.wait_for_tasks(tasks)
        wait_until_as_before(self.running.process.pid, before, memory)
        assert self.ask("one", "twice") == self.ask("two", "twice") == 42
        assert self.running.workers() == workers
        assert "Traceback" not in self.running.read_output()


@contextlib.contextmanager
def gated_server(folder: Path, limit: int, *, tls: bool = False, settings: str = "") -> Iterator[GatedServer]:
    """Start it, and see to it that nothing is pending when it ends.

    Args:
        folder: An empty folder.
        limit: Requests that may be pending.
        tls: Whether gRPC is spoken over TLS.
        settings: What else the start script says.
    """
    os.mkfifo(folder / _WISHES)
    authority, options = "", ""
    if tls:
        signer = Authority(folder, "authority")
        pair, authority = signer.issue("localhost"), signer.certificate
        options = f"ssl_config=server.SSLConfig({pair.certificate!r}, {pair.private_key!r})"
    source = _SETTINGS.format(wishes=_WISHES, limit=limit) + settings
    with Gate(folder / "gate") as gate:
        for name in ("one", "two"):
            add_servable(folder, name, gate.source + _SERVABLE, ())
        configs = ['".", "one", 0', '".", "two", 1']
        environment = {MEMORY_IDLE_VARIABLE: "1"}  # shared memory goes back soon
        with serving(
            folder, configs, grpc_options=options, settings=source, environment=environment
        ) as running:
            wishes = os.open(folder / _WISHES, os.O_WRONLY)
            try:
                yield GatedServer(running, gate, limit, authority, wishes)
            finally:
                os.close(wishes)
