"""What is known of the methods that are asked for, made once for each."""

from __future__ import annotations

from typing import Final

from mindspore_serving.server.dialect.paddle.messages import Known
from mindspore_serving.server.dialect.paddle.tensors import known_of
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.signature import MethodSignature

_MOST_KEPT: Final = 256


class KnownMethods:
    """Remembers what is known of methods."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[MethodSignature, Known]] = {}

    def of(self, destination: Destination) -> Known:
        """What is known of the method of a destination."""
        method = destination.method
        key = destination.servable.name, method.name
        found = self._known.get(key)
        if found is not None and found[0] is method:
            return found[1]
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[key] = method, known_of(method)
        return self._known[key][1]
