"""Start servables and the servers through which clients reach them.

Names are imported at first use: a worker process, which needs `register` only, does not load the front ends.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from mindspore_serving.server.host.standard_descriptors import open_standard_descriptors

# gRPC reads these once, when it is imported. What it does about forks lets children of the start script read from
# sockets of the server, which breaks connections of clients, and crashes the children.
if "grpc" not in sys.modules:
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# It writes a line for each TLS handshake that fails, and each header that it cannot read: as many as anybody likes.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Before anything is opened here or there: gRPC, event loops and channels would get the numbers of stdin and others.
open_standard_descriptors()

if TYPE_CHECKING:
    from mindspore_serving.server import distributed, master, register
    from mindspore_serving.server.access.tls import SSLConfig
    from mindspore_serving.server.start.servable_start_config import ServableStartConfig
    from mindspore_serving.server.start.start_functions import (
        rest_application,
        start_access_log,
        start_admin_server,
        start_grpc_server,
        start_metrics_server,
        start_restful_server,
        start_servables,
        statistics,
        stop,
    )
    from mindspore_serving.server.start.tracing import start_tracing

__all__ = [
    "SSLConfig",
    "ServableStartConfig",
    "distributed",
    "master",
    "register",
    "rest_application",
    "start_access_log",
    "start_admin_server",
    "start_grpc_server",
    "start_metrics_server",
    "start_restful_server",
    "start_servables",
    "statistics",
    "start_tracing",
    "stop",
]

_SUBMODULES = ("distributed", "master", "register")
_HOME = {
    "SSLConfig": "access.tls",
    "ServableStartConfig": "start.servable_start_config",
    "rest_application": "start.start_functions",
    "start_access_log": "start.start_functions",
    "start_admin_server": "start.start_functions",
    "start_grpc_server": "start.start_functions",
    "start_metrics_server": "start.start_functions",
    "start_restful_server": "start.start_functions",
    "start_servables": "start.start_functions",
    "statistics": "start.start_functions",
    "start_tracing": "start.tracing",
    "stop": "start.start_functions",
}


def __getattr__(name: str) -> Any:
    open_standard_descriptors()  # a script that became a daemon has closed them since the import
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
