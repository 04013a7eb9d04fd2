"""Where a request goes."""

from __future__ import annotations

from dataclasses import dataclass

from mindspore_serving.errors import DeadlineExceeded, ServableUnavailable
from mindspore_serving.server.dispatch.admitted_inputs import InputCheck
from mindspore_serving.server.dispatch.failures import deadline_exceeded
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.signature import MethodSignature


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes.

    Attributes:
        servable: A running version with at least one copy.
        method: What it asks for.
        version: The version that it asks for; 0 for the highest one that runs.
        generation: Tells whether anything has changed since it was found.
        check: Checks what the method declares of its inputs; None where that is nothing.
    """

    servable: RunningServable
    method: MethodSignature
    version: int = 0
    generation: int = 0
    check: InputCheck | None = None

    def check_served(self) -> None:
        """Check that the servable still runs the method.

        Raises:
            ServableUnavailable: It does not, and no copy that does is expected.
        """
        if not self.servable.serves(self.method.name):
            raise self.unavailable()

    def unavailable(self) -> ServableUnavailable:
        """The error of a request whose servable is gone."""
        return ServableUnavailable(self.servable.unavailable(self.method.name).text)

    def deadline_exceeded(self, timeout_s: float) -> DeadlineExceeded:
        """The error of a request whose client gave it too little time.

        Args:
            timeout_s: The time, in seconds.
        """
        servable = self.servable
        return deadline_exceeded(servable.name, self.method.name, servable.version, timeout_s)
