"""The Python client in the processes of its users: behind proxies, in forked children, in several event loops."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import RunningServer, add_servable, free_port, serving

KEY = "0123456789-this-is-the-key"

SERVABLE = """\
import time
from mindspore_serving.server import register


def pause(seconds):
    time.sleep(float(seconds))
    return seconds


@register.register_method(output_names=["y"])
def echo(x):
    return x


@register.register_method(output_names=["y"])
def paused(x):
    return register.add_stage(pause, x, outputs_count=1)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("client")
    add_servable(folder, "one", SERVABLE, ())
    with serving(folder, ['".", "one", num_parallel_workers=1']) as running:
        yield running


def run(
    folder: Path, source: str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a client's script to its end."""
    script = folder / "client_script.py"
    script.write_text(source)
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> Any:
    """What a script has printed as JSON in its last line."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# --- Proxies ---------------------------------------------------------------------------------------------------------


class Tunnel(socketserver.StreamRequestHandler):
    """One connection to a proxy, which leads to the server whatever name is asked for."""

    server: Proxy

    def handle(self) -> None:
        request = self.rfile.readline().decode()
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(request.split()[1])
        if self.server.target is None:
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        host, _, port = self.server.target.rpartition(":")
        with socket.create_connection((host, int(port))) as onward:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(onward, self.connection))
            back.start()
            pump(self.connection, onward)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and its end."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy as companies have them; one without a target refuses all."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.target = target
        self.asked: list[str] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def proxy(server: RunningServer) -> Iterator[Proxy]:
    with Proxy(server.grpc) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,)).start()
        yield running
        running.shutdown()


ASK_BOTH_WAYS = """\
import asyncio, json, sys
from mindspore_serving.client import AsyncClient, Client

async def ask(address):
    async with AsyncClient(address, "one", "echo", api_key=sys.argv[1]) as client:
        return await client.infer({"x": "a"}, timeout=20)

for address in sys.argv[2:]:
    with Client(address, "one", "echo", api_key=sys.argv[1]) as client:
        results = [client.infer({"x": "a"}, timeout=20), client.infer_async({"x": "a"}, timeout=20).result()]
    print(json.dumps([*results, asyncio.run(ask(address))]))
"""


def test_nothing_for_this_machine_goes_to_a_proxy(
    server: RunningServer, proxy: Proxy, tmp_path: Path
) -> None:
    port = server.grpc.rpartition(":")[2]
    addresses = [
        f"{host}:{port}" for host in ("127.0.0.1", "127.1.2.3", "localhost", "0.0.0.0", "dns:///localhost")
    ]
    environment = {
        "http_proxy": f"http://{proxy.place}",
        "GRPC_ADDRESS_HTTP_PROXY": proxy.place,
        "GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES": "127.0.0.0/8,0.0.0.0/8",
    }
    done = run(tmp_path, ASK_BOTH_WAYS, KEY, *addresses, environment=environment)
    assert proxy.asked == []
    assert done.stderr == ""
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    # A server on 127.0.0.1 is not at 127.1.2.3: that call fails, and the key stays here all the same.
    assert [answer for i, answer in enumerate(answers) if i != 1] == [[[{"y": "a"}]] * 3] * 4
    assert "proxy" not in str(answers[1])


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_a_warning_and_no_error_where_a_proxy_is_on_the_way(
    proxy: Proxy, tmp_path: Path, variable: str
) -> None:
    environment = {
        variable: f"http://name:secret@{proxy.place}",
        "no_proxy": "other.example,.elsewhere.example",
    }
    done = run(tmp_path, ASK_BOTH_WAYS, KEY, "serving.example:5500", environment=environment)
    assert told(done) == [[{"y": "a"}]] * 3
    assert set(proxy.asked) == {"serving.example:5500"}
    through = f"without TLS, through the proxy {proxy.place} of the variable {variable}: it can read the key"
    assert done.stderr.count(through) == 2
    assert "secret" not in done.stderr
    assert KEY not in done.stderr


def test_an_error_names_the_proxy_on_the_way(proxy: Proxy, tmp_path: Path) -> None:
    proxy.target = None
    environment = {"http_proxy": f"http://name:secret@{proxy.place}"}
    done = run(tmp_path, ASK_BOTH_WAYS, KEY, "serving.example:5500", environment=environment)
    for answer in told(done):
        assert answer["error"].startswith("Grpc Error, (14, 'unavailable'), ")
        assert answer["error"].endswith(
            f"; the way leads through the proxy {proxy.place} of the variable http_proxy: "
            "list the server's host in no_proxy to reach it directly"
        )
        assert "secret" not in answer["error"]


@pytest.mark.parametrize("exceptions", ["*", "example", "a.example, .serving.example"])
def test_hosts_of_no_proxy_are_reached_directly(proxy: Proxy, tmp_path: Path, exceptions: str) -> None:
    environment = {"http_proxy": f"http://{proxy.place}", "no_proxy": exceptions}
    done = run(tmp_path, ASK_BOTH_WAYS, KEY, "serving.example:5500", environment=environment)
    assert proxy.asked == []
    assert [set(answer) for answer in told(done)] == [{"error"}] * 3
    assert "proxy" not in done.stdout + done.stderr


# --- Forks -----------------------------------------------------------------------------------------------------------

FORKS = """\
import asyncio, collections, json, multiprocessing, os, sys, threading
from mindspore_serving.client import AsyncClient, Client

blocking = Client(sys.argv[1], "one", "echo")
slow = Client(sys.argv[1], "one", "paused")
on_loops = AsyncClient(sys.argv[1], "one", "echo")
GOOD = [{"y": "a"}]
outcomes = collections.Counter()


def ask(client=blocking):
    return client.infer({"x": "a"}, timeout=30)


async def ask_on_a_loop():
    return await on_loops.infer({"x": "a"}, timeout=30)


def child(report, sent):
    told = {
        "blocking": ask() == blocking.infer_async({"x": "a"}, timeout=30).result() == GOOD,
        "on a loop": asyncio.run(ask_on_a_loop()) == asyncio.run(ask_on_a_loop()) == GOOD,
        "another": ask(Client(sys.argv[1], "one", "echo")) == GOOD,
        "of the parent": [call.result()["error"] for call in sent],
    }
    report.send(told)


def fork(sent=()):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(sender, sent))
    process.start()
    sender.close()
    try:
        told = receiver.recv()
    except EOFError:
        told = {}
    process.join()
    told["exit code"] = process.exitcode
    told["parent"] = ask() == GOOD
    return told


def note(told):
    for what, value in told.items():
        outcomes[f"{what}: {value}"] += 1


assert ask() == GOOD
assert asyncio.run(ask_on_a_loop()) == GOOD
pid = str(os.getpid())
for i in range(40):
    note(fork())
    sent = [slow.infer_async({"x": "0.02"}) for _ in range(2)] if i % 4 == 0 else []
    told = fork(sent)
    told["of the parent"] = {text.replace(pid, "PID") for text in told["of the parent"]}
    note(told)
    assert all(call.result() == [{"y": "0.02"}] for call in sent)


async def fork_in_a_loop():
    assert await ask_on_a_loop() == GOOD
    return fork()


for _ in range(5):
    note(asyncio.run(fork_in_a_loop()))

# Other threads that ask all the time.
ended = threading.Event()


def keep_asking():
    while not ended.is_set():
        assert ask() == GOOD


threads = [threading.Thread(target=keep_asking) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(15):
    note(fork())
ended.set()
for thread in threads:
    thread.join()
print(json.dumps(outcomes))
"""


def test_a_client_serves_a_hundred_forked_children_and_their_parent(
    server: RunningServer, tmp_path: Path
) -> None:
    outcomes = told(run(tmp_path, FORKS, server.grpc, environment={"GRPC_VERBOSITY": "NONE"}))
    elsewhere = "The call was sent by process PID, from which this one was forked: its result goes there"
    assert outcomes == {
        "blocking: True": 100,
        "on a loop: True": 100,
        "another: True": 100,
        "exit code: 0": 100,
        "parent: True": 100,
        "of the parent: []": 60,
        "of the parent: set()": 30,
        f"of the parent: {{{elsewhere!r}}}": 10,
    }


EXIT_OF_A_CHILD = """\
import asyncio, json, os, sys
from mindspore_serving.client import AsyncClient, Client

blocking, on_loops = Client(sys.argv[1], "one", "echo"), AsyncClient(sys.argv[1], "one", "echo")


async def ask():
    return await on_loops.infer({"x": "a"}, timeout=30)

blocking.infer({"x": "a"})
asyncio.run(ask())
codes = []
for _ in range(5):
    pid = os.fork()
    if not pid:
        blocking.close()
        del blocking, on_loops
        sys.exit(3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(json.dumps([codes, blocking.infer({"x": "a"}), asyncio.run(ask())]))
"""


def test_a_child_that_drops_its_clients_harms_nobody_and_ends(server: RunningServer, tmp_path: Path) -> None:
    outcome = told(run(tmp_path, EXIT_OF_A_CHILD, server.grpc))
    assert outcome == [[3] * 5, [{"y": "a"}], [{"y": "a"}]]


IN_A_PROCESS_OF_THE_SERVER = """\
import json, multiprocessing, sys
from mindspore_serving import server
from mindspore_serving.client import Client

ADDRESS, FOLDER = sys.argv[1:]


def ask():
    try:
        return Client(ADDRESS, "one", "echo").infer({"x": "a"}, timeout=30)
    except RuntimeError as error:
        return str(error)


def ask_in_children():
    results = {}
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            results[method] = pool.apply(ask)
    return results


if __name__ == "__main__":
    if FOLDER:
        server.start_servables(server.ServableStartConfig(FOLDER, "one", num_parallel_workers=1))
        server.start_grpc_server(ADDRESS)
        print(json.dumps([ask_in_children(), ask()]))
        server.stop()
    else:
        print(json.dumps([ask_in_children(), ask(), ask_in_children()]))
"""


def test_where_grpc_cannot_work_the_client_says_so(server: RunningServer, tmp_path: Path) -> None:
    before, in_the_parent, after = told(run(tmp_path, IN_A_PROCESS_OF_THE_SERVER, server.grpc, ""))
    assert before == {"fork": [{"y": "a"}], "spawn": [{"y": "a"}]}
    assert_only_a_fork_is_refused(after)
    assert in_the_parent == [{"y": "a"}]


def test_a_process_with_a_running_server_may_start_clients_but_not_fork_them(
    server: RunningServer, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = run(tmp_path, IN_A_PROCESS_OF_THE_SERVER, address, str(server.folder))
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    in_children, in_the_parent = json.loads(line)
    assert_only_a_fork_is_refused(in_children)
    assert in_the_parent == [{"y": "a"}]


def assert_only_a_fork_is_refused(results: dict[str, Any]) -> None:
    assert results["spawn"] == [{"y": "a"}]
    assert results["fork"].startswith("gRPC does not work in process ")
    assert "Start it by the method 'spawn' or 'forkserver' of multiprocessing" in results["fork"]


# --- Threads ---------------------------------------------------------------------------------------------------------

THREADS = """\
import collections, json, os, sys, threading
import numpy as np
from mindspore_serving.client import Client

client = Client(sys.argv[1], "one", "echo")
outcomes = collections.Counter()
ended = threading.Event()
threading.excepthook = lambda failed: outcomes.update([repr(failed.exc_value)])


def ask(who, k):
    \"\"\"Requests and replies of threads differ in their number of instances, in type, shape and values.\"\"\"
    values = [np.full((1 + who % 3, 2 + who % 2), 1000 * who + k + i, f"f{4 << who % 2}") for i in range(1 + who % 4)]
    instances = [{"x": value} for value in values]
    if k % 2:
        reply = client.infer(instances, timeout=60)
    else:
        reply = client.infer_async(instances, timeout=60).result()
    np.testing.assert_equal(reply, [{"y": value} for value in values])
    assert [one["y"].dtype for one in reply] == [value.dtype for value in values]


def in_threads(work, count):
    threads = [threading.Thread(target=work, args=(who,)) for who in range(count)]
    for thread in threads:
        thread.start()
    return threads


def some(who):
    for k in range(20):
        ask(who, k)
    outcomes["asked 20 times"] += 1


def keep_asking(who):
    k = 0
    while not ended.is_set():
        ask(who, k)
        k += 1
    outcomes["asked until the end"] += 1


for thread in in_threads(some, 32):
    thread.join()
busy = in_threads(keep_asking, 32)
for _ in range(5):
    pid = os.fork()
    if not pid:
        outcomes.clear()
        for thread in in_threads(some, 8):
            thread.join()
        os._exit(outcomes["asked 20 times"])
    outcomes[f"threads of a child: {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}"] += 1
ended.set()
for thread in busy:
    thread.join()
print(json.dumps(outcomes))
"""


def test_one_client_serves_many_threads_and_children_forked_beside_them(
    server: RunningServer, tmp_path: Path
) -> None:
    outcomes = told(run(tmp_path, THREADS, server.grpc, environment={"GRPC_VERBOSITY": "NONE"}))
    assert outcomes == {"asked 20 times": 32, "asked until the end": 32, "threads of a child: 8": 5}


# --- Event loops -----------------------------------------------------------------------------------------------------

LOOPS = """\
import asyncio, json, sys, threading
from mindspore_serving.client import AsyncClient

client = AsyncClient(sys.argv[1], "one", "echo")
slow = AsyncClient(sys.argv[1], "one", "paused")


async def ask(n=1):
    return await asyncio.gather(*(client.infer({"x": "a"}, timeout=30) for _ in range(n)))

results = [asyncio.run(ask()) for _ in range(3)]
threads = [threading.Thread(target=lambda: results.append(asyncio.run(ask(20))[:1])) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()


async def wait_elsewhere(sent):
    call = slow.infer_async({"x": "2"})
    sent.set()
    return await call.result()


async def close_in_the_middle():
    sent = threading.Event()
    other = asyncio.create_task(asyncio.to_thread(asyncio.run, wait_elsewhere(sent)))
    mine = slow.infer_async({"x": "2"})
    await asyncio.to_thread(sent.wait)
    await slow.close()
    await slow.close()
    return [result["error"].split(")")[0] for result in (await mine.result(), await other)]

print(json.dumps([results, asyncio.run(close_in_the_middle())]))
"""


def test_an_async_client_serves_one_loop_after_another_and_several_at_once(
    server: RunningServer, tmp_path: Path
) -> None:
    results, closed = told(run(tmp_path, LOOPS, server.grpc))
    assert results == [[[{"y": "a"}]]] * 7
    assert closed == ["Grpc Error, (1, 'cancelled'"] * 2
