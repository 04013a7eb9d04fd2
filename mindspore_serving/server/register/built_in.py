"""Built-in stages: functions that Serving brings along, named by a string in `add_stage`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindspore_serving.errors import RegistrationError, StageError
from mindspore_serving.tensor import DataType, encode_value


@dataclass(frozen=True, slots=True)
class BuiltInStage:
    """One built-in.

    Attributes:
        name: Name for `add_stage`.
        inputs_count: Number of inputs.
        outputs_count: Number of outputs.
        function: Called with the inputs of one instance; bytes come as `bytes`. What it raises is reported to the
            client as it is.
    """

    name: str
    inputs_count: int
    outputs_count: int
    function: Callable[..., Any]

    def check_counts(self, inputs_count: int, outputs_count: int) -> None:
        """Check how a method uses the stage.

        Raises:
            RegistrationError: With another number of inputs or outputs than it has.
        """
        given = (("inputs", inputs_count, self.inputs_count), ("outputs", outputs_count, self.outputs_count))
        for what, now, expected in given:
            if now != expected:
                raise RegistrationError(
                    f"function {self.name} {what} count {now} not match the count {expected} registered in method"
                )


def argmax(value: Any) -> Any:
    """Index of the first maximum of a flattened array, as an int64 scalar.

    Raises:
        StageError: The values are float16, bool, text, or there is none.
    """
    dtype, _, array = encode_value(value)
    if isinstance(array, bytes) or dtype in (DataType.FLOAT16, DataType.BOOL):
        raise StageError(f"Argmax not support data type {dtype.label}")
    if not array.size:
        raise StageError("Argmax needs at least one value, the array is empty")
    return np.int64(np.argmax(array))


BUILT_IN_STAGES: dict[str, BuiltInStage] = {"argmax_cpp": BuiltInStage("argmax_cpp", 1, 1, argmax)}


def add_built_in_stage(stage: BuiltInStage) -> None:
    """Make a stage known by its name in this process, for the methods that are registered from then on.

    Raises:
        RegistrationError: The name is taken.
    """
    if stage.name in BUILT_IN_STAGES:
        raise RegistrationError(f"Built-in stage '{stage.name}' has been registered more than once.")
    BUILT_IN_STAGES[stage.name] = stage
