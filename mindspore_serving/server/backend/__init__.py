"""Backends: what runs a model file. `contract.py` says what each must offer."""

from __future__ import annotations

import functools

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.server.backend.contract import Backend
from mindspore_serving.server.host.device import BACKENDS, backend_name


def backend_for(model_format: str, enable_lite: bool) -> Backend:
    """The backend that runs models of a format; one for the whole process.

    Args:
        model_format: `mindir`, `mindir_lite` or `om`.
        enable_lite: Whether MindSpore Lite runs models that MindSpore could run too.

    Raises:
        StartUpError: No backend runs the format.
    """
    name = backend_name()
    if name == "stub":
        return _backend("stub")
    if model_format == "om":
        raise StartUpError(
            "Models of format OM cannot be run, expected MindIR or MindIR_Lite: export the model as MindIR"
        )
    return _backend("lite" if enable_lite or name == "lite" or model_format == "mindir_lite" else "mindspore")


@functools.cache
def _backend(name: str) -> Backend:
    return create_backend(name)


def create_backend(name: str) -> Backend:
    """Make a backend; only the module of this one is imported.

    Args:
        name: One of `device.BACKENDS`.

    Raises:
        InvalidParameter: There is no such backend.
    """
    if name == "mindspore":
        from mindspore_serving.server.backend.mindspore.backend import MindSporeBackend

        return MindSporeBackend()
    if name == "lite":
        from mindspore_serving.server.backend.lite.backend import LiteBackend

        return LiteBackend()
    if name == "stub":
        from mindspore_serving.server.backend.stub.backend import StubBackend

        return StubBackend()
    raise InvalidParameter(f"Backend {name!r} does not exist, expected {' or '.join(map(repr, BACKENDS))}")
