"""How requests of both services are run: small and large ones, and those whose replies are large."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, cast

from mindspore_serving.rows import Reply, Rows, failures_in
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host.waiting import result_until
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.server.transport.grpc_routes import GrpcCall, GrpcReply, GrpcStatus, client_error
from mindspore_serving.server.transport.http_routes import BodyContent, BodyFormat, HttpRequest

_SMALL_BYTES: Final = 1 << 16
"""Bytes of a message up to which its reading cannot take so long that others would notice."""
_LARGE_REPLY_BYTES: Final = 1 << 16


class Running:
    """Runs requests.

    Args:
        dispatcher: Where instances go.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.check_room = dispatcher.check_room
        self.reading = dispatcher.reading
        self.admit = dispatcher.admit

    async def run(
        self,
        request: HttpRequest,
        form: BodyFormat,
        argument: Any,
        destination: Destination,
        timeout_s: float | None,
        take: Callable[[BodyContent], Sequence[Rows]],
    ) -> Reply:
        """Read the body of a request, a large one in a process of its own, and run its instances.

        Args:
            request: It.
            form: How its body is read.
            argument: What `form` is given.
            destination: Where it goes.
            timeout_s: Seconds until the reply; None for no limit.
            take: Given what the body holds, says which instances are to be run; may refuse that.

        Returns:
            The outcome of every instance.

        Raises:
            ServingError: There is no room for it, or it is not what it should be.
        """
        self._dispatcher.check_room(destination)
        content = request.read_small(form, argument)
        if content is not None:
            return await self._dispatcher.admit(destination, take(content), timeout_s)
        late = None if timeout_s is None else destination.deadline_exceeded(timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self._dispatcher.reading(destination) as admission:
            content = await request.read_large(form, argument, until, late)
            outcome = admission.admit(take(content))
        return await result_until(until, late, outcome)

    def writing(self, destination: Destination, blocks: Sequence[Rows]) -> AbstractContextManager[None]:
        """Keep an answered request pending while its reply is being written, where that takes long."""
        if sum(block.byte_size for block in blocks) <= _LARGE_REPLY_BYTES:
            return nullcontext()
        return self._dispatcher.writing(destination)

    @staticmethod
    def sized(message: bytes, call: GrpcCall) -> GrpcReply:
        """A reply of gRPC.

        Raises:
            GrpcError: It has more bytes than a message may have.
        """
        most = call.largest_reply
        if len(message) > most:
            text = f"SERVER: Sent message larger than max ({len(message)} vs. {most})"
            raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, text)
        return GrpcReply(message)


def is_small(message: bytes) -> bool:
    """Whether a message is read at once."""
    return len(message) <= _SMALL_BYTES


def results_of(outcome: Reply) -> list[Rows]:
    """The results of a request.

    Raises:
        RowsFailed: A row has none.
    """
    if failures_in(outcome):
        raise RowsFailed(outcome)
    return cast("list[Rows]", outcome)
