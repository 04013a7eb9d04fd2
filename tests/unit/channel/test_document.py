"""Documents: what is written is what is read, and what does not fit is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.document import read_document, write_document


@dataclass(frozen=True)
class Inner:
    name: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner
    seconds: float
    flag: bool
    count: int | None
    maybe: Inner | None = None
    key: bytes | None = None


VALUES = [
    Outer(Inner("a"), 1.5, True, None),
    Outer(Inner("ü\ud800\n\0", (1, 2)), 2, False, 0, Inner("b", (3,))),
    Outer(Inner(""), 86_400_000.123456789, False, 1 << 80),
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_written_is_what_is_read(value: Outer) -> None:
    text = write_document(value)
    assert text.isascii()
    read = read_document(Outer, text)
    assert read == value
    assert type(read.inner.numbers) is tuple
    assert hash(read) == hash(value)


PLAIN: dict[str, Any] = {
    "inner": {"name": "a", "numbers": [1]},
    "seconds": 1.5,
    "flag": True,
    "count": None,
    "maybe": None,
    "key": None,
}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"seconds": "1"}, "Outer.seconds should be float, but is '1'"),
        ({"seconds": True}, "Outer.seconds"),
        ({"seconds": None}, "Outer.seconds"),
        ({"flag": 1}, "Outer.flag"),
        ({"count": 1.0}, "Outer.count"),
        ({"count": False}, "Outer.count"),
        ({"inner": None}, "Outer.inner should be an object, but is None"),
        ({"inner": {"name": "a"}}, "Outer.inner.numbers should be there, but is missing"),
        ({"inner": {"name": 1, "numbers": []}}, "Outer.inner.name"),
        ({"inner": {"name": "a", "numbers": 1}}, "Outer.inner.numbers"),
        ({"inner": {"name": "a", "numbers": [1, "2"]}}, "Outer.inner.numbers[1] should be int, but is '2'"),
        ({"maybe": []}, "Outer.maybe should be an object"),
        ({"key": "abc"}, "Outer.key should be absent, but is 'abc'"),
        ({"unknown": 1}, "Outer.'unknown' should be absent, but is 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: dict[str, Any], where: str) -> None:
    with pytest.raises(ChannelError) as refused:
        read_document(Outer, json.dumps(PLAIN | change))
    assert where in str(refused.value)


@pytest.mark.parametrize("missing", PLAIN)
def test_a_field_that_is_missing_is_refused(missing: str) -> None:
    with pytest.raises(ChannelError, match=rf"Outer\.{missing} should be there, but is missing"):
        read_document(Outer, json.dumps({name: value for name, value in PLAIN.items() if name != missing}))


@pytest.mark.parametrize("text", ["", "{", "1", "[]", "null", b"\xff"])
def test_what_is_no_document_is_refused(text: str | bytes) -> None:
    with pytest.raises(ChannelError, match="Outer"):
        read_document(Outer, text)


def test_bytes_are_never_written() -> None:
    with pytest.raises(TypeError, match="bytes cannot be sent"):
        write_document(Inner(b"key"))  # type: ignore[arg-type]
