"""Start the servers that clients reach: the names of release 1.2, on top of `mindspore_serving.server`."""

from __future__ import annotations

from mindspore_serving.check_type import check_ip_port, check_str
from mindspore_serving.deprecation import deprecated
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.master import context
from mindspore_serving.server import SSLConfig
from mindspore_serving.server import start_grpc_server as _start_grpc_server
from mindspore_serving.server import start_restful_server as _start_restful_server
from mindspore_serving.server import stop as _stop
from mindspore_serving.server.host.standard_output import say
from mindspore_serving.server.start.server import server_of_process
from mindspore_serving.server.start.stop_on_exception import stop_on_exception

__all__ = ["context", "start_grpc_server", "start_master_server", "start_restful_server", "stop"]

_SINCE = "1.3.0"
_announced = 0


@deprecated(_SINCE, "mindspore_serving.server.start_grpc_server")
@stop_on_exception
def start_grpc_server(ip: str = "0.0.0.0", grpc_port: int = 5500, max_msg_mb_size: int = 100) -> None:
    """Start the gRPC server, and keep the process alive until Ctrl+C, SIGTERM or `stop`.

    Args:
        ip: Address to listen on.
        grpc_port: TCP port, 1 to 65535.
        max_msg_mb_size: Largest request and largest reply in MB (2**20 bytes), 1 to 512.

    Raises:
        RuntimeError: A parameter is wrong, the address cannot be bound, or the server runs already. The whole server is
            stopped before this is raised.
    """
    check_str("ip", ip)
    check_ip_port("grpc_port", grpc_port)
    _start_grpc_server(f"{ip}:{grpc_port}", max_msg_mb_size)
    _keep_alive()


@deprecated(_SINCE, "mindspore_serving.server.start_restful_server")
@stop_on_exception
def start_restful_server(
    ip: str = "0.0.0.0", restful_port: int = 5900, max_msg_mb_size: int = 100, *, always_ok: bool = False
) -> None:
    """Start the RESTful server, and keep the process alive until Ctrl+C, SIGTERM or `stop`.

    Args:
        ip: Address to listen on.
        restful_port: TCP port, 1 to 65535.
        max_msg_mb_size: Largest request in MB (2**20 bytes), 1 to 512.
        always_ok: Reply with HTTP status 200 to every request, as MindSpore Serving does; errors are in the body only.

    Raises:
        RuntimeError: As `start_grpc_server`.
    """
    check_str("ip", ip)
    check_ip_port("restful_port", restful_port)
    _start_restful_server(f"{ip}:{restful_port}", max_msg_mb_size, always_ok=always_ok)
    _keep_alive()


@stop_on_exception
def start_master_server(
    ip: str = "127.0.0.1", master_port: int = 6100, *, ssl_config: SSLConfig | None = None
) -> None:
    """Let workers of other processes and machines join this master, and keep the process alive until it is stopped.

    Workers are started with `worker.start_servable`. Set the environment variable SERVING_CLUSTER_TOKEN to the same
    secret for the master and all workers; without it the master listens on this machine only.

    Args:
        ip: Address to listen on.
        master_port: TCP port, 1 to 65535.
        ssl_config: Certificate and key of the master, for TLS with workers; None for plain TCP.

    Raises:
        RuntimeError: A parameter is wrong, the address cannot be bound, or the master server runs already. The whole
            server is stopped before this is raised.
    """
    check_str("ip", ip)
    check_ip_port("master_port", master_port)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise InvalidParameter("The type of ssl_config should be type of SSLConfig")
    if ssl_config is not None and ssl_config.client_identities:
        raise InvalidParameter(
            "Parameter 'ssl_config' has client_identities, which are for clients of gRPC and REST: workers of a "
            "cluster prove that they know the token"
        )
    server_of_process.start_master_port(ip, master_port, ssl_config)
    _keep_alive()


@deprecated(_SINCE, "mindspore_serving.server.stop")
def stop() -> None:
    """Stop all servers of this process, and tell the workers that have joined to exit.

    Waiting requests are answered with an error. Harmless if nothing runs.
    """
    _stop()


def _keep_alive() -> None:
    global _announced
    generation = server_of_process.keep_alive()
    if generation != _announced:
        _announced = generation
        say("Serving master: wait for Ctrl+C to exit ------------------------------------")
