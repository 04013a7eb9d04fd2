"""Life of a worker process: connect, load, register, serve, end."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, ServingError
from mindspore_serving.options import folder_of
from mindspore_serving.server.channel.call_page import CallPage
from mindspore_serving.server.channel.memory import IdleSlots, SharedMemory
from mindspore_serving.server.channel.messages import (
    Alive,
    Batch,
    Exiting,
    HeldModels,
    ModelReply,
    MoveLog,
    Register,
    Result,
    StartFailed,
    Stop,
    WantModels,
)
from mindspore_serving.server.channel.worker_plan import WorkerStart, read_start, with_key
from mindspore_serving.server.host.forked_child import (
    SIGNALS,
    end_forked_child,
    end_forked_children,
    run_in_forked_children,
    this_process,
)
from mindspore_serving.server.host.heap import keep_freed_memory
from mindspore_serving.server.host.memory_limit import end_before_others
from mindspore_serving.server.host.own_descriptor import set_apart
from mindspore_serving.server.host.parent import Parent
from mindspore_serving.server.host.process_title import show_as
from mindspore_serving.server.host.process_tree import kill_children
from mindspore_serving.server.register.definition import StageKind
from mindspore_serving.server.register.model import Instances, Runtime, check_subgraph, set_runtime
from mindspore_serving.server.register.pipeline import set_method_runtime
from mindspore_serving.server.register.user_code import user_trace
from mindspore_serving.server.worker.call_watch import CallWatch, end_with_traceback_on_signal
from mindspore_serving.server.worker.connection import Connection
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.last_resort import ends_process
from mindspore_serving.server.worker.orderly_end import END_WITHIN_S, disregard_signals, end_at, end_process
from mindspore_serving.server.worker.output import keep_printing_harmless, move_output
from mindspore_serving.server.worker.remote_models import ModelCalls, call_methods, models_held, remote_models
from mindspore_serving.server.worker.servable_loader import LoadedServable, load_servable
from mindspore_serving.signature import MethodSignature, ModelInfo

EXIT_OK = 0
EXIT_START_FAILED = 3
"""The servable cannot be loaded: starting again would not help."""
EXIT_CHANNEL_LOST = 4
_IDLE_POLL_S = 1.0
_ORPHAN_ENDS_WITHIN_S = 2.0
"""How long the end may take without a main process, which another one may want to follow."""
_FINISH_S = 2.0
_ANSWER_S = 60.0
_ALIVE_EVERY_S = 1.0
_MEMORY_SHARE = 0.3
"""As of `end_before_others`: below that of the process that reads large bodies, and above main, which ends last."""


def start_of_process(script: str) -> WorkerStart:
    """What the main process tells this worker. The rest of its command line is for lists of processes.

    Args:
        script: Name of the start script.

    Raises:
        ChannelError: It does not fit.
        InvalidParameter: A setting is out of bounds.
    """
    parser = argparse.ArgumentParser(prog=script, description="Started by the main process, not by hand.")
    parser.add_argument("--start_fd", type=int, required=True, help="descriptor of what it is told")
    arguments, _ = parser.parse_known_args()
    return read_start(arguments.start_fd)


class Worker:
    """One worker process.

    Args:
        start: What it is told.
    """

    def __init__(self, start: WorkerStart) -> None:
        self._number = start.number
        self._parent = Parent(start.parent)
        self.plan = plan = with_key(start)
        memory = None
        if start.memory_fd is not None:
            memory = SharedMemory(set_apart(start.memory_fd), plan.slots)
        self._connection = Connection(start.channel_fd, memory)
        run_in_forked_children(self._connection.leave_to_parent)
        self._calls: ModelCalls | None = None
        self._call_memory: IdleSlots | None = None
        if plan.remote_models:
            slots = range(plan.first_call_slot, plan.slots)
            self._calls = ModelCalls(slots, self._connection.send, self._read)
            if memory is not None:
                self._call_memory = IdleSlots(memory, slots, start.memory_idle_s)
        self._watch: CallWatch | None = None
        if start.calls_fd is not None:
            end_with_traceback_on_signal()
            self._watch = CallWatch(CallPage(set_apart(start.calls_fd)), plan.settings.stage_timeout_ms)
            run_in_forked_children(self._watch.leave_to_parent)
        self._engine: Engine | None = None
        self._held_models: tuple[ModelInfo, ...] | None = None
        self._registered = False
        self._stopping = False
        self._stop_at: float | None = None
        self._model_work = threading.Condition()
        self._model_threads: list[threading.Thread] = []

    @property
    def ends_at(self) -> float:
        """When the process is to have ended, now that it ends, in seconds of `time.monotonic`."""
        begin = time.monotonic() if self._stop_at is None else self._stop_at
        return begin + END_WITHIN_S

    def is_orphan(self) -> bool:
        """Whether the main process is gone."""
        return self._parent.is_gone()

    def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        threading.Thread(target=self._watch_parent, name="parent watch", daemon=True).start()
        try:
            servable = self.load()
        except ServingError as error:
            if this_process.forked:
                end_forked_child(error)
            trace = user_trace(error.__cause__ or error)
            log.error("Cannot load servable %s: %s%s", self.plan.servable_name, error, trace and f"\n{trace}")
            disregard_signals()  # main ends the processes of a start that has failed
            self._connection.send(StartFailed(self._number, str(error)))
            return EXIT_START_FAILED
        try:
            return self._serve(servable)
        except (ChannelError, OSError) as error:
            if this_process.forked:
                end_forked_child(error)
            log.error("Channel to the main process is lost: %s", self._connection.fault() or error)
            self._stop()
            self._wait_for_models()
            return EXIT_CHANNEL_LOST
        finally:
            self._connection.close()

    def _serve(self, servable: LoadedServable) -> int:
        self._take_signals()
        calls = call_methods(servable.runners) if self.plan.serves_calls else []
        pipelines = list(servable.definition.pipelines.values())
        methods = [*servable.definition.methods.values(), *(definition for definition, _ in calls)]
        self._engine = engine = Engine(
            methods, servable.runners, self._send_result, pipelines, self._connection.wake, self._watch
        )
        set_runtime(self._model_runtime(servable))
        set_method_runtime(engine.call)
        self._keep_forked_children_apart(servable)
        self._start_model_threads(servable, engine)
        gc.collect()
        gc.freeze()  # what is loaded by now stays, and need not be looked at by later collections
        self._register(servable, [signature for _, signature in calls])
        engine.start()
        self._loop(engine, servable.computes_here and self._calls is None, bool(self._model_threads))
        engine.stop()
        self._connection.send(Exiting())
        self._connection.finish(_FINISH_S)
        self._wait_for_models()
        return EXIT_OK

    def _take_signals(self) -> None:
        """Let signals end this process in order; until here they end it at once, whatever it imports or loads."""
        for ending in SIGNALS:
            earlier = signal.signal(ending, self._on_signal)
            # Processes that functions fork end by signals as ever, which pools of them rely on.
            run_in_forked_children(functools.partial(signal.signal, ending, earlier))

    def _start_model_threads(self, servable: LoadedServable, engine: Engine) -> None:
        """Start what runs models beside the functions, if there is a reason to."""
        own = (*servable.definition.methods.values(), *servable.definition.pipelines.values())
        kinds = {stage.kind for method in own for stage in method.stages}
        self._connection.own_instances = kinds != {StageKind.MODEL}
        separate = self._calls is not None or (self._connection.own_instances and StageKind.MODEL in kinds)
        for number in range(servable.model_threads or int(separate)):
            thread = threading.Thread(
                target=self._run_models, args=(engine,), name=f"models {number}", daemon=True
            )
            thread.start()
            self._model_threads.append(thread)

    def _register(self, servable: LoadedServable, calls: Sequence[MethodSignature]) -> None:
        """Tell the main process that this one serves, and what."""
        offered = [method for method in servable.methods if not (self._calls and method.only_models)]
        self._connection.send(
            Register(
                self._number,
                os.getpid(),
                (*offered, *calls),
                models_held(servable.runners) if self.plan.serves_calls else (),
            )
        )
        self._registered = True
        settings = self.plan.settings
        print(
            f"Serving: Start servable success, servable directory: '{settings.servable_directory}', servable name: "
            f"'{settings.servable_name}', version number: {settings.version_number}",
            flush=True,
        )

    def _wait_for_models(self) -> None:
        """Wait until no model runs: what MindSpore does at the exit would take it from under them."""
        with self._model_work:
            self._model_work.notify_all()
        for thread in self._model_threads:
            thread.join(max(0.0, self.ends_at - time.monotonic()))

    def _keep_forked_children_apart(self, servable: LoadedServable) -> None:
        """Let children that functions fork call nothing for which this process would have to answer there."""
        run_in_forked_children(functools.partial(set_method_runtime, None))
        if self._calls is not None or not servable.computes_here:
            run_in_forked_children(functools.partial(set_runtime, None))

    def _model_runtime(self, servable: LoadedServable) -> Runtime:
        """What `Model.call` runs. Where calls are limited, models here count as calls, waiting for others does not."""
        runtime = _runtime_of(servable)
        if self._watch is None:
            return runtime
        if self._calls is not None:
            return self._watch.waiting(runtime)
        self._watch.time_models([runner for graphs in servable.runners.values() for runner in graphs])
        return runtime

    def _loop(self, engine: Engine, may_run_models: bool, separate: bool) -> None:
        """Take batches and run them, until told to stop.

        Args:
            engine: Runs them.
            may_run_models: Whether models may run on this thread.
            separate: Whether there are other threads for them.
        """
        busy = False
        while True:
            self._read(0 if busy else _IDLE_POLL_S)
            if self._stopping:
                return
            if self._calls is not None and self._call_memory is not None:
                self._calls.look_at_memory(self._call_memory, time.monotonic())
            engine.collect()
            engine.run_function_step()
            busy = engine.has_function_work
            if not separate or (may_run_models and engine.models_are_quick and not busy):
                engine.run_model_step()
                engine.collect()
                busy = engine.has_function_work or engine.has_model_work
            elif engine.has_model_work:
                with self._model_work:
                    self._model_work.notify_all()

    def _read(self, timeout_s: float) -> None:
        """Act on what the main process has sent; waits for something if nothing is there."""
        for message in self._connection.receive(timeout_s):
            if isinstance(message, Batch):
                assert self._engine is not None
                self._engine.add(message)
            elif isinstance(message, ModelReply):
                assert self._calls is not None
                self._connection.release(message.slot)  # before the slot can be taken again
                self._calls.take(message)
            elif isinstance(message, HeldModels):
                self._held_models = message.models
            elif isinstance(message, MoveLog):
                move_output(message.path.encode("latin-1"), (message.device, message.inode))
            elif isinstance(message, Stop):
                self._stop()

    def load(self) -> LoadedServable:
        """Import the servable and load its models, or stand-ins for those that other workers hold.

        Raises:
            ServingError: That cannot be done.
        """
        if self._calls is None:
            return load_servable(self.plan)
        self._connection.send(WantModels(self._number))
        deadline = time.monotonic() + _ANSWER_S
        while self._held_models is None:
            if time.monotonic() > deadline:
                raise ChannelError(f"The main process has not told the models within {_ANSWER_S:.0f} s")
            self._read(_IDLE_POLL_S)
        return load_servable(self.plan, remote_models(self._held_models, self._calls))

    def end(self) -> None:
        """Stop serving; may be called from any thread and from signal handlers."""
        self._stop()
        self._connection.wake()

    def _stop(self) -> None:
        self._stopping = True
        if self._stop_at is None:
            self._stop_at = time.monotonic()
        if self._calls is not None:
            self._calls.end()

    def _send_result(self, result: Result) -> None:
        """Send an outcome. Once this worker ends nothing is sent: others run what is left."""
        if not self._stopping:
            self._connection.send(result)

    @ends_process
    def _run_models(self, engine: Engine) -> None:
        """Body of the thread that runs models while the main thread runs functions."""
        while not self._stopping:
            if engine.run_model_step():
                self._connection.wake()
                continue
            with self._model_work:
                self._model_work.wait_for(lambda: engine.has_model_work or self._stopping)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.end()

    @ends_process
    def _watch_parent(self) -> None:
        """Tell the main process that this one runs, and end this process and its children when that one is gone."""
        while not self._parent.wait_until_gone(_ALIVE_EVERY_S):
            if self._registered:
                with contextlib.suppress(OSError):  # the main thread finds out
                    self._connection.send(Alive())
        self.end()
        end_at(time.monotonic() + _ORPHAN_ENDS_WITHIN_S, EXIT_CHANNEL_LOST, with_group=True)


def _runtime_of(servable: LoadedServable) -> Runtime:
    def run(key: str, instances: Instances, subgraph: int) -> list[tuple[object, ...]]:
        check_subgraph(subgraph, len(servable.runners[key]))
        return servable.runners[key][subgraph].call(instances)

    return run


def run_worker(script: str, make: Callable[[], Worker]) -> NoReturn:
    """Run a worker with the arguments of this process, and end the process.

    Args:
        script: What tools that list processes show before the arguments.
        make: Makes the worker.
    """
    keep_printing_harmless()
    show_as(script)
    faulthandler.enable()  # a crash in native code leaves in the log where Python was
    keep_freed_memory()
    end_before_others(_MEMORY_SHARE)
    end_forked_children()
    try:
        worker = make()
        code = worker.run()
    except BaseException as error:
        if this_process.forked:
            end_forked_child(error)
        kill_children(os.getpid())
        raise
    end_process(
        code, deadline=worker.ends_at, folder=folder_of(worker.plan.settings), is_orphan=worker.is_orphan
    )


def main() -> NoReturn:
    """Run a worker with the arguments of this process, and end the process."""
    start = start_of_process("start_worker.py")
    script = "start_worker.py" if start.plan.has_device else "start_extra_worker.py"
    run_worker(script, lambda: Worker(start))
