"""The start script of MindSpore Serving: both servables on loopback. Arguments: folder, port of HTTP, port of gRPC."""

import sys

from mindspore_serving import server

folder, http, grpc = sys.argv[1:]
server.start_servables(
    [server.ServableStartConfig(folder, name, num_parallel_workers=1) for name in ("add", "echo")],
    allow_client_shared_memory=True,
)
server.start_restful_server(f"127.0.0.1:{http}")
server.start_grpc_server(f"127.0.0.1:{grpc}")
