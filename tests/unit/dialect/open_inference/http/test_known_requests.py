"""Requests that are like others before them: the same outcome as the long way, and nothing kept of what has ended."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from mindspore_serving.errors import InvalidInput, QueueFull, StageError
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.dialect.open_inference.http.known_requests import KnownRequests
from mindspore_serving.server.dialect.open_inference.http.reply import http_reply
from mindspore_serving.server.dialect.open_inference.http.request import read_request
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType, TensorSpec
from tests.unit.dialect.open_inference.fake_service import Outcome, method, service_of, untyped

X, Y = TensorType("x", DataType.FLOAT32, (2,)), TensorType("y", DataType.INT8, ())
OUTPUTS = (TensorType("a", DataType.FLOAT32, (2,)), TensorType("b", DataType.INT8, ()))
CALLED = method(inputs=(X, Y), outputs=OUTPUTS)
BINARY = {"binary_data_output": True}


def renamed(blocks: list[Rows]) -> Reply:
    """The inputs under the names of the outputs."""
    return [
        Rows(
            tuple(TensorSpec(name, *spec[1:]) for name, spec in zip("ab", block.specs, strict=False)),
            block.columns,
            block.count,
        )
        for block in blocks
    ]


def tensor(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> tuple[dict[str, Any], bytes]:
    parameters = {"binary_data_size": len(raw)}
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters}, raw


def request(
    *tensors: tuple[dict[str, Any], bytes], more: bytes = b"", headers: Any = None, **fields: Any
) -> HttpRequest:
    """A request with raw tensors."""
    document = {"inputs": [one for one, _ in tensors], "parameters": BINARY, **fields}
    head = orjson.dumps(document)
    length = {"inference-header-content-length": str(len(head))}
    found = HttpRequest("POST", "/v2/models/m/infer", {**length, **(headers or {})})
    found.parts = {"model": "m"}
    found.body = head + b"".join(raw for _, raw in tensors) + more
    return found


def usual(at: int = 0, **fields: Any) -> HttpRequest:
    """A request whose inputs are in another order than those of the method."""
    x, y = np.array([[at, 0.5], [1, -at]], np.float32), np.array([at, 2], np.int8)
    return request(tensor("y", "INT8", [2], y.tobytes()), tensor("x", "FP32", [2, 2], x.tobytes()), **fields)


class Ways:
    """Both ways to a reply."""

    def __init__(self, outcome: Outcome = renamed, methods: Sequence[MethodSignature] = (CALLED,)) -> None:
        self.service, self.dispatcher = service_of(methods, outcome)
        self.inference = Inference(self.service, SharedMemoryRegions())
        self.known = KnownRequests(self.inference)

    def long(self, asked: HttpRequest) -> HttpReply:
        """The reply that is made the long way, and learnt from."""

        async def scene() -> HttpReply:
            length = int(asked.headers["inference-header-content-length"])
            parsed = read_request(asked.body, length, "m", "")
            reply = await http_reply(await self.inference.infer(parsed), parsed)
            self.known.learn(asked, parsed)
            return reply

        return asyncio.run(scene())

    def short(self, asked: HttpRequest) -> HttpReply | None:
        """The reply to what is like something before; None where nothing is."""
        return asyncio.run(self.known.answer(asked))


def test_requests_that_are_alike_have_the_replies_of_the_long_way() -> None:
    ways, others = Ways(), Ways()
    assert ways.short(usual()) is None
    ways.long(usual())
    for at in range(1, 4):
        assert ways.short(usual(at)) == others.long(usual(at))
    admitted, expected = ways.dispatcher.admitted, others.dispatcher.admitted
    for (blocks, *options), (other_blocks, *other_options) in zip(admitted[1:], expected, strict=True):
        assert options == other_options
        assert [block.specs for block in blocks] == [block.specs for block in other_blocks]
        for column, other in zip(blocks[0].columns, other_blocks[0].columns, strict=True):
            np.testing.assert_array_equal(column, other)


def test_parameters_and_outputs_are_those_of_the_request() -> None:
    fields: dict[str, Any] = {
        "parameters": {**BINARY, "priority": 1, "timeout": 2_000_000, "k": 5},
        "outputs": [{"name": "b"}, {"name": "a", "parameters": {"binary_data": False}}],
    }
    ways, others = Ways(), Ways()
    ways.long(usual(**fields))
    for at in (1, 2):
        assert ways.short(usual(at, **fields)) == others.long(usual(at, **fields))
    sooner = usual(headers={"x-request-timeout-ms": "1000"}, **fields)
    assert ways.short(sooner) == others.long(usual(**fields))
    options = [one[1:] for one in ways.dispatcher.admitted]
    assert options == [(2.0, 1, {"k": 5})] * 3 + [(1.0, 1, {"k": 5})]


def test_a_method_without_rows() -> None:
    ways, others = (Ways(methods=[untyped("m", ["x"], ["a"])]) for _ in range(2))
    asked = request(tensor("x", "INT16", [3, 1], bytes(6)))
    ways.long(asked)
    assert ways.short(asked) == others.long(asked)
    assert ways.short(asked) == others.long(asked)


@pytest.mark.parametrize(
    "outcome",
    [
        lambda blocks: [part for block in renamed(blocks) for part in (block.take(0, 1), block.take(1, 2))],
        lambda blocks: [
            Rows(
                (TensorSpec("a", DataType.FLOAT64, (3,)), TensorSpec("b", DataType.STRING, ())),
                (np.ones((2, 3)), [b"p", b"q"]),
                2,
            )
        ],
    ],
)
def test_outcomes_that_are_not_like_the_one_before(outcome: Any) -> None:
    ways, others = Ways(), Ways(outcome)
    ways.long(usual())
    assert ways.short(usual()) is not None
    ways.dispatcher.outcome = outcome
    for at in (1, 2):
        assert ways.short(usual(at)) == others.long(usual(at))
    ways.dispatcher.outcome = renamed
    assert ways.short(usual(3)) == Ways().long(usual(3))


def test_errors_are_those_of_the_long_way() -> None:
    ways = Ways()
    ways.long(usual())
    ways.dispatcher.outcome = lambda blocks: [FailedRows(StageError("bad").failure(), 2)]
    with pytest.raises(RowsFailed, match="bad"):
        ways.short(usual())
    ways.dispatcher.outcome = lambda blocks: QueueFull("full")
    with pytest.raises(QueueFull):
        ways.short(usual())
    ways.dispatcher.room = QueueFull("no room")
    with pytest.raises(QueueFull, match="no room"):
        ways.short(usual())
    with pytest.raises(InvalidInput, match="X-Request-Timeout-Ms"):
        ways.dispatcher.room = None
        ways.short(usual(headers={"x-request-timeout-ms": "x"}))


def test_a_body_of_another_length_goes_the_long_way() -> None:
    ways = Ways()
    ways.long(usual())
    shorter = usual()
    shorter.body = shorter.body[:-1]
    for asked in (usual(more=b"\0"), shorter):
        assert ways.short(asked) is None
        with pytest.raises(InvalidInput):
            ways.long(asked)


def test_a_model_that_means_something_else_now() -> None:
    ways = Ways()
    ways.long(usual())
    ways.dispatcher.known["m", 1] = [method(inputs=(X, Y, TensorType("z")), outputs=OUTPUTS)]
    ways.service.catalog.notify()
    assert ways.short(usual()) is None
    ways.dispatcher.known["m", 1] = [CALLED]
    ways.service.catalog.notify()
    ways.long(usual())
    assert ways.short(usual()) is not None


@pytest.mark.parametrize("parts", [{"model": "m", "version": "1"}, {"model": "m.m"}])
def test_the_same_bytes_for_another_model_or_version_are_another_request(parts: dict[str, str]) -> None:
    ways = Ways()
    ways.long(usual())
    asked = usual()
    asked.parts = parts
    assert ways.short(asked) is None


def with_id(begin: bytes, asked: HttpRequest) -> HttpRequest:
    """A request whose JSON begins with other bytes than its brace."""
    length = int(asked.headers["inference-header-content-length"]) + len(begin) - 1
    asked.headers = {**asked.headers, "inference-header-content-length": str(length)}
    asked.body = begin + asked.body[1:]
    return asked


IDS = ["7", "", "r\u00e9sum\u00e9 \u4e2d", "x" * 100, "\x7f/'"]


@pytest.mark.parametrize("begin", ['{"id":"%s",', '{ "id": "%s", ', '{\n"id"\t:\r"%s" ,'])
def test_each_reply_has_the_id_of_its_request(begin: str) -> None:
    ways, others = Ways(), Ways()
    ways.long(with_id((begin % "first").encode(), usual()))
    for at, id in enumerate([*IDS, *IDS[::-1]]):
        text = (begin % id).encode()
        assert ways.short(with_id(text, usual(at))) == others.long(with_id(text, usual(at)))
    assert repr(ways.known) == "<KnownRequests 1 kinds>"


def test_a_request_without_an_id_may_be_like_one_that_has_one() -> None:
    ways, others = Ways(), Ways()
    ways.long(with_id(b'{"id":"1",', usual()))
    for asked in (usual(1), with_id(b'{"id":"2",', usual(2)), usual(3)):
        assert ways.short(asked) == others.long(asked)


@pytest.mark.parametrize(
    "begin",
    [
        b'{"id":"1","id":"2",',
        b'{"id":"1","\\u0069d":"2",',
        b'{"id":"a\\n",',
        b'{"id":"\\u0061",',
        b'{"id":null,',
        b'{"id":"1","id":null,',
        b'{"k":1,"id":"1",',
    ],
)
def test_an_id_that_takes_a_closer_look_goes_the_long_way(begin: bytes) -> None:
    ways = Ways()
    for _ in range(2):
        asked = with_id(begin, usual())
        assert ways.short(asked) is None
        assert ways.long(asked).status == 200
    assert repr(ways.known) == "<KnownRequests 0 kinds>"


@pytest.mark.parametrize(
    "begin", [b'{"id":"\xff",', b'{"id":"\n",', b'{"id":"1"', b'{"id":1,', b'{"id":"1",,']
)
def test_an_id_that_is_none_is_refused_whatever_was_before(begin: bytes) -> None:
    ways = Ways()
    ways.long(usual())
    ways.long(with_id(b'{"id":"1",', usual()))
    asked = with_id(begin, usual())
    assert ways.short(asked) is None
    with pytest.raises(InvalidInput):
        ways.long(asked)


NUMBERS = tensor("x", "FP32", [1, 2], bytes(8))
ONE = (method(inputs=(X,), outputs=OUTPUTS[:1]),)


@pytest.mark.parametrize(
    ("asked", "methods"),
    [
        (request(NUMBERS, id="7"), ONE),
        (request(NUMBERS, parameters={**BINARY, "method": "add"}), ONE),
        (request(NUMBERS, parameters={**BINARY, "long": "x" * 5000}), ONE),
        (request(NUMBERS, outputs=[{"name": "a", "parameters": {"classification": 1}}]), ONE),
        (request(tensor("x", "FP32", [0, 2], b"")), ONE),
        (request(tensor("x", "BF16", [1, 2], bytes(4))), ONE),
        (request(tensor("x", "BOOL", [1], b"\1")), [untyped("m", ["x"], ["a"])]),
        (request(tensor("x", "BYTES", [1], bytes(4))), [untyped("m", ["x"], ["a"])]),
        (request(), [untyped("m", [], [])]),
        (request(({"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}, b"")), [untyped("m", ["x"], ["a"])]),
        (
            request(NUMBERS, tensor("s", "INT8", [], b"\1")),
            [method(inputs=(X, TensorType("s", DataType.INT8, (), shared=True)), outputs=OUTPUTS)],
        ),
    ],
)  # fmt: skip
def test_what_is_not_common_goes_the_long_way(asked: HttpRequest, methods: list[MethodSignature]) -> None:
    ways = Ways(methods=methods)
    assert ways.long(asked).status == 200
    assert ways.short(asked) is None
    assert repr(ways.known) == "<KnownRequests 0 kinds>"


def test_headers_that_say_that_the_body_is_something_else() -> None:
    ways = Ways()
    ways.long(usual())
    for headers in (
        {"content-encoding": "gzip"},
        {"inference-header-content-length": "0"},
        {"inference-header-content-length": "5"},
        {"inference-header-content-length": "99999"},
    ):
        assert ways.short(usual(headers=headers)) is None


def test_nothing_is_kept_of_a_body() -> None:
    ways = Ways()
    asked = usual()
    before = sys.getrefcount(asked.body)
    ways.long(asked)
    ways.short(asked)
    ways.dispatcher.admitted.clear()
    ways.dispatcher.futures.clear()
    gc.collect()
    after = sys.getrefcount(asked.body)
    assert after == before


def test_only_so_many_are_kept() -> None:
    ways = Ways(methods=ONE)
    for at in range(300):
        ways.long(request(NUMBERS, parameters={**BINARY, "k": at}))
    assert repr(ways.known) == "<KnownRequests 44 kinds>"
