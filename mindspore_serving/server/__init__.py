"""Start servables and the servers through which clients reach them."""

from mindspore_serving.server import master, register
from mindspore_serving.server._servable_local import ServableStartConfig
from mindspore_serving.server._server import start_grpc_server, start_restful_server, start_servables, stop
from mindspore_serving.server.frontend.tls import SSLConfig

__all__ = [
    "SSLConfig",
    "ServableStartConfig",
    "master",
    "register",
    "start_grpc_server",
    "start_restful_server",
    "start_servables",
    "stop",
]
