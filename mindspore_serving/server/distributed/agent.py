"""An agent: the process that holds one rank of a distributed model.

It joins the distributed worker, waits until the agents of all ranks have, loads its part of the model together with
them, and then runs what the worker sends. It ends with the worker, and with the process that has started it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, ModelError, ServingError
from mindspore_serving.rows import FailedRows, Group
from mindspore_serving.server.backend.contract import LoadedGraph, LoadRequest
from mindspore_serving.server.backend.ranks import backend_of_ranks, join_ranks, start_scheduler
from mindspore_serving.server.channel.agent_messages import (
    AgentFailed,
    AgentReady,
    AgentsAccepted,
    AgentsGathered,
    GraphResult,
    ReloadGraph,
    RunGraph,
    ToAgent,
)
from mindspore_serving.server.channel.messages import Exiting
from mindspore_serving.server.cluster.link import ALIVE_EVERY_S
from mindspore_serving.server.cluster.member import reserve
from mindspore_serving.server.distributed.agent_parameters import worker_address
from mindspore_serving.server.distributed.agent_port import one_row
from mindspore_serving.server.distributed.agent_report import AgentReport
from mindspore_serving.server.distributed.joining_link import JoiningLink, join
from mindspore_serving.server.host.forked_child import end_forked_child, end_forked_children, this_process
from mindspore_serving.server.host.key_pipe import read_key
from mindspore_serving.server.host.own_descriptor import identity
from mindspore_serving.server.host.owner import end_with_owner
from mindspore_serving.server.host.process_title import show_as
from mindspore_serving.server.host.process_tree import kill_children
from mindspore_serving.server.host.settings import cluster_token, worker_timeout_s
from mindspore_serving.server.host.waiting import wait_for_event
from mindspore_serving.server.worker.orderly_end import end_process
from mindspore_serving.server.worker.output import keep_printing_harmless, move_output
from mindspore_serving.signature import GraphInfo, ModelInfo
from mindspore_serving.tensor import Array

EXIT_OK = 0
EXIT_FAILED = 3
_END_WITHIN_S = 2.0
"""Less than the time after which an agent is killed. MindSpore may wait for ranks that are gone."""


class ShardLoader:
    """Loads the graphs of one rank. Used by one thread only.

    Args:
        request: How to load; its path stands for nothing.
        files: One per subgraph.
    """

    def __init__(self, request: LoadRequest, files: Sequence[str]) -> None:
        self._request = request
        self._files = files
        self._backend = backend_of_ranks()
        self._graphs: list[LoadedGraph] = []
        self._failed: set[int] = set()

    def load(self) -> ModelInfo:
        """Load all graphs.

        Raises:
            ServingError: One cannot be loaded.
        """
        self._graphs = [self._load(file) for file in self._files]
        infos = (
            GraphInfo(graph.signature.inputs, graph.signature.outputs, 0, graph.dynamic_batch)
            for graph in self._graphs
        )
        return ModelInfo("", tuple(infos))

    def reload(self, subgraph: int) -> list[Array]:
        """Load a graph anew, at the same time as all other ranks.

        Raises:
            ServingError: It cannot be loaded.
        """
        self._graphs[subgraph].close()
        self._graphs[subgraph] = self._load(self._files[subgraph])
        self._failed.discard(subgraph)
        return []

    def run(self, subgraph: int, arrays: Sequence[Array]) -> list[Array]:
        """Run a graph.

        After a failure of one, nothing runs until it is loaded anew, no other graph either: ranks may still wait within
        the run that failed here, and would take what another graph sends for a part of it.

        Raises:
            ServingError: It failed, or one had failed before and was not loaded anew.
        """
        if self._failed:
            raise ModelError("the graph failed before, and is not loaded anew yet")
        self._failed.add(subgraph)  # until the run has come to its end, whatever it raises
        outputs = self._graphs[subgraph].predict(arrays)
        self._failed.discard(subgraph)
        return outputs

    def _load(self, file: str) -> LoadedGraph:
        request = replace(self._request, path=Path(file))
        graph = self._backend.load(request)
        log.info("Loaded model %s: %s", file, graph.signature)
        return graph


class DistributedWorkerLink(JoiningLink):
    """The connection of an agent to its distributed worker.

    Args:
        agent: Whose it is.
        scheduler: `ip:port` of the scheduler, known to rank 0.
    """

    def __init__(self, agent: Agent, scheduler: str) -> None:
        super().__init__(cluster_token(), agent.rank, agent.address, scheduler)
        self._agent = agent

    def on_joined_message(self, message: ToAgent) -> None:
        """Hand it to the agent."""
        self._agent.on_message(message)

    def on_end(self, reason: str) -> None:
        """End the agent."""
        self._agent.end(reason)


class Agent:
    """One agent process.

    Args:
        arguments: The parsed command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.rank: int = arguments.rank
        self.address = f"{arguments.ip}:{arguments.port}"
        self._arguments = arguments
        self._report = AgentReport.of_child(arguments.report_fd)
        self._log_identity = identity(sys.stdout.fileno())
        self._link: DistributedWorkerLink | None = None
        self._loading: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._reason = ""
        self._accepted = False
        # MindSpore's graphs run in one thread: the one in which they were loaded.
        self._thread = ThreadPoolExecutor(1, "model")
        self._loader = ShardLoader(
            LoadRequest(
                path=Path(),
                with_batch_dim=arguments.with_batch_dim,
                without_batch_dim_inputs=tuple(arguments.without_batch_dim_input),
                max_batch_size=arguments.max_batch_size,
                device_type=arguments.device_type,
                device_id=arguments.device_id,
                sharded=True,
                dec_key=read_key(arguments.key_fd) if arguments.key_fd >= 0 else None,
                dec_mode=arguments.dec_mode,
            ),
            arguments.model_file,
        )

    def __repr__(self) -> str:
        return f"<Agent rank {self.rank} {self.address}>"

    async def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.end, f"signal {signal.Signals(number).name}")
        loop.add_signal_handler(signal.SIGHUP, self._follow_log)
        held = None
        try:
            held = reserve(self._arguments.ip, self._arguments.port)
            scheduler = await loop.run_in_executor(self._thread, self._start_scheduler)
            link = await join(
                lambda: self._new_link(scheduler),
                *worker_address(self._arguments.worker_address),
            )
            await self._until_ended(link)
            self._report.failed(self._reason)  # of no effect after `ready`
        except ServingError as error:
            log.error("%r cannot start: %s", self, error)
            self._report.failed(str(error))
            return EXIT_FAILED
        finally:
            if held is not None:
                held.close()
        return EXIT_OK if self._accepted else EXIT_FAILED

    def on_message(self, message: ToAgent) -> None:
        """Act on a message of the worker.

        Raises:
            ChannelError: It does not belong here.
        """
        if isinstance(message, RunGraph):
            arrays = [column[0] for column in message.inputs.columns if not isinstance(column, list)]
            self._answer(message.run_id, lambda: self._loader.run(message.subgraph, arrays))
        elif isinstance(message, AgentsGathered):
            self._loading = asyncio.create_task(self._load(message.scheduler))
        elif isinstance(message, AgentsAccepted):
            self._accepted = True
            self._report.ready()
        elif isinstance(message, ReloadGraph):
            self._answer(message.run_id, lambda: self._loader.reload(message.subgraph))
        else:
            raise ChannelError(f"the worker sent a {type(message).__name__}, which is not expected now")

    def end(self, reason: str) -> None:
        """End this agent."""
        if not self._ended.is_set():
            self._reason = reason
            self._ended.set()

    def _follow_log(self) -> None:
        """Write to the file that has the name of the log now: the owner has opened it again."""
        move_output(self._arguments.log_file, self._log_identity)
        self._log_identity = identity(sys.stdout.fileno())

    def _new_link(self, scheduler: str) -> DistributedWorkerLink:
        """A connection to try; the worker may send something on it before `join` returns."""
        self._link = DistributedWorkerLink(self, scheduler)
        return self._link

    def _start_scheduler(self) -> str:
        """Start the scheduler if this agent is to; returns its address, empty for none."""
        if self.rank != 0:
            return ""
        arguments = self._arguments
        scheduler = start_scheduler(arguments.device_type, arguments.ip, arguments.rank_size)
        return scheduler.address if scheduler else ""

    async def _until_ended(self, link: DistributedWorkerLink) -> None:
        """Show the worker that this agent lives, and watch for its signs of life."""
        while not self._ended.is_set():
            if link.beat() > worker_timeout_s():
                log.error("Recv Ping Time Out from %s, host address is %s", link.peer, self.address)
                self.end(f"the distributed worker {link.peer} has fallen silent")
            await wait_for_event(self._ended, ALIVE_EVERY_S)
        log.info("%r ends: %s", self, self._reason)
        link.send(Exiting())
        link.close()
        await asyncio.sleep(0)

    async def _load(self, scheduler: str) -> None:
        """Load the model together with the other ranks."""
        assert self._link is not None
        try:
            model = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._load_in_thread, scheduler
            )
            self._link.send(AgentReady((model,)))
        except Exception as error:  # whatever it is, the worker and the other ranks wait for this one
            log.error("%r cannot load its model: %s", self, error, exc_info=True)
            text = f"Load model failed, model file: {self._arguments.model_file}, load error details: {error}"
            self._report.failed(text)  # before others end for this reason
            self._link.send(AgentFailed(text))
            self.end(text)

    def _load_in_thread(self, scheduler: str) -> ModelInfo:
        arguments = self._arguments
        join_ranks(
            device_type=arguments.device_type,
            device_id=arguments.device_id,
            rank_id=self.rank,
            rank_size=arguments.rank_size,
            ip=arguments.ip,
            scheduler=scheduler,
            rank_table_file=arguments.rank_table,
        )
        return self._loader.load()

    def _answer(self, run_id: int, work: Callable[[], list[Array]]) -> None:
        """Do something in the thread of the model, and send its outcome."""
        job = asyncio.get_running_loop().run_in_executor(self._thread, _outcome_of, work, self._sends_outputs)

        def send(job: asyncio.Future[Group]) -> None:
            if not job.cancelled() and self._link is not None:
                self._link.send(GraphResult(run_id, job.result()))

        job.add_done_callback(send)

    @property
    def _sends_outputs(self) -> bool:
        return bool(self.rank == self._arguments.rank_size - 1)


def _outcome_of(work: Callable[[], list[Array]], with_outputs: bool) -> Group:
    """What is sent back; only the last rank sends outputs."""
    try:
        try:
            outputs = work()
        finally:
            if this_process.forked:
                end_forked_child(sys.exc_info()[1])
        return one_row(outputs if with_outputs else [])
    except ServingError as error:
        return FailedRows(error.failure(), 1)
    except Exception as error:  # whatever it is, the worker waits for an answer
        log.error("An agent's model failed", exc_info=True)
        return FailedRows(ModelError(repr(error)).failure(), 1)


def argument_parser() -> argparse.ArgumentParser:
    """What reads the command line that `startup_agents` gives an agent."""
    parser = argparse.ArgumentParser(
        prog="serving_agent.py", description="Started by startup_agents, not by hand."
    )
    parser.add_argument("--rank", type=int, required=True, help="rank of this agent")
    parser.add_argument("--rank_size", type=int, required=True, help="number of ranks")
    parser.add_argument("--ip", required=True, help="address of this machine")
    parser.add_argument("--port", type=int, required=True, help="port that tells this agent from others")
    parser.add_argument("--device_type", required=True, help="ascend, gpu or cpu")
    parser.add_argument("--device_id", type=int, required=True, help="number of the device")
    parser.add_argument("--worker_address", required=True, help="ip:port of the distributed worker")
    parser.add_argument("--rank_table", required=True, help="file that says where the ranks run")
    parser.add_argument(
        "--model_file", action="append", required=True, help="a model file, once per subgraph"
    )
    parser.add_argument("--with_batch_dim", action="store_true", help="the first dimension is the batch")
    parser.add_argument(
        "--without_batch_dim_input", type=int, action="append", default=[], help="input without batch"
    )
    parser.add_argument("--max_batch_size", type=int, required=True, help="largest batch of a dynamic model")
    parser.add_argument("--parent", type=int, required=True, help="process id of the process that started it")
    parser.add_argument("--log_file", required=True, help="where its output goes")
    parser.add_argument("--report_fd", type=int, required=True, help="pipe for its report")
    parser.add_argument("--key_fd", type=int, default=-1, help="pipe with the key of encrypted models")
    parser.add_argument("--dec_mode", default="AES-GCM", help="AES-GCM or AES-CBC")
    return parser


async def _serve(arguments: argparse.Namespace) -> int:
    return await Agent(arguments).run()


def main() -> NoReturn:
    """Run an agent with the arguments of this process, and end the process."""
    keep_printing_harmless()
    arguments = argument_parser().parse_args()
    show_as("serving_agent.py")
    end_with_owner(arguments.parent)
    end_forked_children()
    try:
        code = asyncio.run(_serve(arguments))
    except BaseException:
        kill_children(os.getpid())
        raise
    end_process(code, deadline=time.monotonic() + _END_WITHIN_S)
