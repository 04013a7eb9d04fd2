"""Start servables and the servers through which clients reach them.

Names are imported at first use: a worker process, which needs `register` only, does not load the front ends.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from mindspore_serving.server.standard_descriptors import open_standard_descriptors

# gRPC reads these once, when it is imported. What it does about forks lets children of the start script read from
# sockets of the server, which breaks connections of clients, and crashes the children.
if "grpc" not in sys.modules:
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# It writes a line for each TLS handshake that fails, and each header that it cannot read: as many as strangers like.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Before anything is opened here or there: gRPC, event loops and channels would get the numbers of stdin and others.
open_standard_descriptors()

if TYPE_CHECKING:
    from mindspore_serving.server import distributed, master, register
    from mindspore_serving.server._servable_local import ServableStartConfig
    from mindspore_serving.server._server import (
        start_grpc_server,
        start_restful_server,
        start_servables,
        stop,
    )
    from mindspore_serving.server.frontend.tls import SSLConfig

__all__ = [
    "SSLConfig",
    "ServableStartConfig",
    "distributed",
    "master",
    "register",
    "start_grpc_server",
    "start_restful_server",
    "start_servables",
    "stop",
]

_SUBMODULES = ("distributed", "master", "register")
_HOME = {
    "SSLConfig": "frontend.tls",
    "ServableStartConfig": "_servable_local",
    "start_grpc_server": "_server",
    "start_restful_server": "_server",
    "start_servables": "_server",
    "stop": "_server",
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
