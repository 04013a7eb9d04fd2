"""Bodies that are no JSON: the bytes of a single input, and forms with a part for each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.errors import ServingError
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.native.body_forms import form_of, says_json
from mindspore_serving.server.transport.http.body_reader import name_of
from mindspore_serving.server.transport.http_routes import HttpRequest
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import Array, DataType
from tests.fuzz import form_body
from tests.support.rows import model_types

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
JSON_BODY = b' {"instances" : [{"x": 1}, {"x": 2}]}'
FORM = 'multipart/form-data; boundary="-b"'
HUGE = b"\xff\xd8," * ((99 << 20) // 3)


def method(*inputs: str, **types: DataType) -> MethodSignature:
    return MethodSignature("m", inputs, 8, inputs=model_types(types))


def read(
    body: bytes, content_type: str, signature: MethodSignature, coding: str = ""
) -> dict[str, tuple[str, Any]] | None:
    """Type and value of each input of the first instance; None where it is a large body."""
    form, argument = form_of(content_type, signature)
    request = HttpRequest("POST", "/", {"content-encoding": coding}, body=body)
    content = request.read_small(form, argument)
    # The process that reads large bodies finds the same.
    name_of(form.read)
    told = orjson.loads(orjson.dumps(argument, default=dict))
    plain = gzip.decompress(body) if coding else body
    if content is None:
        assert form.read(plain, told).rows
        return None
    assert content.rest is None
    assert values_in(content.rows) == values_in(form.read(plain, told).rows)
    return values_in(content.rows)


def values_in(blocks: list[Rows]) -> dict[str, tuple[str, Any]]:
    if not blocks:
        return {}
    rows = blocks[0]
    return {
        spec.name: (spec.dtype.name, column[0] if isinstance(column, list) else plain(column[0]))
        for spec, column in zip(rows.specs, rows.columns, strict=True)
    }


def plain(value: Array) -> Any:
    return np.asarray(value).tolist()


def refusal(body: bytes, content_type: str, signature: MethodSignature) -> str:
    with pytest.raises(ServingError) as refused:
        read(body, content_type, signature)
    assert refused.value.failure().status == 400
    return str(refused.value)


# --- Which form it is ---


@pytest.mark.parametrize(
    "content_type",
    [
        "", "application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF-8", "text/json",
        "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8",
        "application/vnd.api+json", " application/json ",
    ],
)  # fmt: skip
def test_what_says_that_it_is_json_is_json(content_type: str) -> None:
    assert says_json(content_type)
    assert read(b'{"instances":[{"x":1}]}', content_type, method("x")) == {"x": ("INT32", 1)}
    assert refusal(PNG, content_type, method("x")).startswith("Illegal JSON format")


@pytest.mark.parametrize(
    "content_type", ["image/png", "text/plain", "application/octet-stream", "odd", "a/b;c"]
)
@pytest.mark.parametrize("names", [(), ("x1", "x2")])
def test_a_method_of_another_number_of_inputs_takes_json(content_type: str, names: tuple[str, ...]) -> None:
    assert not says_json(content_type)
    assert read(JSON_BODY, content_type, method(*names)) == {"x": ("INT32", 1)}
    assert refusal(PNG, content_type, method(*names)).startswith("Illegal JSON format")


# --- One input ---


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("image/png", PNG, "BYTES"),
        ("application/octet-stream", PNG, "BYTES"),
        ("application/octet-stream", b"{}", "BYTES"),
        ("application/xml; charset=gbk", "<a>你</a>".encode("gbk"), "BYTES"),
        ("audio/wav", b"1", "BYTES"),
        ("odd", b"1", "BYTES"),
        ("text/plain", "你好".encode(), "STRING"),
        ("text/plain; charset=UTF-8", "你好".encode(), "STRING"),
        ("TEXT/HTML;charset=us-ascii", b"<p>", "STRING"),
        ("text/csv", b'{"x": 1}', "STRING"),
        ("text/plain", b"\0", "STRING"),
    ],
)
def test_all_of_a_body_is_the_only_input(content_type: str, body: bytes, kind: str) -> None:
    assert read(body, content_type, method("x")) == {"x": (kind, body)}
    assert read(gzip.compress(body, mtime=0), content_type, method("x"), "gzip") == {"x": (kind, body)}


@pytest.mark.parametrize(
    "content_type", ["image/png", "text/plain;charset=UTF-8", "application/octet-stream", FORM]
)
def test_instances_of_json_are_found_under_any_type(content_type: str) -> None:
    assert read(JSON_BODY, content_type, method("x")) == {"x": ("INT32", 1)}
    assert read(JSON_BODY, content_type, method("x", x=DataType.FLOAT32)) == {"x": ("FLOAT32", 1.0)}


@pytest.mark.parametrize("content_type", ["image/png", "text/plain", FORM])
def test_an_empty_body_is_none(content_type: str) -> None:
    assert refusal(b"", content_type, method("x")) == "http message invalid"


def test_text_should_be_utf_8() -> None:
    told = "http message invalid, The body should be text in UTF-8: 'utf-8' codec can't decode byte 0xff"
    assert refusal(b"a\xff", "text/plain", method("x")).startswith(told)
    assert refusal(b"a", "text/plain; charset=gbk", method("x")) == (
        "http message invalid, text should be UTF-8, but got Content-Type text/plain; charset=gbk"
    )


@pytest.mark.parametrize(
    ("content_type", "body", "coding", "large"),
    [
        ("image/png", HUGE, "", False),
        ("image/png", gzip.compress(bytes(1 << 20), mtime=0), "gzip", True),
        ("text/plain", b"a" * (1 << 23), "", False),
        ("text/plain", b"a" * ((1 << 23) + 1), "", True),
        ("text/plain", b'{"instances":[{"x":[' + b"1," * (1 << 18) + b"1]}]}", "", True),
        ("application/octet-stream", b'{"instances":[{"x":[' + b"1," * (1 << 18) + b"1]}]}", "", True),
    ],
)
def test_bytes_are_never_too_large_to_be_taken_as_they_are(
    content_type: str, body: bytes, coding: str, large: bool
) -> None:
    assert (read(body, content_type, method("x"), coding) is None) is large


@pytest.mark.parametrize(("size", "quick"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_forms_of_more_than_a_mebibyte_are_read_elsewhere(size: int, quick: bool) -> None:
    """A form has few commas however much of it there is, by which JSON is judged."""
    form, _ = form_of("multipart/form-data; boundary=x", method("x"))
    assert form.is_quick(b"\r\n" * (size // 2) + b"a" * (size % 2)) is quick


def test_only_the_beginning_tells_json_from_bytes() -> None:
    """All of a body may be blanks: to look for what follows them would keep other clients waiting."""
    blanks = b" " * 4096
    assert read(b" " * 100 + JSON_BODY, "image/png", method("x")) == {"x": ("INT32", 1)}
    assert read(blanks + JSON_BODY, "image/png", method("x")) == {"x": ("BYTES", blanks + JSON_BODY)}


def test_bytes_are_not_copied() -> None:
    form, argument = form_of("image/png", method("x"))
    [rows] = form.read(HUGE, argument).rows
    assert isinstance(rows.columns[0], list)
    assert rows.columns[0][0] is HUGE


# --- Forms ---


def part(name: str, content: bytes, *, filename: str | None = None, kind: str = "") -> bytes:
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = f"Content-Disposition: {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
    return head.encode() + b"\r\n" + content


def form(*parts: bytes) -> bytes:
    return b"".join(b"---b\r\n" + one + b"\r\n" for one in parts) + b"---b--\r\n"


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (part("x", PNG, filename="cat.png", kind="image/png"), ("BYTES", PNG)),
        (part("x", b"1", filename="one.txt", kind="text/plain"), ("BYTES", b"1")),
        (part("x", b"1", filename=""), ("BYTES", b"1")),
        (part("x", b"", filename="empty"), ("BYTES", b"")),
        (part("x", PNG, kind="application/octet-stream"), ("BYTES", PNG)),
        (part("x", b"[1, 2]", filename="x.json", kind="application/json"), ("INT32", [1, 2])),
        (part("x", b"1.5"), ("FLOAT32", 1.5)),
        (part("x", b"[[1, 2], [3, 4]]"), ("INT32", [[1, 2], [3, 4]])),
        (part("x", b"true", kind="text/plain"), ("BOOL", True)),
        (part("x", b'"1.5"'), ("STRING", b"1.5")),
        (part("x", b'{"b64": "AAAAPw==", "type": "fp32"}'), ("FLOAT32", 0.5)),
        (part("x", b"a cat"), ("STRING", b"a cat")),
        (part("x", b"NaN"), ("STRING", b"NaN")),
        (part("x", b"{1}"), ("STRING", b"{1}")),
        (part("x", "你好".encode(), kind="text/plain; charset=utf-8"), ("STRING", "你好".encode())),
        (part("x", b""), ("STRING", b"")),
        (part("x", b"a\r\nb\r\n"), ("STRING", b"a\r\nb\r\n")),
    ],
)
def test_a_part_is_a_file_a_json_value_or_text(sent: bytes, value: tuple[str, Any]) -> None:
    other = part("other", b"7")
    assert read(form(sent), FORM, method("x")) == {"x": value}
    assert read(form(other, sent), FORM, method("x", "other")) == {"x": value, "other": ("INT32", 7)}


def test_numbers_of_a_part_become_what_the_model_takes() -> None:
    sent = form(part("x", b"[1, 2]"), part("y", b"[1, 2]"))
    assert read(sent, FORM, method("x", "y", x=DataType.FLOAT32)) == {
        "x": ("FLOAT32", [1.0, 2.0]),
        "y": ("INT32", [1, 2]),
    }


ONE = part("x", b"1")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (form(ONE, part("z", b"1")), "Parser request failed, form has a part 'z', expected are x, y"),
        (form(ONE, part("", b"1")), "Parser request failed, form has a part '', expected are x, y"),
        (form(ONE, ONE), "Parser request failed, form has two parts 'x'"),
        (form(ONE), "Parser request failed, form has no part 'y', expected are x, y"),
        (b"---b--", "Parser request failed, form has no part 'x', expected are x, y"),
        (form(part("x", b"null")), "Parser request failed, json value is null, it is not supported"),
        (form(part("x", b"[1, [2]]")), "Parser request failed, json array, data should be number"),
        (form(part("x", b"3000000000")), "Parser request failed, data out of int32 range: input x has"),
        (form(part("x", b"{", kind="application/json")), "Parser request failed, part 'x': Illegal JSON format."),
        (form(part("x", b"\xff")), "http message invalid, Part 'x' should be text in UTF-8"),
        (form(part("x", b"a", kind="text/plain; charset=gbk")), "http message invalid, text should be UTF-8, but got"),
        (form(part("x" * 200, b"1")), f"Parser request failed, form has a part '{'x' * 100}... (200 characters)'"),
    ],
)  # fmt: skip
def test_parts_that_are_wrong(body: bytes, text: str) -> None:
    assert refusal(body, FORM, method("x", "y")).startswith(text)


@pytest.mark.parametrize(
    "body",
    [
        b"x", b"---b", b"---b\r\n", form(ONE)[:-8], form(ONE)[:-4], form(ONE)[:40],
        b"---b\r\n\r\n1\r\n---b--\r\n", b"---b\r\nContent-Disposition: form-data\r\n\r\n1\r\n---b--\r\n",
        b"---b\r\nContent-Disposition: attachment; name=x\r\n\r\n1\r\n---b--\r\n",
        b"---b\r\nno header\r\n\r\n1\r\n---b--\r\n", b"---b\r\nA: \xff\r\n\r\n1\r\n---b--\r\n",
        b"---b\r\n" + b"A: b\r\n" * 100 + ONE + b"\r\n---b--\r\n", b"---b\r\nA: " + b"b" * 10_000 + b"\r\n" + ONE,
        PNG, b"\r\n" * 1000, b"--" * 1000, form(ONE).replace(b"\r\n", b"\n"), bytes(100),
    ],
)  # fmt: skip
def test_what_is_no_form_is_the_clients_fault(body: bytes) -> None:
    assert refusal(body, FORM, method("x")).startswith(
        (
            "http message invalid, body is not multipart/form-data: ",
            "Parser request failed, form has a part ''",
        )
    )


@pytest.mark.parametrize("end", [b"x", b"\r\n", form(part("x", b"2")), PNG])
def test_what_follows_a_form_does_not_matter(end: bytes) -> None:
    assert read(form(ONE) + end, FORM, method("x")) == {"x": ("INT32", 1)}


def test_a_method_without_inputs_takes_a_form_without_parts() -> None:
    form_, argument = form_of(FORM, method())
    assert form_.read(b"---b--\r\n", argument).rows == [Rows((), (), 1)]
    assert (
        refusal(form(ONE), FORM, method()) == "Parser request failed, form has a part 'x', expected are none"
    )


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary=""',
     f"multipart/form-data; boundary={'b' * 71}", "multipart/form-data; boundary=\u00e4"],
)  # fmt: skip
def test_a_form_needs_a_boundary(content_type: str) -> None:
    assert refusal(form(ONE), content_type, method("x")).startswith(
        "http message invalid, Content-Type multipart/form-data should have a boundary of 1 to 70 characters"
    )


@pytest.mark.parametrize("boundary", ["b", "b" * 70, "----WebKitFormBoundaryAbC", "a:b=c/d"])
def test_boundaries(boundary: str) -> None:
    body = form(ONE).replace(b"-b", boundary.encode())
    assert read(body, f'Multipart/Form-Data; Boundary="{boundary}"', method("x")) == {"x": ("INT32", 1)}


def test_a_large_form_is_read_elsewhere() -> None:
    sent = form(part("x", HUGE, filename="x"), part("y", b"7"))
    assert read(sent, FORM, method("x", "y")) is None


def test_what_the_reader_is_told_is_json() -> None:
    for content_type in ("", "image/png", "text/plain", FORM):
        _, argument = form_of(content_type, method("x", x=DataType.FLOAT16))
        assert isinstance(argument, Mapping)
        json.loads(orjson.dumps(argument, default=dict))


TOKENS = [
    b"--b", b"\r\n", b"--", b"\r", b"\n", b"Content-Disposition: form-data; name=", b'"x"', b'"y"', b"; filename=",
    b'"', b"\\", b"Content-Type: ", b"application/json", b"text/plain", b"\xff", b"\0", b"[1", b"1" * 25, b":", b"*",
]  # fmt: skip


@settings(max_examples=100)
@given(some.lists(some.sampled_from(TOKENS), max_size=30))
def test_any_bytes_are_a_form_or_refused(tokens: list[bytes]) -> None:
    form_body.one_input(b"".join(tokens))
    form_body.one_input(form(part("x", b"1"), part("y", b"".join(tokens))).replace(b"-b", b"b"))
