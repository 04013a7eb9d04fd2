"""Headers as dialects look them up."""

from __future__ import annotations

from multidict import CIMultiDict, CIMultiDictProxy

from mindspore_serving.server.transport.http.header_fields import HeaderFields


def fields(*pairs: tuple[str, str]) -> HeaderFields:
    return HeaderFields(CIMultiDictProxy(CIMultiDict(pairs)))


def test_names_in_any_case_and_repeated_headers() -> None:
    headers = fields(("Content-Encoding", "gzip"), ("X-Some", "1"), ("x-some", "2"))
    assert headers.get("content-encoding") == headers["CONTENT-ENCODING"] == "gzip"
    assert headers["x-some"] == "1, 2"
    assert headers.get("other") is None
    assert headers.get("other", "") == ""
    assert "x-some" in headers
    assert "other" not in headers
    assert list(headers) == ["content-encoding", "x-some"]
    assert len(headers) == 2


def test_values_are_latin_1_whatever_they_look_like() -> None:
    headers = fields(("A", b"\xe9".decode(errors="surrogateescape")), ("B", "\u20ac"))
    assert headers["a"] == "\xe9"
    assert headers["b"] == "\u20ac".encode().decode("latin-1")
