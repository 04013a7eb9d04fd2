"""Requests over HTTP that are like others before them, but for the numbers in their raw tensors.

A client sends the same JSON in front of its tensors again and again. What follows from it alone is kept (`plans`). So
of such a request only the bytes of its tensors are looked at, and of its reply only the bytes are written. Nothing of
that is used any more as soon as the model may mean something else.

Nothing is kept of requests with an id, which would differ from request to request. They take the long way, as all that
has no plan, with the same outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest
from mindspore_serving.server.dialect.open_inference.outputs import tensors_of
from mindspore_serving.server.dialect.open_inference.parameters import sooner
from mindspore_serving.server.dialect.open_inference.plans import Plan, plan_of
from mindspore_serving.server.dialect.open_inference.rest_reply import BINARY_TYPE, LENGTH, http_reply
from mindspore_serving.server.dialect.open_inference.rest_request import header_length
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.tensor import Array, Specs

_LONGEST: Final = 1 << 12
"""Bytes of JSON that are kept."""
_MOST: Final = 256
"""Requests that are kept; clients choose them."""


class _Known:
    """What is known of requests that have one JSON.

    Args:
        asked: One of them. Its inputs are not kept.
        plan: What follows from it.

    Attributes:
        asked: As above, without inputs.
        plan: As above.
        reply_specs: What a row of the reply looked like, the last time that it was written the long way.
        reply_head: The JSON of that reply.
    """

    __slots__ = ("asked", "plan", "reply_head", "reply_specs")

    def __init__(self, asked: InferRequest, plan: Plan) -> None:
        self.asked = replace(asked, inputs=())
        self.plan = plan
        self.reply_specs: Specs | None = None
        self.reply_head = b""

    def instances(self, body: bytes, start: int) -> Rows:
        """The rows of a request, views of its body.

        Args:
            body: All of it.
            start: Where the raw tensors begin.
        """
        plan = self.plan
        columns: list[Array] = [
            np.ndarray(shape, dtype, body, start + offset) for _, offset, _, shape, dtype in plan.places
        ]
        return Rows(plan.specs, tuple(columns), plan.count)

    async def reply_to(self, blocks: Sequence[Rows]) -> HttpReply:
        """The reply of which every row has a result.

        Args:
            blocks: The results.
        """
        [first, *others] = blocks
        if not others and first.specs == self.reply_specs:
            columns, head = first.columns, self.reply_head
            raw = [columns[output.place] for output in self.plan.wanted]
            return HttpReply(
                200,
                b"".join([head, *raw]),  # type: ignore[list-item]  # arrays are buffers
                BINARY_TYPE,
                ((LENGTH, str(len(head))),),
            )
        return await self._written(blocks)

    async def _written(self, blocks: Sequence[Rows]) -> HttpReply:
        """A reply that is written the long way, and remembered if the next one can be like it."""
        destination, wanted = self.plan.destination, self.plan.wanted
        tensors = await tensors_of(blocks, destination.method, wanted)
        version = str(destination.servable.version)
        reply = await http_reply(InferReply(self.asked.model, version, "", tensors), self.asked)
        raw = [blocks[0].columns[output.place] for output in wanted]
        sizes = [
            column.nbytes for column in raw if not isinstance(column, list) and column.flags.c_contiguous
        ]
        if len(blocks) == 1 and len(sizes) == len(raw) and reply.content_type == BINARY_TYPE:
            length = len(reply.body) - sum(sizes)
            if dict(reply.headers)[LENGTH] == str(length):  # every output is binary
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
        length = _length_of(request)
        if not length:
            return None
        body, parts = request.body, request.parts
        known = self._known.get((parts["model"], parts.get("version", ""), body[:length]))
        if known is None or len(body) - length != known.plan.byte_size:
            return None
        destination = self._inference.check_room(known.asked.model, known.asked.version)
        if destination is not known.plan.destination:
            return None
        options = known.plan.options
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
        length = _length_of(request)
        if not length or asked.id:
            return
        plan = plan_of(asked, self._inference)
        if plan is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[asked.model, asked.version, request.body[:length]] = _Known(asked, plan)


def _length_of(request: HttpRequest) -> int:
    """Bytes of the JSON of a request with raw tensors; 0 for one of which nothing is kept."""
    headers = request.headers
    length = header_length(headers)
    if not length or length > _LONGEST or "content-encoding" in headers:
        return 0
    return length
