"""The listener on grpc.aio, which every grpcio has: the way back from `on_core`.

A server of grpc.aio ends by itself at a call whose path is no UTF-8: a new one takes its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from mindspore_serving import log
from mindspore_serving.private_files import private_sockets
from mindspore_serving.server.transport.address import UNIX_PREFIX
from mindspore_serving.server.transport.grpc.library import (
    CallEnd,
    CallHandler,
    CallOver,
    FindHandler,
    Metadata,
)

_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_LOOK_EVERY_S: Final = 1.0
"""A server that has ended by itself is noticed by then."""
_CUT_OFF_S: Final = 5.0
"""Time for its calls to end, which are cancelled."""
_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class AioListener:
    """A `Listener` on grpc.aio. To be made on the event loop.

    Args:
        find: Finds what answers a call.
        options: Of gRPC, by its names.
        on_failure: Called on the loop, with the reason, if the server has ended by itself, and no other could take its
            place.
    """

    def __init__(
        self,
        find: FindHandler,
        options: Sequence[tuple[str, int]],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._handlers = _Handlers(find)
        self._options = list(options)
        self._on_failure = on_failure
        self._server = self._new_server()
        self._bound: tuple[str, grpc.ServerCredentials | None] = ("", None)
        self._watch: asyncio.Task[None] | None = None

    def _new_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options)
        server.add_generic_rpc_handlers((self._handlers,))
        return server

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Bind; see `Listener`."""
        self._bound = address, credentials
        if credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials)

    async def start(self) -> None:
        """Take calls from now on."""
        await self._server.start()
        self._watch = asyncio.create_task(self._replace_failed())

    async def _replace_failed(self) -> None:
        """Let another server take the place of one that ends by itself."""
        while True:
            try:
                # Looked at again and again: it has not terminated while a client keeps one of its calls.
                while await self._server.wait_for_termination(_LOOK_EVERY_S):
                    pass
            except Exception as error:  # whatever made it end
                log.error("The server of grpc.aio has ended, another one takes its place: %r", error)
            try:
                await asyncio.wait_for(self._server.stop(None), _CUT_OFF_S)
                self._server = self._new_server()
                self._bind_again()
                await self._server.start()
            except Exception as error:  # it cannot be helped here
                self._on_failure(error)
                return

    def _bind_again(self) -> None:
        address, credentials = self._bound
        # A Unix socket is made anew, and who may connect to it must not change.
        with private_sockets() if address.startswith(UNIX_PREFIX) else nullcontext():
            self.bind(address, credentials)

    async def stop(self, grace_s: float) -> None:
        """Close; see `Listener`."""
        if self._watch is not None:
            self._watch.cancel()
        await self._server.stop(grace_s)


class _Handlers(grpc.GenericRpcHandler):
    """The handlers of grpc.aio, of which all are for streamed requests.

    So they see that there is no message: gRPC never calls one for a single request then, and never answers.
    """

    def __init__(self, find: FindHandler) -> None:
        self._find = find

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call; None where no method has its path."""
        metadata: Any = handler_call_details.invocation_metadata or ()
        found = self._find(handler_call_details.method, metadata)
        if found is None:
            return None
        kind: Any = (
            grpc.stream_stream_rpc_method_handler if found.streams else grpc.stream_unary_rpc_method_handler
        )
        handler: grpc.RpcMethodHandler[Any, Any] = kind(_answered_by(found))
        return handler


def _answered_by(found: CallHandler) -> Callable[[Any, _Context], Any]:
    async def answer(requests: Any, context: _Context) -> bytes | None:
        try:
            message = await found.answer(_AioCall(context))
        except CallEnd as end:
            await context.abort(_STATUS_CODES[end.status], end.text)
        except CallOver as over:  # nobody is to be answered: all else would be logged
            raise asyncio.CancelledError from over
        if found.streams and message is not None:
            await context.write(message)
            return None
        return message

    return answer


class _AioCall:
    """A call of grpc.aio; a `ServerCall`."""

    __slots__ = ("_context", "peer")

    def __init__(self, context: _Context) -> None:
        self._context = context
        self.peer = context.peer()

    @property
    def metadata(self) -> Metadata:
        return tuple(self._context.invocation_metadata() or ())

    @property
    def has_message(self) -> bool:
        return False  # grpc.aio does not say

    @property
    def timeout_s(self) -> float | None:
        return self._context.time_remaining()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._context.auth_context()

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._context.set_trailing_metadata(tuple(metadata))

    def when_done(self, callback: Callable[[], None]) -> None:
        self._context.add_done_callback(lambda _: callback())  # type: ignore[arg-type]

    async def read(self) -> bytes | None:
        try:
            message: Any = await self._context.read()
        except grpc.aio.BaseError as cause:
            raise CallOver(str(cause)) from cause
        return None if message is grpc.aio.EOF else message

    async def write(self, message: bytes) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.BaseError as cause:
            raise CallOver(str(cause)) from cause
