"""The client that blocks, and the results of its calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, overload

import grpc

from mindspore_serving.check_type import check_ip_port, check_str
from mindspore_serving.client.python.async_client import AsyncClient
from mindspore_serving.client.python.reply import InferResult, ReplyReader, grpc_failure
from mindspore_serving.client.python.request import Instances
from mindspore_serving.client.python.transport import CHANNEL_OPTIONS, PREDICT_PATH, MethodTarget, SSLConfig
from mindspore_serving.proto import ms_service_pb2_grpc

__all__ = ["AsyncClient", "Client", "ClientGrpcAsyncResult", "SSLConfig"]


class ClientGrpcAsyncResult:
    """A call under way, as `Client.infer_async` returns it."""

    def __init__(self, call: Any, reader: ReplyReader) -> None:
        self._call = call
        self._reader = reader

    def result(self) -> InferResult:
        """Wait for the end of the call.

        Returns:
            What `Client.infer` returns; a failure of gRPC is `{"error": text}` too, and no exception.

        Raises:
            ServingError: The reply cannot be read, or contradicts itself.
        """
        code = self._call.code()
        if code is not grpc.StatusCode.OK:
            return grpc_failure(code, self._call.details())
        return self._reader.read(self._call.result())


def _takes_ip_and_port(init: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor that takes `address` first take `ip` and `port` in its place.

    The second positional argument tells the forms apart: an int is a port.
    """

    @functools.wraps(init)
    def either_form(self: object, *args: Any, api_key: str | None = None, **kwargs: Any) -> None:
        names_a_port = "port" in kwargs or (len(args) > 1 and type(args[1]) is int)
        if names_a_port and len(args) + len(kwargs) > 3:
            init(self, *_with_address(*args, **kwargs), api_key=api_key)
        else:
            init(self, *args, api_key=api_key, **kwargs)

    return either_form


def _with_address(
    ip: str, port: int, servable_name: str, method_name: str, version_number: int = 0
) -> tuple[str, str, str, int]:
    check_str("ip", ip)
    check_ip_port("port", port)
    return f"{ip}:{port}", servable_name, method_name, version_number


class Client(MethodTarget):
    """Calls one method of a servable, and waits for the results.

    No connection is made before the first call; it is then kept until `close`. One client may serve many threads.

    Args:
        address: Where the gRPC server listens: `ip:port`, `host:port` or `unix:path`.
        servable_name: Name of the servable.
        method_name: Name of the method.
        version_number: Version of the servable; 0 for the newest that runs.
        ssl_config: TLS settings; None for a connection without TLS.
        api_key: Secret that the server asks for, sent with each call; None for none.

    The older form `Client(ip, port, servable_name, method_name, version_number=0)` is understood as well.

    Raises:
        InvalidParameter: The type or value of a parameter is not as above.
        OSError: A file named in ssl_config cannot be read.

    Examples:
        >>> import numpy as np
        >>> from mindspore_serving.client import Client
        >>> instance = {"x1": np.ones((2, 2), np.float32), "x2": np.ones((2, 2), np.float32)}
        >>> with Client("127.0.0.1:5500", "add", "add_cast") as client:
        ...     print(client.infer([instance, instance]))
    """

    @overload
    def __init__(
        self,
        address: str,
        servable_name: str,
        method_name: str,
        version_number: int = 0,
        ssl_config: SSLConfig | None = None,
        *,
        api_key: str | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        ip: str,
        port: int,
        servable_name: str,
        method_name: str,
        version_number: int = 0,
        *,
        api_key: str | None = None,
    ) -> None: ...

    @_takes_ip_and_port
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
        if self._credentials is None:
            self.channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            self.channel = grpc.secure_channel(address, self._credentials, CHANNEL_OPTIONS)
        self.stub = ms_service_pb2_grpc.MSServiceStub(self.channel)
        self._predict: Any = self.channel.unary_unary(PREDICT_PATH)

    def infer(self, instances: Instances, *, timeout: float | None = None) -> InferResult:
        """Send instances and wait for their results.

        Args:
            instances: One instance or a list or tuple of them. An instance is a dict of input name to value:

                - NumPy array or scalar of bool, int8 to int64, uint8 to uint64 or float16 to float64: sent as it is.
                - bool, int or float: sent as bool, int64 or float64 of shape [1].
                - str or bytes.
            timeout: Seconds until the call is given up; None waits without limit.

        Returns:
            One dict per instance, in order: output name to value, or `{"error": text}` where this instance failed.
            Where the whole request failed, one `{"error": text}` instead of the list; so for a single instance that
            failed, and for a failure of gRPC, whose text is `Grpc Error, {(number, name)}, {details}`.

            A value is a read-only NumPy array (`array.copy()` can be written to), a str, or bytes.

        Raises:
            InvalidParameter: An instance is not a dict, or a value is none of the above.
            ServingError: The client is closed, or the reply cannot be read or contradicts itself.
        """
        request = self._encode(instances)
        try:
            reply = self._predict(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return grpc_failure(error.code(), error.details())
        return self._reader.read(reply)

    def infer_async(self, instances: Instances, *, timeout: float | None = None) -> ClientGrpcAsyncResult:
        """Send instances without waiting.

        Args:
            instances: As for `infer`.
            timeout: Seconds until the call is given up; None for no limit.

        Returns:
            An object whose `result()` waits, and returns what `infer` returns.

        Raises:
            InvalidParameter: As for `infer`.
            ServingError: The client is closed.
        """
        call = self._predict.future(self._encode(instances), timeout=timeout, metadata=self._metadata)
        return ClientGrpcAsyncResult(call, self._reader)

    def close(self) -> None:
        """Close the connection; calls under way end with the error `cancelled`. A second call does nothing."""
        self._closed = True
        self.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
