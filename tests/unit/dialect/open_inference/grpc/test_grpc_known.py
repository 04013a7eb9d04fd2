"""Requests that are like others before them: the short way has the outcome of the long one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import QueueFull, ServerStopping
from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.grpc.known_requests import KnownRequests
from mindspore_serving.server.dialect.open_inference.grpc.request import read_message, request_in
from mindspore_serving.server.dialect.open_inference.parameters import Options
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType, TensorSpec
from tests.unit.dialect.open_inference.messages import REGION, request, tensor

LIMIT_S = 20.0


def destination(version: int = 3, rows: bool = True) -> Destination:
    servable: Any = SimpleNamespace(version=version)
    inputs, outputs = [tuple(map(TensorType, names)) for names in ("ab", "yz")]
    method = MethodSignature(
        "m", ("a", "b"), 8, output_names=("y", "z"), inputs=inputs, outputs=outputs, rows=rows
    )
    return Destination(servable, method)


class Inference:
    """Gives back the first input as output `y`, and the second one as `z`."""

    def __init__(self, rows: bool = True) -> None:
        self.goes_to = destination(rows=rows)
        self.room: Exception | None = None
        self.gone: Exception | None = None
        self.outcomes: list[tuple[Rows, Options, float | None]] = []
        self.parts = 1
        self.changed: Callable[[Rows], Rows] | None = None

    def destination(self, model: str, version: str) -> Destination:
        if self.gone is not None:
            raise self.gone
        return self.goes_to

    def check_room(self, model: str, version: str) -> Destination:
        if self.room is not None:
            raise self.room
        return self.goes_to

    async def outcome(
        self, destination: Destination, instances: Rows, options: Options, timeout_s: float | None
    ) -> Sequence[Rows]:
        self.outcomes.append((instances, options, timeout_s))
        specs = tuple(
            TensorSpec(name, spec.dtype, spec.shape) for name, spec in zip("yz", instances.specs, strict=True)
        )
        whole = Rows(specs, instances.columns, instances.count)
        if self.changed is not None:
            whole = self.changed(whole)
        half = instances.count // 2
        return [whole] if self.parts == 1 else [whole.take(0, half), whole.take(half, instances.count)]


def message(*pieces: bytes, id: str = "", **options: Any) -> pb.ModelInferRequest:
    shape = [len(pieces[0]) // 4, 1]
    return request(
        tensor("b", "FP32", shape, **options), tensor("a", "INT32", shape), raw=pieces, model="m", id=id
    )


def values(*numbers: float, dtype: str = "<f4") -> bytes:
    return np.array(numbers, dtype).tobytes()


ONE = (values(1, 2), values(10, 20, dtype="<i4"))
TWO = (values(3, 4), values(30, 40, dtype="<i4"))


class Scene:
    """What remembers requests, and what they go to."""

    def __init__(self, **options: Any) -> None:
        self.inference = Inference(**options)
        self.known = KnownRequests(self.inference)  # type: ignore[arg-type]

    def learn(self, message: pb.ModelInferRequest) -> None:
        read = read_message(message.SerializeToString())
        self.known.learn(read, asyncio.run(request_in(read)))

    def answer(self, message: pb.ModelInferRequest) -> pb.ModelInferResponse | None:
        read = read_message(message.SerializeToString())
        parts = asyncio.run(asyncio.wait_for(self.known.answer(read), LIMIT_S))
        return None if parts is None else pb.ModelInferResponse.FromString(b"".join(parts))


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_next_one_has_its_own_data_and_id(rows: bool, parts: int) -> None:
    scene = Scene(rows=rows)
    assert scene.answer(message(*ONE)) is None
    scene.learn(message(*ONE, id="1"))
    scene.inference.parts = parts if rows else 1
    for pieces, name in ((TWO, "7"), (ONE, ""), (TWO, "")):
        reply = scene.answer(message(*pieces, id=name))
        assert reply is not None
        assert (reply.model_name, reply.model_version, reply.id) == ("m", "3", name)
        assert [(one.name, one.datatype, list(one.shape)) for one in reply.outputs] == [
            ("y", "INT32", [2, 1]),
            ("z", "FP32", [2, 1]),
        ]
        assert list(reply.raw_output_contents) == [pieces[1], pieces[0]]
    instances, _, _ = scene.inference.outcomes[0]
    assert instances.count == (2 if rows else 1)
    assert [spec.name for spec in instances.specs] == ["a", "b"]
    assert [spec.dtype for spec in instances.specs] == [DataType.INT32, DataType.FLOAT32]


def doubled(whole: Rows) -> Rows:
    """Outputs of another shape."""
    specs = tuple(spec._replace(shape=(2,)) for spec in whole.specs)
    return Rows(specs, tuple(np.repeat(column, 2, axis=1) for column in whole.columns), whole.count)  # type: ignore[arg-type]


def texts(whole: Rows) -> Rows:
    """An output of text, and one of another type."""
    specs = (TensorSpec("y", DataType.STRING, ()), TensorSpec("z", DataType.INT8, ()))
    return Rows(specs, ([b"p", b"qr"], np.array([1, 2], np.int8)), whole.count)


def test_the_outputs_may_look_otherwise_each_time() -> None:
    scene = Scene()
    scene.learn(message(*ONE))
    found = []
    for changed in (None, doubled, doubled, texts, texts, None):
        scene.inference.changed = changed
        reply = scene.answer(message(*ONE))
        assert reply is not None
        y, z = reply.outputs
        found.append((y.datatype, list(y.shape), z.datatype, list(z.shape), *reply.raw_output_contents))
    plain = ("INT32", [2, 1], "FP32", [2, 1], ONE[1], ONE[0])
    twice = ("INT32", [2, 2], "FP32", [2, 2], values(10, 10, 20, 20, dtype="<i4"), values(1, 1, 2, 2))
    text = ("BYTES", [2], "INT8", [2], b"\1\0\0\0p\2\0\0\0qr", b"\1\2")
    assert found == [plain, twice, twice, text, text, plain]


def test_outputs_and_parameters_are_those_of_the_request() -> None:
    scene = Scene()
    asked = message(*ONE)
    asked.outputs.add(name="z")
    asked.parameters["timeout"].int64_param = 2_000_000
    asked.parameters["mine"].string_param = "x"
    scene.learn(asked)
    reply = scene.answer(asked)
    assert reply is not None
    assert (len(reply.outputs), list(reply.raw_output_contents)) == (1, [ONE[0]])
    [(_, options, timeout_s)] = scene.inference.outcomes
    assert (timeout_s, dict(options.others)) == (2.0, {"mine": "x"})
    assert scene.answer(message(*ONE)) is None


def test_what_is_not_alike_takes_the_long_way() -> None:
    scene = Scene()
    scene.learn(message(*ONE))
    shorter = message(*ONE)
    shorter.raw_input_contents[1] = b"1"
    assert scene.answer(shorter) is None
    missing = message(*ONE)
    del missing.raw_input_contents[1]
    assert scene.answer(missing) is None
    assert scene.answer(message(*ONE, b"more")) is None
    assert scene.answer(message(*ONE)) is not None
    scene.inference.goes_to = destination()  # the servable has been loaded again
    assert scene.answer(message(*ONE)) is None
    scene.learn(message(*ONE))
    assert scene.answer(message(*ONE)) is not None


def typed() -> pb.ModelInferRequest:
    return request(
        tensor("a", "INT32", [1], int_contents=[1]), tensor("b", "FP32", [1], fp32_contents=[1]), model="m"
    )


def classified() -> pb.ModelInferRequest:
    asked = message(*ONE)
    asked.outputs.add(name="z").parameters["classification"].int64_param = 1
    return asked


def with_method() -> pb.ModelInferRequest:
    asked = message(*ONE)
    asked.parameters["method"].string_param = "m"
    return asked


@pytest.mark.parametrize(
    "asked",
    [
        typed(),
        classified(),
        with_method(),
        request(tensor("a", "BOOL", [1, 1]), tensor("b", "FP32", [1, 1]), raw=[b"1", b"1234"], model="m"),
        request(
            tensor("a", "BYTES", [1, 1]), tensor("b", "FP32", [1, 1]), raw=[bytes(4), b"1234"], model="m"
        ),
        request(
            tensor("a", "INT8", [1, 1], parameters={REGION: {"string_param": "r"}}),
            tensor("b", "INT8", [1, 1]),
            raw=[b"1"],
            model="m",
        ),
        request(tensor("a", "INT8", [0, 1]), tensor("b", "INT8", [0, 1]), raw=[b"", b""], model="m"),
        message(*ONE, parameters={"long": {"string_param": "x" * 5000}}),
    ],
    ids=["typed", "classified", "method", "bool", "bytes", "shared memory", "no rows", "long"],
)
def test_what_is_not_common_is_not_remembered(asked: pb.ModelInferRequest) -> None:
    scene = Scene()
    for _ in range(2):
        scene.learn(asked)
        assert scene.answer(asked) is None


def test_a_request_that_is_known_is_refused_like_any_other() -> None:
    scene = Scene()
    scene.learn(message(*ONE))
    scene.inference.room = QueueFull("full")
    with pytest.raises(QueueFull):
        scene.answer(message(*ONE))


def test_an_answered_request_does_not_fail_for_what_is_gone_since() -> None:
    scene = Scene()
    scene.inference.gone = ServerStopping()
    scene.learn(message(*ONE))
    assert scene.answer(message(*ONE)) is None


def test_what_is_remembered_has_a_bound() -> None:
    scene = Scene()
    for number in range(300):
        scene.learn(message(*ONE, parameters={"n": {"int64_param": number}}))
    assert len(scene.known._known) <= 256
