"""What no client should send: bytes that are no requests, requests that are wrong, and streams that are reset."""

from __future__ import annotations

import functools
import gzip
import random
import struct

import numpy as np

from mindspore_serving.client.python.connection import PREDICT_PATH
from tests.soak.servables import API_KEY
from tests.support.grpc_messages import instance, request, tensor

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _CONTINUATION = 0, 1, 3, 4, 6, 9
_END_HEADERS = 4
_CANCEL = 8


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _headers(path: str) -> bytes:
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "soak"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("x-api-key", API_KEY),
    )
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def rapid_resets(count: int) -> bytes:
    """A connection of HTTP/2 on which each call is reset as soon as it has begun."""
    headers = _headers(PREDICT_PATH)
    message = b"\0" + struct.pack(">I", 100) + b"half of it"
    reset = struct.pack(">I", _CANCEL)
    calls = [
        _frame(_HEADERS, _END_HEADERS, stream, headers)
        + (_frame(_DATA, 0, stream, message) if stream % 3 else b"")
        + _frame(_RST_STREAM, 0, stream, reset)
        for stream in range(1, 2 * count, 2)
    ]
    return _PREFACE + _frame(_SETTINGS, 0, 0) + b"".join(calls)


def half_a_call() -> bytes:
    """A call of gRPC whose message never ends, from a client that takes no replies: its window is 0."""
    no_window = struct.pack(">HI", 4, 0)
    begun = _frame(_HEADERS, _END_HEADERS, 1, _headers(PREDICT_PATH)) + _frame(_DATA, 0, 1, b"\0\0\0\xff\xff")
    return _PREFACE + _frame(_SETTINGS, 0, 0, no_window) + begun


def garbage_for_grpc(draw: random.Random) -> bytes:
    """Bytes that are no HTTP/2, or are so at first."""
    start = _PREFACE + _frame(_SETTINGS, 0, 0)
    return draw.choice(
        [
            draw.randbytes(draw.randint(1, 100_000)),
            b"POST /model/plain:echo HTTP/1.1\r\nHost: soak\r\n\r\n",
            start + draw.randbytes(draw.randint(1, 50_000)),
            start + _frame(_HEADERS, _END_HEADERS, 1, draw.randbytes(200)),
            start + _frame(_HEADERS, 0, 1, _headers(PREDICT_PATH)) + _frame(_CONTINUATION, 0, 1, b"\0") * 500,
            start + _frame(_PING, 0, 0, bytes(8)) * 2000,
            start + _frame(_SETTINGS, 0, 0) * 2000,
            start + b"\xff\xff\xff" + struct.pack(">BBI", _DATA, 0, 1) + bytes(1000),
            start + _frame(_HEADERS, _END_HEADERS, 2, _headers("/no.such/Call")),
            half_a_call(),
        ]
    )


def garbage_for_rest(draw: random.Random) -> bytes:
    """Bytes that are no HTTP/1.1, or are so at first."""
    head = f"POST /model/plain:echo HTTP/1.1\r\nHost: soak\r\nX-API-Key: {API_KEY}\r\n".encode()
    return draw.choice(
        [
            draw.randbytes(draw.randint(1, 100_000)),
            bytes(draw.randint(1, 10_000)),
            _PREFACE + _frame(_SETTINGS, 0, 0),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(500),
            head + b"Content-Length: -5\r\n\r\n",
            head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            head + b"Content-Length: 99999999999999999999\r\n\r\n",
            head + b"Content-Length: 400000000\r\n\r\n" + bytes(10_000),
            head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            head + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            head + b"X-Large: " + b"x" * 100_000 + b"\r\n\r\n",
            head + b"X-Many: 1\r\n" * 1000 + b"\r\n",
            b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            head + b"Content-Length: 1000\r\n\r\n" + draw.randbytes(500),
            b"\r\n" * 5000,
        ]
    )


def half_a_request() -> bytes:
    """A REST request whose body never comes."""
    head = f"POST /model/plain:echo HTTP/1.1\r\nHost: soak\r\nX-API-Key: {API_KEY}\r\n"
    return f"{head}Content-Length: 1000\r\n\r\n".encode()


_GOOD = b'{"instances": [{"x": 1}]}'
_WRONG_REQUESTS: dict[str, tuple[int, str, bytes, str]] = {
    "no JSON": (400, "/model/plain:echo", b'{"instances": [', ""),
    "no instances": (400, "/model/plain:echo", b'{"instances": []}', ""),
    "deep": (400, "/model/plain:echo", b'{"instances": ' + b"[" * 5000, ""),
    "null": (400, "/model/plain:echo", b'{"instances": [{"x": null}]}', ""),
    "missing input": (400, "/model/plain:echo", b'{"instances": [{"z": 1}]}', ""),
    "no servable": (404, "/model/nosuch:echo", _GOOD, ""),
    "no method": (404, "/model/copies:nosuch", _GOOD, ""),
    "no version": (404, "/model/copies/version/7:echo", _GOOD, ""),
    "no gzip": (400, "/model/copies:echo", _GOOD, "gzip"),
    "a gzip bomb": (413, "/model/copies:echo", b"", "gzip"),
    "strange coding": (415, "/model/copies:echo", _GOOD, "br"),
    "no key": (401, "/model/plain:echo", _GOOD, ""),
    "a wrong key": (401, "/model/plain:echo", _GOOD, ""),
    "no key, and a gzip bomb": (401, "/model/copies:echo", b"", "gzip"),
}
_KEYS = {"no key": "", "a wrong key": "X-API-Key: another-key-of-20-chars\r\n", "no key, and a gzip bomb": ""}
"""The line of the head with the key, where it is not that of a good client."""


def wrong_request(draw: random.Random) -> tuple[str, int, bytes]:
    """A request that must be refused: what is wrong with it, the HTTP status, and its bytes."""
    name = draw.choice(list(_WRONG_REQUESTS))
    status, path, body, coding = _WRONG_REQUESTS[name]
    body = body or _bomb()
    head = f"POST {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    head += _KEYS.get(name, f"X-API-Key: {API_KEY}\r\n")
    head += f"Content-Encoding: {coding}\r\n" if coding else ""
    return name, status, head.encode() + b"\r\n" + body


@functools.cache
def large_message(servable: str) -> bytes:
    """A serialized message of 90 MB that a coding makes small, for a method that has another input."""
    message = request(servable, "echo", [instance(z=tensor(np.zeros(90 << 20, np.uint8)))])
    return bytes(message.SerializeToString())


@functools.cache
def _bomb() -> bytes:
    """A body that is larger than any may be, once it is decompressed."""
    return gzip.compress(bytes(101 << 20), 1)
