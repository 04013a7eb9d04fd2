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
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, InvalidParameter, ServingError
from mindspore_serving.options import folder_of
from mindspore_serving.server.channel.call_page import CallPage
from mindspore_serving.server.channel.memory import IdleSlots, SharedMemory
from mindspore_serving.server.channel.messages import Alive, Exiting, Register, StartFailed
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
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.last_resort import ends_process
from mindspore_serving.server.worker.main_connection import MainConnection
from mindspore_serving.server.worker.model_threads import ModelThreads
from mindspore_serving.server.worker.orderly_end import END_WITHIN_S, disregard_signals, end_at, end_process
from mindspore_serving.server.worker.output import keep_printing_harmless
from mindspore_serving.server.worker.remote_models import call_methods, models_held, remote_models
from mindspore_serving.server.worker.servable_loader import LoadedServable, load_servable
from mindspore_serving.server.worker.serving_loop import ServingLoop
from mindspore_serving.server.worker.traces import InnerTrace
from mindspore_serving.server.worker.warm_up import warmed_up

EXIT_OK = 0
EXIT_START_FAILED = 3
"""The servable cannot be loaded: starting again would not help."""
EXIT_CHANNEL_LOST = 4
_ORPHAN_ENDS_WITHIN_S = 2.0
"""How long the end may take without a main process, which another one may want to follow."""
_FINISH_S = 2.0
_ALIVE_EVERY_S = 1.0
_MEMORY_SHARE = 0.3
"""As of `end_before_others`: below that of the process that reads large bodies, and above main, which ends last."""


def start_of_process(script: str) -> WorkerStart:
    """What the main process gives to this worker. The rest of its command line is for lists of processes.

    Args:
        script: Name of the start script.

    Raises:
        SystemExit: It cannot be read, or does not fit; the reason is printed.
    """
    parser = argparse.ArgumentParser(prog=script, description="Started by the main process, not by hand.")
    parser.add_argument("--start_fd", type=int, required=True, help="descriptor of what it is given")
    arguments, _ = parser.parse_known_args()
    try:
        return read_start(arguments.start_fd)
    except (ChannelError, InvalidParameter) as error:
        parser.error(str(error))


class Worker:
    """One worker process.

    Args:
        start: What it is given.
    """

    def __init__(self, start: WorkerStart) -> None:
        self._number = start.number
        self._parent = Parent(start.parent)
        self.plan = plan = with_key(start)
        memory = None
        if start.memory_fd is not None:
            memory = SharedMemory(set_apart(start.memory_fd), plan.slots)
        self._connection = MainConnection(start.channel_fd, memory)
        run_in_forked_children(self._connection.leave_to_parent)
        call_slots, call_memory = None, None
        if plan.remote_models:
            call_slots = range(plan.first_call_slot, plan.first_method_call_slot)
            if memory is not None:
                call_memory = IdleSlots(memory, call_slots, start.memory_idle_s)
        method_slots = range(plan.first_method_call_slot, plan.slots)
        method_memory = None if memory is None else IdleSlots(memory, method_slots, start.memory_idle_s)
        self._loop = ServingLoop(self._connection, call_slots, call_memory, method_slots, method_memory)
        self._watch: CallWatch | None = None
        if start.calls_fd is not None:
            end_with_traceback_on_signal()
            self._watch = CallWatch(CallPage(set_apart(start.calls_fd)), plan.settings.stage_timeout_ms)
            run_in_forked_children(self._watch.leave_to_parent)
        self._registered = False
        self._model_threads: ModelThreads | None = None

    @property
    def ends_at(self) -> float:
        """When the process is to have ended, now that it ends, in seconds of `time.monotonic`."""
        stopped_at = self._loop.stopped_at
        return (time.monotonic() if stopped_at is None else stopped_at) + END_WITHIN_S

    def is_orphan(self) -> bool:
        """Whether the main process is gone."""
        return self._parent.is_gone()

    def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        threading.Thread(target=self._watch_parent, name="parent watch", daemon=True).start()
        try:
            loaded = self.load()
            engine = self._engine_of(loaded)
            models_elsewhere = self._loop.model_calls is not None and loaded.definition.models
            servable = loaded if models_elsewhere else warmed_up(loaded, engine)
        except ServingError as error:
            if this_process.forked:
                end_forked_child(error)
            cause = error.__cause__ or error
            trace = str(cause) if isinstance(cause, InnerTrace) else user_trace(cause)
            log.error("Cannot load servable %s: %s%s", self.plan.servable_name, error, trace and f"\n{trace}")
            disregard_signals()  # main ends the processes of a start that has failed
            self._connection.send(StartFailed(self._number, str(error)))
            return EXIT_START_FAILED
        try:
            return self._serve(servable, engine)
        except (ChannelError, OSError) as error:
            if this_process.forked:
                end_forked_child(error)
            log.error("Channel to the main process is lost: %s", self._connection.fault() or error)
            self._loop.stop()
            self._wait_for_models()
            return EXIT_CHANNEL_LOST
        finally:
            self._connection.close()

    def _engine_of(self, servable: LoadedServable) -> Engine:
        """What runs the servable; functions may call its models from now on."""
        calls = call_methods(servable.runners) if self.plan.serves_calls else []
        pipelines = list(servable.definition.pipelines.values())
        methods = [*servable.definition.methods.values(), *(definition for definition, _ in calls)]
        loop, connection = self._loop, self._connection
        outgoing = loop.outgoing_calls(servable.definition.calls)
        engine = Engine(
            methods,
            servable.runners,
            loop.send_result,
            pipelines,
            connection.wake,
            self._watch,
            calls=outgoing,
        )
        set_runtime(self._model_runtime(servable))
        set_method_runtime(engine.call)
        self._keep_forked_children_apart(servable)
        return engine

    def _serve(self, servable: LoadedServable, engine: Engine) -> int:
        self._take_signals()
        loop, connection = self._loop, self._connection
        models = self._model_threads = ModelThreads(engine, connection.wake, lambda: loop.stopping)
        models.start(self._count_model_threads(servable))
        gc.collect()
        gc.freeze()  # what is loaded by now stays, and need not be looked at by later collections
        self._register(servable)
        engine.start()
        loop.run(engine, models, servable.computes_here and loop.model_calls is None)
        engine.stop()
        connection.send(Exiting())
        connection.finish(_FINISH_S)
        self._wait_for_models()
        return EXIT_OK

    def _take_signals(self) -> None:
        """Let signals end this process in order; until here they end it at once, whatever it imports or loads."""
        for ending in SIGNALS:
            earlier = signal.signal(ending, self._on_signal)
            # Processes that functions fork end by signals as ever, which pools of them rely on.
            run_in_forked_children(functools.partial(signal.signal, ending, earlier))

    def _count_model_threads(self, servable: LoadedServable) -> int:
        """How many threads run models beside the functions; 0 where there is no reason to have one."""
        own = (*servable.definition.methods.values(), *servable.definition.pipelines.values())
        kinds = {stage.kind for method in own for stage in method.stages}
        waits = self._loop.model_calls is not None
        separate = waits or (StageKind.MODEL in kinds and len(kinds) > 1)
        return servable.model_threads or int(separate)

    def _register(self, servable: LoadedServable) -> None:
        """Tell the main process that this one serves, and what."""
        calls = call_methods(servable.runners) if self.plan.serves_calls else []
        offered = [
            method for method in servable.methods if not (self._loop.model_calls and method.only_models)
        ]
        self._connection.send(
            Register(
                self._number,
                os.getpid(),
                (*offered, *(signature for _, signature in calls)),
                models_held(servable.runners) if self.plan.serves_calls else (),
                servable.definition.calls,
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
        if self._model_threads is not None:
            self._model_threads.join(self.ends_at)

    def _keep_forked_children_apart(self, servable: LoadedServable) -> None:
        """Let children that functions fork call nothing for which this process would have to answer there."""
        run_in_forked_children(functools.partial(set_method_runtime, None))
        if self._loop.model_calls is not None or not servable.computes_here:
            run_in_forked_children(functools.partial(set_runtime, None))

    def _model_runtime(self, servable: LoadedServable) -> Runtime:
        """What `Model.call` runs. Where calls are limited, models here count as calls, waiting for others does not."""
        runtime = runtime_of(servable)
        if self._watch is None:
            return runtime
        if self._loop.model_calls is not None:
            return self._watch.waiting(runtime)
        self._watch.time_models([runner for graphs in servable.runners.values() for runner in graphs])
        return runtime

    def load(self) -> LoadedServable:
        """Import the servable and load its models, or stand-ins for those that other workers hold.

        Raises:
            ServingError: That cannot be done.
        """
        calls = self._loop.model_calls
        if calls is None:
            return load_servable(self.plan)
        models = self._loop.models_elsewhere(self._number)
        return load_servable(self.plan, remote_models(models, calls))

    def end(self) -> None:
        """Stop serving; may be called from any thread and from signal handlers."""
        self._loop.stop()
        self._connection.wake()

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


def runtime_of(servable: LoadedServable) -> Runtime:
    """What `Model.call` runs where the models are in this process."""

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
