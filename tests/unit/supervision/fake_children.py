"""Worker processes that are objects of the test: they speak the channel's real frames, and do what the test says."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from mindspore_serving.errors import StartUpError
from mindspore_serving.rows import Rows
from mindspore_serving.server.channel.call_page import CallPage
from mindspore_serving.server.channel.frames import TO_WORKER, FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import (
    Alive,
    Batch,
    Exiting,
    FromWorker,
    MoveLog,
    Register,
    Result,
    StartFailed,
    Stop,
    ToWorker,
)
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.signature import MethodSignature, ModelInfo

METHOD = MethodSignature("m", ("x",), 8)
_pids = itertools.count(1000)


class FakeChild:
    """A worker process as its supervisor sees it; see `Child`. Made on the running loop.

    Args:
        plan: What it would load.
        number: Its number.
        memory: What it shares with its owner.

    Attributes:
        busy: Whether neither Stop nor a signal ends it; `kill` does.
        silent: Whether it shows no more life, and takes nothing.
        did: What its owner has done to it, in order.
        received: All messages from its owner.
        answered: How many batches it has answered by `answer`.
        before_kill: Called before it is killed.
        moved: What `log_moved` tells next.
        was_hung_up_on: Whether its owner has closed the channel.
    """

    def __init__(self, plan: WorkerPlan, number: int, memory: SharedMemory | None = None) -> None:
        self.plan = plan
        self.number = number
        self.pid = next(_pids)
        self.memory = memory
        self.calls = CallPage.create() if plan.settings.stage_timeout_ms else None
        self.channel, self._peer = socket.socketpair()
        self.channel_number = os.fstat(self.channel.fileno()).st_ino
        self.address = f"unix:fake_{self.pid}"
        self.log_path = Path(f"log_{self.pid}")
        self.busy = False
        self.silent = False
        self.did: list[str] = []
        self.received: list[ToWorker] = []
        self.answered = 0
        self.before_kill: Callable[[], None] = lambda: None
        self.moved: MoveLog | None = None
        self.was_hung_up_on = False
        self._status: int | None = None
        self._splitter = FrameSplitter()
        self._loop = asyncio.get_running_loop()
        self._peer.setblocking(False)
        self._loop.add_reader(self._peer, self._read)

    def __repr__(self) -> str:
        return f"<FakeChild {self.number} pid {self.pid} {self._status}>"

    # What its owner does.

    def exit_status(self) -> int | None:
        """None until it has ended."""
        return self._status

    def signal(self, number: int) -> None:
        """End by the signal, unless it is busy."""
        self.did.append(signal.Signals(number).name)
        if not self.busy:
            self.end(-number)

    def kill(self) -> None:
        """End at once."""
        self.before_kill()
        self.did.append("kill")
        self.end(-signal.SIGKILL)

    def end_with_traceback(self) -> None:
        """End, unless it is busy."""
        self.did.append("traceback")
        if not self.busy:
            self.end(-signal.SIGUSR2)

    def kill_group(self) -> None:
        """Note it."""
        self.did.append("kill group")

    def how_it_ended(self) -> str:
        """Its status."""
        return f"ended with status {self._status}"

    def last_log_lines(self) -> str:
        """One line."""
        return f"last line of {self.pid}"

    def log_end(self, most_bytes: int) -> bytes:
        """The same line, of which the end is told."""
        return f"last line of {self.pid}\n".encode()[-most_bytes:]

    def log_moved(self) -> MoveLog | None:
        """What the test says, once."""
        moved, self.moved = self.moved, None
        return moved

    def release(self) -> None:
        """Note it."""
        self.did.append("release")
        if self.calls is not None:
            self.calls.close()

    # What it does itself.

    def send(self, message: FromWorker) -> None:
        """Write a message."""
        self._peer.sendall(frame_of(message))

    def send_bytes(self, data: bytes) -> None:
        """Write what need not be a message."""
        self._peer.sendall(data)

    def register(self, *methods: MethodSignature, models: tuple[ModelInfo, ...] = ()) -> None:
        """Become ready."""
        self.send(Register(self.number, self.pid, methods or (METHOD,), models))

    def fail(self, reason: str) -> None:
        """Report why it cannot start, and end."""
        self.send(StartFailed(self.number, reason))
        self.end(1)

    def show_life(self, every_s: float = 1.0) -> None:
        """Say from now on that it lives, until it has ended."""
        if self._status is None and not (self.silent or self.was_hung_up_on) and self._peer.fileno() >= 0:
            self.send(Alive())
            self._loop.call_later(every_s, self.show_life, every_s)

    def leave(self) -> None:
        """End on purpose."""
        self.send(Exiting())
        self.end(0)

    def hang_up(self) -> None:
        """Close its end of the channel."""
        self._loop.remove_reader(self._peer)
        self._peer.close()

    def end(self, status: int, *, channel_stays: bool = False) -> None:
        """End, and the channel too unless a forked child holds it. Only the first call counts."""
        if self._status is None:
            self._status = status
            if self._peer.fileno() >= 0 and not channel_stays:
                self.hang_up()

    @property
    def batches(self) -> list[Batch]:
        """The batches that it was sent."""
        return [message for message in self.received if isinstance(message, Batch)]

    def answer(self, batch: Batch, groups: tuple[Rows, ...] = ()) -> None:
        """Give the instances of a batch back as they came, or other ones."""
        self.answered += 1
        self.send(Result(batch.batch_id, batch.slot, 0, groups or batch.groups, True))

    def _read(self) -> None:
        data = self._peer.recv(1 << 20)
        if not data:
            self.was_hung_up_on = True
            self._loop.remove_reader(self._peer)
            return
        for kind, body in self._splitter.feed(data):
            message = message_of(kind, body, TO_WORKER, self.memory, own=True)
            self.received.append(message)
            if isinstance(message, Stop) and not self.busy:
                self.leave()
                return


class FakeChildren:
    """Starts fake processes; see `ChildSource`.

    Args:
        on_start: Called with each process that is started.

    Attributes:
        started: All processes, in the order of their starts.
        starts: When each start, also one without a process, was asked for, in seconds of the loop.
        memory: What the next process shares with its owner.
        shortage: Whether there is not even a process.
        did: What its owner has done besides, in order.
    """

    def __init__(self, on_start: Callable[[FakeChild], None] = lambda _: None) -> None:
        self.started: list[FakeChild] = []
        self.starts: list[float] = []
        self.memory: SharedMemory | None = None
        self.shortage = False
        self.did: list[str] = []
        self.on_start = on_start
        self.on_logs_moved: Callable[[], None] = lambda: None

    def open(self, on_logs_moved: Callable[[], None]) -> None:
        """Note it."""
        self.did.append("open")
        self.on_logs_moved = on_logs_moved

    def start(self, plan: WorkerPlan, number: int) -> FakeChild:
        """Start one; StartUpError in a shortage."""
        self.starts.append(asyncio.get_running_loop().time())
        if self.shortage:
            raise StartUpError(f"Start worker failed: {plan.label}: none left") from OSError(24, "none left")
        child = FakeChild(plan, number, self.memory)
        self.started.append(child)
        self.on_start(child)
        return child

    def follow_logs(self) -> None:
        """Note it."""
        self.did.append("follow logs")

    def close(self) -> None:
        """Note it."""
        self.did.append("close")
