"""Life of the server of this process: its parts are started, drained, stopped."""

from __future__ import annotations

import atexit
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from mindspore_serving import __version__, log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.access.tls import SSLConfig, ssl_context
from mindspore_serving.server.backend.families import chosen_family
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.cluster.master_port import MasterPort
from mindspore_serving.server.cluster.member import Member, Membership, reserve
from mindspore_serving.server.cluster.token import new_nonce
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host.descriptor_limit import descriptor_limit
from mindspore_serving.server.host.environment_variable import OWN_ENVIRONMENT
from mindspore_serving.server.host.exit_code import end_with
from mindspore_serving.server.host.forked_child import let_go_of_sockets, run_in_forked_children
from mindspore_serving.server.host.garbage import look_for_garbage_less_often
from mindspore_serving.server.host.heap import keep_freed_memory
from mindspore_serving.server.host.loop_thread import LoopThread
from mindspore_serving.server.host.settings import cluster_token, worker_timeout_s
from mindspore_serving.server.host.standard_descriptors import open_standard_descriptors
from mindspore_serving.server.host.standard_output import say
from mindspore_serving.server.host.stop_request import StopRequest
from mindspore_serving.server.service.catalog import ServableInfo
from mindspore_serving.server.service.server_statistics import ServerStatistics
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.start.access_log import ServerAccessLog
from mindspore_serving.server.start.front_ends import BIND_TIMEOUT_S, FrontEnds, Listener
from mindspore_serving.server.start.monitor import Monitor
from mindspore_serving.server.start.orderly_stop import finish_requests, wait_for_end, wait_for_requests
from mindspore_serving.server.start.page_choice import PageChoice
from mindspore_serving.server.supervision.supervisor import Supervisor
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.observers import Observers

if TYPE_CHECKING:
    from mindspore_serving.server.telemetry.tracing.tracing import Tracing

_EXIT_FAILED = 1
"""Exit code of a process whose server has stopped because no worker was left, or its gRPC server has failed."""


class _Part(Protocol):
    """Something of the server that runs on the event loop."""

    async def stop(self) -> None:
        """End it; safe to call twice."""


class Server:
    """The server of this process: front ends, cluster, dispatcher and supervisor, on one event loop.

    Attributes:
        observers: Who is told of the calls of all front ends.
        outlives_workers: Whether the server goes on where no worker is left, for `replace_servable` to start others.
    """

    def __init__(self) -> None:
        self._of_parent: dict[str, object] = {}
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self.observers = Observers()
        self._access_log = ServerAccessLog(self.observers)
        self._thread: LoopThread | None = None
        self._service: Service | None = None
        self._front_ends = FrontEnds(self._on_failed_listener, self.observers)
        self._supervisor: Supervisor | None = None
        self._port: MasterPort | None = None
        self._member: Member | None = None
        self._tracing: Tracing | None = None
        self._member_address: socket.socket | None = None
        self._serves_own_cluster = False
        self._stop_request = StopRequest(self._follow_logs)
        self._monitor = Monitor(self._lock, self._stop_request, self._drain, self.stop)
        self._has_failed = False
        self.outlives_workers = False

    def leave_to_parent(self) -> None:
        """Start over in a forked child: what runs is its parent's, and goes on there."""
        ends = self._front_ends
        listening = ends.grpc, ends.rest, *ends.admin.values(), self._port
        addresses = [part.address for part in listening if part is not None]
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

    @property
    def stopped_by(self) -> int:
        """The signal that has asked the server to stop; 0 for none."""
        return self._stop_request.signal

    def _parts(self) -> tuple[_Part | None, ...]:
        """What can be started, in the order in which it is stopped: pages tell of all else until it has ended."""
        ends = self._front_ends
        asked = ends.grpc, ends.rest, ends.application
        return *asked, self._member, self._port, self._supervisor, *ends.admin.values()

    def start_grpc(self, listener: Listener) -> None:
        """Start the gRPC front end; errors as `FrontEnds.start_grpc`."""
        with self._lock:
            self._front_ends.start_grpc(*self._begin(), listener)

    def start_rest(
        self,
        listener: Listener,
        *,
        always_ok: bool = False,
        cors: Cors | None = None,
        with_grpc: bool = False,
        choice: PageChoice | None = None,
    ) -> None:
        """Start the REST front end; parameters and errors as of `FrontEnds.start_rest`."""
        with self._lock:
            self._front_ends.start_rest(
                *self._begin(),
                listener,
                always_ok=always_ok,
                cors=cors,
                with_grpc=with_grpc,
                choice=choice,
            )

    def start_admin(self, listener: Listener, name: str, choice: PageChoice) -> None:
        """Start a listener for pages alone; parameters and errors as of `FrontEnds.start_admin`."""
        with self._lock:
            self._front_ends.start_admin(*self._begin(), listener, name, choice)

    def rest_application(self, always_ok: bool) -> web.Application:
        """The application that the REST front end serves; see `rest_application`."""
        with self._lock:
            return self._front_ends.application_for(*self._begin(), always_ok=always_ok)

    def start_access_log(self, form: str, file: str, *, probes: bool) -> None:
        """Log the calls of all front ends from now on; parameters and errors as of `ServerAccessLog.start`."""
        with self._lock:
            self._access_log.start(form, file, probes=probes)
            self._begin()

    def start_workers(
        self,
        plans: Sequence[WorkerPlan],
        *,
        allow_client_shared_memory: bool = False,
        default_servable: str = "",
    ) -> None:
        """Start all workers, and keep the process alive from then on until `stop`.

        Args:
            plans: What they load.
            allow_client_shared_memory: Whether clients may use shared memory, see `start_servables`.
            default_servable: What requests mean that name no servable, see `start_servables`.
        """
        with self._lock:
            if self._supervisor is not None:
                raise StartUpError("Raise failed: Serving Error: Master gRPC server is already running")
            self._front_ends.allow_shared_memory(allow_client_shared_memory)
            thread, service = self._begin()
            self.keep_alive()
            service.catalog.default = default_servable
            note = chosen_family().note
            if note:
                log.warning("%s", note)
            for settings in {plan.servable: plan.settings for plan in plans}.values():
                thread.loop.call_soon_threadsafe(service.dispatcher.configure, settings)
            self._supervisor = Supervisor(service, self._on_no_workers_left)
            started = thread.submit(self._supervisor.start(plans, say))
        self._monitor.wait_for_start(started, "Fail to start workers because of signal SIGINT or SIGTERM")

    def replace_servable(self, name: str, plans: Sequence[WorkerPlan], *, one_at_a_time: bool) -> None:
        """Start the workers of a servable anew; parameters and errors as of `Supervisor.replace`."""
        with self._lock:
            thread, service, supervisor = self._thread, self._service, self._supervisor
            if thread is None or service is None or supervisor is None:
                raise StartUpError("No servable is started that could be replaced")
            for settings in {plan.servable: plan.settings for plan in plans}.values():
                thread.loop.call_soon_threadsafe(service.dispatcher.configure, settings)
            replaced = thread.submit(supervisor.replace(name, plans, say, one_at_a_time=one_at_a_time))
        replaced.result()

    def servables(self) -> tuple[ServableInfo, ...]:
        """What is to be served, and how that is now; nothing before `start_workers`."""
        with self._lock:
            thread, service = self._thread, self._service
        if thread is None or service is None:
            return ()
        catalog = service.catalog

        async def ask() -> tuple[ServableInfo, ...]:
            return catalog.servables()

        return thread.run(ask(), BIND_TIMEOUT_S)

    def statistics(self) -> ServerStatistics:
        """What was counted until now; nothing before anything is started. From any thread but the loop's."""
        with self._lock:
            thread, service = self._thread, self._service
        if thread is None or service is None:
            return ServerStatistics(__version__, 0.0, 0.0)

        async def ask() -> ServerStatistics:
            return service.statistics.server()

        return thread.run(ask(), BIND_TIMEOUT_S)

    def wait(self) -> None:
        """Return when the server has stopped, after a signal for example; called in the main thread."""
        self._monitor.wait_for_end()

    def _on_no_workers_left(self) -> None:
        """Stop the server, which has failed, unless it is being stopped already. Called on the loop.

        The master of a cluster goes on without the worker of its own process, as without any other.
        """
        if self.outlives_workers:
            log.error("No worker is left; the server goes on")
            return
        if self._serves_own_cluster and self._port is not None:
            log.error("The worker of this process has ended, the master serves on with the workers that join")
            return
        log.warning("Serving server begin to exit: all worker processes that occupy devices have exited")
        self._stop_failed()

    def _on_failed_listener(self) -> None:
        """Stop the server: its gRPC front end takes no more calls, and has logged why. Called on the loop."""
        log.warning("Serving server begin to exit: the gRPC server takes no more calls")
        self._stop_failed()

    def _stop_failed(self) -> None:
        """Stop the server, and end the process with a status that says that it has failed."""
        if not self._stop_request.wanted:  # a second wish would end the drain
            self._has_failed = True
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
            thread, service = self._begin()
            opened = MasterPort(service, ip, port, cluster_token(), tls, worker_timeout_s())
            thread.run(opened.start(), BIND_TIMEOUT_S)
            self._port = opened
        say(f"Serving: Master server start success, listening on {opened.address}")

    def start_tracing(self, make: Callable[[], Tracing]) -> None:
        """Trace calls from now on until `stop`.

        Args:
            make: Makes what does; its errors are passed on.

        Raises:
            StartUpError: Calls are traced already.
        """
        with self._lock:
            if self._tracing is not None:
                raise StartUpError("Serving Error: Tracing is already running")
            self._begin()
            self._tracing = make()
            self.observers.add(self._tracing)

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
            thread, service = self._begin()
            dispatcher = service.dispatcher
            membership = Membership(
                *master, f"{own[0]}:{own[1]}", new_nonce(), cluster_token(), tls, worker_timeout_s()
            )
            servable = dispatcher.servable(plan.servable_name, plan.version)
            self._member = Member(membership, dispatcher, servable, self._stop_request.want)
            joined = thread.submit(self._member.start())
        self._monitor.wait_for_start(joined, "Worker exit, stop registration")

    def keep_alive(self) -> int:
        """Keep the process alive from now on until `stop`; stop at SIGINT and SIGTERM, and if the start script fails.

        Returns:
            A number above 0 that is another one after each `stop`.
        """
        return self._monitor.begin()

    def stop(self, drain_timeout_s: float = 0.0) -> None:
        """End everything that is started; safe to call twice, and from any thread but the loop's.

        Args:
            drain_timeout_s: How long requests that were admitted may take to finish before that.
        """
        self._drain(drain_timeout_s)
        with self._lock:
            if self._thread is None or self._service is None:
                return
            self._leave_cluster(self._thread)
            self._thread.loop.call_soon_threadsafe(self._service.dispatcher.fail_waiting)
            for part in self._parts():
                if part is not None:
                    self._end(self._thread, part)
            self._end(self._thread, self._access_log)
            self._end_tracing(self._thread)
            self._thread.loop.call_soon_threadsafe(self._front_ends.close)
            self._front_ends = FrontEnds(self._on_failed_listener, self.observers)
            self._port = self._supervisor = self._service = None
            self._release_address()
            self._monitor.end()

    def _end_tracing(self, thread: LoopThread) -> None:
        """Give the last spans away, when nothing more can be traced."""
        tracing, self._tracing = self._tracing, None
        if tracing is not None:
            self.observers.remove(tracing)
            self._end(thread, tracing)

    def _drain(self, timeout_s: float) -> None:
        """Let requests that were admitted finish. Without the lock: `stop` ends it, and so does a second signal."""
        with self._lock:
            thread, service = self._thread, self._service
            if not timeout_s or thread is None or service is None:
                return
            dispatcher = service.dispatcher
            self._leave_cluster(thread)
            pending, ends = dispatcher.requests, self._front_ends
            drained = thread.submit(finish_requests(dispatcher, ends.grpc, ends.rest, timeout_s))
        wait_for_requests(drained, dispatcher, self._stop_request, pending, timeout_s)

    def _leave_cluster(self, thread: LoopThread) -> None:
        """Let the master of a cluster give to others what waits here."""
        if self._member is not None:
            self._end(thread, self._member)
            self._member = None

    def _at_exit(self) -> None:
        if (self._front_ends.grpc or self._front_ends.rest) is not None and not self._monitor.generation:
            log.warning(
                "The start script has ended, and its servers with it: nothing is served without server.start_servables"
            )
        self.stop()
        if self._thread is not None:
            self._thread.stop()
            if self._has_failed:
                end_with(_EXIT_FAILED)

    def stop_workers(self) -> None:
        """End the workers, and leave the cluster; what else is started goes on."""
        with self._lock:
            if self._thread is None:
                return
            for part in (self._member, self._supervisor):
                if part is not None:
                    self._end(self._thread, part)
            self._member = self._supervisor = None
            self._release_address()
            if not self.running:
                self.stop()

    def _release_address(self) -> None:
        self._serves_own_cluster = False
        if self._member_address is not None:
            self._member_address.close()
            self._member_address = None

    def _begin(self) -> tuple[LoopThread, Service]:
        """Loop and service, made at first use."""
        if self._thread is None:
            open_standard_descriptors()  # the script may have closed them since the import
            descriptor_limit.raise_to_hard()
            keep_freed_memory()
            look_for_garbage_less_often()
            self._thread = LoopThread()
            atexit.register(self._at_exit)
        if self._service is None:
            self._service = Service.of(Dispatcher(self._thread.loop))
            self._has_failed = False
            self._access_log.start_from(OWN_ENVIRONMENT)
        return self._thread, self._service

    def _end(self, thread: LoopThread, part: _Part) -> None:
        wait_for_end(thread.submit(part.stop()), part, self._stop_request, self._supervisor)

    def _follow_logs(self) -> None:
        """Open logs again that others have moved away. Called by the monitor."""
        log.info("SIGHUP: log files are opened again")
        log.reopen()
        self._access_log.reopen()
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.follow_logs()


server_of_process = Server()
run_in_forked_children(server_of_process.leave_to_parent)
