"""A client for one kind of unary gRPC call with bodies that are ready to be sent: as little work per call as possible.

It speaks just the HTTP/2 that such calls need. The headers of all calls are the same: the first call of a connection
leaves them in the server's table, the others name them by their number there, as clients of gRPC do. Headers of
replies are not decoded: a call without error has a message, and the message is compared.

Numbers and layouts are those of RFC 9113 (HTTP/2) and RFC 7541 (header compression).
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import cast

from mindspore_serving.cli.load.connections import Done

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_SETTING_PUSH, _SETTING_WINDOW = 2, 4
_FRAME_HEAD = struct.Struct(">HBBBI")
_HEAD_BYTES = 9
_FIRST_WINDOW = 65535
_LARGEST_WINDOW = (1 << 31) - 1
_FRAME_BYTES = 16384


def grpc_frame(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, with its length before it."""
    return b"\0" + struct.pack(">I", len(message)) + message


def _frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    size = len(payload)
    return _FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def _text(value: str) -> bytes:
    if len(value) > 126:
        raise ValueError(f"a header of at most 126 bytes was expected, got {value!r}")
    return bytes([len(value)]) + value.encode()


def _first_headers(authority: str, path: str) -> bytes:
    """POST and http are in the table of the standard; the other four go into the server's table as 65 down to 62."""
    te = b"\x40" + _text("te") + _text("trailers")
    content_type = b"\x5f" + _text("application/grpc")
    return b"\x83\x86" + b"\x44" + _text(path) + b"\x41" + _text(authority) + te + content_type


_LATER_HEADERS = bytes([0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62])


@dataclass
class _Upload:
    """What is still to be sent on a stream, and how much of it the server takes by now."""

    rest: memoryview
    window: int


@dataclass
class _Call:
    done: Done
    chunks: list[bytes] = field(default_factory=list)


class GrpcConnection(asyncio.Protocol):
    """One HTTP/2 connection; any number of calls may be under way.

    Args:
        authority: `host:port` of the server.
        path: `/package.Service/Method`.
    """

    concurrent = True
    lasting = False
    failure = "the call has failed"
    """Headers of replies are not read: there is no more to say."""
    error_body = b""
    head = b""

    def __init__(self, authority: str, path: str) -> None:
        self._headers = _first_headers(authority, path)
        self._calls: dict[int, _Call] = {}
        self._uploads: dict[int, _Upload] = {}
        self._next_stream = 1
        self._window = _FIRST_WINDOW
        self._stream_window = _FIRST_WINDOW
        self._received = 0
        self._rest = b""
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one
        settings = struct.pack(">HIHI", _SETTING_PUSH, 0, _SETTING_WINDOW, _LARGEST_WINDOW)
        widen = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
        self._transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, widen)
        )

    def send(self, body: bytes, done: Done) -> None:
        """Begin a call.

        Args:
            body: From `grpc_frame`.
            done: Called with the reply: the message with its five bytes of prefix; empty if the call has failed.
        """
        if self._closed:
            asyncio.get_running_loop().call_soon(done, b"")
            return
        stream = self._next_stream
        self._next_stream += 2
        self._calls[stream] = _Call(done)
        head = _frame(_HEADERS, _END_HEADERS, stream, self._headers)
        self._headers = _LATER_HEADERS
        if len(body) <= min(_FRAME_BYTES, self._window, self._stream_window):
            self._window -= len(body)
            self._transport.write(head + _frame(_DATA, _END_STREAM, stream, body))
            return
        self._transport.write(head)
        self._uploads[stream] = _Upload(memoryview(body), self._stream_window)
        self._upload()

    def close(self) -> None:
        """Close; calls under way fail."""
        self._transport.close()

    def _upload(self) -> None:
        """Send as much as the server takes by now."""
        for stream, upload in list(self._uploads.items()):
            frames = []
            while (
                upload.rest and (size := min(_FRAME_BYTES, self._window, upload.window, len(upload.rest))) > 0
            ):
                piece, upload.rest = upload.rest[:size], upload.rest[size:]
                frames.append(_frame(_DATA, 0 if upload.rest else _END_STREAM, stream, piece))
                self._window -= size
                upload.window -= size
            self._transport.write(b"".join(frames))
            if not upload.rest:
                del self._uploads[stream]

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= _HEAD_BYTES:
            high, low, kind, flags, stream = _FRAME_HEAD.unpack_from(data, at)
            begin = at + _HEAD_BYTES
            stop = begin + (high << 8 | low)
            if stop > end:
                break
            self._take(kind, flags, stream, data[begin:stop])
            at = stop
        self._rest = data[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(flags, stream, payload)
        if kind in (_DATA, _HEADERS):
            if flags & _END_STREAM:
                self._finish(stream)
        elif kind == _RST_STREAM:
            self._fail(stream)
        elif kind == _WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            self._closed = True

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & _PADDED:
            raise ConnectionError("padded frames are not supported")
        if stream in self._calls:
            self._calls[stream].chunks.append(payload)
        self._received += len(payload)
        if self._received > _LARGEST_WINDOW // 2:
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0

    def _take_settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _SETTING_WINDOW:
                for upload in self._uploads.values():
                    upload.window += value - self._stream_window
                self._stream_window = value
        self._transport.write(_frame(_SETTINGS, _ACK, 0))
        self._upload()

    def _widen(self, stream: int, size: int) -> None:
        if stream == 0:
            self._window += size
        elif stream in self._uploads:
            self._uploads[stream].window += size
        self._upload()

    def _finish(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            self._uploads.pop(stream, None)
            call.done(call.chunks[0] if len(call.chunks) == 1 else b"".join(call.chunks))

    def _fail(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            self._uploads.pop(stream, None)
            call.done(b"")

    def connection_lost(self, _: Exception | None) -> None:
        self._closed = True
        for stream in list(self._calls):
            self._fail(stream)
