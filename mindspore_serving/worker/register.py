"""What a servable_config.py calls, under its name of release 1.2."""

from mindspore_serving.server.register import *  # noqa: F403  # the same names
from mindspore_serving.server.register import __all__ as __all__
