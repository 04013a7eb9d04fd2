"""One agent process as its owner sees it: how it is started, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.agent_messages import AgentSettings
from mindspore_serving.server.distributed.agent_parameters import AgentParameters, AgentPlace
from mindspore_serving.server.distributed.agent_report import AgentReport
from mindspore_serving.server.host.child_environment import child_environment
from mindspore_serving.server.host.forked_child import no_forks
from mindspore_serving.server.host.key_pipe import key_for_child
from mindspore_serving.server.host.process_tree import kill_children
from mindspore_serving.server.supervision.process_log import ProcessLogs

_SCRIPT = Path(__file__).with_name("serving_agent.py")


class AgentProcess:
    """A started agent.

    The thread that makes it must live as long as this process: the agent ends with it.

    Args:
        place: Which rank, where, with what files.
        parameters: What all agents of this machine have in common.
        settings: What the distributed worker says.
        device_type: `ascend`, `gpu` or `cpu`.
        rank_table: File that says where the ranks run.
        directory: Working directory.
        logs: Where its log is opened.

    Raises:
        StartUpError: The process cannot be started.
    """

    def __init__(
        self,
        place: AgentPlace,
        parameters: AgentParameters,
        settings: AgentSettings,
        device_type: str,
        rank_table: Path,
        directory: Path,
        logs: ProcessLogs,
    ) -> None:
        self.place = place
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self.report = AgentReport(reader)
        try:
            self._log = logs.open(f"log_{settings.servable}_agent_rank{place.rank_id}.log")
        except OSError as cause:
            os.close(writer)
            self.report.close()
            raise _not_started(place, cause) from cause
        self._log_identity, self._told_path = self._log.identity, self._log.path
        arguments = [
            f"--rank={place.rank_id}",
            f"--rank_size={len(settings.ips)}",
            f"--ip={place.ip}",
            f"--port={place.port}",
            f"--device_type={device_type}",
            f"--device_id={place.device_id}",
            f"--worker_address={parameters.distributed_address}",
            f"--rank_table={rank_table}",
            *(f"--model_file={file}" for file in place.model_files),
            *(f"--without_batch_dim_input={index}" for index in settings.without_batch_dim_inputs),
            f"--max_batch_size={settings.max_batch_size}",
            f"--parent={os.getpid()}",
            f"--log_file={self._told_path}",
        ]
        if settings.with_batch_dim:
            arguments.append("--with_batch_dim")
        try:
            self._process = self._start(arguments, parameters, directory, writer)
        except OSError as cause:
            self.report.close()
            raise _not_started(place, cause) from cause

    def __repr__(self) -> str:
        return f"<AgentProcess rank {self.place.rank_id} pid {self.pid}>"

    @property
    def log_path(self) -> Path:
        """Where its log is."""
        return self._log.path

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """Exit code, negative for a signal; None while the process lives."""
        return self._process.poll()

    def ask_to_end(self) -> None:
        """Let the agent take its leave of the worker, and end."""
        self._process.send_signal(signal.SIGTERM)

    def follow_log(self) -> None:
        """Let an agent that is ready, whose log is another file than before, write to that one."""
        if self._log.identity == self._log_identity or self.exit_status() is not None:
            return
        self._log_identity = self._log.identity
        if self._log.path == self._told_path:  # otherwise another server writes there by now
            self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End the agent, and what it has started, at once."""
        if self.exit_status() is None:  # of one that is gone, another process may have the number by now
            kill_children(self.pid)
            self._process.kill()
            self._process.wait()
        self.report.close()

    def _start(
        self, arguments: list[str], parameters: AgentParameters, directory: Path, writer: int
    ) -> subprocess.Popen[bytes]:
        """Start the process; `writer` is its end of the report, which is closed here."""
        environment = child_environment(needs_token=True)
        if self.place.group_config is not None:
            environment["PARA_GROUP_FILE"] = self.place.group_config
        with no_forks(), contextlib.ExitStack() as stack:
            stack.callback(os.close, writer)
            output = self._log.output()
            stack.callback(os.close, output)
            key_arguments, key_pipe = stack.enter_context(
                key_for_child(parameters.dec_key, parameters.dec_mode)
            )
            return subprocess.Popen(
                [sys.executable, str(_SCRIPT), *arguments, *key_arguments, f"--report_fd={writer}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=environment,
                # A session of its own: Ctrl+C at the terminal reaches the owner alone, which then ends its agents.
                start_new_session=True,
                pass_fds=[writer, *key_pipe],
            )


def _not_started(place: AgentPlace, cause: OSError) -> StartUpError:
    return StartUpError(f"Start agent of rank {place.rank_id} failed: {cause}")
