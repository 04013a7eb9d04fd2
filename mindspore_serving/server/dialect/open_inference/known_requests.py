"""Requests that are like others before them, but for the numbers in their raw tensors.

A client sends the same JSON in front of its tensors again and again. What follows from it alone is kept: where the
bytes of each input are, what they are, and that all of that is what the method takes. So of such a request only the
bytes are looked at, and of its reply only the bytes are written. Nothing of that is used any more as soon as the model
may mean something else.

Only what is common is kept: tensors of numbers alone, none of them in shared memory, and no id, which would differ from
request to request. All else takes the long way, with the same outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from mindspore_serving.errors import ServingError
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.datatypes import NUMERIC
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.inputs import input_types
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest
from mindspore_serving.server.dialect.open_inference.outputs import WantedOutput, tensors_of, wanted_outputs
from mindspore_serving.server.dialect.open_inference.parameters import Options, options_of, sooner
from mindspore_serving.server.dialect.open_inference.rest_reply import BINARY_TYPE, LENGTH, http_reply
from mindspore_serving.server.dialect.open_inference.rest_request import header_length
from mindspore_serving.server.dialect.open_inference.shared_data import REGION
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.tensor import NUMPY_OF, Array, DataType, Specs, TensorSpec

_LONGEST: Final = 1 << 12
"""Bytes of JSON that are kept."""
_MOST: Final = 256
"""Requests that are kept; clients choose them."""


class _Place(NamedTuple):
    """Where an input is in the raw tensors.

    Attributes:
        shape: Of its column.
        dtype: Of its elements.
        offset: Where it begins.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int


class _Known:
    """What is known of requests that have one JSON.

    Attributes:
        asked: One of them, without its inputs: those of a request that has ended are not kept.
        destination: Where they go.
        options: What their parameters say.
        wanted: The outputs of their replies.
        specs: What one row looks like.
        places: Where the inputs are, in the order of the method.
        count: Rows.
        byte_size: Bytes of all raw tensors.
        reply_specs: What a row of the reply looked like, the last time that it was written the long way.
        reply_head: The JSON of that reply.
    """

    __slots__ = (
        "asked",
        "byte_size",
        "count",
        "destination",
        "options",
        "places",
        "reply_head",
        "reply_specs",
        "specs",
        "wanted",
    )

    def __init__(
        self,
        asked: InferRequest,
        destination: Destination,
        options: Options,
        wanted: Sequence[WantedOutput],
        specs: Specs,
        places: Sequence[_Place],
        count: int,
        byte_size: int,
    ) -> None:
        self.asked = replace(asked, inputs=())
        self.destination = destination
        self.options = options
        self.wanted = wanted
        self.specs = specs
        self.places = places
        self.count = count
        self.byte_size = byte_size
        self.reply_specs: Specs | None = None
        self.reply_head = b""

    def instances(self, body: bytes, start: int) -> Rows:
        """The rows of a request, views of its body.

        Args:
            body: All of it.
            start: Where the raw tensors begin.
        """
        columns: list[Array] = [
            np.ndarray(shape, dtype, body, start + offset) for shape, dtype, offset in self.places
        ]
        return Rows(self.specs, tuple(columns), self.count)

    async def reply_to(self, blocks: Sequence[Rows]) -> HttpReply:
        """The reply of which every row has a result.

        Args:
            blocks: The results.
        """
        [first, *others] = blocks
        if not others and first.specs == self.reply_specs and first.count == self.count:
            columns = first.columns
            head = self.reply_head
            body = b"".join([head, *[columns[output.place] for output in self.wanted]])  # type: ignore[list-item]
            return HttpReply(200, body, BINARY_TYPE, ((LENGTH, str(len(head))),))
        return await self._written(blocks)

    async def _written(self, blocks: Sequence[Rows]) -> HttpReply:
        """A reply that is written the long way, and remembered if the next one can be like it."""
        version = str(self.destination.servable.version)
        tensors = await tensors_of(blocks, self.destination.method, self.wanted)
        reply = await http_reply(InferReply(self.asked.model, version, "", tensors), self.asked)
        raw = [blocks[0].columns[output.place] for output in self.wanted]
        sizes = [
            column.nbytes for column in raw if not isinstance(column, list) and column.flags.c_contiguous
        ]
        if len(blocks) == 1 and len(sizes) == len(raw) and reply.content_type == BINARY_TYPE:
            length = header_length({name.lower(): value for name, value in reply.headers}) or 0
            if len(reply.body) - length == sum(sizes):  # every output is binary
                self.reply_specs, self.reply_head = blocks[0].specs, reply.body[:length]
        return reply


class KnownRequests:
    """Answers requests that are like others before them.

    Args:
        inference: Answers requests for inference.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._known: dict[tuple[str, str, bytes], _Known] = {}

    def __repr__(self) -> str:
        return f"<KnownRequests {len(self._known)} kinds>"

    async def answer(self, request: HttpRequest) -> HttpReply | None:
        """The reply to a request; None where it is like none before.

        Args:
            request: Of HTTP.

        Raises:
            ServingError: As `Inference.infer`.
        """
        headers = request.headers
        length = header_length(headers)
        if not length or length > _LONGEST or "content-encoding" in headers:
            return None
        body, parts = request.body, request.parts
        known = self._known.get((parts["model"], parts.get("version", ""), body[:length]))
        if known is None or len(body) - length != known.byte_size:
            return None
        destination = self._inference.check_room(known.asked.model, known.asked.version)
        if destination is not known.destination:
            return None
        options = known.options
        blocks = await self._inference.outcome(
            destination, known.instances(body, length), options, sooner(options.timeout_s, request.timeout_s)
        )
        return await known.reply_to(blocks)

    def learn(self, request: HttpRequest, asked: InferRequest) -> None:
        """Keep what follows from a request that was answered.

        Args:
            request: Of HTTP.
            asked: What it has asked.
        """
        length = header_length(request.headers)
        if not length or length > _LONGEST or "content-encoding" in request.headers:
            return
        options = options_of(asked.parameters)
        if asked.id or options.method:
            return
        try:
            destination = self._inference.destination(asked.model, asked.version)
        except ServingError:  # what has answered is gone meanwhile
            return
        known = _known_of(asked, destination, options)
        if known is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[asked.model, asked.version, request.body[:length]] = known


def _known_of(asked: InferRequest, destination: Destination, options: Options) -> _Known | None:
    """What is known of a request that was answered; None where it is not common."""
    method = destination.method
    wanted = wanted_outputs(asked.outputs, method)
    if any(output.classes or REGION in output.parameters for output in wanted):
        return None
    offsets: dict[str, int] = {}
    at = 0
    for tensor in asked.inputs:
        dtype = NUMERIC.get(tensor.datatype)
        if dtype in (None, DataType.BOOL) or not isinstance(tensor.data, memoryview):
            return None
        offsets[tensor.name] = at
        at += len(tensor.data)
    tensors = {tensor.name: tensor for tensor in asked.inputs}
    specs, places = [], []
    for wanted_type in input_types(method):
        tensor = tensors[wanted_type.name]
        if wanted_type.shared:
            return None
        dtype = NUMERIC[tensor.datatype]
        shape = tensor.shape if method.rows else (1, *tensor.shape)
        specs.append(TensorSpec(tensor.name, dtype, shape[1:]))
        places.append(_Place(shape, NUMPY_OF[dtype], offsets[tensor.name]))
    if not places or not places[0].shape[0]:
        return None
    count = places[0].shape[0]
    return _Known(asked, destination, options, wanted, tuple(specs), places, count, at)
