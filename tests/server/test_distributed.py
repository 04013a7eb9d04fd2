"""Distributed servables: server and agents in processes of their own, their start, and what they answer."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.channel.agent_messages import AgentFailed
from mindspore_serving.server.channel.frames import TO_AGENT, FrameSplitter, message_of
from tests.server.fake_worker import FakeWorker
from tests.support.distributed_scripts import (
    INFO,
    SERVER,
    Distributed,
    distributed_scripts,
    distributed_serving,
    error_of,
    free_ports,
    group_list,
    server_list,
    sums,
)
from tests.support.http_requests import post
from tests.support.other_user import OTHER_USER, needs_root, told_by_other_user
from tests.support.serving import START_TIMEOUT_S, RunningScript, running_script
from tests.support.watch import wait_until, wait_until_gone

REFUSED_S = 30.0
LOST_S = 25.0


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distributed]:
    """Eight agents; the server is started first."""
    with distributed_serving(tmp_path_factory.mktemp("eight"), 8) as made:
        yield made


def test_requests_over_grpc(eight: Distributed) -> None:
    assert sums(eight.ask(3)) == [1, 2, 3]
    assert sums(eight.ask(101)) == list(range(1, 102))


def test_requests_over_rest(eight: Distributed) -> None:
    instances = [{"x1": [1.5, 2.5], "x2": [i + 0.5, i + 0.25]} for i in range(3)]
    reply = post(eight.rest, "/model/sharded:add", {"instances": instances})
    assert json.loads(reply.body) == {"instances": [{"y": [2.0 + i, 2.75 + i]} for i in range(3)]}


def test_requests_that_do_not_fit_fail_alone(eight: Distributed) -> None:
    good = {"x1": np.ones(2, np.float32), "x2": np.ones(2, np.float32)}
    bad = {"x1": np.ones(3, np.float32), "x2": np.ones(2, np.float32)}
    with Client(eight.grpc, "sharded", "add") as client:
        first, second, third = client.infer([good, bad, good])
    assert "Given model input 0 size 12 not match the size 8 defined in model" in second["error"]
    assert sums([first, third]) == [2, 2]


def test_what_the_scripts_say(eight: Distributed) -> None:
    assert "Serving: Master server start success, listening on unix:" in eight.server.output
    assert f"Serving: Serving gRPC server start success, listening on {eight.grpc}" in eight.server.lines
    for index in range(8):
        assert f"Child {index}: Receive success" in eight.starter.lines
    assert (
        f"Success to start agents, ranks: {list(range(8))}, distributed address: {eight.address}"
        in eight.starter.lines
    )


def test_ps_counts_the_start_script_and_each_agent(eight: Distributed) -> None:
    command = "ps -ewwo pid,ppid,args | grep serving_agent.py | grep -v grep"
    listed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    starter = eight.starter.process.pid
    lines = [line.split(None, 2) for line in listed.splitlines()]
    ours = {int(pid) for pid, parent, _ in lines if starter in (int(pid), int(parent))}
    assert ours == {starter, *eight.agents()}
    assert len(ours) == 9


def test_the_rank_table_is_written_for_the_agents(eight: Distributed) -> None:
    [file] = eight.starter.folder.glob("temp_rank_table/*")
    assert re.fullmatch(r"hccl_rank_table_\d{8}_\d{6}_8p\.json", file.name)
    assert json.loads(file.read_text()) == json.loads((eight.folder / "rank_table.json").read_text())


def test_many_clients(eight: Distributed) -> None:
    with eight.traffic(16) as traffic:
        traffic.wait_for(2000)
    assert traffic.wrong == []


GARBAGE = [
    b"",
    b"\0" * 64,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff" * 4096,
    b"\x02\0\0\0\x0d\0\0\0{}",
    b"\0\0\0\x40\x05\0\0\0",
]


def test_strangers_at_the_port_of_the_worker_harm_nobody(eight: Distributed) -> None:
    ip, _, port = eight.address.rpartition(":")
    for garbage in GARBAGE:
        with socket.create_connection((ip, int(port)), 10) as peer:
            peer.settimeout(15)
            assert peer.recv(1 << 16)
            peer.sendall(garbage)
            peer.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(1 << 16):
                    continue
        assert sums(eight.ask(3)) == [1, 2, 3]
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection((ip, int(port)), 10))
        assert sums(eight.ask(3)) == [1, 2, 3]


def first_message_at(address: str) -> str:
    ip, _, port = address.rpartition(":")
    with socket.create_connection((ip, int(port)), 10) as peer:
        [(kind, body)] = FrameSplitter().feed(peer.recv(1 << 16))
        return repr(message_of(kind, body, TO_AGENT))


@needs_root
def test_without_a_token_agents_of_other_users_are_refused(eight: Distributed) -> None:
    told = told_by_other_user(first_message_at, eight.address)
    assert told.startswith(
        f"JoinRefused(reason='it is a process of user {OTHER_USER}, and without a token only "
    )


def test_logs_of_agents_that_were_moved_are_opened_again_at_sighup(eight: Distributed) -> None:
    logs = [eight.starter.folder / "serving_logs" / f"log_sharded_agent_rank{rank}.log" for rank in range(8)]
    for log in logs:
        log.rename(log.with_suffix(".moved"))
    eight.starter.signal(signal.SIGHUP)
    for log, agent in zip(logs, eight.agents(), strict=True):
        for descriptor in (1, 2):
            output = Path(f"/proc/{agent}/fd/{descriptor}")
            wait_until(lambda log=log, to=output: log.exists() and log.samefile(to), "the agent writes there")
    assert sums(eight.ask(3)) == [1, 2, 3]


def run_agents(
    made: Distributed, folder: Path, files: Sequence[str], options: str = "", port: int = 0
) -> RunningScript:
    """Run a script that cannot start its agents, to its end."""
    folder.mkdir()
    for file in files:
        (folder / file).touch()
    script = folder / "start_agents.py"
    script.write_text(
        "from mindspore_serving.server import distributed\n"
        f"distributed.startup_agents({made.address!r}, {files!r}, "
        f"agent_start_port={port or free_ports(8)}{options})\n"
    )
    with running_script(script, environment=INFO) as running:
        assert running.wait(REFUSED_S) == 1
    return running


@pytest.mark.parametrize("same_ports", [False, True])
def test_a_second_group_of_agents_is_refused_and_disturbs_nobody(
    eight: Distributed, tmp_path: Path, same_ports: bool
) -> None:
    agents, port = eight.agents(), eight.agent_port if same_ports else 0
    with eight.traffic(2) as traffic:
        second = run_agents(
            eight, tmp_path / "second", [f"tensor_add{i}.mindir" for i in range(8)], port=port
        )
        traffic.wait_for(20)
    assert f"The distributed worker {eight.address} refuses: all 8 agents are here already" in second.output
    assert f"Failed to start agents, distributed address: {eight.address}" in second.lines
    assert traffic.wrong == []
    assert eight.agents() == agents


# ---- forms of servables and rank tables


WHOLE = """\
from mindspore_serving.server import distributed, register

model = distributed.declare_servable(rank_size={ranks}, stage_size={stages}{options})


def change(y):
    y += 1
    return y


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def add_and_change(x1, x2):
    y = register.add_stage(model, x1, x2, outputs_count=1)
    return register.add_stage(change, y, outputs_count=1)
"""


def test_without_batch_dimension_and_agents_that_are_started_first(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path, config=WHOLE, options=", with_batch_dim=False") as made:
        starter = made.start_agents(ready="")
        starter.wait_for_line("try 1 of 60: ConnectionRefusedError")
        made.start_server(ready="")
        made.wait_until_up()
        assert sums(made.ask(5, shape=(2, 2))) == [1, 2, 3, 4, 5]
        assert sums(made.ask(5, shape=(2, 2), method="add_and_change")) == [2, 3, 4, 5, 6]
        assert "size 8 not match the size 16" in error_of(made.ask(shape=(2,)))


def test_an_input_without_batch_dimension(tmp_path: Path) -> None:
    options = ", without_batch_dim_inputs=1"
    with distributed_serving(tmp_path, options=options, table=group_list(*["127.0.0.1"] * 2)) as made:
        x1, x2 = np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.array([[10, 20], [30, 40]], np.float32)
        with Client(made.grpc, "sharded", "add") as client:
            reply = client.infer([{"x1": x, "x2": x2} for x in x1])
        assert [instance["y"].tolist() for instance in reply] == [[11, 22], [33, 44], [15, 26]]
        [file] = made.starter.folder.glob("temp_rank_table/*")
        devices = json.loads(file.read_text())["server_list"][0]["device"]
        assert devices == [
            {"device_id": str(rank), "device_ip": f"10.0.0.{rank}", "rank_id": str(rank)} for rank in range(2)
        ]


SUBGRAPHS = """\
from mindspore_serving.server import distributed, register

model = distributed.declare_servable(rank_size={ranks}, stage_size={stages}, with_batch_dim=False{options})


def both(x1, x2):
    return model.call(x1, x2) + 100 * model.call(x1, x2, subgraph=1)


@register.register_method(output_names=["y"])
def fun0(x1, x2):
    y = register.call_servable(x1, x2)
    return y


@register.register_method(output_names=["y"])
def fun1(x1, x2):
    y = register.call_servable(x1, x2, subgraph=1)
    return y


@register.register_method(output_names=["y"])
def staged(x1, x2):
    return register.add_stage(both, x1, x2, outputs_count=1)


first = register.PipelineServable(servable_name="sharded", method="fun0")
again = register.PipelineServable(servable_name="sharded", method="fun1")


@register.register_pipeline(output_names=["y"])
def loop(x1, x2):
    y = first.run(x1, x2)
    for _ in range(10):
        y = again.run(y, x2)
    return y
"""
BOTH_GRAPHS = [[f"device{rank}/tensor_add.mindir", f"device{rank}/tensor_sub.mindir"] for rank in range(2)]


def test_several_graphs_per_rank(tmp_path: Path) -> None:
    with distributed_serving(tmp_path, config=SUBGRAPHS, files=BOTH_GRAPHS) as made:
        # The first graph adds, the second one subtracts; x1 = 3, x2 = 3 * i.
        expected = {
            "fun0": [3 + 3 * i for i in range(4)],
            "fun1": [3 - 3 * i for i in range(4)],
            "staged": [3 + 3 * i + 100 * (3 - 3 * i) for i in range(4)],
            "loop": [3 + 3 * i - 30 * i for i in range(4)],
        }
        for method, values in expected.items():
            assert sums(made.ask(4, 3, (2, 2), method)) == values


def test_two_stages_that_work_at_the_same_time(tmp_path: Path) -> None:
    with distributed_serving(tmp_path, 8, stages=2, options=", enable_pipeline_infer=True") as made:
        with made.traffic(8) as traffic:
            traffic.wait_for(100)
        assert traffic.wrong == []


# ---- parameters of the start


def test_the_rank_table_under_its_other_name_and_group_configurations(tmp_path: Path) -> None:
    # With SPT_NOENV the title of a process leaves alone what /proc shows of its environment.
    with distributed_scripts(tmp_path, SPT_NOENV="1") as made:
        script = SERVER.replace("{table!r}", "startup_worker_agents={table!r}")
        made.start_server(", version_number=0", script=script, ready="")
        folder = tmp_path / "agents0"
        folder.mkdir()
        for rank in range(2):
            (folder / f"group_config_{rank}.pb").touch()
        key = f"dec_key={bytes(16)!r}, dec_mode='AES-CBC'"
        made.start_agents(
            f", group_config_files=['group_config_0.pb', ['group_config_1.pb']], {key}", ready=""
        )
        made.wait_until_up()
        for rank, agent in enumerate(made.agents()):
            variables = Path(f"/proc/{agent}/environ").read_bytes().split(b"\0")
            assert f"PARA_GROUP_FILE={folder}/group_config_{rank}.pb".encode() in variables
        with Client(made.grpc, "sharded", "add", 1) as client:
            x = np.ones(2, np.float32)
            assert sums([client.infer({"x1": x, "x2": x})][0]) == [2]


def test_two_machines(tmp_path: Path) -> None:
    """The first finds its address in the rank table, the second is told."""
    ips = ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2
    with distributed_scripts(tmp_path, 4, table=server_list(*ips)) as made:
        made.start_server(ready="")
        files = ["device0/tensor_add.mindir", "device1/tensor_add.mindir"]
        made.start_agents(", agent_ip='127.0.0.2', rank_start=2", files=files, ready="")
        made.start_agents(files=files, ready="")
        made.wait_until_up()
        assert "ranks: [2, 3]" in made.starters[0].output
        assert "ranks: [0, 1]" in made.starters[1].output
        assert "Agent of rank 3 joined from 127.0.0.2:" in made.server.worker_logs()
        assert sums(made.ask(9)) == list(range(1, 10))
        everything = made.processes()
        made.starters[0].signal(signal.SIGTERM)
        wait_until_gone(*everything)


def test_the_second_machine_of_a_rank_table(tmp_path: Path) -> None:
    """An address that is none of this machine is passed over."""
    ips = ["192.0.2.1"] * 2 + ["127.0.0.1"] * 2
    with distributed_scripts(tmp_path, 4, table=server_list(*ips)) as made:
        made.start_server(ready="")
        files = ["device0/tensor_add.mindir", "device1/tensor_add.mindir"]
        made.start_agents(files=files, ready="")
        made.start_agents(", agent_ip='127.0.0.1', rank_start=0", files=files, ready="", port=free_ports(2))
        made.wait_until_up()
        assert "ranks: [2, 3]" in made.starters[0].output
        assert "ranks: [0, 1]" in made.starters[1].output
        assert sums(made.ask(3)) == [1, 2, 3]


# ---- starts that fail


def ends_with(made: Distributed, text: str, status: int = 1) -> None:
    """The server script ends with an error that holds `text`, and so do all other processes."""
    assert made.server.wait(REFUSED_S) == status, made.server.output
    assert text in made.server.output
    for starter in made.starters:
        starter.wait(REFUSED_S)
    wait_until(lambda: not made.agents() and not made.server.workers(), "no process is left")


def test_agents_that_do_not_come_in_time(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path) as made:
        made.start_server(", wait_agents_time_in_seconds=1", ready="")
        text = "Failed to wait for ready of all agents, current agents count: 0, rank size: 2"
        ends_with(made, text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_agents_are_awaited(tmp_path: Path, number: int) -> None:
    with distributed_scripts(tmp_path) as made:
        made.start_server(ready="")
        wait_until(lambda: "listens on" in made.server.worker_logs(), "the worker listens", 30)
        made.server.signal(number)
        ends_with(made, "Fail to start workers because of signal SIGINT or SIGTERM")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_worker_is_awaited(tmp_path: Path, number: int) -> None:
    with distributed_scripts(tmp_path) as made:
        starter = made.start_agents(ready="")
        starter.wait_for_line("try 1 of 60")
        starter.signal(number)
        assert starter.wait(REFUSED_S) == 1
        assert "Fail to start agents because of Ctrl+C" in starter.output


MISFITS = {
    "a rank has a model that cannot be": (
        [BOTH_GRAPHS[0][0], "other/tensor_add_0_1.mindir"],
        "Model file 'tensor_add_0_1.mindir' asks for 0 inputs and 1 outputs, expected 1 or more",
    ),
    "a rank has other inputs": (
        ["device0/tensor_add.mindir", "device1/tensor_add_3_1.mindir"],
        "Expect stage 0(other stages have empty inputs) or all stages have same inputs, inputs of rank 1: "
        "kMSI_Float32 [2, 2], kMSI_Float32 [2, 2], kMSI_Float32 [2, 2], inputs of rank 0: "
        "kMSI_Float32 [2, 2], kMSI_Float32 [2, 2]",
    ),
    "a rank has other outputs": (
        ["device0/tensor_add.mindir", "device1/tensor_add_2_2.mindir"],
        "Expect outputs of all ranks in stage 0 to be same, outputs of rank 1: "
        "kMSI_Float32 [2, 2], kMSI_Float32 [2, 2], outputs of rank 0: kMSI_Float32 [2, 2]",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_models_that_cannot_be_loaded_together(tmp_path: Path, case: str) -> None:
    files, text = MISFITS[case]
    with distributed_scripts(tmp_path) as made:
        made.start_server(ready="")
        starter = made.start_agents(files=files, ready="")
        ends_with(made, text)
        assert f"Failed to start agents, ranks: [0, 1], distributed address: {made.address}" in starter.lines
        assert starter.process.returncode == 1


def test_ranks_with_different_numbers_of_graphs(tmp_path: Path) -> None:
    ips = ["127.0.0.1", "127.0.0.2"]
    with distributed_scripts(tmp_path, table=server_list(*ips)) as made:
        made.start_server(ready="")
        made.start_agents(files=BOTH_GRAPHS[:1], ready="")
        made.start_agents(
            ", agent_ip='127.0.0.2', rank_start=1", files=["device1/tensor_add.mindir"], ready=""
        )
        ends_with(made, "The number of graph not match in different agent, number of graphs by rank: [2, 1]")


def test_a_model_file_that_is_missing(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path) as made:
        starter = made.start_agents(files=["tensor_add.mindir", "missing/tensor_add.mindir"], ready="")
        assert starter.wait(REFUSED_S) == 1
        assert f"Cannot access model file '{starter.folder}/missing/tensor_add.mindir'" in starter.output


def test_fewer_model_files_than_ranks(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path) as made:
        made.start_server(ready="")
        starter = made.start_agents(files=["tensor_add.mindir"], ready="")
        text = "Card count [0, 1] described rank table does not equal to model files size 1, model files: [['"
        assert starter.wait(REFUSED_S) == 1
        assert text in starter.output
        ends_with(made, "Failed to starting all agents, maybe some error reported: start-up of agents at")


def test_a_worker_that_ends_while_agents_join(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path) as made, contextlib.closing(FakeWorker(made.address, 2)) as worker:
        starter = made.start_agents(ready="")
        wait_until(lambda: len(made.agents()) == 2, "the agents are started", START_TIMEOUT_S)
        worker.close()
        begin = time.monotonic()
        assert starter.wait(REFUSED_S) == 1
        assert time.monotonic() - begin < LOST_S
        assert f"the connection to the distributed worker {made.address} is lost" in starter.output
        assert made.agents() == []


TRIES_AGAIN = """\
import os
from mindspore_serving.server import distributed

for _ in range(5):
    try:
        distributed.startup_agents({address!r}, {files!r}, agent_start_port={port}{options})
    except RuntimeError:
        print("open files:", len(os.listdir("/proc/self/fd")), flush=True)
"""


def test_start_up_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path) as made, contextlib.closing(FakeWorker(made.address, 2)) as worker:
        starter = made.start_agents(files=["tensor_add.mindir"], ready="", script=TRIES_AGAIN)
        assert starter.wait(REFUSED_S) == 0
        counts = {line for line in starter.lines if line.startswith("open files:")}
        assert len(counts) == 1, starter.output
        failures = [message for message in worker.received if isinstance(message, AgentFailed)]
        assert len(failures) == 5, "each time the worker is told"


@pytest.mark.parametrize("token", ["", "another secret"])
def test_a_wrong_token_is_refused(tmp_path: Path, token: str) -> None:
    with distributed_scripts(tmp_path, SERVING_CLUSTER_TOKEN="a secret") as made:
        server = made.start_server(ready="")
        starter = made.start_agents(ready="", environment={"SERVING_CLUSTER_TOKEN": token})
        assert starter.wait(REFUSED_S) == 1
        assert (
            "refuses: the tokens of agent and worker differ, check environment variable SERVING_CLUSTER_TOKEN"
            in starter.output
        )
        made.starters.clear()
        made.start_agents(ready="")
        made.wait_until_up()
        assert sums(made.ask(3)) == [1, 2, 3]
        assert "a secret" not in server.output + server.worker_logs() + made.log_of(0)


def test_a_port_of_the_worker_that_is_taken(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path) as made, listening(made.address):
        made.start_server(ready="")
        ends_with(
            made,
            f"Serving Error: Worker gRPC server start failed, create server failed, address {made.address}",
        )


def test_a_port_of_an_agent_that_is_taken(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path) as made, listening(f"127.0.0.1:{made.agent_port + 1}"):
        made.start_server(ready="")
        starter = made.start_agents(ready="")
        ends_with(made, "Failed to starting all agents, maybe some error reported")
        assert starter.process.returncode == 1
        assert (
            "Child 1 exception happen: Serving Error: Worker gRPC server start failed, create server failed, address "
            f"127.0.0.1:{made.agent_port + 1}: "
        ) in starter.output


@contextlib.contextmanager
def listening(address: str) -> Iterator[None]:
    ip, _, port = address.rpartition(":")
    with socket.socket() as taken:
        taken.bind((ip, int(port)))
        taken.listen()
        yield


LOCAL = """\
from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR")


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)
"""


def test_a_servable_that_is_not_distributed(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path, config=LOCAL) as made:
        (tmp_path / "sharded" / "1").mkdir()
        (tmp_path / "sharded" / "1" / "tensor_add.mindir").touch()
        made.start_server(ready="")
        ends_with(made, "Servable 'sharded' is not registered as distributed servable")


def test_a_distributed_servable_that_is_started_as_another(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        "server.start_servables(server.ServableStartConfig('.', 'sharded', device_ids=0))\n"
    )
    with distributed_scripts(tmp_path), running_script(script, environment=INFO) as running:
        assert running.wait(REFUSED_S) == 1
        assert "sharded" in running.lines[-1] and "distributed" in running.lines[-1], running.output


def test_a_rank_table_that_does_not_fit(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path, 2, table=server_list(*["127.0.0.1"] * 3)) as made:
        made.start_server(ready="")
        table = tmp_path / "rank_table.json"
        ends_with(
            made,
            f"Rank size 3 declared in rank table file '{table}' not equal to 2 declared in servable config",
        )


# ---- names of release 1.2


OLD_CONFIG = """\
from mindspore_serving.worker import distributed, register

distributed.declare_distributed_servable({ranks}, {stages}{options})


@register.register_method(output_names=["y"])
def add(x1, x2):
    y = register.call_servable(x1, x2)
    return y
"""

OLD_AGENTS = """\
from mindspore_serving.worker import distributed

ip, _, port = {address!r}.rpartition(":")
distributed.startup_worker_agents(ip, int(port), {files!r}, agent_start_port={port}{options})
print("agents are up", flush=True)
"""

IN_MASTER = """\
from mindspore_serving import master
from mindspore_serving.worker import distributed

ip, _, port = {address!r}.rpartition(":")
distributed.start_distributed_servable_in_master(".", "sharded", {table!r}, 0, ip, int(port){options})
master.start_grpc_server("127.0.0.1", int({grpc!r}.rpartition(":")[2]))
print("server is up", flush=True)
"""

MASTER = """\
import sys

from mindspore_serving import master

grpc_port, master_port = map(int, sys.argv[1:])
master.start_grpc_server("127.0.0.1", grpc_port)
master.start_master_server("127.0.0.1", master_port)
print("master is up", flush=True)
"""

OF_CLUSTER = """\
from mindspore_serving.worker import distributed

ip, _, port = {address!r}.rpartition(":")
distributed.start_distributed_servable(".", "sharded", {table!r}, worker_ip=ip, worker_port=int(port){options})
print("server is up", flush=True)
"""


def test_the_names_of_release_1_2(tmp_path: Path) -> None:
    with distributed_scripts(tmp_path, config=OLD_CONFIG) as made:
        made.start_server(script=IN_MASTER, ready="")
        made.start_agents(script=OLD_AGENTS, ready="")
        made.wait_until_up()
        assert sums(made.ask(3)) == [1, 2, 3]
        everything = made.processes()
        made.server.signal(signal.SIGTERM)
        wait_until_gone(*everything)
        assert made.starter.wait() == 0


def test_a_worker_of_a_cluster(tmp_path: Path) -> None:
    script = tmp_path / "master" / "start.py"
    script.parent.mkdir()
    script.write_text(MASTER)
    with distributed_scripts(tmp_path, config=OLD_CONFIG) as made:
        master_port = free_ports(1)
        grpc_port = made.grpc.rpartition(":")[2]
        with running_script(script, grpc_port, str(master_port), environment=INFO) as master:
            master.wait_for_line("master is up")
            options = f", master_ip='127.0.0.1', master_port={master_port}"
            made.start_server(options, script=OF_CLUSTER, ready="")
            made.start_agents(script=OLD_AGENTS, ready="")
            made.wait_until_up()
            assert sums(made.ask(3)) == [1, 2, 3]
            with made.traffic(4) as traffic:
                traffic.wait_for(50)
            assert traffic.wrong == []
            everything = made.processes()
            made.starter.signal(signal.SIGTERM)
            wait_until_gone(*everything)
            assert made.server.wait() == 1
            assert "servable is not available" in error_of(made.ask())
            assert master.process.poll() is None
