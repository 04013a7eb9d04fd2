"""Requests over HTTP that are like others before them, but for the numbers in their raw tensors.

A client sends the same JSON in front of its tensors again and again. What follows from it alone is kept (`plans`). So
of such a request only the bytes of its tensors are looked at, and of its reply only the bytes are written. Nothing of
that is used any more as soon as the model may mean something else.

An id differs from request to request. It is cut out where it is first in the JSON, as clients write it, and needs no
more than a look: `{"id": "7", ...}`. All that has it elsewhere, or has no plan, takes the long way, with the same
outcome.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import orjson

from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.http.reply import BINARY_TYPE, LENGTH, http_reply
from mindspore_serving.server.dialect.open_inference.http.request import header_length
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest
from mindspore_serving.server.dialect.open_inference.outputs import tensors_of
from mindspore_serving.server.dialect.open_inference.parameters import sooner
from mindspore_serving.server.dialect.open_inference.plans import Plan, plan_of
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.tensor import Array, Specs

_LONGEST: Final = 1 << 12
"""Bytes of JSON that are kept."""
_MOST: Final = 256
"""Requests that are kept; clients choose them."""
_WITH_ID: Final = re.compile(rb'\{[ \t\n\r]*"id"[ \t\n\r]*:[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*,')
"""How a JSON object begins of which the first member is an id without escapes."""


class _Said(NamedTuple):
    """The JSON of a request, cut apart.

    Attributes:
        id: Of the request; "" for none that was cut out.
        rest: The JSON of the request without it.
        length: Bytes of the JSON as it came.
    """

    id: str
    rest: bytes
    length: int


class _Known:
    """What is known of requests that have one JSON.

    Args:
        asked: One of them. Its id and its inputs are not kept.
        plan: What follows from it.

    Attributes:
        asked: As above, without id and inputs.
        plan: As above.
        reply_specs: What a row of the reply looked like, the last time that it was written the long way.
        reply_head: The JSON of that reply before its id, and behind that.
    """

    __slots__ = ("asked", "plan", "reply_head", "reply_specs")

    def __init__(self, asked: InferRequest, plan: Plan) -> None:
        self.asked = replace(asked, id="", inputs=())
        self.plan = plan
        self.reply_specs: Specs | None = None
        self.reply_head = (b"", b"")

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

    async def reply_to(self, id: str, blocks: Sequence[Rows]) -> HttpReply:
        """The reply of which every row has a result.

        Args:
            id: Of the request.
            blocks: The results.
        """
        first = blocks[0]
        if len(blocks) == 1 and first.specs == self.reply_specs:
            columns = first.columns
            before, behind = self.reply_head
            middle = _member(id)
            raw = [columns[output.place] for output in self.plan.wanted]
            return HttpReply(
                200,
                b"".join([before, middle, behind, *raw]),  # type: ignore[list-item]  # arrays are buffers
                BINARY_TYPE,
                ((LENGTH, str(len(before) + len(middle) + len(behind))),),
            )
        return await self._written(id, blocks)

    async def _written(self, id: str, blocks: Sequence[Rows]) -> HttpReply:
        """A reply that is written the long way, and remembered if the next one can be like it."""
        destination, wanted = self.plan.destination, self.plan.wanted
        tensors = await tensors_of(blocks, destination.method, wanted)
        version = str(destination.servable.version)
        reply = await http_reply(InferReply(self.asked.model, version, id, tensors), self.asked)
        raw = [blocks[0].columns[output.place] for output in wanted]
        sizes = [
            column.nbytes for column in raw if not isinstance(column, list) and column.flags.c_contiguous
        ]
        if len(blocks) == 1 and len(sizes) == len(raw) and reply.content_type == BINARY_TYPE:
            length = len(reply.body) - sum(sizes)
            if dict(reply.headers)[LENGTH] == str(length):  # every output is binary
                target = orjson.dumps({"model_name": self.asked.model, "model_version": version})
                begin = len(target) - 1  # where the id stands
                end = begin + len(_member(id))
                self.reply_specs = blocks[0].specs
                self.reply_head = reply.body[:begin], reply.body[end:length]
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
        said = _said(request)
        if said is None:
            return None
        id, rest, length = said
        body, parts = request.body, request.parts
        known = self._known.get((parts["model"], parts.get("version", ""), rest))
        if known is None or len(body) - length != known.plan.byte_size:
            return None
        destination = self._inference.check_room(known.asked.model, known.asked.version)
        if destination is not known.plan.destination:
            return None
        options = known.plan.options
        blocks = await self._inference.outcome(
            destination, known.instances(body, length), options, sooner(options.timeout_s, request.timeout_s)
        )
        return await known.reply_to(id, blocks)

    def learn(self, request: HttpRequest, asked: InferRequest) -> None:
        """Keep what follows from a request that was answered.

        Args:
            request: Of HTTP.
            asked: What it has asked.
        """
        said = _said(request)
        if said is None or _has_id(said.rest):
            return
        plan = plan_of(asked, self._inference)
        if plan is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[asked.model, asked.version, said.rest] = _Known(asked, plan)


def _said(request: HttpRequest) -> _Said | None:
    """The JSON of a request with raw tensors; None for one of which nothing is kept."""
    headers = request.headers
    length = header_length(headers)
    if not length or length > _LONGEST or "content-encoding" in headers:
        return None
    text = request.body[:length]
    found = _WITH_ID.match(text)
    if found is None:
        return _Said("", text, length)
    try:
        return _Said(found[1].decode(), b"{" + text[found.end() :], length)
    except UnicodeDecodeError:  # which is refused
        return None


def _has_id(rest: bytes) -> bool:
    """Whether a request that was answered has an id that was not cut out; then it counts, and not the first one."""
    try:
        return "id" in orjson.loads(rest)
    except orjson.JSONDecodeError:  # what was cut out was all of it
        return True


def _member(id: str) -> bytes:
    """The id in the JSON of a reply."""
    return b',"id":' + orjson.dumps(id) if id else b""
