"""A gRPC server at `unix:path`: it takes no address from another one, and no file from anybody."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.host.unix_socket import place_for_socket
from tests.support.serving import RunningScript, running_script

pytestmark = pytest.mark.both_grpc_servers

FAILED = "Serving Error: Serving gRPC server start failed, create server failed, address unix:"
USED = "another process listens there: end that process, or use another path"
LONG = "x" * 120
KEPT = "which is not removed: remove it yourself, or use another path"

SERVER = """\
import time

from mindspore_serving import server

server.start_grpc_server("unix:used")
print("listens", flush=True)
time.sleep(300)
"""

OTHERS = """\
from mindspore_serving import server

for path in {paths!r}:
    try:
        server.start_grpc_server("unix:" + path)
        print(path, "listens", flush=True)
        server.stop()
    except RuntimeError as error:
        print(path, error, flush=True)
"""


def bind(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket at a path."""
    bound = socket.socket(socket.AF_UNIX, kind)
    bound.bind(str(path))
    return bound


PLACES = {
    "used": USED,
    "./used": USED,
    "%75sed": USED,
    "{folder}/used": USED,
    "//{folder}/used": USED,
    "datagrams": USED,
    "full": USED,
    "file": f"the path holds a regular file, {KEPT}",
    "folder": f"the path holds a directory, {KEPT}",
    "fifo": f"the path holds a FIFO, {KEPT}",
    "link": f"the path holds a symbolic link, {KEPT}",
    LONG: "the path of the socket has 120 bytes, at most 107 are possible: use a shorter path, or one that is relative "
    "to the working directory",
    "x" * 107: "",
    "dead": "",
    "new": "",
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, RunningScript]]:
    """A server at `used`, after another one was started at each of the places; and that other one."""
    folder = tmp_path_factory.mktemp("unix")
    (folder / "file").write_text("content")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("used")
    os.mkfifo(folder / "fifo")
    bind(folder / "dead").close()
    scripts = {
        "server.py": SERVER,
        "others.py": OTHERS.format(paths=[place.format(folder=folder) for place in PLACES]),
    }
    for name, script in scripts.items():
        (folder / name).write_text(script)
    with (
        bind(folder / "datagrams", socket.SOCK_DGRAM),
        bind(folder / "full") as full,
        socket.socket(socket.AF_UNIX) as one,
    ):
        full.listen(0)
        one.connect(str(folder / "full"))
        with running_script(folder / "server.py") as first:
            first.wait_for_line("listens")
            with running_script(folder / "others.py") as others:
                assert others.wait(60) == 0
                yield folder, others


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:20])
def test_an_address_is_taken_from_nobody(tried: tuple[Path, RunningScript], place: str) -> None:
    folder, others = tried
    path = place.format(folder=folder)
    expected = f"{FAILED}{path}: {PLACES[place]}" if PLACES[place] else "listens"
    assert f"{path} {expected}" in others.lines


def test_the_server_that_was_there_still_answers(tried: tuple[Path, RunningScript]) -> None:
    folder, _ = tried
    with Client(f"unix:{folder}/used", "none", "none") as client:
        reply = client.infer({"x": 1}, timeout=20)
    assert reply == {"error": "Request servable(none) method(none) , servable is not available"}


def test_files_stay_and_sockets_of_servers_that_have_ended_do_not(tried: tuple[Path, RunningScript]) -> None:
    folder, _ = tried
    left = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in folder.iterdir() if path.suffix != ".py"}
    sockets = dict.fromkeys(("used", "datagrams", "full"), stat.S_IFSOCK)
    assert left == {
        "file": stat.S_IFREG,
        "folder": stat.S_IFDIR,
        "fifo": stat.S_IFIFO,
        "link": stat.S_IFLNK,
        **sockets,
    }
    assert (folder / "file").read_text() == "content"


def test_of_servers_that_are_started_together_one_gets_the_address(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    bind(tmp_path / "socket").close()

    async def listen() -> bool:
        try:
            async with place_for_socket(path):
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(path)
                listener.listen()
        except OSError as error:
            assert USED in str(error)
            return False
        held.append(listener)
        return True

    async def listen_all() -> list[bool]:
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, listen()) for _ in range(8)))

    held: list[socket.socket] = []
    assert sum(asyncio.run(listen_all())) == 1
    held[0].close()
