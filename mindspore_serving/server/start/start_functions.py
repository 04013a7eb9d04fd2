"""What a start script calls to start and stop the server; the distributed ones have modules of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from aiohttp import web

from mindspore_serving.check_type import check_bool, check_int, check_seconds, check_str
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.access.api_keys import KeySource
from mindspore_serving.server.access.guard import guard_for
from mindspore_serving.server.access.tls import SSLConfig
from mindspore_serving.server.host.environment_variable import flag_of
from mindspore_serving.server.service.server_statistics import ServerStatistics
from mindspore_serving.server.start.access_log import check_form
from mindspore_serving.server.start.front_ends import Listener
from mindspore_serving.server.start.page_choice import PAGES, PageChoice, page_choice
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.start.server import server_of_process
from mindspore_serving.server.start.stop_on_exception import stop_on_exception
from mindspore_serving.server.start.worker_plans import plans_for
from mindspore_serving.server.telemetry.access_log.observer import STDOUT
from mindspore_serving.server.transport.grpc.server import check_grpc_address
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.http.rest_gateway import check_rest_address

_MEGABYTE = 1 << 20
_LARGEST_MESSAGE_MB = 512
_MAX_CONNECTIONS = 10000
_LARGEST_MAX_CONNECTIONS = 1_000_000
_LARGEST_ADMIN_BODY = _MEGABYTE
_ADMIN_CONNECTIONS = 100
"""Browsers, scrapers and probes are few; and the descriptors are for clients that have something computed."""
_ALWAYS_OK_VARIABLE = "SERVING_REST_ALWAYS_OK"


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
        api_keys: Only clients that send one of these keys are served; None for no such limit. A list of keys, each of
            16 to 256 visible ASCII characters, or the path of a file with a key on each line, which is read again when
            it changes. Behind a key may stand ` name=NAME`, for logs, and ` rights=infer,view,manage`; without rights a
            key has `infer` and `view`. Clients send a key as metadata, `authorization: Bearer KEY` or `x-api-key: KEY`.
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
    server_of_process.start_grpc(
        Listener(address, max_msg_mb_size * _MEGABYTE, max_connections, ssl_config, guard)
    )


@stop_on_exception
def start_restful_server(
    address: str,
    max_msg_mb_size: int = 100,
    ssl_config: SSLConfig | None = None,
    *,
    always_ok: bool = False,
    api_keys: KeySource | None = None,
    max_connections: int = _MAX_CONNECTIONS,
    cors_origins: Sequence[str] | None = None,
    pages: Sequence[str] | None = None,
    public_pages: Sequence[str] = (),
    metrics_aliases: Sequence[str] = (),
) -> None:
    """Start the RESTful server, through which clients reach the servables.

    Args:
        address: `ip:port`.
        max_msg_mb_size: Largest request in MB (2**20 bytes), 1 to 512.
        ssl_config: TLS; None for plain HTTP.
        always_ok: Reply with HTTP status 200 to every request, as MindSpore Serving 2.0 does; errors are in the body
            only. The environment variable SERVING_REST_ALWAYS_OK=1 does the same for scripts without this parameter.
        api_keys: As for `start_grpc_server`; clients send a key as header `Authorization: Bearer KEY` or
            `X-API-Key: KEY`. Others get HTTP status 401, also with `always_ok`.
        max_connections: As for `start_grpc_server`; one more gets HTTP status 503.
        cors_origins: Origins of web pages whose scripts may ask this server, as `["https://example.org"]`, or `["*"]`
            for all pages; None for none. Pages that come from this server need not be listed.
        pages: Pages that tell of the server: of `metrics`, `status`, `console` and `openapi`, those that are served
            here; None for all that have no listener of their own (`start_admin_server`, `start_metrics_server`). With
            `api_keys` or client identities, they need the right `view`.
        public_pages: Those of them that everybody may see.
        metrics_aliases: Metrics have the names that these servers give them, too: any of `triton`, `kserve` and
            `tfserving`.

    Raises:
        RuntimeError: A parameter is wrong, the address cannot be bound, or the server runs already. The whole server is
            stopped before this is raised.
    """
    check_str("address", address)
    check_int("max_msg_mb_size", max_msg_mb_size, 1, _LARGEST_MESSAGE_MB)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise InvalidParameter("The type of ssl_config should be class of SSLConfig")
    check_bool("always_ok", always_ok)
    always_ok = _always_ok_everywhere() or always_ok
    check_int("max_connections", max_connections, 1, _LARGEST_MAX_CONNECTIONS)
    check_rest_address(address)
    cors = None if cors_origins is None else Cors(cors_origins)
    choice = page_choice(pages, public_pages, metrics_aliases)
    guard = guard_for(address, api_keys, ssl_config)
    server_of_process.start_rest(
        Listener(address, max_msg_mb_size * _MEGABYTE, max_connections, ssl_config, guard),
        always_ok=always_ok,
        cors=cors,
        choice=choice,
    )


@stop_on_exception
def start_admin_server(
    address: str,
    ssl_config: SSLConfig | None = None,
    *,
    api_keys: KeySource | None = None,
    pages: Sequence[str] | None = None,
    public_pages: Sequence[str] = (),
    metrics_aliases: Sequence[str] = (),
) -> None:
    """Start a listener for the pages that tell of the server, and for health checks.

    They are then not served by `start_restful_server`, unless its `pages` names them. This listener answers until all
    else has ended, also while the server drains.

    Args:
        address: `ip:port`.
        ssl_config: TLS; None for plain HTTP.
        api_keys: As for `start_restful_server`. A key needs the right `view`.
        pages: Which pages, see `start_restful_server`; None for all.
        public_pages: Those of them that everybody may see.
        metrics_aliases: As for `start_restful_server`.

    Raises:
        RuntimeError: A parameter is wrong, the address cannot be bound, or it runs already. The whole server is stopped
            before this is raised.
        FileNotFoundError: A certificate or key file is missing.
    """
    choice = page_choice(PAGES if pages is None else pages, public_pages, metrics_aliases)
    _start_admin(address, ssl_config, api_keys, "admin", choice)


@stop_on_exception
def start_metrics_server(
    address: str,
    ssl_config: SSLConfig | None = None,
    *,
    api_keys: KeySource | None = None,
    public_pages: Sequence[str] = (),
    metrics_aliases: Sequence[str] = (),
) -> None:
    """Start a listener for `GET /metrics` and health checks alone, as for a server that has only gRPC.

    Args:
        address: `ip:port`.
        ssl_config: TLS; None for plain HTTP.
        api_keys: As for `start_admin_server`.
        public_pages: `["metrics"]` lets everybody see it.
        metrics_aliases: As for `start_restful_server`.

    Raises:
        RuntimeError: As for `start_admin_server`.
        FileNotFoundError: A certificate or key file is missing.
    """
    choice = page_choice(("metrics",), public_pages, metrics_aliases)
    _start_admin(address, ssl_config, api_keys, "metrics", choice)


def _start_admin(
    address: str, ssl_config: SSLConfig | None, api_keys: KeySource | None, name: str, choice: PageChoice
) -> None:
    check_str("address", address)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise InvalidParameter("The type of ssl_config should be class of SSLConfig")
    check_rest_address(address, f"{name} server")
    guard = guard_for(address, api_keys, ssl_config)
    server_of_process.start_admin(
        Listener(address, _LARGEST_ADMIN_BODY, _ADMIN_CONNECTIONS, ssl_config, guard), name, choice
    )


@stop_on_exception
def start_access_log(form: str = "text", file: str = STDOUT, *, probes: bool = False) -> None:
    """Write a line for each request to an access log, from now on and for all front ends.

    The environment variable SERVING_ACCESS_LOG=text or =json does the same for scripts without this call, with
    SERVING_ACCESS_LOG_FILE for the file; where the script calls this first, they do nothing.

    Args:
        form: `text`, or `json` for a JSON document on each line.
        file: Path of a file that lines are appended to; it is opened again where it was moved away. Or `stdout`.
        probes: Log requests that ask for the server's health, too.

    Raises:
        RuntimeError: A parameter is wrong, the file cannot be opened, or the access log is started already. The whole
            server is stopped before this is raised.
    """
    check_form("Parameter 'form'", form)
    check_str("file", file)
    check_bool("probes", probes)
    server_of_process.start_access_log(form, file, probes=probes)


def rest_application() -> web.Application:
    """The aiohttp application that `start_restful_server` serves, for routes of your own.

    Add routes, sub-applications and middlewares before you call `start_restful_server`. A request that fits one of your
    routes is yours, any other one is answered by Serving. Limits, API keys, TLS and CORS hold for your routes, too.
    Handlers run on the event loop of the server: one that computes or blocks keeps all clients waiting.

    Or mount it into an application that you run yourself, `yours.add_subapp("/api", server.rest_application())`, and do
    not call `start_restful_server`. Limits, keys and TLS are those of your server then: the largest body is the
    `client_max_size` of your application, for example. It may run on an event loop and a thread of your own.

    Returns:
        The application. It is the same one until `stop`.

    Raises:
        RuntimeError: `start_restful_server` was called before, so that nothing can be added any more.
    """
    return server_of_process.rest_application(_always_ok_everywhere())


def _always_ok_everywhere() -> bool:
    return flag_of(_ALWAYS_OK_VARIABLE, False, os.environ)


@stop_on_exception
def start_servables(
    servable_configs: ServableStartConfig | Sequence[ServableStartConfig],
    enable_lite: bool = False,
    *,
    allow_client_shared_memory: bool = False,
    default_servable: str = "",
) -> None:
    """Start servables, each in worker processes of its own, and return when all of them are ready.

    From then on the process stays alive, also when the script has come to its end, until Ctrl+C, SIGTERM or `stop`.

    Args:
        servable_configs: One configuration or several. Those of the same servable and version are merged.
        enable_lite: Run models with MindSpore Lite.
        allow_client_shared_memory: Let clients of the Open Inference Protocol on this machine, and of the user who runs
            the server, pass tensors in shared memory that they have made. A program on this machine that forwards
            requests is such a client, whoever it asks for.
        default_servable: What requests of Paddle Serving mean, which name no servable: the name of one of these, or
            `servable.method`. Not needed where there is only one servable. Without a method, the method `predict` is
            meant, or the first one.

    Raises:
        RuntimeError: A parameter is wrong, or a worker failed to start; the text is the reason that it gave. The whole
            server is stopped before this is raised.
    """
    check_bool("enable_lite", enable_lite)
    check_bool("allow_client_shared_memory", allow_client_shared_memory)
    plans = plans_for(servable_configs, enable_lite)
    _check_default(default_servable, [plan.servable_name for plan in plans])
    server_of_process.start_workers(
        plans,
        allow_client_shared_memory=allow_client_shared_memory,
        default_servable=default_servable,
    )


def _check_default(name: str, servables: Sequence[str]) -> None:
    """Check that a name is that of a servable, or of a method of one, or empty.

    Raises:
        InvalidParameter: It is not.
    """
    if not isinstance(name, str):
        raise InvalidParameter(f"Parameter 'default_servable' should be str, but actually {type(name)}")
    if name and name not in servables and name.rpartition(".")[0] not in servables:
        raise InvalidParameter(
            f"Parameter 'default_servable' should be the name of a servable that is started, or of one of its methods "
            f"as SERVABLE.METHOD, but is '{name}'; started are {', '.join(dict.fromkeys(servables))}"
        )


def statistics() -> ServerStatistics:
    """What this server has counted until now, and how it is: versions, workers, methods, what was refused, memory.

    The numbers only grow, and belong to the server of this process: they begin at 0 when it starts. It may be called
    from any thread at any time; before anything is started, and after `stop`, it is empty.

    Returns:
        A frozen picture; see `ServerStatistics` and its parts.
    """
    return server_of_process.statistics()


def stop(*, drain_timeout_s: float = 0) -> None:
    """Stop all servers and worker processes.

    Harmless if nothing runs; the server may be started again afterwards.

    Args:
        drain_timeout_s: Seconds for which new requests are refused and those that were admitted may finish. What is
            pending after that is answered with an error; with 0 that is so at once.

    Raises:
        RuntimeError: `drain_timeout_s` is no number, below 0, or not finite. Nothing is stopped then.
    """
    check_seconds("drain_timeout_s", drain_timeout_s)
    server_of_process.stop(drain_timeout_s)
