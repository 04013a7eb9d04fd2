"""Requests of gRPC that are like others before them, but for their id and the numbers in their raw data.

What follows from the rest of a message (`plans`) is kept with what the message says (`request`). So of such a
request only data is looked at, and of its reply only data is written. Nothing of it is used any more as soon as the
model may mean something else. All that has no plan takes the long way, with the same outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.grpc.reply import (
    heads_of_reply,
    parts_between,
    parts_of_reply,
)
from mindspore_serving.server.dialect.open_inference.grpc.request import Description, Message
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest, RawData
from mindspore_serving.server.dialect.open_inference.outputs import raw_numbers, tensors_of
from mindspore_serving.server.dialect.open_inference.plans import Plan, plan_of
from mindspore_serving.tensor import Array, Specs

_MOST: Final = 256
"""Kinds of requests that are kept; clients choose them."""


class _Known:
    """What is known of the requests of one kind.

    Args:
        plan: What follows from them.

    Attributes:
        plan: As above.
        reply_specs: What a row of the last reply looked like.
        reply_heads: What that reply had before its id, and between that and its data.
    """

    __slots__ = ("plan", "reply_heads", "reply_specs")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.reply_specs: Specs | None = None
        self.reply_heads = (b"", b"")

    def instances(self, raw: Sequence[memoryview]) -> Rows | None:
        """The rows of a request, views of its message; None where its data has another size.

        Args:
            raw: The pieces of raw data.
        """
        plan = self.plan
        columns: list[Array] = []
        for number, _, byte_size, shape, dtype in plan.places:
            data = raw[number]
            if len(data) != byte_size:
                return None
            columns.append(np.ndarray(shape, dtype, data))
        return Rows(plan.specs, tuple(columns), plan.count)

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
            data = [raw_numbers(columns[output.place]) for output in self.plan.wanted]
            return parts_between(self.reply_heads, id, data)
        destination = self.plan.destination
        tensors = await tensors_of(blocks, destination.method, self.plan.wanted)
        reply = InferReply(model, str(destination.servable.version), id, tensors)
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
        if known is None or len(message.raw) != len(known.plan.places):
            return None
        instances = known.instances(message.raw)
        if instances is None:
            return None
        destination = self._inference.check_room(said.model, said.version)
        if destination is not known.plan.destination:
            return None
        options = known.plan.options
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
        plan = plan_of(request, self._inference)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[said] = None if plan is None else _Known(plan)
