"""The requests whose traces in memory are looked for: small and large, over both interfaces, and bad ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from benchmarks.calls import GrpcCalls, RestCalls, RestReply, columns_of, first_error_of
from benchmarks.messages import path_of, request_bytes
from mindspore_serving.proto import ms_service_pb2

_OK = 200
_CLIENT_ERRORS = range(400, 500)

Ask = Callable[[GrpcCalls, RestCalls], Awaitable[Any]]
Judge = Callable[[Any], bool]


class Kind:
    """One kind of request.

    Args:
        name: How a report calls it.
        share: How many of a thousand requests are of this kind.
        ask: Sends the request; returns the reply.
        judge: Whether a reply is right. A reply that equals the last right one is not judged again.
        size: Bytes of the request.
    """

    def __init__(self, name: str, share: float, ask: Ask, judge: Judge, size: int) -> None:
        self.name = name
        self.size = size
        self.share = share
        self._ask = ask
        self._judge = judge
        self._right: Any = None

    async def ask(self, grpc: GrpcCalls, rest: RestCalls) -> bool:
        """Send the request once; returns whether the reply was right."""
        reply = await self._ask(grpc, rest)
        if reply == self._right:
            return True
        if not self._judge(reply):
            return False
        self._right = reply
        return True


def kinds() -> list[Kind]:
    """All kinds, with shares of a thousand."""
    random = np.random.default_rng(3)
    small = [_pair(random) for _ in range(32)]
    image = random.random((3, 224, 224), np.float32)  # 600 kB
    large = random.integers(0, 256, (4 << 20,), np.uint8)  # 4 MB
    wrong_type = {name: np.zeros((2, 2), np.int32) for name in ("x1", "x2")}
    text = "a text of some words, " * 20
    picture = random.integers(0, 256, 100_000, np.uint8).tobytes()
    return [
        *(
            _grpc_arrays(f"{len(xs)} sums", share, "add", xs, _sums(xs))
            for xs, share in ((small[:1], 420), (small, 80))
        ),
        *(_rest_sums(f"{len(xs)} sums", share, xs) for xs, share in ((small[:1], 300), (small, 40))),
        _grpc_text("text", 60, text),
        _rest("text", 50, "reverse", [{"text": text}], [{"y": text[::-1]}]),
        _grpc_arrays("float32 image", 14, "echo", [{"x": image}], image[np.newaxis]),
        _grpc_arrays("4 MB", 4, "echo", [{"x": large}], large[np.newaxis]),
        _rest_bytes("100 kB", 6, picture),
        _grpc_error("wrong type", 10, "add", [wrong_type], "not match the data type"),
        _grpc_error("unknown method", 6, "absent", small[:1], "method is not available"),
        _rest_error("no JSON", 10, "add", b'{"instances": ['),
    ]


def _pair(random: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: random.random((2, 2), np.float32) for name in ("x1", "x2")}


def _sums(instances: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    return np.stack([one["x1"] + one["x2"] for one in instances])


def _grpc(name: str, share: float, method: str, instances: Sequence[Mapping[str, Any]], judge: Judge) -> Kind:
    body = request_bytes("grpc", "memory", method, instances)
    return Kind(f"gRPC {name}", share, lambda grpc, _: grpc.send(body), judge, len(body))


def _grpc_arrays(
    name: str, share: float, method: str, instances: Sequence[Mapping[str, Any]], expected: np.ndarray
) -> Kind:
    def judge(reply: bytes) -> bool:
        columns = columns_of(reply)
        return columns is not None and np.array_equal(columns["y"], expected)

    return _grpc(name, share, method, instances, judge)


def _grpc_text(name: str, share: float, text: str) -> Kind:
    def judge(reply: bytes) -> bool:
        [instance] = ms_service_pb2.PredictReply.FromString(reply).instances
        return list(instance.items["y"].bytes_val) == [text[::-1].encode()]

    return _grpc(name, share, "reverse", [{"text": text}], judge)


def _grpc_error(
    name: str, share: float, method: str, instances: Sequence[Mapping[str, Any]], error: str
) -> Kind:
    return _grpc(name, share, method, instances, lambda reply: error in first_error_of(reply))


def _rest_call(name: str, share: float, method: str, body: bytes, judge: Judge) -> Kind:
    path = path_of("rest", "memory", method)
    return Kind(f"REST {name}", share, lambda _, rest: rest.send(path, body), judge, len(body))


def _rest(
    name: str,
    share: float,
    method: str,
    instances: Sequence[Mapping[str, Any]],
    expected: Sequence[Mapping[str, Any]],
) -> Kind:
    def judge(reply: RestReply) -> bool:
        return reply.status == _OK and bool(orjson.loads(reply.body) == {"instances": expected})

    return _rest_call(name, share, method, request_bytes("rest", "memory", method, instances), judge)


def _rest_sums(name: str, share: float, instances: Sequence[Mapping[str, np.ndarray]]) -> Kind:
    def judge(reply: RestReply) -> bool:
        results = orjson.loads(reply.body)["instances"]
        sums = np.array([one["y"] for one in results], np.float32)
        return reply.status == _OK and np.array_equal(sums, _sums(instances))

    return _rest_call(name, share, "add", request_bytes("rest", "memory", "add", instances), judge)


def _rest_bytes(name: str, share: float, content: bytes) -> Kind:
    """Bytes go in in base64, and come out as a list of numbers: a function gets them as an array."""
    expected = list(content)

    def judge(reply: RestReply) -> bool:
        return reply.status == _OK and orjson.loads(reply.body)["instances"][0]["y"] == expected

    return _rest_call(name, share, "echo", request_bytes("rest", "memory", "echo", [{"x": content}]), judge)


def _rest_error(name: str, share: float, method: str, body: bytes) -> Kind:
    def judge(reply: RestReply) -> bool:
        return reply.status in _CLIENT_ERRORS and "error_msg" in orjson.loads(reply.body)

    return _rest_call(name, share, method, body, judge)
