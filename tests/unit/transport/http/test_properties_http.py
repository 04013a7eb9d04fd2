"""HTTP of any form."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from tests.fuzz import http_stream

many = settings(max_examples=200)


HEADERS = some.lists(
    some.sampled_from(
        [
            b"Content-Length: 3",
            b"Content-Length: -1",
            b"Content-Length: " + b"9" * 5000,
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            b"Connection: Upgrade",
            b"Upgrade: h2c",
            b"Expect: 100-continue",
            b"X-API-Key: " + http_stream.KEY.encode(),
            b"A:",
            b": b",
            b"A: \xff",
        ]
    ),
    max_size=5,
)


@many
@given(
    some.lists(
        some.tuples(
            some.sampled_from([b"GET", b"POST", b"HEAD", b"CONNECT"]), HEADERS, some.binary(max_size=9)
        ),
        max_size=3,
    )
)
def test_http(requests: list[tuple[bytes, list[bytes], bytes]]) -> None:
    heads = [
        b"\r\n".join((verb + b" /a HTTP/1.1", b"Host: a", *fields, b"", b"")) + body
        for verb, fields, body in requests
    ]
    http_stream.one_input(b"".join(heads))
