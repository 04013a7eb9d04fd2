"""Settings of the main process that a start script may change, also while the server runs."""

from mindspore_serving.server.host.settings import (
    set_drain_timeout_s,
    set_max_enqueued_bytes,
    set_max_enqueued_instances,
    set_max_enqueued_requests,
)

__all__ = [
    "set_drain_timeout_s",
    "set_max_enqueued_bytes",
    "set_max_enqueued_instances",
    "set_max_enqueued_requests",
]
