"""The main process: admission, batching, dispatch and supervision of workers."""

from mindspore_serving.server.master import context

__all__ = ["context"]
