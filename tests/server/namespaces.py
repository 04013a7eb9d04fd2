"""Two machines, as far as the network is concerned: two network namespaces with a cable between them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MASTER_IP, WORKER_IP = "10.201.77.1", "10.201.77.2"

ENTER = """\
import ctypes
import os

with open("/var/run/netns/{name}") as namespace:
    assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
"""


@dataclass(frozen=True)
class Network:
    """Two namespaces that reach each other.

    Attributes:
        master: Name of the one with MASTER_IP.
        worker: Name of the one with WORKER_IP.
    """

    master: str
    worker: str

    def cut(self) -> None:
        """Pull the cable out of the machine with WORKER_IP."""
        _ip("-n", self.worker, "link", "set", "cable", "down")

    def script(self, path: Path, name: str, body: str) -> Path:
        """Write a script that runs in a namespace."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ENTER.format(name=name) + body)
        return path


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


@contextlib.contextmanager
def two_namespaces() -> Iterator[Network]:
    """The namespaces; skips the test where they cannot be made."""
    if shutil.which("ip") is None:
        pytest.skip("the ip command (package iproute2) is not installed")
    made = Network(f"serving_m{os.getpid()}", f"serving_w{os.getpid()}")
    try:
        try:
            _ip("netns", "add", made.master)
            _ip("netns", "add", made.worker)
            _ip(
                "link",
                "add",
                "cable",
                "netns",
                made.master,
                "type",
                "veth",
                "peer",
                "cable",
                "netns",
                made.worker,
            )
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not permitted here: {error.stderr.decode().strip()}")
        for name, address in ((made.master, MASTER_IP), (made.worker, WORKER_IP)):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name in (made.master, made.worker):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)
