"""The settings of the main process, under their public name."""

from mindspore_serving.server.master import context

__all__ = ["context"]
