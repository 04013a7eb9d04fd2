"""Frames of HTTP/2 by hand, as no library would send them."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mindspore_serving.proto import ms_service_pb2
from tests.support.grpc_messages import PREDICT
from tests.support.http_requests import raw_connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
FIRST_WINDOW, LARGEST_FRAME = 65535, 16384
UPLOAD_TIMEOUT_S = 60.0
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 7, 8, 11


@dataclass(frozen=True)
class Frame:
    """What the server has sent."""

    kind: int
    flags: int
    stream: int
    content: bytes

    @property
    def number(self) -> int:
        """The error code of RST_STREAM and GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return int.from_bytes(self.content[at : at + 4], "big")


def frame(kind: int, flags: int = 0, stream: int = 0, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + content


def settings(window: int = 65535) -> bytes:
    """SETTINGS with the bytes of each reply that the server may send by itself."""
    return frame(SETTINGS, content=struct.pack(">HI", INITIAL_WINDOW_SIZE, window))


def field(name: str, value: str) -> bytes:
    """A header that goes into no table."""
    return raw_field(name.encode(), value.encode())


def raw_field(name: bytes, value: bytes) -> bytes:
    """The same of bytes that may be no text."""
    return b"\0" + b"".join(_length(len(content)) + content for content in (name, value))


def _length(size: int) -> bytes:
    if size < 127:
        return bytes((size,))
    size -= 127
    more = b""
    while size > 127:
        more += bytes((size & 127 | 128,))
        size >>= 7
    return b"\x7f" + more + bytes((size,))


def head_of(path: str) -> bytes:
    """The headers that every call of gRPC has."""
    return b"".join(
        field(name, value)
        for name, value in {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }.items()
    )


HEAD = head_of(PREDICT)


def headers(stream: int, more: bytes = b"", flags: int = END_HEADERS) -> bytes:
    """The begin of a call of Predict."""
    return frame(HEADERS, flags, stream, HEAD + more)


def headers_of(path: str, stream: int) -> bytes:
    """The begin of another call."""
    return frame(HEADERS, END_HEADERS, stream, head_of(path))


def message(method: str, value: int) -> bytes:
    """A message of gRPC that asks `one` for one instance."""
    request = ms_service_pb2.PredictRequest()
    request.servable_spec.name, request.servable_spec.method_name = "one", method
    tensor = request.instances.add().items["x"]
    tensor.dtype, tensor.data = ms_service_pb2.MS_INT64, struct.pack("<q", value)
    return message_of(request.SerializeToString())


def message_of(content: bytes) -> bytes:
    """A message of gRPC."""
    return struct.pack(">BI", 0, len(content)) + content


def call(stream: int, method: str, value: int) -> bytes:
    """A whole call of Predict."""
    return headers(stream) + frame(DATA, END_STREAM, stream, message(method, value))


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))


@contextlib.contextmanager
def http2_connection(address: str, greeting: bytes = PREFACE + settings()) -> Iterator[socket.socket]:
    """A connection to write frames to."""
    with raw_connection(address) as connection:
        connection.sendall(greeting)
        yield connection


def frames(connection: socket.socket) -> Iterator[Frame]:
    """What the server sends, until it closes the connection; settings and pings are acknowledged."""
    with connection.makefile("rb") as source:
        while len(head := _read(source, 9)) == 9:
            size = int.from_bytes(head[:3], "big")
            content = _read(source, size)
            got = Frame(head[3], head[4], int.from_bytes(head[5:9], "big"), content)
            if got.kind in (SETTINGS, PING) and not got.flags & ACK:
                _send(connection, frame(got.kind, ACK, content=content if got.kind == PING else b""))
            yield got


class Upload(threading.Thread):
    """Sends the first half of a message, as fast as the server lets it, and then waits; ended when its block is left.

    Args:
        address: Of the server.
        half: Bytes that it sends.
    """

    def __init__(self, address: str, half: int) -> None:
        super().__init__(daemon=True)
        self.refusal = b""
        self.sent = 0
        self._connection = socket.create_connection(_host_and_port(address), timeout=UPLOAD_TIMEOUT_S)
        self._rest = struct.pack(">BI", 0, 2 * half) + bytes(half)
        self._windows = {0: FIRST_WINDOW, 1: FIRST_WINDOW}
        self._first_window = FIRST_WINDOW

    def __enter__(self) -> Upload:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self.join()
        self._connection.close()

    def run(self) -> None:
        """Send, and keep what the server says instead of a reply."""
        _send(self._connection, PREFACE + settings() + headers(1))
        for one in frames(self._connection):
            if one.kind == HEADERS:
                self.refusal += one.content
            elif one.kind == WINDOW_UPDATE:
                self._windows[one.stream] += int.from_bytes(one.content, "big")
            elif one.kind == SETTINGS:
                self._note_window(one.content)
            self._send_on()

    def _note_window(self, content: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", content):
            if name == INITIAL_WINDOW_SIZE:
                self._windows[1] += value - self._first_window
                self._first_window = value

    def _send_on(self) -> None:
        while not self.refusal and (size := min(*self._windows.values(), len(self._rest), LARGEST_FRAME)) > 0:
            _send(self._connection, frame(DATA, 0, 1, self._rest[:size]))
            self._rest = self._rest[size:]
            self._windows = {stream: window - size for stream, window in self._windows.items()}
            self.sent += size


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _read(source: BinaryIO, size: int) -> bytes:
    try:
        return source.read(size)
    except ConnectionError:
        return b""


def _send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)
