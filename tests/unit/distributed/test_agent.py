"""What an agent makes of the messages of its distributed worker, with the stub for a backend."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import ChannelError
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.agent_messages import (
    AgentsAccepted,
    AgentSettings,
    GraphResult,
    ReloadGraph,
    RunGraph,
    ToAgent,
)
from mindspore_serving.server.distributed.agent import Agent, argument_parser
from mindspore_serving.server.distributed.agent_port import one_row

ONES = one_row([np.ones((2, 2), np.float32)] * 2)
LIMIT_S = 30.0


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two subgraphs: the first adds, the second subtracts."""
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    paths = [tmp_path / "tensor_add.mindir", tmp_path / "tensor_sub.mindir"]
    for path in paths:
        path.touch()
    return paths


def answers_of(
    files: Sequence[Path], messages: Sequence[ToAgent], *, rank: int = 1
) -> tuple[list[GraphResult], str]:
    """What an agent of two ranks sends, and what it reports to the process that has started it."""
    reader, writer = os.pipe()
    facts = {
        "rank": rank,
        "rank_size": 2,
        "ip": "127.0.0.1",
        "port": 1,
        "device_type": "cpu",
        "device_id": 0,
        "worker_address": "127.0.0.1:2",
        "rank_table": "none",
        "max_batch_size": 8,
        "parent": os.getpid(),
        "log_file": "none",
        "report_fd": writer,
    }
    words = [f"--{name}={value}" for name, value in facts.items()]
    agent = Agent(argument_parser().parse_args([*words, *(f"--model_file={path}" for path in files)]))
    agent._loader.load()

    async def whole() -> list[GraphResult]:
        sent: list[GraphResult] = []
        all_sent = asyncio.Event()
        asked = sum(isinstance(message, (RunGraph, ReloadGraph)) for message in messages)

        def send(message: Any) -> None:
            sent.append(message)
            if len(sent) == asked:
                all_sent.set()

        link: Any = SimpleNamespace(send=send)
        agent._link = link
        for message in messages:
            agent.on_message(message)
        if asked:
            await asyncio.wait_for(all_sent.wait(), LIMIT_S)
        return sent

    try:
        sent = asyncio.run(whole())
        agent._report.close()
        return sent, os.read(reader, 100).decode()
    finally:
        agent._report.close()
        os.close(reader)


def outputs(result: GraphResult) -> list[Any]:
    assert not isinstance(result.outcome, FailedRows)
    return [np.asarray(column)[0].tolist() for column in result.outcome.columns]


def test_each_run_is_answered_under_its_number(files: list[Path]) -> None:
    results, report = answers_of(files, [RunGraph(7, 0, ONES), RunGraph(9, 1, ONES), ReloadGraph(12, 1)])
    assert [result.run_id for result in results] == [7, 9, 12]
    assert [outputs(result) for result in results] == [[[[2, 2]] * 2], [[[0, 0]] * 2], []]
    assert report == ""


def test_only_the_last_rank_sends_outputs(files: list[Path]) -> None:
    [result], _ = answers_of(files, [RunGraph(7, 0, ONES)], rank=0)
    assert outputs(result) == []


def test_a_graph_that_failed_runs_again_once_it_is_loaded_anew(files: list[Path]) -> None:
    nothing = one_row([])
    runs = [RunGraph(1, 0, nothing), RunGraph(2, 1, ONES), ReloadGraph(3, 0), RunGraph(4, 0, ONES)]
    results, _ = answers_of(files, runs)
    assert [result.run_id for result in results] == [1, 2, 3, 4]
    assert [isinstance(result.outcome, FailedRows) for result in results] == [True, True, False, False]


def test_an_agent_that_is_accepted_reports_that_it_is_ready(files: list[Path]) -> None:
    assert answers_of(files, [AgentsAccepted()]) == ([], "ready\n")


def test_a_message_for_who_starts_agents_is_refused(files: list[Path]) -> None:
    settings = AgentSettings("s", ("127.0.0.1",), (0,), ("",), True, (), 8)
    with pytest.raises(ChannelError, match="the worker sent a AgentSettings, which is not expected now"):
        answers_of(files, [settings])
