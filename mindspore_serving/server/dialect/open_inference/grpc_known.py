"""Requests of gRPC that are like others before them, but for their id and the numbers in their raw data.

What follows from the rest of a message is kept with what the message says (`grpc_request`): what the inputs are, and
that all of that is what the method takes. So of such a request only data is looked at, and of its reply only data is
written. Nothing of it is used any more as soon as the model may mean something else.

Only what is common is kept: tensors of numbers alone, none of them in shared memory. All else takes the long way, with
the same outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from mindspore_serving.errors import ServingError
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.datatypes import NUMERIC
from mindspore_serving.server.dialect.open_inference.grpc_reply import (
    heads_of_reply,
    parts_between,
    parts_of_reply,
)
from mindspore_serving.server.dialect.open_inference.grpc_request import Description, Message
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.inputs import input_types
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest, RawData
from mindspore_serving.server.dialect.open_inference.outputs import (
    WantedOutput,
    raw_numbers,
    tensors_of,
    wanted_outputs,
)
from mindspore_serving.server.dialect.open_inference.parameters import Options, options_of
from mindspore_serving.server.dialect.open_inference.shared_data import REGION
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.tensor import NUMPY_OF, Array, DataType, Specs, TensorSpec

_MOST: Final = 256
"""Kinds of requests that are kept; clients choose them."""


class _Place(NamedTuple):
    """Where an input of the method is.

    Attributes:
        number: Which piece of raw data it is.
        shape: Of its column.
        dtype: Of its elements.
        byte_size: Of its data.
    """

    number: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    byte_size: int


class _Known:
    """What is known of the requests of one kind.

    Attributes:
        destination: Where they go.
        options: What their parameters say.
        wanted: The outputs of their replies.
        specs: What one row looks like.
        places: Where the inputs are, in the order of the method.
        count: Rows.
        reply_specs: What a row of the last reply looked like.
        reply_heads: What that reply had before its id, and between that and its data.
    """

    __slots__ = (
        "count",
        "destination",
        "options",
        "places",
        "reply_heads",
        "reply_specs",
        "specs",
        "wanted",
    )

    def __init__(
        self,
        destination: Destination,
        options: Options,
        wanted: Sequence[WantedOutput],
        specs: Specs,
        places: Sequence[_Place],
        count: int,
    ) -> None:
        self.destination = destination
        self.options = options
        self.wanted = wanted
        self.specs = specs
        self.places = places
        self.count = count
        self.reply_specs: Specs | None = None
        self.reply_heads = (b"", b"")

    def instances(self, raw: Sequence[memoryview]) -> Rows | None:
        """The rows of a request, views of its message; None where its data has another size.

        Args:
            raw: The pieces of raw data.
        """
        columns: list[Array] = []
        for number, shape, dtype, byte_size in self.places:
            data = raw[number]
            if len(data) != byte_size:
                return None
            columns.append(np.ndarray(shape, dtype, data))
        return Rows(self.specs, tuple(columns), self.count)

    async def reply_to(self, model: str, id: str, blocks: Sequence[Rows]) -> list[RawData]:
        """The reply to a request of which every row has a result, in parts.

        Args:
            model: As it was asked for.
            id: Of the request.
            blocks: The results.
        """
        first = blocks[0]
        if len(blocks) == 1 and first.specs == self.reply_specs:
            columns: Any = first.columns
            data = [raw_numbers(columns[output.place]) for output in self.wanted]
            return parts_between(self.reply_heads, id, data)
        tensors = await tensors_of(blocks, self.destination.method, self.wanted)
        reply = InferReply(model, str(self.destination.servable.version), id, tensors)
        if len(blocks) == 1 and not any(spec.dtype.is_text for spec in first.specs):
            self.reply_specs, self.reply_heads = first.specs, heads_of_reply(reply)
        return parts_of_reply(reply)


class KnownRequests:
    """Answers requests that are like others before them.

    Args:
        inference: Answers requests for inference.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._known: dict[Description, _Known | None] = {}  # None for what is not common

    async def answer(self, message: Message) -> list[RawData] | None:
        """The reply to a request, in parts; None where it is like none before.

        Args:
            message: The request.

        Raises:
            ServingError: As `Inference.infer`.
        """
        said = message.description
        known = self._known.get(said)
        if known is None or len(message.raw) != len(known.places):
            return None
        instances = known.instances(message.raw)
        if instances is None:
            return None
        destination = self._inference.check_room(said.model, said.version)
        if destination is not known.destination:
            return None
        options = known.options
        blocks = await self._inference.outcome(destination, instances, options, options.timeout_s)
        return await known.reply_to(said.model, message.id, blocks)

    def learn(self, message: Message, request: InferRequest) -> None:
        """Keep what follows from a request that was answered.

        Args:
            message: The request, as it came.
            request: What it has asked.
        """
        said = message.description
        if not message.is_remembered or self._known.get(said, _Known) is None:
            return
        try:
            known = self._known_of(request)
        except ServingError:  # what has answered is gone meanwhile
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[said] = known

    def _known_of(self, request: InferRequest) -> _Known | None:
        """What is known of a request that was answered; None where it is not common."""
        options = options_of(request.parameters)
        if options.method:
            return None
        destination = self._inference.destination(request.model, request.version)
        method = destination.method
        wanted = wanted_outputs(request.outputs, method)
        if any(output.classes or REGION in output.parameters for output in wanted):
            return None
        found = {tensor.name: number for number, tensor in enumerate(request.inputs)}
        specs, places = [], []
        for expected in input_types(method):
            number = found[expected.name]
            tensor = request.inputs[number]
            dtype = NUMERIC.get(tensor.datatype, DataType.BOOL)
            if dtype is DataType.BOOL or expected.shared or not isinstance(tensor.data, memoryview):
                return None
            shape = tensor.shape if method.rows else (1, *tensor.shape)
            specs.append(TensorSpec(tensor.name, dtype, shape[1:]))
            places.append(_Place(number, shape, NUMPY_OF[dtype], len(tensor.data)))
        if not places or not places[0].shape[0]:
            return None
        return _Known(destination, options, wanted, tuple(specs), places, places[0].shape[0])
