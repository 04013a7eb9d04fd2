"""What runs a model file. Begin with `contract`, what each backend offers, and `families`, which there are.

No other room names a library for models. Workers and agents ask here for a backend, which imports its library; the main
process asks `families`, which imports none.
"""

from __future__ import annotations

import functools

from mindspore_serving.server.backend.contract import Backend
from mindspore_serving.server.backend.families import family_named, family_of


def backend_for(model_format: str, enable_lite: bool) -> Backend:
    """The backend that runs models of a format; one for the whole process.

    Args:
        model_format: As declarations store it, a value of `MODEL_FORMATS` in `mindspore_serving/options.py`.
        enable_lite: Whether MindSpore Lite runs models that MindSpore could run too.

    Raises:
        StartUpError: No backend runs the format.
    """
    return _backend(family_of(model_format, enable_lite).name)


@functools.cache
def _backend(name: str) -> Backend:
    return create_backend(name)


def create_backend(name: str) -> Backend:
    """Make a backend; only the module of this one is imported.

    Args:
        name: Of a family.

    Raises:
        InvalidParameter: There is no such family.
    """
    return family_named(name).new_backend()
