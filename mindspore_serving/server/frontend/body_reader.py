"""Large bodies of REST requests are read in a process of their own, so that nobody else waits meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mindspore_serving import log
from mindspore_serving.errors import (
    ChannelError,
    FailedRows,
    Failure,
    QueueFull,
    ServerStopping,
    ServingError,
    SystemFailure,
)
from mindspore_serving.server.channel.frames import FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.messages import Batch, Group, Result
from mindspore_serving.server.child_environment import child_environment
from mindspore_serving.server.frontend.failure_log import unexpected_failure
from mindspore_serving.server.frontend.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.master.worker_end import ended_by, oom_kills
from mindspore_serving.tensor import DataType, Rows, TensorSpec

_SCRIPT = Path(__file__).with_name("start_body_process.py")
_SMALL_BYTES = 1 << 18
_LARGE_BYTES = 1 << 23
_MANY_VALUES = 1 << 14
_PIECE = 1 << 16
_SMALL_COMPRESSED_BYTES = 1 << 12
"""A compressed body may become a thousand times as large."""
_MOST_ATTEMPTS = 2
"""Processes that may end with one body before it is given up."""
_LONGEST_S = 120.0
"""How long one body may be read."""
_END_S = 5.0
_POLL_S = 0.01
_READ_SIZE = 1 << 20
_SPECS = (TensorSpec("body", DataType.BYTES, ()),)


def is_large(body: bytes, coding: bytes) -> bool:
    """Whether reading a body takes so long that others would notice: some milliseconds.

    What takes the time are the values, and there is a comma between any two. A tensor in base64 is one value, which is
    read in less time than it takes to pass it on.

    Args:
        body: As it was sent.
        coding: Its `Content-Encoding`, b"" where there is none.
    """
    size = len(body)
    if coding:
        return size > _SMALL_COMPRESSED_BYTES
    if size <= _SMALL_BYTES:
        return False
    return size > _LARGE_BYTES or _has_many_values(body)


def _has_many_values(body: bytes) -> bool:
    commas = 0
    for begin in range(0, len(body), _PIECE):
        commas += body.count(b",", begin, begin + _PIECE)
        if commas > _MANY_VALUES:
            return True
    return False


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


class _Job(NamedTuple):
    """A body that is to be read, and the future of its instances."""

    body: bytes
    coding: bytes
    future: asyncio.Future[list[Rows]]


class BodyReader:
    """Reads bodies one after the other, in a process that is started for the first one.

    A process that ends is started again for the body that it was reading, and for others that wait. Once two have ended
    with a body, that body is given up.

    Args:
        most_bytes: Largest decompressed body.
        unfinished: Counts the bodies that wait or are being read, beside those that are arriving.
    """

    def __init__(self, most_bytes: int, unfinished: UnfinishedBodies) -> None:
        self._most_bytes = most_bytes
        self._unfinished = unfinished
        self._jobs: deque[_Job] = deque()
        self._job: _Job | None = None
        self._count = 0
        self._working: asyncio.Task[None] | None = None
        self._process: _BodyProcess | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return f"<BodyReader {len(self._jobs)} waiting, {self._process}>"

    def read(self, body: bytes, coding: bytes) -> asyncio.Future[list[Rows]]:
        """Read a body.

        Args:
            body: As it was sent.
            coding: Its `Content-Encoding`, b"" where there is none.

        Returns:
            A future of all instances, with every key that they have, or of a `BodyError`. Cancelling it abandons the
            body.

        Raises:
            QueueFull: Too many bytes wait.
            ServerStopping: This was stopped.
        """
        if self._stopped:
            raise ServerStopping()
        unfinished = self._unfinished
        size = len(body)
        if not unfinished.change(size):
            unfinished.change(-size)
            raise QueueFull(unfinished.refusal)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Rows]] = loop.create_future()
        future.add_done_callback(lambda _: unfinished.change(-size))
        self._jobs.append(_Job(body, coding, future))
        if self._working is None:
            self._working = loop.create_task(self._work())
        return future

    async def stop(self) -> None:
        """Refuse what waits and comes, and end the process. Safe to call twice."""
        self._stopped = True
        for job in [*self._jobs, *([self._job] if self._job else [])]:
            if not job.future.done():
                job.future.set_exception(ServerStopping())
        self._jobs.clear()
        await self._end_process()
        if self._working is not None:
            await asyncio.wait([self._working], timeout=_END_S)

    async def _work(self) -> None:
        """Read what waits, until nothing does."""
        while self._jobs:
            self._job = job = self._jobs.popleft()
            if job.future.done():
                continue
            try:
                instances = await self._ask(job)
                error: ServingError | None = None
            except ServingError as refusal:
                error = refusal
            except Exception as cause:  # whatever it is, the client gets an answer
                error = BodyError(unexpected_failure(cause))
            if job.future.done():
                continue
            if error is None:
                job.future.set_result(instances)
            else:
                job.future.set_exception(error)
        self._job = self._working = None

    async def _ask(self, job: _Job) -> list[Rows]:
        """The instances of a body, from the process.

        Raises:
            BodyError: It is not what it should be.
            SystemFailure: The process has ended as often as it may with one body, or has taken too long.
            OSError: It cannot be started.
            ServerStopping: This was stopped.
        """
        rows = Rows(_SPECS, ([job.body],), 1)
        reason = ""
        for _ in range(_MOST_ATTEMPTS):
            process = self._process
            if process is None:
                process = self._process = await _BodyProcess.start(self._most_bytes)
            if self._stopped:
                await self._end_process()
                raise ServerStopping()
            self._count += 1
            try:
                return _rows_in(
                    await process.ask(Batch(self._count, 0, job.coding.decode("latin-1"), (rows,)))
                )
            except (OSError, ChannelError):
                await self._end_process()
                reason = f"the process that reads large bodies {process.how_it_ended()}"
                log.warning("A body of %d bytes was not read: %s", len(job.body), reason)
            if process.overdue or job.future.done():
                break
        raise SystemFailure(f"The request could not be read: {reason}")

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()


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


class _BodyProcess:
    """A process that reads bodies, and the channel to it.

    Attributes:
        overdue: Whether it was ended because it took too long.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        oom_kills_before: int | None,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._oom_kills = oom_kills_before
        self._splitter = FrameSplitter()
        self.overdue = False

    def __repr__(self) -> str:
        return f"<_BodyProcess pid {self._process.pid}>"

    @classmethod
    async def start(cls, most_bytes: int) -> _BodyProcess:
        """Start a process.

        Args:
            most_bytes: Largest decompressed body.

        Raises:
            OSError: The system has no process or descriptor left.
        """
        before = oom_kills()
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as on_error, theirs:
            on_error.callback(ours.close)
            process = _run_script(theirs, most_bytes)
            on_error.callback(process.kill)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_READ_SIZE)
            on_error.pop_all()
        return cls(process, reader, writer, before)

    async def ask(self, batch: Batch) -> Sequence[Group]:
        """The answer to a batch.

        Raises:
            ChannelError: The process has ended, or sends what is no answer.
            OSError: Likewise.
        """
        timer = asyncio.get_running_loop().call_later(_LONGEST_S, self._give_up)
        try:
            self._writer.write(frame_of(batch))
            await self._writer.drain()
            while data := await self._reader.read(_READ_SIZE):
                for kind, body in self._splitter.feed(data):
                    result = message_of(kind, body)
                    if not isinstance(result, Result) or result.batch_id != batch.batch_id:
                        raise ChannelError("Another answer was expected")
                    return result.groups
        finally:
            timer.cancel()
        raise ChannelError("The channel was closed")

    def _give_up(self) -> None:
        self.overdue = True
        self._process.kill()

    async def end(self) -> None:
        """End it at once: it holds nothing that would have to be kept. Safe to call twice."""
        self._process.kill()
        self._writer.close()
        for _ in range(round(_END_S / _POLL_S)):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(_POLL_S)
        log.error("%r has not ended within %s s", self, _END_S)

    def how_it_ended(self) -> str:
        """How it ended, to follow its name."""
        if self.overdue:
            return f"was ended: it has read one for {_LONGEST_S:g} s"
        return ended_by(self._process.poll() or 0, self._oom_kills, oom_kills())


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
