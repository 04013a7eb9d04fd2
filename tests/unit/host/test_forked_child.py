"""Which sockets a forked child gives up, and when there may be one."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

from mindspore_serving.server.host.forked_child import let_go_of_sockets, no_forks
from tests.support.fresh_process import told_by_fresh_process

LIMIT_S = 20.0


def test_sockets_at_the_addresses_are_given_up_and_no_others(tmp_path: Path) -> None:
    assert told_by_fresh_process(fork_beside_sockets, str(tmp_path / "socket")) == "those were given up"


def fork_beside_sockets(path: str) -> str:
    tcp, unix, other = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX), socket.socket()
    unix.bind(path)
    unix.listen()
    port = tcp.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    accepted, _ = tcp.accept()
    other.bind(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    given_up, kept = [tcp, unix, accepted, ours], [client, other]
    child = os.fork()
    if child == 0:
        let_go_of_sockets([f"0.0.0.0:{port}", f"unix:{path}"], [os.fstat(ours.fileno()).st_ino])
        nowhere = all(Path(f"/proc/self/fd/{each.fileno()}").samefile("/dev/null") for each in given_up)
        theirs.getpeername()
        os._exit(not (nowhere and all(each.getsockname() for each in kept)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for each in given_up + kept:
        each.getsockname()  # the parent keeps its own
        each.close()
    theirs.close()
    return "those were given up"


def test_nobody_forks_while_a_process_is_started() -> None:
    assert told_by_fresh_process(order_of_starting_and_forking) == "started, forked, ended with 0"


def order_of_starting_and_forking() -> str:
    order: list[str] = []
    about_to = threading.Event()

    def fork() -> None:
        about_to.set()
        child = os.fork()
        if child == 0:
            grandchild = os.fork()  # a child may fork, too
            if grandchild == 0:
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        order.append("forked")
        order.append(f"ended with {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")

    thread = threading.Thread(target=fork)
    with no_forks():
        thread.start()
        assert about_to.wait(LIMIT_S)
        thread.join(0.1)
        order.append("started")
    thread.join(LIMIT_S)
    return ", ".join(order)
