"""Settings of the main process under their name of release 1.2."""

from mindspore_serving.server.master.context import set_max_enqueued_requests

__all__ = ["set_max_enqueued_requests"]
