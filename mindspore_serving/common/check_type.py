"""The parameter checks, under their path of release 1.2."""

from mindspore_serving.check_type import *  # noqa: F403  # the same names
from mindspore_serving.check_type import __all__ as __all__
