"""Start servables one by one: the names of release 1.2, on top of `mindspore_serving.server`.

Names are imported at first use: a worker process, which needs `register` only, does not load the servers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mindspore_serving.worker import distributed, register
    from mindspore_serving.worker._start import start_servable, start_servable_in_master, stop

__all__ = ["distributed", "register", "start_servable", "start_servable_in_master", "stop"]


def __getattr__(name: str) -> Any:
    if name in ("distributed", "register"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}._start"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
