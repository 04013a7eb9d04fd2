"""The client for asyncio programs."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from mindspore_serving.client.python.reply import InferResult, ReplyReader, grpc_failure
from mindspore_serving.client.python.request import Instances
from mindspore_serving.client.python.transport import CHANNEL_OPTIONS, PREDICT_PATH, MethodTarget, SSLConfig
from mindspore_serving.proto import ms_service_pb2_grpc


class AsyncClientResult:
    """A call under way, as `AsyncClient.infer_async` returns it."""

    def __init__(self, call: Any, reader: ReplyReader) -> None:
        self._call = call
        self._reader = reader

    async def result(self) -> InferResult:
        """Wait for the end of the call; to cancel the waiting task cancels the call.

        Returns:
            What `AsyncClient.infer` returns; a failure of gRPC is `{"error": text}` too, and no exception.

        Raises:
            ServingError: The reply cannot be read, or contradicts itself.
        """
        try:
            # To await the call itself would raise CancelledError also when the channel, not this task, was ended.
            code = await self._call.code()
        except asyncio.CancelledError:
            self._call.cancel()
            raise
        if code is not grpc.StatusCode.OK:
            return grpc_failure(code, await self._call.details())
        return self._reader.read(await self._call)


class AsyncClient(MethodTarget):
    """Calls one method of a servable from an event loop; otherwise as `Client`.

    The first call ties the client to the event loop that runs then.

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
        self._channel: Any = None
        self._stub: Any = None
        self._predict: Any = None

    @property
    def channel(self) -> Any:
        """The `grpc.aio` channel, made when first asked for, because it belongs to the running event loop."""
        if self._channel is None:
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self.address, CHANNEL_OPTIONS)
            else:
                self._channel = grpc.aio.secure_channel(self.address, self._credentials, CHANNEL_OPTIONS)
        return self._channel

    @property
    def stub(self) -> Any:
        """The generated stub of the service, on `channel`."""
        if self._stub is None:
            self._stub = ms_service_pb2_grpc.MSServiceStub(self.channel)
        return self._stub

    async def infer(self, instances: Instances, *, timeout: float | None = None) -> InferResult:
        """Send instances and wait for their results.

        Args:
            instances: As for `Client.infer`.
            timeout: Seconds until the call is given up; None waits without limit.

        Returns:
            As `Client.infer`.

        Raises:
            InvalidParameter: An instance is not a dict, or a value cannot be sent.
            ServingError: The client is closed, or the reply cannot be read or contradicts itself.
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
        if self._predict is None:
            self._predict = self.channel.unary_unary(PREDICT_PATH)
        call = self._predict(request, timeout=timeout, metadata=self._metadata)
        return AsyncClientResult(call, self._reader)

    async def close(self) -> None:
        """Close the connection; calls under way end with the error `cancelled`. A second call does nothing."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
