"""Ranks in processes of their own join the communication of MindSpore on CPU, and compute together."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.mindspore.ranks import Scheduler, join_ranks, needs_scheduler
from tests.support.serving import START_TIMEOUT_S, RunningScript, free_port, running_script
from tests.support.watch import kill, lives, wait_until_gone

RANK = """\
import sys

from mindspore_serving.server.backend.mindspore.ranks import join_ranks

rank, size, scheduler = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
join_ranks(
    device_type="cpu", device_id=rank, rank_id=rank, rank_size=size, ip="127.0.0.1", scheduler=scheduler,
    rank_table_file=None,
)

import mindspore as ms
import numpy as np
from mindspore import nn, ops


class Sum(nn.Cell):
    def __init__(self):
        super().__init__()
        self.sum = ops.AllReduce()

    def construct(self, x):
        return self.sum(x)


print("sums", Sum()(ms.Tensor(np.full(3, rank + 1, np.float32))).asnumpy().tolist(), flush=True)
"""

OWNER = """\
import threading

from mindspore_serving.server.backend.mindspore.ranks import Scheduler

started = []
thread = threading.Thread(target=lambda: started.append(Scheduler("127.0.0.1", 2)))
thread.start()
thread.join()
print("scheduler is process", started[0].pid, flush=True)
threading.Event().wait()
"""


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler("127.0.0.1", 2)
    yield scheduler
    scheduler.stop()


@contextlib.contextmanager
def rank(folder: Path, number: int, scheduler: str, **environment: str) -> Iterator[RunningScript]:
    """A running rank of two."""
    script = folder / "rank.py"
    script.write_text(RANK)
    with running_script(script, str(number), "2", scheduler, environment=environment) as running:
        yield running


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


@pytest.mark.parametrize(("device_type", "expected"), [("cpu", True), ("gpu", True), ("ascend", False)])
def test_who_needs_a_scheduler(device_type: str, expected: bool) -> None:
    assert needs_scheduler(device_type) is expected


def test_two_ranks_add_up_what_they_hold(tmp_path: Path, scheduler: Scheduler) -> None:
    with rank(tmp_path, 0, scheduler.address) as first, rank(tmp_path, 1, scheduler.address) as second:
        for running in (first, second):
            assert running.wait_for_line("sums").endswith("sums [3.0, 3.0, 3.0]")
            # What MindSpore does at the end of the interpreter crashes now and then, once all is done.
            assert running.wait() in (0, -signal.SIGSEGV)


def test_a_rank_alone_gives_up(tmp_path: Path) -> None:
    with rank(tmp_path, 1, f"127.0.0.1:{free_port()}", MS_TOPO_TIMEOUT="2") as alone:
        assert alone.wait(START_TIMEOUT_S) == 1
    assert re.search(
        "^mindspore_serving.errors.StartUpError: Rank 1 of 2 cannot join the communication: Failed to init",
        alone.output,
        re.MULTILINE,
    )


def test_stop_ends_a_scheduler_that_waits_for_ranks(scheduler: Scheduler) -> None:
    assert command_line(scheduler.pid) == (
        f"start_scheduler.py --address={scheduler.address} --rank_size=2 --parent={os.getpid()}"
    )
    scheduler.stop()
    assert not lives(scheduler.pid)
    scheduler.stop()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_scheduler_ends_with_its_owner_whose_thread_started_it(tmp_path: Path, ending: int) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    with running_script(script) as owner:
        pid = int(owner.wait_for_line("scheduler is process").split()[-1])
        assert lives(pid)
        kill(owner.process.pid) if ending == signal.SIGKILL else owner.signal(ending)
        owner.wait()
        wait_until_gone(pid, timeout_s=1)


def test_a_scheduler_needs_an_address_of_this_machine() -> None:
    with pytest.raises(StartUpError, match=re.escape("Scheduler cannot listen on 192.0.2.1: ")):
        Scheduler("192.0.2.1", 2)


def test_ascend_needs_a_rank_table() -> None:
    with pytest.raises(StartUpError, match="Rank 1 cannot join on Ascend: there is no rank table file"):
        join_ranks(
            device_type="ascend",
            device_id=1,
            rank_id=1,
            rank_size=2,
            ip="127.0.0.1",
            scheduler="",
            rank_table_file=None,
        )
