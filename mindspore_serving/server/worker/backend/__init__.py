"""Backends: what runs a model file. `contract.py` says what each must offer."""

from __future__ import annotations

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.device import BACKENDS
from mindspore_serving.server.worker.backend.contract import Backend


def create_backend(name: str) -> Backend:
    """Make a backend; only the module of this one is imported.

    Args:
        name: One of `device.BACKENDS`.

    Raises:
        InvalidParameter: There is no such backend.
    """
    if name == "mindspore":
        from mindspore_serving.server.worker.backend.mindspore_backend import MindSporeBackend

        return MindSporeBackend()
    if name == "stub":
        from mindspore_serving.server.worker.backend.stub_backend import StubBackend

        return StubBackend()
    raise InvalidParameter(f"Backend {name!r} does not exist, expected {' or '.join(map(repr, BACKENDS))}")
