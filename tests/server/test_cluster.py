"""Workers of other processes and machines: who may join, what happens when they leave, die or hang."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.channel.cluster_messages import Challenge, Join, JoinRefused, Welcome
from mindspore_serving.server.channel.frames import FrameSplitter, Message, frame_of, message_of
from mindspore_serving.server.cluster.token import proof
from mindspore_serving.signature import MethodSignature
from tests.server.health_checks import Checks
from tests.support.certificates import Authority
from tests.support.channel import ANY
from tests.support.other_user import OTHER_USER, needs_root, told_by_other_user
from tests.support.serving import RunningScript, add_servable, free_port, running_script
from tests.support.traffic import Traffic
from tests.support.watch import kill, wait_until, wait_until_gone

ADD = """\
import os
import time

import numpy as np

from mindspore_serving.worker import register

register.declare_servable(servable_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


def process(x):
    time.sleep(0.002)
    return np.int64(os.getpid())


def parent(x):
    return np.int64(os.getppid())


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    y = register.call_servable(x1, x2)
    return y


@register.register_method(output_names=["pid"])
def who(x):
    return register.add_stage(process, x, outputs_count=1)


@register.register_method(output_names=["script"])
def whose(x):
    return register.add_stage(parent, x, outputs_count=1)
"""

MASTER = """\
import sys

from mindspore_serving import master

grpc_port, master_port = map(int, sys.argv[1:3])
ip = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
master.start_grpc_server("127.0.0.1", grpc_port)
master.start_master_server(ip, master_port)
print("master is up", flush=True)
"""

WORKER = """\
import sys

from mindspore_serving import worker

master_port, worker_port = map(int, sys.argv[1:3])
master_ip = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
worker.start_servable(".", "add", device_id=0, master_ip=master_ip, master_port=master_port,
                      worker_ip="127.0.0.1", worker_port=worker_port)
print("worker is up", flush=True)
"""

INFO = {"GLOG_v": "1", "SERVING_BACKEND": "stub", "SERVING_WORKER_TIMEOUT_S": "2"}


class Cluster:
    """A master and its workers, each a script of its own in a folder of its own.

    Args:
        folder: Where the folders go.
        environment: Variables to add, for all of them.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.grpc = f"127.0.0.1:{free_port()}"
        self.master_port = free_port()
        self._folder = folder
        self._environment = {**INFO, **environment}
        self._stack = contextlib.ExitStack()
        self._count = 0
        self.running_master: RunningScript
        self.ports: list[int] = []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def master(self, *arguments: str, script: str = MASTER, ready: str = "master is up") -> RunningScript:
        """Start the master."""
        running = self._run("master", script, self.grpc.rpartition(":")[2], str(self.master_port), *arguments)
        self.running_master = running
        if ready:
            running.wait_for_line(ready)
        return running

    def worker(
        self,
        *arguments: str,
        script: str = WORKER,
        config: str = ADD,
        ready: str = "worker is up",
        port: int = 0,
    ) -> RunningScript:
        """Start a worker; with an empty `config`, of what lies in its folder already."""
        self._count += 1
        self.ports.append(port or free_port())
        folder = self._folder / f"worker{self._count}"
        if config:
            add_servable(folder, "add", config)
        name = f"worker{self._count}"
        running = self._run(name, script, str(self.master_port), str(self.ports[-1]), *arguments)
        if ready:
            running.wait_for_line(ready)
        return running

    def ask(self, method: str = "add_common", count: int = 1, value: float = 1) -> Any:
        """Send one request of `count` instances on a connection of its own."""
        x = np.full((2, 2), value, np.float32)
        instances = [{"x1": x, "x2": x * i} if method == "add_common" else {"x": x} for i in range(count)]
        with Client(self.grpc, "add", method) as client:
            return client.infer(instances, timeout=30)

    def asked(self, method: str, requests: int = 40) -> set[int]:
        """Process ids that answer `who`, or `whose`."""
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: self.ask(method, 4), range(requests)))
        return {int(next(iter(instance.values()))) for reply in replies for instance in reply}

    def _run(self, name: str, script: str, *arguments: str) -> RunningScript:
        path = self._folder / name / "start.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        return self._stack.enter_context(running_script(path, *arguments, environment=self._environment))


@contextlib.contextmanager
def cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    with Cluster(folder, environment) as made:
        yield made


def add(client: Client, number: int) -> Any:
    """Ask for some sums; returns what was wrong."""
    value = float(number % 7)
    x = np.full((2, 2), value, np.float32)
    reply = client.infer([{"x1": x, "x2": x * i} for i in range(5)], timeout=60)
    expected = [value * (1 + i) for i in range(5)]
    found = (
        [float(row["y"][0, 0]) if "y" in row else row for row in reply] if isinstance(reply, list) else reply
    )
    return None if found == expected else reply


def test_a_worker_serves_a_folder_without_servable_config(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        model = tmp_path / "worker1" / "add" / "3" / "tensor_add_1_1.mindir"
        model.parent.mkdir(parents=True)
        model.touch()
        worker = made.worker(config="")
        assert "started version numbers: 3" in worker.output
        x = np.array([3, 4], np.float32)  # the first dimension of the model, [2, 2], is the batch
        with Client(made.grpc, "add", "predict") as client:
            [reply] = client.infer({"x1": x}, timeout=30)
        np.testing.assert_array_equal(reply["y1"], x)


def traffic_to(made: Cluster) -> Traffic:
    return Traffic(made.grpc, "add", "add_common", add)


def sums(reply: Any) -> list[float]:
    assert isinstance(reply, list), reply
    return [float(instance["y"][0, 0]) for instance in reply]


def test_a_master_and_a_worker_serve(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        master = made.master()
        worker = made.worker()
        assert sums(made.ask(count=70)) == list(range(1, 71))
        [line] = [line for line in worker.lines if "Start servable success" in line]
        assert line == (
            f"Serving: Start servable success, servable directory: '{tmp_path / 'worker1'}', servable name: 'add', "
            "specified version number: 0, started version numbers: 1"
        )
        assert "Serving worker: wait for Ctrl+C to exit ------------------------------------" in worker.lines
        assert "Serving master: wait for Ctrl+C to exit ------------------------------------" in master.lines
        assert (
            f"Serving: Master server start success, listening on 127.0.0.1:{made.master_port}" in master.lines
        )
        registered = master.wait_for_line("Register success: worker address: 127.0.0.1:")
        assert "servable: {name:add, version:1, method:['add_common', 'who', 'whose']}" in registered


def test_a_worker_may_start_before_its_master(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        worker = made.worker(ready="")
        worker.wait_for_line("Register to 127.0.0.1")
        made.master()
        worker.wait_for_line("worker is up")
        assert sums(made.ask(count=3)) == [1, 2, 3]


def test_workers_of_a_servable_share_the_load(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        scripts = {made.worker().process.pid for _ in range(3)}
        assert made.asked("whose") == scripts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_leaves_is_taken_out_and_nothing_is_lost(tmp_path: Path, number: int) -> None:
    with cluster(tmp_path) as made:
        master = made.master()
        first, second = made.worker(), made.worker()
        with traffic_to(made) as traffic:
            traffic.wait_for(50)
            first.signal(number)
            assert first.wait(10) == (0 if number == signal.SIGTERM else first.process.returncode)
            traffic.wait_for(100)
        assert traffic.wrong == []
        master.wait_for_line("Worker Exit, worker address: 127.0.0.1:")
        assert made.asked("whose") == {second.process.pid}


@pytest.mark.parametrize("whole", [True, False], ids=["script", "process"])
def test_what_a_killed_worker_held_goes_to_another(tmp_path: Path, whole: bool) -> None:
    with cluster(tmp_path) as made:
        made.master()
        first, second = made.worker(), made.worker()
        with traffic_to(made) as traffic:
            traffic.wait_for(50)
            children = first.workers()
            kill(first.process.pid if whole else children[0])
            traffic.wait_for(100)
            if whole:
                for child in children:
                    wait_until_gone(child)
            else:
                first.wait_for_line("has joined master")
                traffic.wait_for(50)
        assert traffic.wrong == []
        expected = {second.process.pid} if whole else {first.process.pid, second.process.pid}
        wait_until(lambda: made.asked("whose") == expected, f"{expected} answer")


@pytest.mark.parametrize("whole", [True, False], ids=["script", "process"])
def test_a_worker_that_hangs_is_taken_out_and_may_come_back(tmp_path: Path, whole: bool) -> None:
    with cluster(tmp_path) as made:
        master = made.master()
        first, second = made.worker(), made.worker()
        with traffic_to(made) as traffic:
            traffic.wait_for(50)
            hung = first.process.pid if whole else first.workers()[0]
            os.kill(hung, signal.SIGSTOP)
            (master if whole else first).wait_for_line("Recv Pong Time Out from", 20)
            traffic.wait_for(100)
            if whole:
                os.kill(hung, signal.SIGCONT)
            first.wait_for_line("has joined master", 20)
            traffic.wait_for(100)
        assert traffic.wrong == []
        both = {first.process.pid, second.process.pid}
        wait_until(lambda: made.asked("whose") == both, "both answer")


def test_the_last_worker_leaves(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        worker = made.worker()
        assert sums(made.ask()) == [1]
        worker.signal(signal.SIGTERM)
        worker.wait(10)
        text = "Request servable(add) method(add_common) , servable is not available"
        assert made.ask() == {"error": text}
        made.worker()
        assert sums(made.ask()) == [1]


def test_a_master_is_ready_while_every_servable_that_was_not_taken_out_has_a_worker(tmp_path: Path) -> None:
    with cluster(tmp_path) as made, Checks(made.grpc) as checks:
        master = made.master()
        assert checks.check_all("", "add") == ["NOT_SERVING", "NOT_FOUND"]
        worker = made.worker()
        overall, add_ = checks.watch(""), checks.watch("add")
        assert [overall.next(), add_.next()] == ["SERVING", "SERVING"]
        kill(worker.process.pid)
        assert [overall.next(), add_.next()] == ["NOT_SERVING", "NOT_SERVING"]
        worker = made.worker()
        assert [overall.next(), add_.next()] == ["SERVING", "SERVING"]
        worker.signal(signal.SIGTERM)  # it leaves on purpose: nobody waits for it
        assert [overall.next(), add_.next()] == ["NOT_SERVING", "SERVICE_UNKNOWN"]
        made.worker()
        assert [overall.next(), add_.next()] == ["SERVING", "SERVING"]
        master.signal(signal.SIGTERM)
        assert [overall.next(), overall.next()] == ["NOT_SERVING", "end"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_master(tmp_path: Path, number: int) -> None:
    with cluster(tmp_path) as made:
        master = made.master()
        workers = [made.worker(), made.worker()]
        children = [child for worker in workers for child in worker.workers()]
        master.signal(number)
        master.wait(10)
        for worker in workers:
            worker.wait(10)
        for child in children:
            wait_until_gone(child)


def test_a_worker_joins_again_when_its_killed_master_is_back(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        master = made.master()
        worker = made.worker()
        kill(master.process.pid)
        worker.wait_for_line(f"Recv Ping Time Out from 127.0.0.1:{made.master_port}", 20)
        made.master()
        worker.wait_for_line("has joined master", 20)
        assert sums(made.ask(count=3)) == [1, 2, 3]


def test_a_worker_that_registers_again_replaces_its_earlier_entry(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        port = free_port()
        first = made.worker(port=port)
        kill(first.process.pid)
        second = made.worker(port=port)
        assert made.asked("whose", 10) == {second.process.pid}


def greet(made: Cluster, *, address: str, member: str) -> Message:
    """Join by hand as a worker of the servable `add`; returns the master's answer. The connection is closed then."""
    with socket.create_connection(("127.0.0.1", made.master_port), 10) as peer:
        messages = _messages(peer)
        challenge = next(messages)
        assert isinstance(challenge, Challenge)
        join = Join(
            nonce="a nonce",
            proof=proof("", "worker", challenge.nonce, "a nonce"),
            address=address,
            member=member,
            pid=1,
            servable="add",
            version=1,
            methods=(MethodSignature("add_common", ("x1", "x2"), 64),),
        )
        peer.sendall(frame_of(join))
        return next(messages)


def _messages(peer: socket.socket) -> Iterator[Message]:
    peer.settimeout(10)
    splitter = FrameSplitter()
    while data := peer.recv(1 << 16):
        for kind, body in splitter.feed(data):
            yield message_of(kind, body, ANY)


def first_message_at(port: int) -> str:
    """What the master says first."""
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        return repr(next(_messages(peer)))


@needs_root
def test_without_a_token_processes_of_other_users_are_refused(shared: Cluster) -> None:
    told = told_by_other_user(first_message_at, shared.master_port)
    text = (
        f"it is a process of user {OTHER_USER}, and without a token only those of user root (0) may join: set the "
        "environment variable SERVING_CLUSTER_TOKEN to the same secret for both"
    )
    assert told == repr(JoinRefused(text, True))
    assert text in shared.running_master.read_output()
    assert sums(shared.ask(count=3)) == [1, 2, 3]


def joined_by(port: int) -> str:
    """Be a master for one worker; returns what it sends."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(30)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(frame_of(Challenge("a nonce")))
            return repr(list(_messages(peer)))


@needs_root
def test_without_a_token_a_worker_does_not_join_a_master_of_another_user(tmp_path: Path) -> None:
    """It has taken the port before the master could."""
    with cluster(tmp_path) as made, ThreadPoolExecutor(1) as pool:
        told = pool.submit(told_by_other_user, joined_by, made.master_port)
        worker = made.worker(ready="")
        assert worker.wait(30) == 1
        assert told.result(30) == "[]"
        assert worker.lines[-1].startswith(
            "mindspore_serving.errors.StartUpError: Whoever listens at 127.0.0.1:"
        )
        assert (
            f"it is a process of user {OTHER_USER}, and without a token only those of user root (0) are"
            in (worker.lines[-1])
        )


def test_two_workers_cannot_have_one_address(shared: Cluster) -> None:
    address = f"127.0.0.1:{shared.ports[0]}"
    refused = greet(shared, address=address, member="another")
    assert isinstance(refused, JoinRefused)
    assert refused.reason.startswith(f"another worker is connected as {address}, give each a worker_ip")
    assert not refused.final
    assert isinstance(greet(shared, address="127.0.0.1:9", member="another"), Welcome)
    assert sums(shared.ask(count=3)) == [1, 2, 3]


def test_a_worker_without_an_address_has_that_of_its_connection(shared: Cluster) -> None:
    refused = greet(shared, address=f"0.0.0.0:{shared.ports[0]}", member="another")
    assert isinstance(refused, JoinRefused)
    assert f"127.0.0.1:{shared.ports[0]}," in refused.reason


def test_a_corrected_servable_may_join_once_the_earlier_one_is_gone(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        first = made.worker(config=ADD.replace("x1, x2", "a, b"))
        first.signal(signal.SIGTERM)
        first.wait(10)
        made.worker()
        assert sums(made.ask(count=3)) == [1, 2, 3]


def test_a_port_of_a_worker_that_is_taken(tmp_path: Path) -> None:
    with cluster(tmp_path) as made, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        worker = made.worker(port=port, ready="")
        assert worker.wait(20) == 1
        text = (
            f"Serving Error: Worker gRPC server start failed, create server failed, address 127.0.0.1:{port}"
        )
        assert text in worker.output


def test_a_port_of_a_master_that_is_taken(tmp_path: Path) -> None:
    with cluster(tmp_path) as made, socket.socket() as taken:
        taken.bind(("127.0.0.1", made.master_port))
        taken.listen()
        master = made.master(ready="")
        assert master.wait(20) == 1
        address = f"127.0.0.1:{made.master_port}"
        assert (
            f"Serving Error: Master server start failed, create server failed, address {address}"
            in master.output
        )


def test_a_second_master_server(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        script = MASTER + "master.start_master_server(ip, master_port + 1)\n"
        master = made.master(script=script, ready="")
        assert master.wait(20) == 1
        assert master.lines[-1].endswith("Serving Error: Master server is already running")


def test_without_a_token_the_master_stays_on_this_machine(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        master = made.master("0.0.0.0")
        assert "Environment variable SERVING_CLUSTER_TOKEN is not set" in master.output
        assert (
            f"Serving: Master server start success, listening on 127.0.0.1:{made.master_port}" in master.lines
        )
        made.worker()
        assert sums(made.ask()) == [1]


def test_a_token_lets_workers_in(tmp_path: Path) -> None:
    with cluster(tmp_path, SERVING_CLUSTER_TOKEN="a secret") as made:
        master = made.master("0.0.0.0")
        assert (
            f"Serving: Master server start success, listening on 0.0.0.0:{made.master_port}" in master.lines
        )
        worker = made.worker()
        assert sums(made.ask()) == [1]
        assert "a secret" not in master.output + worker.output + worker.worker_logs()


@pytest.mark.parametrize("token", ["", "another secret"])
def test_a_wrong_token_is_refused(tmp_path: Path, token: str) -> None:
    with cluster(tmp_path, SERVING_CLUSTER_TOKEN="a secret") as made:
        made.master()
        script = f"import os\nos.environ['SERVING_CLUSTER_TOKEN'] = {token!r}\n" + WORKER
        worker = made.worker(script=script, ready="")
        assert worker.wait(20) == 1
        text = "refuses this worker: the tokens of worker and master differ, check environment variable"
        assert text in worker.output
        assert made.ask() == {"error": "Request servable(add) method(add_common) , servable is not available"}


CALLS = """

@register.register_method(output_names=["y"])
def sum_of_others(x1, x2):
    return register.call({servable!r}, "add_common", x1, x2)
"""


def test_a_worker_calls_what_its_own_script_starts(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        made.worker(config=ADD + CALLS.format(servable="add"))
        x = np.ones((2, 2), np.float32)
        with Client(made.grpc, "add", "sum_of_others") as client:
            assert sums(client.infer([{"x1": x, "x2": x}, {"x1": x, "x2": 4 * x}], timeout=30)) == [2, 5]


def test_a_worker_that_calls_a_servable_of_another_worker_is_refused(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        worker = made.worker(config=ADD + CALLS.format(servable="elsewhere"), ready="")
        assert worker.wait(60) == 1
        assert (
            "Method 'add.sum_of_others' calls 'elsewhere.add_common', but this server starts no servable "
            "'elsewhere', only ['add']. Start it with the same start_servables: servables of other servers, also of "
            "other workers of a cluster, cannot be called"
        ) in worker.output


def test_a_worker_with_another_signature_is_refused(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.master()
        made.worker()
        other = made.worker(config=ADD.replace("x1, x2", "a, b"), ready="")
        assert other.wait(20) == 1
        text = (
            "method add_common with inputs ['a', 'b'] of servable add version 1 is at other workers "
            "method add_common with inputs ['x1', 'x2']"
        )
        assert text in other.output
        assert sums(made.ask()) == [1]


def test_workers_and_master_talk_over_tls(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "ca"), Authority(tmp_path, "stranger")
    pair = authority.issue("master")
    with cluster(tmp_path) as made:
        from_server = "from mindspore_serving.server import SSLConfig\n"
        options = f"ssl_config=SSLConfig({pair.certificate!r}, {pair.private_key!r})"
        made.master(
            script=from_server + MASTER.replace("master_port)\nprint", f"master_port, {options})\nprint")
        )
        for authority_file, joins in ((stranger.certificate, False), (authority.certificate, True)):
            from_client = "from mindspore_serving.client import SSLConfig\n"
            script = from_client + WORKER.replace(
                "worker_port=worker_port",
                f"worker_port=worker_port, ssl_config=SSLConfig(custom_ca={authority_file!r})",
            )
            worker = made.worker("localhost", script=script, ready="worker is up" if joins else "")
            if not joins:
                worker.wait_for_line("CERTIFICATE_VERIFY_FAILED")
                worker.signal(signal.SIGTERM)
                assert worker.wait(10) == 1
                assert worker.lines[-1].endswith("StartUpError: Worker exit, stop registration")
        assert sums(made.ask(count=3)) == [1, 2, 3]


GARBAGE = [
    b"",
    b"\0" * 64,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff" * 4096,
    b"\x04\0\0\0\x0d\0\0\0null",
    b"\x02\0\0\0\x0d\0\0\0{}",
    b"\x05\0\0\0\x06\0\0\0hello",
    b"\0\0\0\x40\x05\0\0\0",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_at_the_port_of_the_master_harms_nobody(shared: Cluster, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared.master_port), 10) as peer:
        peer.settimeout(15)
        assert peer.recv(1 << 16)
        peer.sendall(garbage)
        peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while peer.recv(1 << 16):
                continue
    assert sums(shared.ask(count=3)) == [1, 2, 3]


def test_many_strangers_do_not_keep_workers_out_for_long(shared: Cluster) -> None:
    peers = [socket.create_connection(("127.0.0.1", shared.master_port), 10) for _ in range(300)]
    try:
        assert sums(shared.ask(count=3)) == [1, 2, 3]
    finally:
        for peer in peers:
            peer.close()
    worker = shared.worker()
    worker.signal(signal.SIGTERM)
    worker.wait(10)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with one worker that tests share."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        made.master()
        made.worker()
        yield made
