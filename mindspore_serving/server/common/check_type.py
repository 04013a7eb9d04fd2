"""The parameter checks, under the path by which servables and scripts know them."""

from mindspore_serving.check_type import *  # noqa: F403  # the same names
from mindspore_serving.check_type import __all__ as __all__
