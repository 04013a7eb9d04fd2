"""The agents of this machine: started together, and ended together.

A distributed model is only as whole as its ranks: when one agent ends, the others are of no use. So whatever ends one,
or the process that has started them, ends all of this machine, and the distributed worker, which sees its connections
close, ends the rest.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, StartUpError
from mindspore_serving.server.backend.families import supported_device_types
from mindspore_serving.server.channel.agent_messages import AgentFailed, AgentSettings, ToAgent
from mindspore_serving.server.cluster.link import ALIVE_EVERY_S
from mindspore_serving.server.cluster.token import warn_of_open_way
from mindspore_serving.server.distributed.agent_parameters import (
    AgentParameters,
    AgentPlace,
    local_agents,
    worker_address,
)
from mindspore_serving.server.distributed.agent_port import STARTER_RANK
from mindspore_serving.server.distributed.agent_process import AgentProcess
from mindspore_serving.server.distributed.joining_link import JoiningLink, join
from mindspore_serving.server.distributed.rank_table import RankPlace, RankTable, write_rank_table
from mindspore_serving.server.host.loop_thread import LoopThread
from mindspore_serving.server.host.settings import cluster_token, log_to_stdout
from mindspore_serving.server.host.standard_descriptors import open_standard_descriptors
from mindspore_serving.server.host.standard_output import say
from mindspore_serving.server.host.stop_request import StopRequest
from mindspore_serving.server.supervision.log_copy import LogCopy
from mindspore_serving.server.supervision.process_log import LOG_DIRECTORY, ProcessLogs

_POLL_S = 0.1
_LEAVE_S = 3.0
_PROGRESS_EVERY_S = 15.0
_INTERRUPTED = "Fail to start agents because of Ctrl+C"

_T = TypeVar("_T")


class StarterLink(JoiningLink):
    """Connection through which the worker says what is to be started, and is told what goes wrong."""

    def __init__(self) -> None:
        super().__init__(cluster_token(), STARTER_RANK, f"agent start-up process on {socket.gethostname()}")
        self.settings: asyncio.Future[AgentSettings] = asyncio.get_running_loop().create_future()
        self.end_reason = ""

    def on_joined_message(self, message: ToAgent) -> None:
        """Take the settings."""
        if not isinstance(message, AgentSettings) or self.settings.done():
            raise ChannelError(f"the worker sent a {type(message).__name__}, which is not expected now")
        self.settings.set_result(message)

    def on_end(self, reason: str) -> None:
        """Keep it for who waits for agents: those that have not joined yet would look for another worker."""
        self.end_reason = reason
        if not self.settings.done():
            self.settings.set_exception(StartUpError(reason))


class AgentGroup:
    """The agents of this machine.

    Args:
        parameters: What the start script asks for.
        directory: Working directory.
    """

    def __init__(self, parameters: AgentParameters, directory: Path) -> None:
        self._parameters = parameters
        self._directory = directory
        self._thread = LoopThread()
        self._link: StarterLink | None = None
        self._beating: asyncio.Task[None] | None = None
        self._agents: list[AgentProcess] = []
        copy = LogCopy() if log_to_stdout() else None
        self._logs = ProcessLogs(lambda: directory / LOG_DIRECTORY, log.rotation(), self._on_logs_moved, copy)
        self._are_ready = False
        self._stop_request = StopRequest(self._follow_logs)

    def __repr__(self) -> str:
        return f"<AgentGroup {self._agents}>"

    def start(self) -> None:
        """Start the agents; returns when all are ready.

        Raises:
            StartUpError: That cannot be done. All that were started are ended.
        """
        open_standard_descriptors()  # the script may have closed them since the import
        generation = self._stop_request.begin()
        details = f"distributed address: {self._parameters.distributed_address}"
        try:
            settings = self._settings()
            places = self._places(settings)
            details = f"ranks: {[place.rank_id for place in places]}, {details}"
            self._spawn(places, settings)
            self._until_ready()
            self._are_ready = True
            self._on_logs_moved()  # some may have been moved meanwhile
            say(f"Success to start agents, {details}")
        except BaseException as error:
            self._end(str(error))
            self._stop_request.withdraw()
            say(f"Failed to start agents, {details}")
            raise
        threading.Thread(target=self._watch, name="agents watch", daemon=True).start()
        threading.Thread(target=self._monitor, args=(generation,), name="agents monitor").start()

    def _settings(self) -> AgentSettings:
        """Ask the distributed worker what is to be started."""
        return self._wait_for(self._join())

    async def _join(self) -> AgentSettings:
        warn_of_open_way(
            worker_address(self._parameters.distributed_address)[0], cluster_token(), "distributed worker"
        )
        self._link = await join(StarterLink, *worker_address(self._parameters.distributed_address))
        self._beating = asyncio.create_task(self._beat(self._link))
        return await self._link.settings

    async def _beat(self, link: StarterLink) -> None:
        while True:
            link.beat()
            await asyncio.sleep(ALIVE_EVERY_S)

    def _places(self, settings: AgentSettings) -> tuple[AgentPlace, ...]:
        return local_agents(self._parameters, _table_of(settings), _can_bind)

    def _spawn(self, places: tuple[AgentPlace, ...], settings: AgentSettings) -> None:
        rank_table = write_rank_table(_table_of(settings), self._directory, datetime.now())
        device_type = supported_device_types()[0]

        async def spawn() -> None:
            # Here, because agents end with the thread that has started them, and this one lasts as long as the process.
            for place in places:
                self._agents.append(
                    AgentProcess(
                        place,
                        self._parameters,
                        settings,
                        device_type,
                        rank_table,
                        self._directory,
                        self._logs,
                    )
                )

        self._wait_for(spawn())

    def _wait_for(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Wait in slices, so that signals are acted on."""
        future = self._thread.submit(coroutine)
        while not self._stop_request.wanted:
            try:
                return future.result(_POLL_S)
            except FutureTimeout:
                if future.done():  # it may have come to its end just now
                    return future.result()
        future.cancel()
        raise StartUpError(_INTERRUPTED)

    def _until_ready(self) -> None:
        """Wait until all agents are ready, which they are all at the same time.

        Raises:
            StartUpError: One cannot start, or died; the worker has ended; or a signal came.
        """
        pending = dict(enumerate(self._agents))
        told = time.monotonic()
        while pending:
            if self._stop_request.wanted:
                raise StartUpError(_INTERRUPTED)
            # First who has ended, then who has reported: one that fails reports before others end for its sake.
            ended = [agent for agent in self._agents if agent.exit_status() is not None]
            for index, agent in list(pending.items()):
                if _is_ready(index, agent):
                    say(f"Child {index}: Receive success")
                    del pending[index]
            for agent in ended:
                raise StartUpError(
                    f"Fail to start agents because of death of one agent, rank {agent.place.rank_id}, exit code "
                    f"{agent.exit_status()}, see {agent.log_path}"
                )
            if self._link is not None and self._link.end_reason:
                raise StartUpError(f"Fail to start agents: {self._link.end_reason}")
            if pending and time.monotonic() - told > _PROGRESS_EVERY_S:
                told = time.monotonic()
                say(f"Waiting for agents {[agent.place.rank_id for agent in pending.values()]}")
            time.sleep(_POLL_S)

    def _watch(self) -> None:
        """Body of the thread that looks whether an agent has ended."""
        while not self._stop_request.wanted:
            for agent in self._agents:
                status = agent.exit_status()
                if status is not None:
                    log.warning("%r has ended with exit code %s, all agents here end", agent, status)
                    self._stop_request.want()
            time.sleep(_POLL_S)

    def _monitor(self, generation: int) -> None:
        """Body of the thread that keeps the process alive, and ends the agents when that is wanted."""
        self._stop_request.wait(generation)
        self._stop_request.want()
        self._end("the agents end")
        self._stop_request.end()
        try:
            say("Serving: all agents of this machine have ended")
        finally:
            self._stop_request.raise_in_main_thread()

    def _follow_logs(self) -> None:
        """Open logs again that others have moved away. Called by the monitor."""
        log.info("SIGHUP: log files are opened again")
        log.reopen()
        self._logs.follow()

    def _on_logs_moved(self) -> None:
        if self._are_ready:  # before that, an agent may not handle the signal
            for agent in self._agents:
                agent.follow_log()

    def _end(self, reason: str) -> None:
        """Tell the worker, and end all agents: those that do not take their leave in time are killed."""
        if self._link is not None:
            self._thread.loop.call_soon_threadsafe(self._link.send, AgentFailed(reason))
        for agent in self._agents:
            agent.ask_to_end()
        deadline = time.monotonic() + _LEAVE_S
        while time.monotonic() < deadline and any(a.exit_status() is None for a in self._agents):
            time.sleep(_POLL_S)
        for agent in self._agents:
            agent.kill()
        self._logs.close()
        self._thread.stop()


def _is_ready(index: int, agent: AgentProcess) -> bool:
    """Whether an agent is ready.

    Raises:
        StartUpError: It reports that it cannot start.
    """
    report = agent.report.read()
    if report:
        raise StartUpError(f"Child {index} exception happen: {report}")
    return report is not None


def _table_of(settings: AgentSettings) -> RankTable:
    places = zip(settings.ips, settings.device_ids, settings.device_ips, strict=True)
    ranks = tuple(RankPlace(rank, ip, device, address) for rank, (ip, device, address) in enumerate(places))
    return RankTable("of the distributed worker", ranks)


def _can_bind(ip: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((ip, port))
        except (OSError, UnicodeError):  # the latter where it cannot be a host name at all
            return False
    return True
