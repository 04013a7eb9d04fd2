"""Looks into replies: a few before and after each turn, and some every second while a load tool is at work.

wrk and h2load do not look into replies, and servers may report errors in replies that look like any other. So a slow
client with a connection of its own compares whole replies beside them.
"""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol

import grpc

from benchmarks.connections import JSON_HEADERS

_TIMEOUT_S = 60.0
_MOST_BYTES = 1 << 29
_ONE_PIECE_BYTES = 8192


class Client(Protocol):
    """Sends requests of one kind, one after the other."""

    def ask(self) -> bytes:
        """Send one; returns the serialized message, or the body.

        Raises:
            ConnectionError: There is none.
        """

    def close(self) -> None:
        """Close the connection."""


class GrpcClient:
    """Calls a method with a serialized request."""

    def __init__(self, address: str, path: str, body: bytes) -> None:
        options = [
            ("grpc.max_receive_message_length", _MOST_BYTES),
            ("grpc.max_send_message_length", _MOST_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.insecure_channel(address, options=options)
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path)
        self._body = body

    def ask(self) -> bytes:
        """Send the request."""
        try:
            return bytes(self._call(self._body, timeout=_TIMEOUT_S, wait_for_ready=True))
        except grpc.RpcError as cause:
            raise ConnectionError(f"the call failed: {cause.code()}, {cause.details()}") from cause

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class RestClient:
    """Posts a body."""

    def __init__(
        self, address: str, path: str, body: bytes, headers: Mapping[str, str] = JSON_HEADERS
    ) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
        self._path = path
        self._body = body
        self._headers = headers

    def ask(self) -> bytes:
        """Send the request."""
        try:
            self._connection.request("POST", self._path, self._body, dict(self._headers))
            response = self._connection.getresponse()
            reply = response.read()
        except (OSError, http.client.HTTPException) as cause:
            self._connection.close()
            raise ConnectionError(f"the request failed: {cause!r}") from cause
        if response.status != 200:
            raise ConnectionError(f"HTTP status {response.status}: {reply[:200]!r}")
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def new_client(
    interface: str, address: str, path: str, body: bytes, headers: Mapping[str, str] = JSON_HEADERS
) -> Client:
    """A client for `grpc`, or for `rest` with these headers."""
    if interface == "grpc":
        return GrpcClient(address, path, body)
    return RestClient(address, path, body, headers)


class Checker:
    """Counts what was compared, and what was wrong.

    Args:
        client: Sends the request.
        expected: The reply.
    """

    def __init__(self, client: Client, expected: bytes) -> None:
        self._client = client
        self._expected = expected
        self.wrong = 0
        self.times: list[float] = []
        self.first_fault: str | None = None

    @property
    def checked(self) -> int:
        """Replies compared so far."""
        return len(self.times)

    def check(self, count: int = 1) -> None:
        """Send requests and compare each whole reply."""
        for _ in range(count):
            try:
                reply = self._client.ask()
                fault = None if reply == self._expected else _difference(reply, self._expected)
            except ConnectionError as error:
                fault = str(error)
            self.times.append(time.time())
            if fault is not None:
                self.wrong += 1
                self.first_fault = self.first_fault or fault

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def steadily(self, per_second: float) -> SteadyCheck:
        """Check until the block is left."""
        return SteadyCheck(self, 1 / per_second)


def _difference(reply: bytes, expected: bytes) -> str:
    pairs: Sequence[tuple[int, int]] = list(zip(reply, expected, strict=False))
    at = next((i for i, (one, other) in enumerate(pairs) if one != other), len(pairs))
    shown = reply[max(0, at - 20) : at + 60]
    return f"{len(reply)} bytes instead of {len(expected)}, different from byte {at} on: {shown!r}"


class SteadyCheck:
    """A thread that checks every so many seconds, at least once."""

    def __init__(self, checker: Checker, interval_s: float) -> None:
        self._checker = checker
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checker")

    def __enter__(self) -> SteadyCheck:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._checker.check()
            if self._stop.wait(self._interval_s):
                return


def wrong_by_size(total_bytes: int, requests: int, reply_bytes: int, clients: int) -> int:
    """How many replies, at least, must have had another size, by the bytes that a load tool has received.

    Args:
        total_bytes: All that it has received.
        requests: Replies that it has counted.
        reply_bytes: Size of a right reply.
        clients: Each may have received one more reply when the tool stopped: all of it if it is small, as these come in
            one piece, or any part of it.
    """
    surplus = total_bytes - requests * reply_bytes
    excess = max(-surplus, surplus - clients * reply_bytes, 0)
    odd = reply_bytes <= _ONE_PIECE_BYTES and surplus % reply_bytes != 0
    return max(math.ceil(excess / reply_bytes), int(odd))
