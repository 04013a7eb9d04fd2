"""Start-up and tear-down of the main process: what a start script calls."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for_futures
from typing import ParamSpec, Protocol, TypeVar

from mindspore_serving import log
from mindspore_serving.check_type import check_bool, check_int, check_seconds, check_str
from mindspore_serving.errors import InvalidParameter, ServingError, StartUpError
from mindspore_serving.server.access.api_keys import KeySource
from mindspore_serving.server.access.guard import Guard, guard_for
from mindspore_serving.server.access.tls import SSLConfig, grpc_credentials, ssl_context
from mindspore_serving.server.cluster.master_port import MasterPort
from mindspore_serving.server.cluster.member import Member, Membership, reserve
from mindspore_serving.server.cluster.token import cluster_token, new_nonce
from mindspore_serving.server.dialect.health.page import HealthPages
from mindspore_serving.server.dialect.native.rest import NativeRest
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host.descriptor_limit import descriptor_limit
from mindspore_serving.server.host.device import STUB_NOTE, backend_name
from mindspore_serving.server.host.environment_variable import flag_of
from mindspore_serving.server.host.exit_code import end_with
from mindspore_serving.server.host.forked_child import let_go_of_sockets, run_in_forked_children
from mindspore_serving.server.host.heap import keep_freed_memory
from mindspore_serving.server.host.loop_thread import LoopThread
from mindspore_serving.server.host.progress import say
from mindspore_serving.server.host.settings import drain_timeout_s, worker_timeout_s
from mindspore_serving.server.host.standard_descriptors import open_standard_descriptors
from mindspore_serving.server.host.stop_request import StopRequest
from mindspore_serving.server.start.servable_start_config import ServableStartConfig, merge_config
from mindspore_serving.server.start.start_script import StartScript
from mindspore_serving.server.start.worker_plans import check_configs, plans_of
from mindspore_serving.server.supervision.supervisor import STOP_GRACE_S as WORKER_GRACE_S
from mindspore_serving.server.supervision.supervisor import Supervisor
from mindspore_serving.server.supervision.worker_process import WorkerPlan
from mindspore_serving.server.transport.address import STOP_GRACE_S
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.service import GrpcServer, check_grpc_address
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.rest_gateway import RestServer, check_rest_address

_MEGABYTE = 1 << 20
_LARGEST_MESSAGE_MB = 512
_MAX_CONNECTIONS = 10000
_LARGEST_MAX_CONNECTIONS = 1_000_000
_ALWAYS_OK_VARIABLE = "SERVING_REST_ALWAYS_OK"
_BIND_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
_SIGNAL_POLL_S = 0.1
_SILENT_S = 1.0
"""A stop that takes longer says what it waits for."""
_EXIT_NO_WORKERS = 1
"""Exit code of a process whose server has stopped because no worker was left."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Part(Protocol):
    """Something of the server that runs on the event loop."""

    async def stop(self) -> None:
        """End it; safe to call twice."""


class Server:
    """The server of this process: front ends, cluster, dispatcher and supervisor, on one event loop."""

    def __init__(self) -> None:
        self._of_parent: dict[str, object] = {}
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._thread: LoopThread | None = None
        self._dispatcher: Dispatcher | None = None
        self._supervisor: Supervisor | None = None
        self._grpc: GrpcServer | None = None
        self._rest: RestServer | None = None
        self._port: MasterPort | None = None
        self._member: Member | None = None
        self._member_address: socket.socket | None = None
        self._serves_own_cluster = False
        self._stop_request = StopRequest(self._follow_logs)
        self._kept_alive = 0
        self._script_is_watched = False
        self._starting = False
        self._no_workers_left = False

    def leave_to_parent(self) -> None:
        """Start over in a forked child: what runs is its parent's, and goes on there."""
        addresses = [part.address for part in (self._grpc, self._rest, self._port) if part is not None]
        channels = self._supervisor.channels if self._supervisor is not None else []
        self._of_parent = vars(self).copy()  # kept, because their ends would reach into the parent
        self._reset()
        let_go_of_sockets(addresses, channels)

    @property
    def running(self) -> bool:
        """Whether anything is started."""
        return any(part is not None for part in self._parts())

    @property
    def has_workers(self) -> bool:
        """Whether workers were started."""
        return self._supervisor is not None

    def _parts(self) -> tuple[_Part | None, ...]:
        """What can be started, in the order in which it is stopped."""
        return self._grpc, self._rest, self._member, self._port, self._supervisor

    def start_grpc(
        self,
        address: str,
        max_message_bytes: int,
        ssl_config: SSLConfig | None,
        guard: Guard | None,
        max_connections: int,
    ) -> None:
        """Start the gRPC front end; errors as `start_grpc_server`."""
        credentials = grpc_credentials(ssl_config) if ssl_config else None
        with self._lock:
            if self._grpc is not None:
                raise StartUpError("Serving Error: Serving gRPC server is already running")
            thread, dispatcher = self._begin()
            limits = GrpcLimits(max_message_bytes, descriptor_limit.connections(max_connections))
            server = GrpcServer(dispatcher, address, limits, credentials, guard)
            thread.run(server.start(), _BIND_TIMEOUT_S)
            self._grpc = server
        say(f"Serving: Serving gRPC server start success, listening on {address}")

    def start_rest(
        self,
        address: str,
        max_message_bytes: int,
        ssl_config: SSLConfig | None,
        always_ok: bool,
        guard: Guard | None,
        max_connections: int,
    ) -> None:
        """Start the REST front end; errors as `start_restful_server`."""
        tls = ssl_context(ssl_config) if ssl_config else None
        with self._lock:
            if self._rest is not None:
                raise StartUpError("Serving Error: RESTful server is already running")
            thread, dispatcher = self._begin()
            limits = HttpLimits(max_message_bytes, descriptor_limit.connections(max_connections))
            dialects = (NativeRest(dispatcher, always_ok=always_ok), HealthPages(dispatcher.readiness))
            server = RestServer(dialects, address, limits, tls, guard, silence_s=worker_timeout_s())
            thread.run(server.start(), _BIND_TIMEOUT_S)
            self._rest = server
        say(f"Serving: Serving RESTful server start success, listening on {address}")

    def start_workers(self, plans: Sequence[WorkerPlan]) -> None:
        """Start all workers, and keep the process alive from then on until `stop`."""
        with self._lock:
            if self._supervisor is not None:
                raise StartUpError("Raise failed: Serving Error: Master gRPC server is already running")
            thread, dispatcher = self._begin()
            self.keep_alive()
            if backend_name() == "stub":
                log.warning("%s", STUB_NOTE)
            self._supervisor = Supervisor(dispatcher, self._on_no_workers_left)
            started = thread.submit(self._supervisor.start(plans, say))
        self._wait_for(started, "Fail to start workers because of signal SIGINT or SIGTERM")

    def _on_no_workers_left(self) -> None:
        """Stop the server, which has failed, unless it is being stopped already. Called on the loop.

        The master of a cluster goes on without the worker of its own process, as without any other.
        """
        if self._serves_own_cluster and self._port is not None:
            log.error("The worker of this process has ended, the master serves on with the workers that join")
            return
        log.warning("Serving server begin to exit: all worker processes that occupy devices have exited")
        if not self._stop_request.wanted:  # a second wish would end the drain
            self._no_workers_left = True
            self._stop_request.want()

    def start_master_port(self, ip: str, port: int, ssl_config: SSLConfig | None) -> None:
        """Let workers of other processes and machines join.

        Raises:
            StartUpError: The port cannot be bound, or is open already.
        """
        tls = ssl_context(ssl_config) if ssl_config else None
        with self._lock:
            if self._port is not None:
                raise StartUpError("Serving Error: Master server is already running")
            thread, dispatcher = self._begin()
            opened = MasterPort(dispatcher, ip, port, cluster_token(), tls, worker_timeout_s())
            thread.run(opened.start(), _BIND_TIMEOUT_S)
            self._port = opened
        say(f"Serving: Master server start success, listening on {opened.address}")

    def join_cluster(
        self,
        plan: WorkerPlan,
        master: tuple[str, int],
        own: tuple[str, int],
        tls: ssl.SSLContext | None,
        *,
        reserve_address: bool = True,
    ) -> None:
        """Start a worker, and let it serve for the master of a cluster, which may be this process.

        Args:
            plan: What it loads.
            master: Address and port of the master.
            own: Address and port that tell it from others.
            tls: What to trust and to show; None for plain TCP.
            reserve_address: Keep other workers from the address; not where the worker itself listens on it.

        Raises:
            StartUpError: The worker cannot be started, or cannot join.
        """
        if self._port is not None and not self._port.is_at(*master):
            raise StartUpError(
                f"This process is the master of a cluster at {self._port.address}: a worker in it cannot join another "
                f"master, {master[0]}:{master[1]}; start it in a script of its own"
            )
        if reserve_address:
            self._member_address = reserve(*own)
        self._serves_own_cluster = self._port is not None
        self.start_workers([plan])
        if self._serves_own_cluster:  # its copies are among the master's already
            return
        with self._lock:
            thread, dispatcher = self._begin()
            membership = Membership(
                *master, f"{own[0]}:{own[1]}", new_nonce(), cluster_token(), tls, worker_timeout_s()
            )
            servable = dispatcher.servable(plan.servable_name, plan.version)
            self._member = Member(membership, dispatcher, servable, self._stop_request.want)
            joined = thread.submit(self._member.start())
        self._wait_for(joined, "Worker exit, stop registration")

    def keep_alive(self) -> int:
        """Keep the process alive from now on until `stop`; stop at SIGINT and SIGTERM, and if the start script fails.

        Returns:
            A number above 0 that is another one after each `stop`.
        """
        with self._lock:
            if self._kept_alive:
                return self._kept_alive
            self._kept_alive = generation = self._stop_request.begin()
            watched, self._script_is_watched = self._script_is_watched, True
        threading.Thread(
            target=self._wait_for_stop, args=(generation,), name="serving monitor", daemon=False
        ).start()
        if not watched:
            threading.Thread(
                target=self._watch_script, args=(StartScript(),), name="serving script watch"
            ).start()
        return generation

    def stop(self, drain_timeout_s: float = 0.0) -> None:
        """End everything that is started; safe to call twice, and from any thread but the loop's.

        Args:
            drain_timeout_s: How long requests that were admitted may take to finish before that.
        """
        self._drain(drain_timeout_s)
        with self._lock:
            if self._thread is None or self._dispatcher is None:
                return
            self._leave_cluster(self._thread)
            self._thread.loop.call_soon_threadsafe(self._dispatcher.fail_waiting)
            for part in self._parts():
                if part is not None:
                    self._end(self._thread.submit(part.stop()), part)
            self._grpc = self._rest = self._port = self._supervisor = self._dispatcher = None
            self._release_address()
            self._kept_alive = 0
            self._stop_request.end()
            self._stop_request.want()

    def _drain(self, timeout_s: float) -> None:
        """Let requests that were admitted finish. Without the lock: `stop` ends it, and so does a second signal."""
        with self._lock:
            thread, dispatcher = self._thread, self._dispatcher
            if not timeout_s or thread is None or dispatcher is None:
                return
            self._leave_cluster(thread)
            requests = dispatcher.requests
            drained = thread.submit(_finish_requests(dispatcher, self._grpc, self._rest, timeout_s))
        if requests:
            say(
                f"Serving: stopping, {requests} requests have {timeout_s:g} s to finish{self._how_to_hurry()}"
            )
        while not drained.done() and not self._stop_request.is_urgent():
            wait_for_futures([drained], _SIGNAL_POLL_S)
        if drained.done() and drained.exception() is not None:
            log.error("Requests were not waited for: %r", drained.exception())
        if dispatcher.requests:
            say(f"Serving: stopping, {dispatcher.requests} requests have not finished and get an error")

    def _say_workers(self) -> None:
        awaited = self._supervisor.awaited() if self._supervisor is not None else []
        if awaited:
            more = f" and {len(awaited) - 1} more" if awaited[1:] else ""
            say(
                f"Serving: stopping, waiting for {awaited[0]}{more}, which are killed {WORKER_GRACE_S:g} s after they "
                f"were told to end{self._how_to_hurry()}"
            )

    def _how_to_hurry(self) -> str:
        """What ends the wait; a script that stops the server itself would have to be interrupted twice."""
        return ". Ctrl+C or SIGTERM once more ends this at once" if self._stop_request.wanted else ""

    def _leave_cluster(self, thread: LoopThread) -> None:
        """Let the master of a cluster give to others what waits here."""
        if self._member is not None:
            self._end(thread.submit(self._member.stop()), self._member)
            self._member = None

    def _at_exit(self) -> None:
        if (self._grpc or self._rest) is not None and not self._kept_alive:
            log.warning(
                "The start script has ended, and its servers with it: nothing is served without server.start_servables"
            )
        self.stop()
        if self._thread is not None:
            self._thread.stop()
            if self._no_workers_left:
                end_with(_EXIT_NO_WORKERS)

    def stop_workers(self) -> None:
        """End the workers, and leave the cluster; what else is started goes on."""
        with self._lock:
            if self._thread is None:
                return
            for part in (self._member, self._supervisor):
                if part is not None:
                    self._end(self._thread.submit(part.stop()), part)
            self._member = self._supervisor = None
            self._release_address()
            if not self.running:
                self.stop()

    def _release_address(self) -> None:
        self._serves_own_cluster = False
        if self._member_address is not None:
            self._member_address.close()
            self._member_address = None

    def _begin(self) -> tuple[LoopThread, Dispatcher]:
        """Loop and dispatcher, made at first use."""
        if self._thread is None:
            open_standard_descriptors()  # the script may have closed them since the import
            descriptor_limit.raise_to_hard()
            keep_freed_memory()
            self._thread = LoopThread()
            atexit.register(self._at_exit)
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(self._thread.loop)
            self._no_workers_left = False
        return self._thread, self._dispatcher

    def _end(self, stopping: Future[None], part: object) -> None:
        """Wait in slices, so that a second signal is acted on."""
        begun = time.monotonic()
        said = False
        while not stopping.done() and time.monotonic() < begun + _STOP_TIMEOUT_S:
            wait_for_futures([stopping], _SIGNAL_POLL_S)
            if part is self._supervisor and not said and time.monotonic() > begun + _SILENT_S:
                said = True
                self._say_workers()
            if self._supervisor is not None and self._stop_request.is_urgent():
                self._supervisor.hurry()
        if stopping.done():
            stopping.result()
        else:
            log.error("%r was not stopped within %s s", part, _STOP_TIMEOUT_S)

    def _wait_for(self, started: Future[None], interrupted: str) -> None:
        """Wait in slices, so that signals are acted on.

        Raises:
            StartUpError: A signal came; the text is `interrupted`.
        """
        self._starting = True
        try:
            while not self._stop_request.wanted:
                try:
                    started.result(_SIGNAL_POLL_S)
                    break
                except FutureTimeout:
                    continue
        finally:
            with self._lock:  # a signal from now on is the monitor's
                self._starting = False
                wanted = self._stop_request.wanted
        if wanted:
            started.cancel()
            raise StartUpError(interrupted)

    def _wait_for_stop(self, generation: int) -> None:
        """Body of the thread that keeps the process alive, and stops the server when that is wanted."""
        self._stop_request.wait(generation)
        if not self._is_to_stop(generation):
            return
        self._drain(drain_timeout_s())
        with self._lock:
            if not self._is_to_stop(generation):
                return
            self.stop()
        self._stop_request.raise_in_main_thread()

    def _follow_logs(self) -> None:
        """Open logs again that others have moved away. Called by the monitor."""
        log.info("SIGHUP: log files are opened again")
        log.reopen()
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.follow_logs()

    def _watch_script(self, script: StartScript) -> None:
        """Body of the thread that stops the server when the start script has failed."""
        threading.main_thread().join()  # which is over when the script is
        if script.has_failed() and self._kept_alive:
            log.warning(
                "The start script has ended by an exception or sys.exit: the server stops. A script that comes to its "
                "end, by main() and not by sys.exit(main()), serves on"
            )
            self._stop_request.want()

    def _is_to_stop(self, generation: int) -> bool:
        """Whether the monitor is to stop what it was made for."""
        with self._lock:
            # It may be stopped already, and started again. While it starts, who starts it finds out and stops it.
            return self._kept_alive == generation and not self._starting


async def _finish_requests(
    dispatcher: Dispatcher, grpc: GrpcServer | None, rest: RestServer | None, timeout_s: float
) -> None:
    """Refuse new requests, let those that were admitted be answered, and let their replies leave.

    Both front ends listen until then: to close them is to lose what the system has accepted for them.
    """
    deadline = time.monotonic() + timeout_s
    if rest is not None:
        rest.drain()
    if not await dispatcher.drain(timeout_s):
        return
    front_ends = [front_end for front_end in (grpc, rest) if front_end is not None]
    await asyncio.gather(*(front_end.hand_over() for front_end in front_ends))
    grace_s = max(STOP_GRACE_S, deadline - time.monotonic())
    await asyncio.gather(*(front_end.stop(grace_s) for front_end in front_ends))


server_of_process = Server()
run_in_forked_children(server_of_process.leave_to_parent)


def stop_on_exception(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Stop the whole server when a start function raises, as the original does."""

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if server_of_process.running:
                log.error("%s failed, the server is stopped: %s", function.__name__, error)
            server_of_process.stop()
            if isinstance(error, ServingError):
                raise _without_traces(error) from error.__cause__
            raise

    return guarded


def _without_traces(error: ServingError) -> ServingError:
    """An error whose text tells all: where in Serving it was raised is for the log only."""
    log.debug("%s was raised here:", type(error).__name__, exc_info=error)
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each.__suppress_context__ = True
        each = each.__cause__
    return error


@stop_on_exception
def start_grpc_server(
    address: str,
    max_msg_mb_size: int = 100,
    ssl_config: SSLConfig | None = None,
    *,
    api_keys: KeySource | None = None,
    max_connections: int = _MAX_CONNECTIONS,
) -> None:
    """Start the gRPC server, through which clients reach the servables.

    Args:
        address: `ip:port`, or `unix:path` with a path that is absolute or relative to the working directory.
        max_msg_mb_size: Largest request and largest reply in MB (2**20 bytes), 1 to 512.
        ssl_config: TLS; None for plain text.
        api_keys: Only clients that send one of these keys are let in; None for no such limit. A list of keys, each of
            16 to 256 visible ASCII characters, or the path of a file with a key on each line, which is read again when
            it changes. Clients send a key as metadata, `authorization: Bearer KEY` or `x-api-key: KEY`.
        max_connections: Most connections at a time, at least 1; one more is closed at once. They are never more than
            three eighths of the descriptors that the process may have open.

    Raises:
        RuntimeError: A parameter is wrong, the address cannot be bound, or the server runs already. The whole server is
            stopped before this is raised.
        FileNotFoundError: A certificate or key file is missing.
    """
    check_str("address", address)
    check_int("max_msg_mb_size", max_msg_mb_size, 1, _LARGEST_MESSAGE_MB)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise InvalidParameter("The type of ssl_config should be type of SSLConfig")
    check_int("max_connections", max_connections, 1, _LARGEST_MAX_CONNECTIONS)
    check_grpc_address(address)
    guard = guard_for(address, api_keys, ssl_config)
    server_of_process.start_grpc(address, max_msg_mb_size * _MEGABYTE, ssl_config, guard, max_connections)


@stop_on_exception
def start_restful_server(
    address: str,
    max_msg_mb_size: int = 100,
    ssl_config: SSLConfig | None = None,
    *,
    always_ok: bool = False,
    api_keys: KeySource | None = None,
    max_connections: int = _MAX_CONNECTIONS,
) -> None:
    """Start the RESTful server, through which clients reach the servables.

    Args:
        address: `ip:port`.
        max_msg_mb_size: Largest request in MB (2**20 bytes), 1 to 512.
        ssl_config: TLS; None for plain HTTP.
        always_ok: Reply with HTTP status 200 to every request, as the original does; errors are in the body only. The
            environment variable SERVING_REST_ALWAYS_OK=1 does the same for scripts that do not have this parameter.
        api_keys: As for `start_grpc_server`; clients send a key as header `Authorization: Bearer KEY` or
            `X-API-Key: KEY`. Others get HTTP status 401, also with `always_ok`.
        max_connections: As for `start_grpc_server`; one more gets HTTP status 503.

    Raises:
        RuntimeError: A parameter is wrong, the address cannot be bound, or the server runs already. The whole server is
            stopped before this is raised.
    """
    check_str("address", address)
    check_int("max_msg_mb_size", max_msg_mb_size, 1, _LARGEST_MESSAGE_MB)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise InvalidParameter("The type of ssl_config should be class of SSLConfig")
    check_bool("always_ok", always_ok)
    always_ok = flag_of(_ALWAYS_OK_VARIABLE, False, os.environ) or always_ok
    check_int("max_connections", max_connections, 1, _LARGEST_MAX_CONNECTIONS)
    check_rest_address(address)
    guard = guard_for(address, api_keys, ssl_config)
    server_of_process.start_rest(
        address, max_msg_mb_size * _MEGABYTE, ssl_config, always_ok, guard, max_connections
    )


@stop_on_exception
def start_servables(
    servable_configs: ServableStartConfig | Sequence[ServableStartConfig], enable_lite: bool = False
) -> None:
    """Start servables, each in worker processes of its own, and return when all of them are ready.

    From then on the process stays alive, also when the script has come to its end, until Ctrl+C, SIGTERM or `stop`.

    Args:
        servable_configs: One configuration or several. Those of the same servable and version are merged.
        enable_lite: Run models with MindSpore Lite.

    Raises:
        RuntimeError: A parameter is wrong, or a worker failed to start; the text is the reason that it gave. The whole
            server is stopped before this is raised.
    """
    check_bool("enable_lite", enable_lite)
    configs = check_configs(servable_configs)
    plans = [plan for config in merge_config(configs, enable_lite) for plan in plans_of(config, enable_lite)]
    server_of_process.start_workers(plans)


def stop(*, drain_timeout_s: float = 0) -> None:
    """Stop all servers and worker processes.

    Harmless if nothing runs; the server may be started again afterwards.

    Args:
        drain_timeout_s: Seconds for which new requests are refused and those that were admitted may finish. What is
            unanswered after that is answered with an error; with 0 that is so at once.

    Raises:
        RuntimeError: `drain_timeout_s` is no number, below 0, or not finite. Nothing is stopped then.
    """
    check_seconds("drain_timeout_s", drain_timeout_s)
    server_of_process.stop(drain_timeout_s)
