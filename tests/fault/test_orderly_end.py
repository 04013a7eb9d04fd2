"""What runs when a worker or an agent ends: functions of atexit, threads and files of user code, within their time."""

from __future__ import annotations

import gzip
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.distributed_scripts import distributed_scripts
from tests.support.serving import RunningServer, add_servable, running_script, serving
from tests.support.watch import leftovers, wait_until, wait_until_gone

# What a servable leaves to the end of its process; each name has the number of the process, and files are found by it.
CONFIG = """\
import atexit
import concurrent.futures
import gzip
import multiprocessing
import os
import tempfile
import threading
import time

from mindspore_serving.server import register

PID = os.getpid()


def at_the_end(children):
    alive = all(child.is_alive() for child in children)
    open(f"atexit_{PID}", "w").write(f"helpers live: {alive}")


lines = open(f"lines_{PID}", "w")
packed = gzip.open(f"packed_{PID}", "wt")
folder = tempfile.TemporaryDirectory(prefix=f"folder_{PID}", dir=".")
file = tempfile.NamedTemporaryFile(prefix=f"file_{PID}", dir=".")
held = [{"file": open(f"held_{PID}", "wb")}]
pool = concurrent.futures.ThreadPoolExecutor(1)
helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,), daemon=True)
helper.start()
atexit.register(at_the_end, [helper])


def late():
    time.sleep(0.2)
    open(f"thread_{PID}", "w").close()


def note(x):
    lines.write("line\\n")
    packed.write("packed\\n")
    held[0]["file"].write(b"held")
    if x == 0:
        pool.submit(late)
    return os.getpid()


@register.register_method(output_names=["y"])
def pid(x):
    return register.add_stage(note, x, outputs_count=1)
"""

STUCK = """\
import atexit
import threading
import time

from mindspore_serving.server import register

@register.register_method(output_names=["y"])
def echo(x):
    return x


def forever():
    time.sleep(1000)


"""


def ask(server: RunningServer, begin: int, count: int) -> set[int]:
    """Send numbers from `begin` on; returns the processes that have noted them."""
    with Client(server.grpc, "ends", "pid") as client:
        replies = client.infer([{"x": np.int64(begin + i)} for i in range(count)], timeout=30)
    assert isinstance(replies, list), replies
    return {int(reply["y"]) for reply in replies}


def ended_in_order(folder: Path, pid: int) -> bool:
    """Whether all is there that the end of a process has to do."""
    names = {path.name for path in folder.glob(f"*_{pid}") if path.name != f"thread_{pid}"}
    temporary = [*folder.glob(f"folder_{pid}*"), *folder.glob(f"file_{pid}*")]
    if temporary or names != {f"{what}_{pid}" for what in ("atexit", "lines", "packed", "held")}:
        return False
    return (
        set((folder / f"lines_{pid}").read_text().split()) == {"line"}
        and set(gzip.decompress((folder / f"packed_{pid}").read_bytes()).split()) == {b"packed"}
        and (folder / f"held_{pid}").read_bytes().startswith(b"held")
        and (folder / f"atexit_{pid}").read_text() == "helpers live: True"
    )


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_a_worker_ends_as_a_program_does(tmp_path: Path, end: str) -> None:
    """Also where the main process is killed: nobody is there to wait for it then, so it has less time."""
    add_servable(tmp_path, "ends", CONFIG, ())
    with serving(tmp_path, ['".", "ends", device_ids=(0, 1), num_parallel_workers=3']) as server:
        workers = {int(path.name.removeprefix("lines_")) for path in tmp_path.glob("lines_*")}
        assert len(workers) == 3
        served = set[int]()
        wait_until(lambda: served.update(ask(server, 1, 50)) or served == workers, "all have served")
        [first] = ask(server, 0, 1)
        server.signal(signal.Signals[end])
        assert server.wait() == (0 if end == "SIGTERM" else -signal.SIGKILL)
        wait_until_gone(*workers)
        assert [pid for pid in workers if not ended_in_order(tmp_path, pid)] == []
        assert (tmp_path / f"thread_{first}").exists()
        wait_until(lambda: leftovers(server) == [], "nothing is left")
        assert "took too long" not in server.worker_logs()
        assert "Traceback" not in server.worker_logs()


def test_an_idle_worker_ends_in_order_after_a_second_signal_too(tmp_path: Path) -> None:
    """Programs that start others pass on a Ctrl+C that the terminal has sent to all: then the server gets it twice."""
    add_servable(tmp_path, "ends", CONFIG, ())
    with serving(tmp_path, ['".", "ends", device_ids=0']) as server:
        [worker] = ask(server, 1, 1)
        server.signal(signal.SIGINT)
        server.signal(signal.SIGTERM)  # as two signals of one kind may arrive as one
        assert server.wait() == 0
        assert ended_in_order(tmp_path, worker)


def test_what_does_not_come_to_its_end_holds_up_nobody(tmp_path: Path) -> None:
    """A worker ends by itself before it is killed, with its own exit code, and says what was not done."""
    stuck = {
        "hangs": STUCK + "atexit.register(forever)\n",
        "stays": STUCK + "threading.Thread(target=forever).start()\n",
        "raises": STUCK + "atexit.register(lambda: 1 / 0)\natexit.register(exit, 7)\n",
    }
    for name, config in stuck.items():
        add_servable(tmp_path, name, config, ())
    with serving(
        tmp_path, [f'".", "{name}", device_ids={number}' for number, name in enumerate(stuck)]
    ) as server:
        for worker in server.workers():
            for number in (signal.SIGTERM, signal.SIGINT):  # one more does not keep it from its end
                os.kill(worker, number)
        server.wait_for_line("all worker processes that occupy devices have exited", 30)
        assert server.wait() == 1
        assert "was killed" not in server.output
        logs = {
            name: (tmp_path / f"serving_logs/log_{name}_device{number}_version1.log").read_text()
            for number, name in enumerate(stuck)
        }
        assert {name: "took too long" in log for name, log in logs.items()} == {
            "hangs": True,
            "stays": True,
            "raises": False,
        }
        assert "in forever" in logs["hangs"]
        assert "ZeroDivisionError" in logs["raises"]


def test_a_start_that_fails_ends_in_order(tmp_path: Path) -> None:
    add_servable(tmp_path, "ends", CONFIG + "\nraise ValueError('no luck')\n", ())
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        'server.start_servables(server.ServableStartConfig(".", "ends", device_ids=0))\n'
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait() == 1
    assert "no luck" in running.output
    assert len(list(tmp_path.glob("atexit_*"))) == 1
    assert list(tmp_path.glob("folder_*")) == list(tmp_path.glob("file_*")) == []


def test_a_distributed_worker_and_its_agents_end_as_programs_do(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    # Every process of Python runs this at its start.
    (tmp_path / "python" / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        "path = sys.orig_argv[1].rpartition('/')[2]\n"
        f"atexit.register(lambda: open(rf'{tmp_path}/{{path}}_ended', 'a').write('ended,'))\n"
    )
    with distributed_scripts(tmp_path, PYTHONPATH=str(tmp_path / "python")) as made:
        made.start_server(ready="")
        made.start_agents(ready="")
        made.wait_until_up()
        made.server.signal(signal.SIGTERM)
        assert made.server.wait() == 0
        assert made.starter.wait() == 0
    assert (tmp_path / "start_distributed_worker.py_ended").read_text() == "ended,"
    assert (tmp_path / "serving_agent.py_ended").read_text() == "ended," * (1 + made.ranks)  # the script, too
