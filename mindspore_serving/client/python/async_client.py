"""The client for asyncio programs."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Any, TypeAlias

import grpc

from mindspore_serving.client.python.connection import FIRST_PROCESS, Connection
from mindspore_serving.client.python.future_call import FutureCall
from mindspore_serving.client.python.proxy import Proxy
from mindspore_serving.client.python.reply import InferResult, ReplyReader, failure_elsewhere, grpc_failure
from mindspore_serving.client.python.request import Instances
from mindspore_serving.client.python.transport import MethodTarget, SSLConfig

# A process, and one of its event loops; None for all of them where the channel is not one of grpc.aio.
_Place: TypeAlias = tuple[int, "asyncio.AbstractEventLoop | None"]


class AsyncClientResult:
    """A call under way, as `AsyncClient.infer_async` returns it."""

    def __init__(self, call: Any, reader: ReplyReader, proxy: Proxy | None) -> None:
        self._call = call
        self._reader = reader
        self._proxy = proxy
        self._process = os.getpid()

    async def result(self) -> InferResult:
        """Wait for the end of the call; to cancel the waiting task cancels the call.

        Returns:
            What `AsyncClient.infer` returns; a failure of gRPC is `{"error": text}` too, and no exception. So it is in
            a process that was forked after the call was sent.

        Raises:
            ServingError: The reply cannot be read, or contradicts itself.
        """
        if self._process != os.getpid():
            return failure_elsewhere(self._process)
        try:
            # To await the call itself would raise CancelledError also when the channel, not this task, was ended.
            code = await self._call.code()
        except asyncio.CancelledError:
            self._call.cancel()
            raise
        if code is not grpc.StatusCode.OK:
            return grpc_failure(code, await self._call.details(), self._proxy)
        return self._reader.read(await self._call)


class AsyncClient(MethodTarget):
    """Calls one method of a servable from an event loop; otherwise as `Client`.

    Each event loop that it is used in has a connection of its own, and so has each process.

    Args:
        address: Where the gRPC server listens: `ip:port`, `host:port` or `unix:path`.
        servable_name: Name of the servable.
        method_name: Name of the method.
        version_number: Version of the servable; 0 for the newest that runs.
        ssl_config: TLS settings; None for a connection without TLS.
        api_key: Secret that the server asks for, sent with each call; None for none.

    Raises:
        InvalidParameter: The type or value of a parameter is not as above.
        OSError: A file named in ssl_config cannot be read.

    Examples:
        >>> async with AsyncClient("127.0.0.1:5500", "add", "add_cast") as client:
        ...     print(await client.infer(instances))
    """

    def __init__(
        self,
        address: str,
        servable_name: str,
        method_name: str,
        version_number: int = 0,
        ssl_config: SSLConfig | None = None,
        *,
        api_key: str | None = None,
    ) -> None:
        super().__init__(address, servable_name, method_name, version_number, ssl_config, api_key)
        self._connections: dict[_Place, Connection] = {}

    @property
    def channel(self) -> Any:
        """The `grpc.aio` channel of the running event loop; a `grpc.Channel` in a process that was forked."""
        return self._connection().channel

    @property
    def stub(self) -> Any:
        """The generated stub of the service, on `channel`."""
        return self._connection().stub

    def _connection(self) -> Connection:
        process, loop = os.getpid(), asyncio.get_running_loop()
        place = (process, loop if process == FIRST_PROCESS else None)
        return self._connections.get(place) or self._connect(place)

    def _connect(self, place: _Place) -> Connection:
        made = Connection(self.address, self._credentials, for_asyncio=place[1] is not None)
        known = self._connections.setdefault(place, made)
        if known is not made:  # another thread of a forked process was faster
            made.channel.close()
        for process, loop in list(self._connections):
            if process == place[0] and loop is not None and loop.is_closed():
                self._connections.pop((process, loop), None)
        return known

    async def infer(self, instances: Instances, *, timeout: float | None = None) -> InferResult:
        """Send instances and wait for their results.

        Args:
            instances: As for `Client.infer`.
            timeout: Seconds until the call is given up; None waits without limit.

        Returns:
            As `Client.infer`.

        Raises:
            InvalidParameter: An instance is not a dict, or a value cannot be sent.
            ServingError: The client is closed, or gRPC cannot be used in this process, which was forked; or the reply
                cannot be read or contradicts itself.
        """
        return await self.infer_async(instances, timeout=timeout).result()

    def infer_async(self, instances: Instances, *, timeout: float | None = None) -> AsyncClientResult:
        """Send instances without waiting; must be called while the event loop runs.

        Args:
            instances: As for `Client.infer`.
            timeout: Seconds until the call is given up; None for no limit.

        Returns:
            An object whose `await result()` waits, and returns what `infer` returns.

        Raises:
            InvalidParameter: As for `infer`.
            ServingError: The client is closed.
        """
        request = self._encode(instances)
        connection = self._connection()
        call: Any
        if connection.for_asyncio:
            call = connection.predict(request, timeout=timeout, metadata=self._metadata)
        else:
            call = FutureCall(connection.predict.future(request, timeout=timeout, metadata=self._metadata))
        return AsyncClientResult(call, self._reader, connection.proxy)

    async def close(self) -> None:
        """Close the connection; calls under way end with the error `cancelled`. A second call does nothing."""
        self._closed = True
        here = asyncio.get_running_loop()
        for (process, loop), connection in list(self._connections.items()):
            if process != os.getpid():
                continue
            if loop is None:
                connection.channel.close()
            elif loop is here:
                await connection.channel.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(connection.channel.close(), loop)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
