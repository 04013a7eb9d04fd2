"""The client that blocks, and the results of its calls."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast, overload

import grpc

from mindspore_serving.check_type import check_ip_port, check_str
from mindspore_serving.client.python import calls_in_progress
from mindspore_serving.client.python.async_client import AsyncClient
from mindspore_serving.client.python.connection import Connection
from mindspore_serving.client.python.proxy import Proxy
from mindspore_serving.client.python.reply import InferResult, ReplyReader, failure_elsewhere, grpc_failure
from mindspore_serving.client.python.request import Instances
from mindspore_serving.client.python.transport import MethodTarget, SSLConfig

__all__ = ["AsyncClient", "Client", "ClientGrpcAsyncResult", "SSLConfig"]


class ClientGrpcAsyncResult:
    """A call under way, as `Client.infer_async` returns it."""

    def __init__(self, call: Any, reader: ReplyReader, proxy: Proxy | None) -> None:
        self._call = call
        self._reader = reader
        self._proxy = proxy
        self._process = os.getpid()

    def result(self) -> InferResult:
        """Wait for the end of the call.

        Returns:
            What `Client.infer` returns; a failure of gRPC is `{"error": text}` too, and no exception. So it is in a
            process that was forked after the call was sent.

        Raises:
            ServingError: The reply cannot be read, or contradicts itself.
        """
        if self._process != os.getpid():
            return failure_elsewhere(self._process)
        code = self._call.code()
        if code is not grpc.StatusCode.OK:
            return grpc_failure(code, self._call.details(), self._proxy)
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

    No connection is made before the first call; it is then kept until `close`. One client may serve many threads. A
    process that was forked makes a connection of its own.

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
        ServingError: gRPC cannot be used in this process, which was forked from a server or by its script.

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
        self._connections = {os.getpid(): Connection(address, self._credentials)}

    @property
    def channel(self) -> grpc.Channel:
        """The gRPC channel of this process."""
        return cast("grpc.Channel", self._connection().channel)

    @property
    def stub(self) -> Any:
        """The generated stub of the service, on `channel`."""
        return self._connection().stub

    def _connection(self) -> Connection:
        process = os.getpid()
        known = self._connections.get(process)
        if known is None:  # this process was forked
            made = Connection(self.address, self._credentials)
            known = self._connections.setdefault(process, made)
            if known is not made:  # another thread was faster
                made.channel.close()
        return known

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
            ServingError: The client is closed, or gRPC cannot be used in this process, which was forked; or the reply
                cannot be read or contradicts itself.
        """
        request = self._encode(instances)
        connection = self._connection()
        thread = threading.get_ident()
        try:
            calls_in_progress.begin(thread)
            reply = connection.predict(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return grpc_failure(error.code(), error.details(), connection.proxy)
        finally:
            calls_in_progress.end(thread)
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
        request = self._encode(instances)
        connection = self._connection()
        mark = object()
        try:
            calls_in_progress.begin(mark)
            call = connection.predict.future(request, timeout=timeout, metadata=self._metadata)
        except BaseException:
            calls_in_progress.end(mark)
            raise
        call.add_done_callback(lambda _: calls_in_progress.end(mark))
        return ClientGrpcAsyncResult(call, self._reader, connection.proxy)

    def close(self) -> None:
        """Close the connection; calls under way end with the error `cancelled`. A second call does nothing."""
        self._closed = True
        if (connection := self._connections.get(os.getpid())) is not None:
            connection.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
