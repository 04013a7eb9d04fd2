"""What the main thread of a worker does from its start to its end: read messages, run steps, send results.

Once the worker is to stop, no result is sent any more: the main process gives what has none yet to other workers, and
one that came later as well would be a second one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.memory import IdleSlots
from mindspore_serving.server.channel.messages import (
    NO_SLOT,
    Batch,
    HeldModels,
    MethodReply,
    ModelReply,
    MoveLog,
    Result,
    Stop,
    WantModels,
)
from mindspore_serving.server.worker.call_step import OutgoingCalls
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.main_connection import MainConnection
from mindspore_serving.server.worker.model_threads import ModelThreads
from mindspore_serving.server.worker.output import move_output
from mindspore_serving.server.worker.remote_models import ModelCalls
from mindspore_serving.server.worker.scheduling import ModelsRun, where_models_run
from mindspore_serving.signature import CalledMethod, ModelInfo

_IDLE_POLL_S = 1.0
_ANSWER_S = 60.0


class ServingLoop:
    """The loop of one worker.

    Args:
        connection: Leads to the main process.
        call_slots: Slots for calls of models that other workers hold; None where the models are here.
        call_memory: Shared memory of these slots; None where there is none.
        method_call_slots: Slots for calls of methods.
        method_call_memory: Shared memory of these; None where there is none.

    Attributes:
        model_calls: Calls of models that other workers hold; None where the models are here.
        stopped_at: When the worker was told to stop, in seconds of `time.monotonic`; None until then.
    """

    def __init__(
        self,
        connection: MainConnection,
        call_slots: Sequence[int] | None = None,
        call_memory: IdleSlots | None = None,
        method_call_slots: Sequence[int] = (),
        method_call_memory: IdleSlots | None = None,
    ) -> None:
        self._connection = connection
        self._method_call_slots = method_call_slots
        self._method_call_memory = method_call_memory
        self._outgoing: OutgoingCalls | None = None
        self._call_memory = call_memory
        self._engine: Engine | None = None
        self._models_elsewhere: tuple[ModelInfo, ...] | None = None
        self._stopping = False
        self.stopped_at: float | None = None
        self.model_calls: ModelCalls | None = None
        if call_slots is not None:
            self.model_calls = ModelCalls(call_slots, connection.send, self.read)

    def outgoing_calls(self, calls: Sequence[CalledMethod]) -> OutgoingCalls:
        """What sends calls of methods, for the engine that is to `run`.

        Args:
            calls: What the worker registers.
        """
        self._outgoing = OutgoingCalls(calls, self._connection.send, self._method_call_slots)
        return self._outgoing

    @property
    def stopping(self) -> bool:
        """Whether the worker is to stop."""
        return self._stopping

    def run(self, engine: Engine, models: ModelThreads, may_run_models: bool) -> None:
        """Take batches and run them, until told to stop.

        Args:
            engine: Runs them.
            models: The threads of models, if there are any.
            may_run_models: Whether models may run on this thread although there are others for them.
        """
        self._engine = engine
        self._connection.own_instances = engine.has_functions
        busy = False
        while True:
            self.read(0 if busy else _IDLE_POLL_S)
            if self._stopping:
                return
            if self.model_calls is not None and self._call_memory is not None:
                self.model_calls.look_at_memory(self._call_memory, time.monotonic())
            if self._outgoing is not None and self._outgoing.used and self._method_call_memory is not None:
                self._outgoing.look_at_memory(self._method_call_memory, time.monotonic())
            engine.collect()
            engine.run_function_step()
            busy = engine.has_function_work
            if not engine.has_model_work:
                continue
            where = where_models_run(
                has_threads=len(models) > 0,
                may_run_here=may_run_models,
                model_s=engine.model_s,
                functions_wait=busy,
            )
            if where is ModelsRun.HERE:
                engine.run_model_step()
                engine.collect()
                busy = engine.has_function_work or engine.has_model_work
            else:
                models.notify()

    def read(self, timeout_s: float) -> None:
        """Act on what the main process has sent; waits for something if nothing is there.

        Args:
            timeout_s: How long.
        """
        for message in self._connection.receive(timeout_s):
            if isinstance(message, Batch):
                assert self._engine is not None
                self._engine.add(message, self._connection.came)
            elif isinstance(message, ModelReply):
                assert self.model_calls is not None
                self._connection.release(message.slot)  # before the slot can be taken again
                self.model_calls.take(message)
            elif isinstance(message, MethodReply):
                assert self._engine is not None
                if message.slot != NO_SLOT:
                    self._connection.release(message.slot)  # before the slot can be taken again
                self._engine.take_reply(message)
            elif isinstance(message, HeldModels):
                self._models_elsewhere = message.models
            elif isinstance(message, MoveLog):
                move_output(message.path.encode("latin-1"), (message.device, message.inode))
            elif isinstance(message, Stop):
                self.stop()

    def models_elsewhere(self, worker: int) -> tuple[ModelInfo, ...]:
        """Ask the main process which models other workers hold, and wait for the answer.

        Args:
            worker: Number of this worker.

        Raises:
            ChannelError: No answer has come.
        """
        self._connection.send(WantModels(worker))
        deadline = time.monotonic() + _ANSWER_S
        while self._models_elsewhere is None:
            if time.monotonic() > deadline:
                raise ChannelError(f"The main process has not told the models within {_ANSWER_S:.0f} s")
            self.read(_IDLE_POLL_S)
        return self._models_elsewhere

    def send_result(self, result: Result) -> None:
        """Send a result, unless the worker is to stop."""
        if not self._stopping:
            self._connection.send(result)

    def stop(self) -> None:
        """Take no more batches and send no more results; from any thread, and safe to call twice."""
        self._stopping = True
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()
        if self.model_calls is not None:
            self.model_calls.end()
