"""Distributed models on real ranks: MindSpore's collective communication on CPU."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.backend.mindspore.ranks import Scheduler
from tests.mindspore.export_sharded_models import KEY, WIDTH
from tests.support.distributed_scripts import Distributed, distributed_scripts, error_of
from tests.support.traces import traces, traces_in
from tests.support.watch import kill, wait_until_gone

RANKS = 4
EXPORT_TIMEOUT_S = 150

CONFIG = """\
from mindspore_serving.server import distributed, register

model = distributed.declare_servable(rank_size={ranks}, stage_size={stages}, with_batch_dim=False{options})


def look_up_unevenly(index):
    return model.call(index, subgraph=1)


@register.register_method(output_names=["y"])
def even(index):
    return register.add_stage(model, index, outputs_count=1)


@register.register_method(output_names=["y"])
def uneven(index):
    return register.add_stage(look_up_unevenly, index, outputs_count=1)
"""

BATCHES = """\
from mindspore_serving.server import distributed, register

model = distributed.declare_servable(rank_size={ranks}, stage_size={stages}{options})


@register.register_method(output_names=["y"])
def product(x):
    return register.add_stage(model, x, outputs_count=1)
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the parts of all models."""
    folder = tmp_path_factory.mktemp("parts")
    script = Path(__file__).with_name("export_sharded_models.py")
    scheduler = Scheduler("127.0.0.1", RANKS)
    try:
        processes = [
            subprocess.Popen(
                [sys.executable, str(script), str(folder), str(rank), str(RANKS), scheduler.address],
                env={**os.environ, "PYTHONPATH": str(script.parents[2])},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for rank in range(RANKS)
        ]
        for process in processes:
            _, complaint = process.communicate(timeout=EXPORT_TIMEOUT_S)
            assert process.returncode == 0, complaint.decode()
    finally:
        scheduler.stop()
    return folder


@contextlib.contextmanager
def serving(
    folder: Path, parts: Path, config: str, *names: str, agents: str = "", **environment: str
) -> Iterator[Distributed]:
    """A distributed servable on real ranks; `agents` is further arguments of `startup_agents`, each after a comma."""
    files = [[str(parts / f"{name}{rank}.mindir") for name in names] for rank in range(RANKS)]
    settings = {"SERVING_BACKEND": "mindspore", **environment}
    with distributed_scripts(folder, RANKS, config=config, **settings) as made:
        made.start_server(ready="")
        made.start_agents(agents, files=files, ready="")
        made.wait_until_up()
        yield made


def look_up(made: Distributed, method: str, index: list[int]) -> Any:
    with Client(made.grpc, "sharded", method) as client:
        return client.infer({"index": np.array(index, np.int32)}, timeout=60)


def sums_at(index: list[int]) -> list[float]:
    """What all ranks have at these places together."""
    return [float(sum(i + 100 * rank for rank in range(RANKS))) for i in index]


def test_four_ranks_fail_together_load_anew_and_go_out_of_step(tmp_path: Path, parts: Path) -> None:
    # MindSpore takes three seconds for a run that fails.
    with serving(tmp_path, parts, CONFIG, "even", "uneven", SERVING_AGENT_TIMEOUT_S="6") as made:
        for method in ("even", "uneven"):
            [reply] = look_up(made, method, [1, 3])
            assert reply["y"].tolist() == sums_at([1, 3])
        # All ranks fail, before they talk with each other: only this batch fails.
        for _ in range(2):
            error = error_of(look_up(made, "even", [1, 99]))
            assert "Error happened on get result of rank 0" in error
            assert "99" in error
            [reply] = look_up(made, "even", [7, 0])
            assert reply["y"].tolist() == sums_at([7, 0])
        processes = made.processes()
        # Rank 0 alone fails, and the others wait for it within the graph, from which nothing can call them back.
        assert "Error happened on get result of rank 0" in error_of(look_up(made, "uneven", [5, 0]))
        assert error_of(look_up(made, "even", [1, 2]))
        made.server.wait(timeout_s=30)
        assert "the ranks are out of step" in made.server.worker_logs()
        made.starter.wait(timeout_s=30)
        wait_until_gone(*processes)


def test_batches_of_any_size_with_encrypted_parts(tmp_path: Path, parts: Path) -> None:
    weight = np.arange(WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH) / 64
    key_file = parts / "key"
    key_file.write_bytes(KEY)
    key = f", dec_key=open({str(key_file)!r}, 'rb').read(), dec_mode='AES-CBC'"
    with serving(tmp_path, parts, BATCHES, "product", agents=key) as made:
        for count in (1, 3, 64, 150):
            x = np.random.default_rng(count).random((count, WIDTH), np.float32)
            with Client(made.grpc, "sharded", "product") as client:
                replies = client.infer([{"x": row} for row in x], timeout=60)
            np.testing.assert_allclose([reply["y"] for reply in replies], x @ weight, rtol=1e-5)
        assert traces(KEY, tmp_path) == []
        assert traces_in(KEY, made.server.output + made.starter.output) == []
        processes = made.processes()
        kill(made.agents()[1])
        made.server.wait(timeout_s=30)
        made.starter.wait(timeout_s=30)
        wait_until_gone(*processes)
