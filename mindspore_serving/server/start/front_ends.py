"""The front ends of a server: gRPC, REST, the application that REST serves, and listeners for pages alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.access.tls import SSLConfig, grpc_credentials, ssl_context
from mindspore_serving.server.console.openapi.front_page import FrontPage
from mindspore_serving.server.console.status.history import StatusHistory
from mindspore_serving.server.dialect.health.dialect import HealthDialect
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.host.descriptor_limit import descriptor_limit
from mindspore_serving.server.host.loop_thread import LoopThread
from mindspore_serving.server.host.settings import worker_timeout_s
from mindspore_serving.server.host.standard_output import say
from mindspore_serving.server.service.server_statistics import FrontEndStatistics
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.start.dialects import dialects_of
from mindspore_serving.server.start.page_choice import PageChoice
from mindspore_serving.server.start.pages import PageNeeds, pages_of
from mindspore_serving.server.start.rest_application import RestApplication
from mindspore_serving.server.transport.address import UNIX_PREFIX
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.server import GrpcServer
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.rest_gateway import RestServer
from mindspore_serving.server.transport.observers import Observers
from mindspore_serving.server.transport.routes import Dialect

BIND_TIMEOUT_S = 30.0
"""A listener that does not listen after that has failed."""
_NO_REGIONS = (
    "allow_client_shared_memory is not for a port that REST and gRPC share: clients cannot be told apart"
)


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a front end listens, and for whom.

    Attributes:
        address: `ip:port`, for gRPC also `unix:path`.
        max_message_bytes: Largest request, for gRPC also the largest reply.
        max_connections: Most connections at a time.
        ssl_config: TLS; None for plain text.
        guard: Who checks API keys; None for no such check.
    """

    address: str
    max_message_bytes: int
    max_connections: int
    ssl_config: SSLConfig | None = None
    guard: Guard | None = None


class FrontEnds:
    """What listens for clients. Who calls it holds the lock of the server.

    Args:
        on_failed_grpc: Called on the loop when the gRPC server takes no more calls.
        observers: Who is told of calls.

    Attributes:
        grpc: The gRPC server, once it is started.
        rest: The RESTful server, once it is started.
        application: What REST serves, if the user has asked for it.
        admin: Servers for pages alone, by name.
        regions: Shared memory of clients, which all front ends have in common.
    """

    def __init__(self, on_failed_grpc: Callable[[], None], observers: Observers) -> None:
        self.grpc: GrpcServer | None = None
        self.rest: RestServer | None = None
        self.application: RestApplication | None = None
        self.admin: dict[str, RestServer] = {}
        self.regions = SharedMemoryRegions()
        self._history: StatusHistory | None = None
        self._on_failed_grpc = on_failed_grpc
        self._observers = observers
        self._shares_port = False
        self._answered: list[Dialect] = []  # by REST
        self._pages: Mapping[str, Dialect] = {}  # of REST, unless the user has chosen them
        self._elsewhere: set[str] = set()  # names of pages that have a listener of their own

    def start_grpc(self, thread: LoopThread, service: Service, listener: Listener) -> None:
        """Start the gRPC server.

        Raises:
            StartUpError: It runs already, or the address cannot be bound.
            FileNotFoundError: A certificate or key file is missing.
        """
        if self.grpc is not None:
            raise StartUpError("Serving Error: Serving gRPC server is already running")
        credentials = grpc_credentials(listener.ssl_config) if listener.ssl_config else None
        limits = GrpcLimits(
            listener.max_message_bytes, descriptor_limit.connections(listener.max_connections)
        )
        methods = [
            replace(method, dialect=dialect.name)
            for dialect in dialects_of(service, self.regions)
            for method in dialect.grpc_methods
        ]
        server = GrpcServer(
            methods,
            listener.address,
            limits,
            credentials,
            listener.guard,
            self._on_failed_grpc,
            self._observers,
        )
        thread.run(server.start(), BIND_TIMEOUT_S)
        self.grpc = server
        service.statistics.add_front_ends(self)
        say(f"Serving: Serving gRPC server start success, listening on {listener.address}")

    def start_rest(
        self,
        thread: LoopThread,
        service: Service,
        listener: Listener,
        *,
        always_ok: bool = False,
        cors: Cors | None = None,
        with_grpc: bool = False,
        choice: PageChoice | None = None,
    ) -> None:
        """Start the RESTful server.

        Args:
            thread: Whose loop it runs on.
            service: What it asks.
            listener: Where it listens.
            always_ok: Whether the native dialect says HTTP 200 also for errors.
            cors: Which web pages may ask it; None for none.
            with_grpc: Clients of gRPC may come to its port, too. The gRPC server then listens on a Unix socket, and
                clients may pass no shared memory: nobody could tell whose it is.
            choice: Which pages it has; None for the default.

        Raises:
            StartUpError: It runs already, the address cannot be bound, or gRPC listens elsewhere.
            FileNotFoundError: A certificate or key file is missing.
        """
        if self.rest is not None:
            raise StartUpError("Serving Error: RESTful server is already running")
        choice = choice or PageChoice()
        dialects = dialects_of(service, self.regions, always_ok=always_ok)
        answered = list(dialects)
        front = FrontPage(
            service.catalog,
            dialects[0],
            lambda: answered,
            Right.NONE if choice.public else Right.VIEW,
        )
        pages = self._pages_of(thread, service, answered, listener, choice, self._elsewhere, infers=True)
        answered.append(front)
        server = RestServer(
            answered,
            listener.address,
            HttpLimits(listener.max_message_bytes, descriptor_limit.connections(listener.max_connections)),
            ssl_context(listener.ssl_config) if listener.ssl_config else None,
            listener.guard,
            silence_s=worker_timeout_s(),
            application=None if self.application is None else self.application.dialects,
            cors=cors,
            grpc_path=self._socket_of_grpc() if with_grpc else "",
            observers=self._observers,
        )
        thread.run(server.start(), BIND_TIMEOUT_S)
        self.rest, self._shares_port = server, with_grpc
        service.statistics.add_front_ends(self)
        self._pages = pages if choice.names is None else {}
        self._answered = answered
        say(f"Serving: Serving RESTful server start success, listening on {listener.address}")

    def start_admin(
        self, thread: LoopThread, service: Service, listener: Listener, name: str, choice: PageChoice
    ) -> None:
        """Start a listener for pages alone, and health; REST has these pages no more, unless the user has chosen them.

        Args:
            thread: Whose loop it runs on.
            service: What it asks.
            listener: Where it listens.
            name: What it is called; there is one of each name.
            choice: Which pages it has.

        Raises:
            StartUpError: It runs already, or the address cannot be bound.
            FileNotFoundError: A certificate or key file is missing.
        """
        if name in self.admin:
            raise StartUpError(f"Serving Error: {name} server is already running")
        answered = list(dialects_of(service, self.regions))
        pages = self._pages_of(thread, service, answered, listener, choice, infers=False)
        server = RestServer(
            (HealthDialect(service.catalog), *pages.values()),
            listener.address,
            HttpLimits(listener.max_message_bytes, descriptor_limit.connections(listener.max_connections)),
            ssl_context(listener.ssl_config) if listener.ssl_config else None,
            listener.guard,
            observers=self._observers,
            name=f"{name} server",
        )
        thread.run(server.start(), BIND_TIMEOUT_S)
        self.admin[name] = server
        service.statistics.add_front_ends(self)
        self._elsewhere |= pages.keys()
        if self.rest is not None:
            doubled = [page for page_name, page in self._pages.items() if page_name in pages]
            self._pages = {name: page for name, page in self._pages.items() if name not in pages}
            thread.loop.call_soon_threadsafe(self._withdraw, doubled)
        say(f"Serving: Serving {name} server start success, listening on {listener.address}")

    def front_ends(self) -> list[FrontEndStatistics]:
        """What listens; see `FrontEndSource`."""
        found = [] if self.grpc is None else [self.grpc.statistics()]
        found += [] if self.rest is None else [self.rest.statistics("rest")]
        return found + [server.statistics("admin") for server in self.admin.values()]

    def refused(self) -> dict[str, int]:
        """Requests that were refused before anybody was asked; see `FrontEndSource`."""
        total: dict[str, int] = {}
        for server in (self.grpc, self.rest, *self.admin.values()):
            for why, count in () if server is None else server.refused.items():
                total[why] = total.get(why, 0) + count
        return {why: count for why, count in total.items() if count}

    def _withdraw(self, pages: Sequence[Dialect]) -> None:
        """Show pages on REST no more; on the loop."""
        for page in pages:
            self._answered.remove(page)
        if self.rest is not None:
            self.rest.withdraw(pages)

    def _socket_of_grpc(self) -> str:
        address = "" if self.grpc is None else self.grpc.address
        if not address.startswith(UNIX_PREFIX):
            raise StartUpError("To share the port of REST, gRPC should be started before, on a Unix socket")
        if self.regions.allowed:
            raise StartUpError(_NO_REGIONS)
        return address.removeprefix(UNIX_PREFIX)

    def application_for(self, thread: LoopThread, service: Service, *, always_ok: bool) -> web.Application:
        """The application that the RESTful server will serve, the same one at each call.

        Raises:
            StartUpError: That server runs already.
        """
        if self.application is None:
            if self.rest is not None:
                raise StartUpError(
                    "Serving Error: rest_application should be called before start_restful_server, which serves it"
                )
            self.application = RestApplication(
                service, self.regions, thread.loop, always_ok, worker_timeout_s(), self._observers
            )
        return self.application.application

    def allow_shared_memory(self, allowed: bool) -> None:
        """Say whether clients may pass tensors in shared memory.

        Raises:
            StartUpError: They may, but one port is for REST and gRPC.
        """
        if allowed and self._shares_port:
            raise StartUpError(_NO_REGIONS)
        self.regions.allowed = allowed

    def close(self) -> None:
        """Let go of what all front ends have in common. Called on the loop; safe to call twice."""
        self.regions.close()
        if self._history is not None:
            self._history.stop()

    def _pages_of(
        self,
        thread: LoopThread,
        service: Service,
        answered: list[Dialect],
        listener: Listener,
        choice: PageChoice,
        elsewhere: Collection[str] = (),
        *,
        infers: bool,
    ) -> Mapping[str, Dialect]:
        """The pages of a listener, which are added to what it answers; see `pages_of`."""
        if self._history is None:
            self._history = StatusHistory(service.statistics)
            thread.loop.call_soon_threadsafe(self._history.start)
        needs = PageNeeds(service, answered, listener.guard is not None, self._history, infers)
        pages = pages_of(needs, choice, elsewhere)
        answered += pages.values()
        return pages
