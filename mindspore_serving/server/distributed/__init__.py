"""Servables whose model is sharded: many processes, the agents, hold a part each and run it together.

Begin with `worker_process`, the worker that has no model of its own, with `agent_port`, which gathers its agents, and
with `agent`, the process of one of them. Clients are not known here. Names are imported at first use: a worker process,
which needs `declare_servable` only, does not load the servers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mindspore_serving.server.register.distributed_model import declare_servable
    from mindspore_serving.server.start.distributed_servable import start_servable
    from mindspore_serving.server.start.startup_agents import startup_agents

__all__ = ["declare_servable", "start_servable", "startup_agents"]

_HOME = {
    "declare_servable": "mindspore_serving.server.register.distributed_model",
    "start_servable": "mindspore_serving.server.start.distributed_servable",
    "startup_agents": "mindspore_serving.server.start.startup_agents",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
