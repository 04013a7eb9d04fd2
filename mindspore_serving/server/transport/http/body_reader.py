"""Large bodies of HTTP requests are read in a process of their own, so that nobody else waits meanwhile.

How a body is read is its dialect's affair: a function that the process imports by its name. ADR 27 has the reasons.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mindspore_serving import log
from mindspore_serving.errors import (
    ChannelError,
    Failure,
    QueueFull,
    ServerStopping,
    ServingError,
    SystemFailure,
    unexpected_failure,
)
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.body_messages import ReadBody
from mindspore_serving.server.channel.frames import FROM_BODY_READER, FrameSplitter, frame_of, message_of
from mindspore_serving.server.host.child_environment import child_environment
from mindspore_serving.server.host.forked_child import no_forks
from mindspore_serving.server.host.settings import DEFAULT_WORKER_TIMEOUT_S
from mindspore_serving.server.supervision.worker_end import ended_by, oom_kills
from mindspore_serving.server.transport.content_coding import known_coding
from mindspore_serving.server.transport.http.signs_of_life import SignsOfLife, processor_seconds
from mindspore_serving.server.transport.http_routes import BodyContent
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies

_SCRIPT = Path(__file__).with_name("start_body_process.py")
_MOST_ATTEMPTS = 2
"""Processes that may end with one body before it is given up."""
_MOST_SILENT = 3
"""Processes that may be stopped while they have one body; that is not its fault, but has to come to an end."""
_LONGEST_S = 120.0
"""How long one body may be read."""
_LOOK_S = 0.5
_END_S = 5.0
_POLL_S = 0.01
_READ_SIZE = 1 << 20


def name_of(function: Callable[[bytes, Any], BodyContent]) -> str:
    """The name by which the process imports a function: `{module}:{function}`.

    Raises:
        ValueError: It is no function of a module.
    """
    if not function.__qualname__.isidentifier():
        raise ValueError(
            f"{function.__qualname__} should be a function of a module, to be imported by its name"
        )
    return f"{function.__module__}:{function.__qualname__}"


class BodyError(ServingError):
    """A body is not what it should be, or could not be read.

    Args:
        failure: What the client is told.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self._failure = failure

    def failure(self) -> Failure:
        """This error as the client is told."""
        return self._failure


@dataclass(eq=False, slots=True)
class _Job:
    """A body that is to be read.

    Attributes:
        body: As it was sent.
        coding: How it is compressed; b"" if it is not.
        function: Name of what reads it.
        argument: What that is told, as JSON.
        future: Of its content.
    """

    body: bytes
    coding: bytes
    function: str
    argument: bytes
    future: asyncio.Future[BodyContent]


class BodyReader:
    """Reads bodies one after the other, in a process that is started for the first one.

    A process that ends is started again for the body that it was reading, and for others that wait. Once two have ended
    with a body, that body is given up. A process that is stopped is replaced, which is not the fault of its body.

    Args:
        most_bytes: Largest decompressed body.
        unfinished: Counts the bodies that wait or are being read, beside those that are arriving.
        silence_s: Seconds without a sign of life after which the process is replaced.
    """

    def __init__(
        self,
        most_bytes: int,
        unfinished: UnfinishedBodies,
        silence_s: float = DEFAULT_WORKER_TIMEOUT_S,
    ) -> None:
        self._most_bytes = most_bytes
        self._unfinished = unfinished
        self._silence_s = silence_s
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count(1)
        self._working: asyncio.Task[None] | None = None
        self._process: _BodyProcess | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return f"<BodyReader {len(self._jobs)} bodies, {self._process}>"

    def read(
        self, body: bytes, coding: str, function: Callable[[bytes, Any], BodyContent], argument: Any
    ) -> asyncio.Future[BodyContent]:
        """Read a body.

        Args:
            body: As it was sent.
            coding: Its `Content-Encoding`, "" where there is none.
            function: Reads it once it is decompressed, a function of a module.
            argument: What that is told, a JSON document.

        Returns:
            A future of the content, or of a `BodyError`. Cancelling it abandons the body.

        Raises:
            UnsupportedCoding: The coding is none of gzip, deflate and identity.
            QueueFull: Too many bytes wait.
            ServerStopping: This was stopped.
        """
        loop = asyncio.get_running_loop()
        job = _Job(
            body,
            known_coding(coding.encode("latin-1", "replace")),
            name_of(function),
            orjson.dumps(argument, default=dict),
            loop.create_future(),
        )
        if self._stopped:
            raise ServerStopping()
        unfinished = self._unfinished
        size = len(body)
        if not unfinished.change(size):
            unfinished.change(-size)
            raise QueueFull(unfinished.refusal)
        number = next(self._numbers)

        def ended(_: asyncio.Future[BodyContent]) -> None:
            unfinished.change(-size)
            del self._jobs[number]

        job.future.add_done_callback(ended)
        self._jobs[number] = job
        if self._working is None:
            self._working = loop.create_task(self._work())
        return job.future

    def check(self) -> None:
        """Let go of a process that has ended with nothing to read; to be called once in a while."""
        if self._working is None and self._process is not None and self._process.has_ended():
            self._process.close()
            self._process = None

    async def stop(self) -> None:
        """Refuse what waits and comes, and end the process. Safe to call twice."""
        self._stopped = True
        for job in self._jobs.values():
            if not job.future.done():
                job.future.set_exception(ServerStopping())
        await self._end_process()
        if self._working is not None:
            await asyncio.wait([self._working], timeout=_END_S)

    async def _work(self) -> None:
        """Read what waits, until nothing does."""
        while (waiting := self._next()) is not None:
            await self._finish(*waiting)
        self._working = None

    def _next(self) -> tuple[int, _Job] | None:
        """The oldest body that is still wanted, and its number."""
        return next(((number, job) for number, job in self._jobs.items() if not job.future.done()), None)

    async def _finish(self, number: int, job: _Job) -> None:
        """Give a body its outcome."""
        try:
            content = await self._ask(number, job)
            if not job.future.done():
                job.future.set_result(content)
            return
        except ServingError as refusal:
            error = refusal
        except Exception as cause:  # whatever it is, the client gets an answer
            error = BodyError(unexpected_failure(cause))
        if not job.future.done():
            job.future.set_exception(error)

    async def _ask(self, number: int, job: _Job) -> BodyContent:
        """The content of a body, from the process.

        Raises:
            BodyError: It is not what it should be.
            SystemFailure: The process has ended or was stopped as often as it may with one body, or has taken too long.
            OSError: It cannot be started.
            ServerStopping: This was stopped.
        """
        deaths, silent, reason = 0, 0, ""
        while deaths < _MOST_ATTEMPTS and silent < _MOST_SILENT:
            process = await self._living_process()
            try:
                return await process.ask(number, job)
            except (OSError, ChannelError):
                await self._end_process()
            if self._stopped:
                raise ServerStopping()
            reason = f"the process that reads large bodies {process.how_it_ended()}"
            log.warning("A body of %d bytes was not read: %s", len(job.body), reason)
            silent += process.silent
            deaths += not process.silent
            if process.overdue or job.future.done():
                break
        raise SystemFailure(f"The request could not be read: {reason}")

    async def _living_process(self) -> _BodyProcess:
        """The process, started if there is none.

        Raises:
            OSError: It cannot be started.
            ServerStopping: This was stopped.
        """
        if self._process is not None and self._process.has_ended():
            await self._end_process()
        if self._process is None:
            self._process = await _BodyProcess.start(self._most_bytes, self._silence_s)
        if self._stopped:
            await self._end_process()
            raise ServerStopping()
        return self._process

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()


class _BodyProcess:
    """A process that reads bodies, and the channel to it.

    Attributes:
        overdue: Whether it was ended because it took too long.
        silent: Whether it was ended because it did nothing.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        oom_kills_before: int | None,
        silence_s: float,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._oom_kills = oom_kills_before
        self._silence_s = silence_s
        self._splitter = FrameSplitter()
        self.overdue = self.silent = False

    def __repr__(self) -> str:
        return f"<_BodyProcess pid {self._process.pid}>"

    @classmethod
    async def start(cls, most_bytes: int, silence_s: float) -> _BodyProcess:
        """Start a process.

        Args:
            most_bytes: Largest decompressed body.
            silence_s: Seconds without a sign of life after which it is ended.

        Raises:
            OSError: The system has no process or descriptor left.
        """
        before = oom_kills()
        with no_forks():
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    process = _run_script(theirs, most_bytes)
                except BaseException:
                    ours.close()
                    raise
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_READ_SIZE)
        except BaseException:
            ours.close()
            process.kill()
            raise
        return cls(process, reader, writer, before, silence_s)

    async def ask(self, number: int, job: _Job) -> BodyContent:
        """The content of a body.

        Args:
            number: Another one for each body.
            job: The body.

        Raises:
            BodyError: It is not what it should be.
            ChannelError: The process has ended, or sends what is no answer.
            OSError: Likewise.
        """
        watch = asyncio.create_task(self._watch())
        try:
            wanted = ReadBody(number, job.body, job.coding.decode(), job.function, job.argument)
            self._writer.write(frame_of(wanted))
            await self._writer.drain()
            instances: list[Rows] = []
            while data := await self._reader.read(_READ_SIZE):
                for kind, body in self._splitter.feed(data):
                    answer = message_of(kind, body, FROM_BODY_READER)
                    if answer.body_id != number:
                        raise ChannelError("Another answer was expected")
                    groups = _rows_in(answer.groups)
                    if answer.final:
                        return BodyContent(instances, _document_of(groups))
                    instances += groups
        finally:
            watch.cancel()
        raise ChannelError("The channel was closed")

    async def _watch(self) -> None:
        """End it if it reads one body for too long, or does nothing."""
        signs = SignsOfLife(self._silence_s / _LOOK_S)
        until = time.monotonic() + _LONGEST_S
        while not (self.overdue or self.silent):
            await asyncio.sleep(_LOOK_S)
            self.silent = signs.missing(processor_seconds(self._process.pid))
            self.overdue = not self.silent and time.monotonic() > until
        self._process.kill()
        self._writer.transport.abort()

    def has_ended(self) -> bool:
        """Whether it lives no more, or is not to."""
        return self.overdue or self.silent or self._process.poll() is not None

    async def end(self) -> None:
        """End it at once: it holds nothing that would have to be kept. Safe to call twice."""
        self._process.kill()
        self.close()
        for _ in range(round(_END_S / _POLL_S)):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(_POLL_S)
        log.error("%r has not ended within %s s", self, _END_S)

    def close(self) -> None:
        """Close the channel; safe to call twice."""
        self._writer.close()

    def how_it_ended(self) -> str:
        """How it ended, to follow its name."""
        if self.overdue:
            return f"was ended: it has read one for {_LONGEST_S:g} s"
        if self.silent:
            return f"showed no sign of life for {self._silence_s:g} s and was killed"
        return ended_by(self._process.poll() or 0, self._oom_kills, oom_kills())


def _document_of(groups: list[Rows]) -> Any:
    """What a body says beside its instances, from the last message about it."""
    [rows] = groups
    [[document]] = rows.columns
    return orjson.loads(document)


def _rows_in(groups: Sequence[Group]) -> list[Rows]:
    """The instances in an answer.

    Raises:
        BodyError: It holds a failure.
    """
    rows: list[Rows] = []
    for group in groups:
        if isinstance(group, FailedRows):
            raise BodyError(group.failure)
        rows.append(group)
    return rows


def _run_script(channel: socket.socket, most_bytes: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            str(_SCRIPT),
            f"--channel={channel.fileno()}",
            f"--parent={os.getpid()}",
            f"--most_bytes={most_bytes}",
        ],
        stdin=subprocess.DEVNULL,
        env=child_environment(),
        # A session of its own: Ctrl+C at the terminal reaches main alone, which ends it in order.
        start_new_session=True,
        pass_fds=[channel.fileno()],
    )
