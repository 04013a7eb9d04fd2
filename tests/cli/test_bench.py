"""`mindspore-serving bench` against a real server, in every protocol; no figure is compared with a time."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from mindspore_serving.cli.asking.address import Access, Address
from mindspore_serving.cli.asking.method import Method
from mindspore_serving.cli.asking.native import NativeRest
from mindspore_serving.cli.asking.session import WireRequest
from mindspore_serving.cli.load.reply_check import ReplyCheck
from mindspore_serving.cli.load.run import LoadPlan, Outcome, run_load
from mindspore_serving.cli.load.tally import Tally
from tests.cli.conftest import KEY
from tests.support.certificates import Authority
from tests.support.command_line import Terminal
from tests.support.serving import RunningServer, free_port

SHORT = "--duration 0.3 --warm-up 0.1 --clients 3"
WAYS = [
    ("rest", "native"),
    ("rest", "oip"),
    ("rest", "oip-binary"),
    ("rest", "v1"),
    ("grpc", "native"),
    ("grpc", "oip"),
]


def at(server: RunningServer, over: str) -> str:
    return f"http://{server.rest}" if over == "rest" else f"grpc://{server.grpc} --api-key {KEY}"


@pytest.mark.parametrize(("over", "protocol"), WAYS)
def test_closed_and_open_loops(served: RunningServer, terminal: Terminal, over: str, protocol: str) -> None:
    command = f"bench {at(served, over)} --model add.predict --protocol {protocol} {SHORT} --json -"
    closed, opened = terminal.type(command), terminal.type(f"{command} --rate 200 --even")
    for ended, loop in ((closed, "closed"), (opened, "open")):
        figures = ended.json
        assert (ended.code, figures["errors"], figures["loop"]) == (0, {}, loop), ended.err
        assert figures["right"] == figures["requests"] > 0
        assert figures["contents_checked"] == figures["right"]
        latency = figures["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
        assert (figures["protocol"], figures["over"]) == (protocol, over)
    assert opened.json["requests"] == 60  # 200 requests/s for 0.3 s
    assert opened.json["arrivals"] == "even"
    assert opened.json["from_send_ms"]["p50"] <= opened.json["latency_ms"]["p50"]


def test_the_table_and_the_notes(served: RunningServer, terminal: Terminal) -> None:
    ended = terminal.type(f"bench {at(served, 'rest')} -m add {SHORT}")
    assert ended.code == 0
    assert "add.predict at http://" in ended.out
    assert re.search(r"\d+ right replies in .* requests/s; \d+ contents checked", ended.out)
    assert re.search(r"This load generator used \d+% of a core", ended.out)
    assert "Closed loop: each client waits" in ended.err


# JSON of OIP carries no bytes, and over gRPC nothing says which inputs of the native protocol are text, which bytes.
@pytest.mark.parametrize(
    ("over", "protocol"), [way for way in WAYS if way not in (("rest", "oip"), ("grpc", "native"))]
)
def test_made_up_values_of_all_types(
    served: RunningServer, terminal: Terminal, over: str, protocol: str
) -> None:
    ended = terminal.type(
        f"bench {at(served, over)} --model pictures.look --protocol {protocol} {SHORT} --rows 2 --json -"
    )
    assert ended.code == 0, ended.err
    assert ended.json["instances_per_request"] == 2
    assert ended.json["instances_per_s"] == pytest.approx(2 * ended.json["requests_per_s"], rel=1e-3)


def test_own_instances_and_what_is_expected(
    served: RunningServer, terminal: Terminal, tmp_path: Path
) -> None:
    instances, right, wrong = (tmp_path / name for name in ("instances.json", "right.json", "wrong.json"))
    instances.write_text(json.dumps([{"x1": [i, i], "x2": [1, 2]} for i in range(3)]))
    terminal_out = terminal.type(f"infer add --instances {instances} --url http://{served.rest} --json").out
    right.write_text(terminal_out)
    wrong.write_text(json.dumps([{"y": [i + 1, i + 2.5]} for i in range(3)]))
    command = f"bench {at(served, 'rest')} -m add --instances {instances} {SHORT} --json - --expect"
    assert terminal.type(f"{command} {right}").code == 0
    ended = terminal.type(f"{command} {wrong}")
    assert ended.code == 1
    assert list(ended.json["errors"]) == ["wrong reply: other values than expected"]
    assert ended.json["right"] == 0


def test_files(served: RunningServer, terminal: Terminal, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures, picture = tmp_path / "figures.json", tmp_path / "latency.png"
    ended = terminal.type(f"bench {at(served, 'rest')} -m add {SHORT} --json {figures} --plot {picture}")
    assert ended.code == 0, ended.err
    assert "right replies" in ended.out
    assert json.loads(figures.read_text())["right"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    ended = terminal.type(f"bench http://127.0.0.1:{free_port()} --plot {tmp_path}/a.png")
    assert ended.code == 1
    assert "pip install 'mindspore_serving[bench]'" in ended.err


@pytest.mark.parametrize(
    ("words", "code", "problem", "step"),
    [
        ("", 2, "The server serves add.predict, pictures.look, pictures.anything", "--model"),
        ("-m nothing", 4, "does not serve 'nothing'", "models list"),
        ("-m pictures.look -i label=nothing -i picture=@{picture}", 4, "there is nothing to see", "-i NAME"),
        ("-m add -i x1=[1,2] --instances a.json", 2, "--input and --instances", "Give one"),
        ("-m pictures.anything --protocol oip --rows 2", 2, "no dimension of rows", "--protocol native"),
        ("-m add --expect /nowhere", 2, "--expect '/nowhere' cannot be read", "infer --json"),
        ("-m add --protocol oip --json -", 0, "", ""),
    ],
)
def test_errors_before_the_load(
    served: RunningServer, terminal: Terminal, tmp_path: Path, words: str, code: int, problem: str, step: str
) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"abc")
    ended = terminal.type(f"bench {at(served, 'rest')} {words.format(picture=picture)} {SHORT}")
    assert ended.code == code
    assert problem in ended.err
    assert step in ended.err


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_no_server_is_reached(terminal: Terminal, scheme: str) -> None:
    ended = terminal.type(f"bench {scheme}://127.0.0.1:{free_port()} -m add")
    assert (ended.code, ended.out) == (3, "")


def test_ctrl_c_shows_the_figures_so_far(served: RunningServer) -> None:
    command = f"bench {at(served, 'rest')} -m add --duration 600 --warm-up 0 --json -"
    process = subprocess.Popen(
        [sys.executable, "-m", "mindspore_serving", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "200"},
    )
    assert process.stderr is not None
    seen = b""
    while b"replies/s" not in seen:  # the bar
        data = os.read(process.stderr.fileno(), 1 << 16)
        assert data, seen
        seen += data
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    figures = json.loads(re.sub(rb"\x1b\[[\d;]*m", b"", out))
    assert process.returncode == 130
    assert figures["interrupted"] is True
    assert figures["right"] > 0


class Foreign(BaseHTTPRequestHandler):
    """A server of the Open Inference Protocol like others: chunked replies, and now and then an error or an end."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        documents = {
            "/v2": {"name": "foreign", "version": "9"},
            "/v2/models/half": {
                "name": "half",
                "versions": ["1"],
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
            },
        }
        self.answer(200 if self.path in documents else 404, documents.get(self.path, {"error": "unknown"}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v2/repository/index":
            self.answer(200, [{"name": "half", "version": "1", "state": "READY"}])
            return
        type(self).asked += 1
        if self.asked % 10 == 5:
            self.answer(503, {"error": "overloaded"})
            return
        if self.asked % 10 == 7:
            self.close_connection = True
            return
        [tensor] = body["inputs"]
        assert tensor["shape"] == [1, 3]
        output = {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [v / 2 for v in tensor["data"]]}
        self.answer(200, {"model_name": "half", "id": str(self.asked), "outputs": [output]}, chunked=True)

    def answer(self, status: int, document: Any, *, chunked: bool = False) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        if not chunked:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (body[:20], body[20:]):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


@contextlib.contextmanager
def foreign_server(context: ssl.SSLContext | None = None) -> Iterator[int]:
    Foreign.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def foreign() -> Iterator[str]:
    with foreign_server() as port:
        yield f"http://127.0.0.1:{port}"


def test_tls(terminal: Terminal, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pair = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.private_key)
    with foreign_server(context) as port:
        trusted = f"--ca {authority.certificate}"
        for url in (f"--url https://localhost:{port}", f"--url localhost:{port} --tls"):
            assert terminal.type(f"models list {url} {trusted}").code == 0
        ended = terminal.type(f"models list --url https://localhost:{port}")
        assert (ended.code, "Give its root certificate with --ca" in ended.err) == (3, True)
        ended = terminal.type(
            f"bench https://localhost:{port} {trusted} -c 1 --warm-up 0 -r 20 --even -d 0.2 --json -"
        )
        assert ended.json["requests"] == 4
        assert ended.json["right"] >= 3


def load_of(port: int, **more: Any) -> tuple[Tally, Outcome]:
    request = WireRequest("/", b"{}")
    tally = Tally([ReplyCheck(NativeRest(), Method("a", "b"), 1)], 0.0)
    plan = LoadPlan(Address("rest", "127.0.0.1", port), Access(), [request], warm_up_s=0.0, **more)
    return tally, run_load(plan, tally)


def test_requests_without_a_reply_are_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        tally, _ = load_of(port, clients=2, seconds=0.1, rate=100, even=True, grace_s=0.1)
        assert tally.errors == {
            "no reply within 0.1 s": 2,
            "not sent: all connections were busy until the end": 8,
        }
        tally, _ = load_of(port, clients=3, seconds=0.1, grace_s=0.1)
        assert tally.errors == {"no reply within 0.1 s": 3}


def test_another_server_and_its_errors(foreign: str, terminal: Terminal) -> None:
    listed = terminal.type(f"models list --url {foreign} --json").json
    assert (listed["server"], [one["name"] for one in listed["methods"]]) == ("foreign", ["half"])
    assert listed["methods"][0]["inputs"] == [{"name": "x", "type": "float32", "shape": [3]}]
    ended = terminal.type(f"infer half -i x=[1,2,3] --url {foreign} --json")
    assert ended.json["results"] == [{"y": [0.5, 1.0, 1.5]}]
    ended = terminal.type(
        f"bench {foreign} --clients 2 --warm-up 0 --rate 100 --even --duration 0.5 --json -"
    )
    figures = ended.json
    assert (ended.code, figures["protocol"], figures["model"]) == (1, "oip", "half")
    assert figures["requests"] == 50
    assert figures["errors"] == {"HTTP 503": 5, "connection lost": 5}
    assert "overloaded" in figures["error_texts"]["HTTP 503"]
    assert figures["right"] == 40
