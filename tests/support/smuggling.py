"""Requests whose end two readers may see at different places, or that are none; all of them are to be refused."""

from __future__ import annotations

_HEAD = b"POST /model/one:twice HTTP/1.1\r\nHost: localhost\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_BODY = b'{"instances":[{"x":1}]}'
HIDDEN = b"POST /model/one:twice HTTP/1.1\r\nHost: hidden\r\nContent-Length: 23\r\n\r\n" + _BODY
"""What is hidden behind each of them; an answer to this is what is wanted by who sends it."""


def _coded(value: bytes) -> bytes:
    return _HEAD + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"


def _sized(value: bytes, content: bytes = b"a") -> bytes:
    return _HEAD + b"Content-Length: " + value + b"\r\n\r\n" + content


def _field(line: bytes) -> bytes:
    return _HEAD + line + b"\r\nContent-Length: 0\r\n\r\n"


SMUGGLING = {
    "length and coding": _HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "coding that is none and length": _HEAD + b"Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "offer with length and coding": _HEAD
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": _HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "one length twice": _HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "list of lengths": _sized(b"1, 1"),
    "length +": _sized(b"+1"),
    "length -": _sized(b"-1"),
    "length -0": _sized(b"-0", b""),
    "length hexadecimal": _sized(b"0x1"),
    "length with a blank": _sized(b"1 1"),
    "length with a point": _sized(b"1.0"),
    "length with underscore": _sized(b"1_0", b"a" * 10),
    "length of other digits": _sized("\u0661".encode()),
    "no length": _sized(b"", b""),
    "length 2**64": _sized(b"18446744073709551616"),
    "length 2**64 - 1": _sized(b"18446744073709551615"),
    "chunked, identity": _coded(b"chunked, identity"),
    "identity, chunked": _coded(b"identity, chunked"),
    "gzip, chunked": _coded(b"gzip, chunked"),
    "chunked twice": _coded(b"chunked, chunked"),
    "xchunked": _coded(b"xchunked"),
    "chunkedx": _coded(b"chunkedx"),
    "chunked with a parameter": _coded(b"chunked;q=1"),
    "chunked in quotes": _coded(b'"chunked"'),
    "empty codings": _coded(b",chunked"),
    "no coding": _coded(b""),
    "vertical tab": _coded(b"\x0bchunked"),
    "two lines of codings": _coded(b"identity\r\nTransfer-Encoding: chunked"),
    "two lines of chunked": _coded(b"chunked\r\nTransfer-Encoding: chunked"),
    "chunks in HTTP/1.0": _coded(b"chunked\r\nConnection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no host": b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": _field(b"Host: other"),
    "two hosts alike": _field(b"HOST: localhost"),
    "two hosts in HTTP/1.0": _field(b"Host: other").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "folded field": _field(b"X: a\r\n b"),
    "folded length": _HEAD + b"Content-Length:\r\n 1\r\n\r\na",
    "folded coding": _coded(b"\r\n chunked"),
    "folded first field": b"POST / HTTP/1.1\r\n Host: a\r\nContent-Length: 0\r\n\r\n",
    "bare LF": _HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n",
    "bare LF in a field": _field(b"X: a\nY: b"),
    "bare LF at the end": _HEAD + b"Content-Length: 0\r\n\n",
    "bare CR": _field(b"X: a\rY: b"),
    "blank before the colon": _HEAD + b"Content-Length : 0\r\n\r\n",
    "tab before the colon": _HEAD + b"Content-Length\t: 0\r\n\r\n",
    "no colon": _field(b"X"),
    "no name": _field(b": a"),
    "NUL in a value": _field(b"X: a\0b"),
    "NUL in a name": _field(b"X\0: a"),
    "NUL in the target": b"POST /\0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "blank before the verb": b" " + _sized(b"0", b""),
    "two versions": b"POST / HTTP/1.1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "version 1.10": b"POST / HTTP/1.10\r\nContent-Length: 0\r\n\r\n",
    "chunk of -1": _CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "chunk of +1": _CHUNKED + b"+1\r\na\r\n0\r\n\r\n",
    "chunk of 0x1": _CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "chunk of 2**64 + 1": _CHUNKED + b"10000000000000001\r\na\r\n0\r\n\r\n",
    "chunk of no size": _CHUNKED + b"\r\na\r\n0\r\n\r\n",
    "blank behind the size": _CHUNKED + b"1 \r\na\r\n0\r\n\r\n",
    "chunk longer than it says": _CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "LF behind the size": _CHUNKED + b"1\na\r\n0\r\n\r\n",
    "LF behind a chunk": _CHUNKED + b"1\r\na\n0\r\n\r\n",
    "LF behind the last chunk": _CHUNKED + b"1\r\na\r\n0\n\n",
    "LF in an extension": _CHUNKED + b"1;a\n\r\na\r\n0\r\n\r\n",
    "CR in an extension": _CHUNKED + b"1;a\rb\r\na\r\n0\r\n\r\n",
    "NUL in an extension": _CHUNKED + b"1;a\0b\r\na\r\n0\r\n\r\n",
    "endless extension": _CHUNKED + b"1;" + b"a" * 200_000 + b"\r\na\r\n0\r\n\r\n",
    "length behind the body": _CHUNKED + b"1\r\na\r\n0\r\nContent-Length: 100\r\n\r\n",
    "coding behind the body": _CHUNKED + b"1\r\na\r\n0\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
}
