"""What follows from a request beside the numbers in its raw tensors: where it goes, and how its bytes become rows.

Requests that say the same have one plan, which both transports keep by what was said (`known_requests` of
`http/` and of `grpc/`). Only what is common has one: tensors of numbers alone, none of them in shared memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mindspore_serving.errors import ServingError
from mindspore_serving.server.dialect.open_inference.datatypes import NUMERIC
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.messages import InferRequest
from mindspore_serving.server.dialect.open_inference.outputs import WantedOutput, wanted_outputs
from mindspore_serving.server.dialect.open_inference.parameters import Options, options_of
from mindspore_serving.server.dialect.open_inference.shared_data import REGION
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.tensor import NUMPY_OF, DataType, Specs, TensorSpec


class Place(NamedTuple):
    """Where an input of the method is among the raw tensors of a request.

    Attributes:
        number: Which one it is.
        offset: Where it begins, where they stand one behind the other.
        byte_size: Of its data.
        shape: Of its column.
        dtype: Of its elements.
    """

    number: int
    offset: int
    byte_size: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from a request.

    Attributes:
        destination: Where it goes. The plan is good as long as such a request would go there.
        options: What its parameters say.
        wanted: The outputs of its reply.
        specs: What one row looks like.
        places: Where the inputs are, in the order of the method.
        count: Rows, at least 1.
        byte_size: Bytes of all raw tensors.
    """

    destination: Destination
    options: Options
    wanted: Sequence[WantedOutput]
    specs: Specs
    places: Sequence[Place]
    count: int
    byte_size: int


def plan_of(request: InferRequest, inference: Inference) -> Plan | None:
    """What follows from a request that was answered; None where it is not common.

    Args:
        request: It.
        inference: Which has answered it.
    """
    options = options_of(request.parameters)
    if options.method:
        return None
    try:
        destination = inference.destination(request.model, request.version)
        wanted = wanted_outputs(request.outputs, destination.method)
    except ServingError:  # what has answered is gone meanwhile
        return None
    if any(output.classes or REGION in output.parameters for output in wanted):
        return None
    return _with_places(request, destination, options, wanted)


def _with_places(
    request: InferRequest, destination: Destination, options: Options, wanted: Sequence[WantedOutput]
) -> Plan | None:
    found = {}
    at = 0
    for number, tensor in enumerate(request.inputs):
        if not isinstance(tensor.data, memoryview):
            return None
        found[tensor.name] = number, at, len(tensor.data), tensor
        at += len(tensor.data)
    method = destination.method
    specs, places = [], []
    for expected in method.inputs:
        if expected.name not in found or expected.shared:
            return None
        number, offset, byte_size, tensor = found[expected.name]
        dtype = NUMERIC.get(tensor.datatype, DataType.BOOL)
        if dtype is DataType.BOOL:  # of which each byte is looked at
            return None
        shape = tensor.shape if method.rows else (1, *tensor.shape)
        specs.append(TensorSpec(tensor.name, dtype, shape[1:]))
        places.append(Place(number, offset, byte_size, shape, NUMPY_OF[dtype]))
    if not places or not places[0].shape[0]:
        return None
    return Plan(destination, options, wanted, tuple(specs), places, places[0].shape[0], at)
