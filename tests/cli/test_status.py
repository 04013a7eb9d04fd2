"""`mindspore-serving status` against a real server: tables, JSON, a live screen; and servers that are not there."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.cli.conftest import KEY
from tests.support.command_line import Terminal
from tests.support.serving import RunningServer, free_port

FRAME_TIMEOUT_S = 60.0
ROWS, COLUMNS = 40, 80


def ask(served: RunningServer, count: int) -> None:
    """Some requests."""
    with Client(served.grpc, "add", "predict", api_key=KEY) as client:
        for _ in range(count):
            client.infer({"x1": np.float32([1, 2]), "x2": np.float32([3, 4])})


def test_tables(served: RunningServer, terminal: Terminal) -> None:
    ask(served, 25)
    ended = terminal.type(f"status {served.rest} --window start")
    assert ended.code == 0
    for text in (
        "MindSpore Serving",
        served.rest,
        "ready",
        "requests/s",
        "p99 ms",
        "add.predict",
        "add/1",
        "total",
    ):
        assert text in ended.out, text
    assert "pictures/1" in ended.out


def test_json_is_the_page(served: RunningServer, terminal: Terminal) -> None:
    ask(served, 1)
    ended = terminal.type(f"status --json --servable add --explain http://{served.rest}")
    assert ended.code == 0
    assert [one["servable"] for one in ended.json["versions"]] == ["add"]
    assert isinstance(ended.json["advice"], list)
    assert ended.json["windows"]["start"]["requests"]["ok"] >= 1


def test_advice(served: RunningServer, terminal: Terminal) -> None:
    assert "Nothing stands out" in terminal.type(f"status {served.rest} --explain --servable pictures").out
    assert "stands out" not in terminal.type(f"status {served.rest}").out


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("status http://127.0.0.1:{free}", 3, "No server answers at http://127.0.0.1:{free}"),
        ("status 127.0.0.1:{free} --json", 3, "No server answers"),
        ("status {grpc}", 2, "does not speak HTTP"),
        ("status grpc://{grpc}", 2, "does not speak HTTP"),
        ("status http://{grpc}", 2, "does not speak HTTP"),
        ("status {rest} --window 1h", 2, "expected 10s, 1m, 5m, start"),
        ("status {rest} --watch --json", 2, "--json prints one document"),
        ("status {rest} --watch", 2, "standard output is none"),
        ("status not-an-address", 2, "is no address"),
    ],
)
def test_what_cannot_be_told(
    served: RunningServer, terminal: Terminal, command: str, code: int, text: str
) -> None:
    free = free_port()
    names = {"free": free, "grpc": served.grpc, "rest": served.rest}
    ended = terminal.type(command.format(**names))
    assert (ended.code, ended.out) == (code, "")
    assert text.format(**names) in ended.err


class StandIn:
    """What answers at a port in place of a server: one text to everything.

    Args:
        status: HTTP status.
        body: What it says.
        port: Where; 0 for any that is free.
    """

    def __init__(self, status: int, body: str, port: int = 0) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, '{"versions": []}', "is not the status of a MindSpore Serving server"),
        (200, "[1]", "is not the status of a MindSpore Serving server"),
        (404, "<html>", "Is it a MindSpore Serving server?"),
        (503, '{"error_msg": "[bold]draining[/x]"}', "(503): [bold]draining[/x]"),
    ],
)
def test_another_server(terminal: Terminal, status: int, body: str, text: str) -> None:
    with StandIn(status, body) as server:
        ended = terminal.type(f"status http://127.0.0.1:{server.port}")
    assert (ended.code, ended.out) == (4, "")
    assert text in ended.err


NOT_READY = """{"build": "1.0", "ready": false, "reason": "no [/b] worker", "windows": {}, "versions": [
    {"servable": "same", "version": 3, "state": "unavailable", "reason": "[red]gone[/blue]", "copies": []}]}"""


def test_a_server_that_is_not_ready(terminal: Terminal) -> None:
    with StandIn(200, NOT_READY) as server:
        ended = terminal.type(f"status http://127.0.0.1:{server.port}")
        assert terminal.type(f"status http://127.0.0.1:{server.port} --json").code == 1
    assert ended.code == 1
    for text in ("not ready: no [/b] worker", "same/3", "unavailable", "[red]gone[/blue]"):
        assert text in ended.out


class Screen:
    """The verb on a terminal of its own.

    Args:
        arguments: Of the verb.
    """

    def __init__(self, *arguments: str) -> None:
        self.text = ""
        self._main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.attributes = termios.tcgetattr(terminal)
        self._terminal = terminal
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mindspore_serving", "status", "--watch", "--interval", "0.1", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS)},
        )

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._main)
        os.close(self._terminal)

    def wait_for(self, text: str) -> None:
        """Wait until a further frame shows a text."""
        self.text = ""
        deadline = time.monotonic() + FRAME_TIMEOUT_S
        while text not in self.text:
            assert time.monotonic() < deadline, f"no {text!r} in {self.text[-3000:]!r}"
            self._read(0.1)

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._main, key.encode())

    def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        deadline = time.monotonic() + FRAME_TIMEOUT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self._read(0.05)
        return int(self.process.returncode)

    def restored(self) -> bool:
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self._terminal) == self.attributes

    def _read(self, seconds: float) -> None:
        if select.select([self._main], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                self.text += os.read(self._main, 1 << 16).decode(errors="replace")


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("\x03", 0)])
def test_a_live_screen(served: RunningServer, key: str, code: int) -> None:
    ask(served, 1)
    with Screen(served.rest) as screen:
        screen.wait_for("add.predict")
        screen.wait_for("q ends")
        assert max(len(line.split("\x1b")[0]) for line in screen.text.split("\r\n")) <= COLUMNS
        screen.press("x")
        screen.wait_for("add.predict")
        screen.press(key)
        if key == "\x03":
            screen.process.send_signal(
                2
            )  # the terminal is not the session's: nobody else makes a signal of the key
        assert screen.ended() == code
        assert screen.restored()


def test_a_live_screen_goes_on_when_the_server_goes_and_comes() -> None:
    port = free_port()
    with Screen(f"127.0.0.1:{port}") as screen:
        screen.wait_for("No server answers")
        with StandIn(200, NOT_READY, port):
            screen.wait_for("same/3")
        screen.wait_for(" old.")
        with StandIn(200, NOT_READY, port):
            screen.wait_for("same/3")
            while "No server answers" in screen.text:
                screen.wait_for("q ends")
            screen.press("q")
            assert screen.ended() == 1
