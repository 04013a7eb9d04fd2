"""Who listens on a port."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from mindspore_serving.private_files import user_name
from mindspore_serving.server.host.port_owner import bind_fault, who_listens

LISTENS = """\
import socket, sys
held = socket.create_server(("127.0.0.1", 0))
print(held.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_another_process() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    told = bind_fault(f"127.0.0.1:{port}")
    process.communicate()
    command = re.escape(f"process {process.pid} ({sys.executable} -c import socket")
    assert re.fullmatch(rf": Address already in use, {command}.*\) listens on port {port}", told)


def test_this_process_and_nobody() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as held:
        address = f"[::1]:{held.getsockname()[1]}"
        assert ", this process (" in bind_fault(address)
    assert bind_fault(address) == ""
    assert bind_fault("unix:somewhere") == ""


def test_an_address_that_is_taken_and_not_listened_to() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        cause = OSError(errno.EADDRINUSE, "in use")
        assert bind_fault(f"127.0.0.1:{held.getsockname()[1]}", cause) == ": Address already in use"


def test_other_faults() -> None:
    assert bind_fault("192.0.2.1:5500") == ": Cannot assign requested address"
    assert bind_fault("192.0.2.1:5500", OSError(errno.EACCES, "Permission denied")) == ": Permission denied"
    assert bind_fault("unix:somewhere", OSError("too long")) == ": too long"


def test_somebody_whose_processes_cannot_be_looked_into(tmp_path: Path) -> None:
    (tmp_path / "self" / "net").mkdir(parents=True)
    head = "sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode"
    line = f"0: 0100007F:157C 00000000:0000 0A 00000000:00000000 00:00000000 00000000 {os.getuid()} 0 77 1"
    other = "1: 0100007F:157C 00000000:0000 01 00000000:00000000 00:00000000 00000000 12345 0 78 1"
    (tmp_path / "self" / "net" / "tcp").write_text("\n".join([head, other, line]))
    assert who_listens(5500, tmp_path) == f"a process of {user_name(os.getuid())}"
    assert who_listens(5501, tmp_path) == ""
