"""gRPC: what is accepted, and the answer to everything that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from mindspore_serving.client import Client, SSLConfig
from mindspore_serving.proto import ms_service_pb2 as pb
from tests.conformance.departures import without_advice
from tests.conformance.row import row, stands_for
from tests.support import servables
from tests.support.certificates import Authority, Pair
from tests.support.grpc_messages import (
    DTYPES,
    RawClient,
    array_of,
    errors,
    instance,
    raw_tensor,
    request,
    tensor,
    text_tensor,
)
from tests.support.serving import RunningServer, add_servable, free_port, serving

Array = npt.NDArray[Any]
MEGABYTE = 1 << 20
INVALID = 2
SYSTEM_ERROR = 3

ONES = np.ones((2, 2), np.float32)
SQUARE = np.array([[1, 2], [3, 4]], np.float32)
WIDE = np.ones((3, 2), np.float32)
DOUBLED = SQUARE * 2

BOOM = (
    "Call Function 'pystage.raise_fun' Failed, method: 'raises', stage index(begin with 1): 1, "
    "error msg: boom from stage"
)
NEGATIVE = (
    "Call Function 'pystage.partial_fun' Failed, method: 'partial', stage index(begin with 1): 1, "
    "error msg: negative input"
)
NEGATIVE_IN_BATCH = (
    "Call Function 'pystage.partial_batch_fun' Failed, method: 'partial_b', stage index(begin with 1): 1, "
    "error msg: negative input in batch"
)
BAD_COUNT = (
    "Call Function 'pystage.badcount_fun' Failed, method: 'badcount', stage index(begin with 1): 1, error msg: "
    "The outputs number 2 of one instance returned by function 'pystage.badcount_fun' is not equal to the outputs "
    "number 1  registered in method badcount"
)


def sizes(got: int, expected: int) -> str:
    return f"Given model input 0 size {got} not match the size {expected} defined in model"


def dtypes(got: str) -> str:
    return f"Given model input 0 data type {got} not match the data type kMSI_Float32 defined in model"


def pair(x1: Any = SQUARE, x2: Any = SQUARE) -> dict[str, Any]:
    return {"x1": x1, "x2": x2}


@pytest.fixture(scope="module")
def infer(server: RunningServer) -> Iterator[Callable[..., Any]]:
    """`infer(servable, method, instances, version=0)` through a Client."""
    clients: dict[tuple[str, str, int], Client] = {}

    def call(servable: str, method: str, instances: Any, version: int = 0) -> Any:
        key = (servable, method, version)
        if key not in clients:
            clients[key] = Client(server.grpc, servable, method, version)
        return without_advice(clients[key].infer(instances))

    yield call
    for client in clients.values():
        client.close()


def same(got: Any, expected: Array) -> bool:
    return got.dtype == expected.dtype and got.shape == expected.shape and bool((got == expected).all())


# --- Through the Client ---


@pytest.mark.parametrize(
    ("servable", "method", "version", "instances", "text"),
    [
        row(
            "10-request-error-unknown-servable",
            "nosuch",
            "add_common",
            0,
            pair(),
            "Request servable(nosuch) method(add_common) , servable is not available",
        ),
        row(
            "10-request-error-unknown-method",
            "add",
            "nosuch",
            0,
            pair(),
            "Request servable(add) method(nosuch) , method is not available",
        ),
        row(
            "10-request-error-unknown-version",
            "add",
            "add_common",
            7,
            pair(),
            "Request servable(add) method(add_common)  version(7) , servable is not available",
        ),
        row(
            "10-request-error-missing-input",
            "add",
            "add_common",
            0,
            {"x1": SQUARE},
            "Cannot find input x2 in instance input , servable add, method add_common",
        ),
        row(
            "10-request-error-wrong-name",
            "add",
            "add_common",
            0,
            {"a": SQUARE, "x2": SQUARE},
            "Cannot find input x1 in instance input , servable add, method add_common",
        ),
        row("5.4-dtype", "add", "add_common", 0, pair(np.ones((2, 2), np.int32)), dtypes("kMSI_Int32")),
        row("5.4-dtype", "add", "add_common", 0, pair(np.ones((2, 2), np.uint32)), dtypes("kMSI_Uint32")),
        row("5.4-dtype", "add", "add_common", 0, pair(np.ones((4, 2), np.float16)), dtypes("kMSI_Float16")),
        row("5.4-dtype", "add", "add_common", 0, pair(np.ones((4, 4), np.bool_)), dtypes("kMSI_Bool")),
        row("5.4-dtype", "add", "add_common", 0, pair(np.ones(2, np.float64)), dtypes("kMSI_Float64")),
        row("5.4-byte-size", "add", "add_common", 0, pair(np.ones((2, 2), np.float64)), sizes(32, 16)),
        row("5.4-byte-size", "add", "add_common", 0, pair(WIDE), sizes(24, 16)),
        row("5.4-byte-size", "add", "add_common", 0, pair("abc"), sizes(0, 16)),
        row("5.4-byte-size", "batch_add", "add_common", 0, pair(WIDE), sizes(24, 8)),
        row("5.3-raises", "pystage", "raises", 0, {"x": SQUARE}, BOOM),
        row("10-all-same-error", "pystage", "raises", 0, [{"x": SQUARE}] * 3, BOOM),
        row("5.3-outputs-number", "pystage", "badcount", 0, {"x": SQUARE}, BAD_COUNT),
        row(
            "10-request-error-zero-instances",
            "add",
            "add_common",
            0,
            [],
            "Instances count of request cannot be 0, servable: add, method: add_common",
        ),
    ],
)
def test_client_failure_is_one_dict(
    infer: Callable[..., Any], servable: str, method: str, version: int, instances: Any, text: str
) -> None:
    assert infer(servable, method, instances, version) == {"error": text}
    [good] = infer("add", "add_common", pair())
    assert same(good["y"], DOUBLED)


@pytest.mark.parametrize(
    "instances",
    [
        row("10-all-ok", pair()),
        row("6.3-extra-input", {**pair(), "x3": SQUARE}),
        row("6.3-extra-input", {**pair(), "x3": "text"}),
        row("10-instances-list", [pair()]),
        row(
            "10-instances-tuple",
            pair(),
        ),
    ],
)
def test_client_success(infer: Callable[..., Any], instances: Any) -> None:
    [good] = infer("add", "add_common", instances)
    assert list(good) == ["y"]
    assert same(good["y"], DOUBLED)


@stands_for("5.4-shape-is-not-compared")
def test_shape_is_not_compared(infer: Callable[..., Any]) -> None:
    [good] = infer("add", "add_common", pair(SQUARE.reshape(4), ONES))
    assert same(good["y"], SQUARE + 1)


@pytest.mark.parametrize(
    ("servable", "method", "good", "bad", "result", "text"),
    [
        row(
            "10-partial-byte-size",
            "batch_add",
            "add_common",
            pair(SQUARE[0], ONES[0]),
            pair(WIDE),
            SQUARE[0] + 1,
            sizes(24, 8),
        ),
        row(
            "10-partial-dtype",
            "add",
            "add_common",
            pair(),
            pair(np.ones((2, 2), np.int32)),
            DOUBLED,
            dtypes("kMSI_Int32"),
        ),
        row(
            "10-partial-second-input",
            "add",
            "add_common",
            pair(),
            pair(x2=WIDE),
            DOUBLED,
            sizes(24, 16).replace("input 0", "input 1"),
        ),
        row("10-partial-function", "pystage", "partial", {"x": SQUARE}, {"x": -SQUARE}, SQUARE, NEGATIVE),
        row(
            "10-partial-batch-function",
            "pystage",
            "partial_b",
            {"x": SQUARE},
            {"x": -SQUARE},
            SQUARE,
            NEGATIVE_IN_BATCH,
        ),
    ],
)
@pytest.mark.parametrize("order", ["gbg", "bgg", "ggb", "bgb"])
def test_a_failed_instance_fails_alone(
    infer: Callable[..., Any],
    servable: str,
    method: str,
    good: Any,
    bad: Any,
    result: Array,
    text: str,
    order: str,
) -> None:
    replies = infer(servable, method, [good if kind == "g" else bad for kind in order])
    assert len(replies) == 3
    for kind, reply in zip(order, replies, strict=True):
        if kind == "b":
            assert reply == {"error": text}
        else:
            assert list(reply) == ["y"]
            assert same(reply["y"], result)


@stands_for("10-partial-different-texts")
def test_different_texts_stay_with_their_instances(infer: Callable[..., Any]) -> None:
    replies = infer("add", "add_common", [pair(WIDE), pair(np.ones((2, 2), np.int32))])
    assert replies == [{"error": sizes(24, 16)}, {"error": dtypes("kMSI_Int32")}]


@stands_for("10-instance-no-map")
def test_instance_is_no_dict(infer: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match=r"^instance should be a map$"):
        infer("add", "add_common", [1])


@stands_for("10-grpc-failure-unavailable")
def test_no_server() -> None:
    with Client(f"127.0.0.1:{free_port()}", "add", "add_common") as client:
        assert client.infer(pair())["error"].startswith("Grpc Error, (14, 'unavailable'), ")
        assert client.infer_async(pair()).result()["error"].startswith("Grpc Error, (14, 'unavailable'), ")


@stands_for("10-infer_async")
def test_infer_async(server: RunningServer) -> None:
    with Client(server.grpc, "add", "add_common") as client:
        calls = [client.infer_async([pair(SQUARE * i)] * (i + 1)) for i in range(20)]
        for i, call in enumerate(calls):
            replies = call.result()
            assert len(replies) == i + 1
            assert all(same(reply["y"], SQUARE * i + SQUARE) for reply in replies)
        assert without_advice(client.infer_async(pair(WIDE)).result()) == {"error": sizes(24, 16)}


@stands_for("11.1-add_cast")
def test_cast_method(infer: Callable[..., Any]) -> None:
    ints = np.ones((2, 2), np.int32)
    [good] = infer("add", "add_cast", pair(ints, ints))
    assert same(good["y"], ONES * 2)


# --- Forms of the reply ---


@stands_for("6.2-all-ok")
def test_reply_all_ok(raw: RawClient) -> None:
    sent = request("add", "add_common", [instance(x1=tensor(SQUARE * i), x2=tensor(ONES)) for i in range(3)])
    reply = raw.predict(sent)
    assert reply.servable_spec == sent.servable_spec
    assert errors(reply) == []
    assert [list(entry.items) for entry in reply.instances] == [["y"]] * 3
    for i, entry in enumerate(reply.instances):
        assert same(array_of(entry.items["y"]), SQUARE * i + 1)
        assert not entry.output_buffers


@pytest.mark.parametrize(
    ("method", "text"),
    [
        row("6.2-mixed-function", "partial", NEGATIVE),
        row("6.2-mixed-batch-function", "partial_b", NEGATIVE_IN_BATCH),
    ],
)
def test_reply_mixed(raw: RawClient, method: str, text: str) -> None:
    values = [SQUARE, -SQUARE, SQUARE]
    reply = raw.predict(request("pystage", method, [instance(x=tensor(value)) for value in values]))
    assert errors(reply) == [(0, ""), (SYSTEM_ERROR, text), (0, "")]
    assert [len(entry.items) for entry in reply.instances] == [1, 0, 1]
    assert same(array_of(reply.instances[2].items["y"]), SQUARE)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("method", "text"),
    [
        row("6.2-all-failed-alike", "raises", BOOM),
        row("6.2-all-failed-alike-outputs-number", "badcount", BAD_COUNT),
    ],
)
def test_reply_all_failed_alike(raw: RawClient, method: str, text: str, count: int) -> None:
    sent = request("pystage", method, [instance(x=tensor(SQUARE))] * count)
    reply = raw.predict(sent)
    assert errors(reply) == [(SYSTEM_ERROR, text)]
    assert len(reply.instances) == 0
    assert reply.servable_spec == sent.servable_spec


@stands_for("6.2-all-failed-differently")
def test_reply_all_failed_differently(raw: RawClient) -> None:
    bad = [instance(x1=tensor(WIDE), x2=tensor(ONES)), instance(x1=tensor(ONES[0]), x2=tensor(ONES))]
    reply = raw.predict(request("add", "add_common", bad))
    told = [(code, without_advice(text)) for code, text in errors(reply)]
    assert told == [(INVALID, sizes(24, 16)), (INVALID, sizes(8, 16))]
    assert [len(entry.items) for entry in reply.instances] == [0, 0]


@stands_for("5.3-output-str-has-no-shape")
def test_reply_of_a_text_stage_has_no_shape(raw: RawClient) -> None:
    reply = raw.predict(request("pystage", "text", [instance(x=text_tensor(b"abc"))]))
    [entry] = reply.instances
    assert entry.items["y"] == pb.Tensor(shape=pb.TensorShape(), dtype=pb.MS_STRING, bytes_val=[b"abc"])


# --- Request-level errors ---

GOOD = instance(x1=tensor(SQUARE), x2=tensor(SQUARE))
UNAVAILABLE = "Request servable({}) method({}) {}, {} is not available"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        row(
            "6.3-unknown-servable",
            request("nosuch", "add_common", [GOOD]),
            UNAVAILABLE.format("nosuch", "add_common", "", "servable"),
        ),
        row(
            "6.3-unknown-method",
            request("add", "nosuch", [GOOD]),
            UNAVAILABLE.format("add", "nosuch", "", "method"),
        ),
        row(
            "6.3-unknown-method-and-version",
            request("add", "nosuch", [GOOD], 1),
            UNAVAILABLE.format("add", "nosuch", " version(1) ", "method"),
        ),
        row(
            "6.3-unknown-servable-version",
            request("add", "add_common", [GOOD], 7),
            UNAVAILABLE.format("add", "add_common", " version(7) ", "servable"),
        ),
        row(
            "6.3-unknown-servable-largest-version",
            request("add", "add_common", [GOOD], (1 << 64) - 1),
            UNAVAILABLE.format("add", "add_common", " version(18446744073709551615) ", "servable"),
        ),
        row(
            "6.3-unknown-servable-empty",
            request("", "add_common", [GOOD]),
            UNAVAILABLE.format("", "add_common", "", "servable"),
        ),
        row(
            "6.3-unknown-method-empty",
            request("add", "", [GOOD]),
            UNAVAILABLE.format("add", "", "", "method"),
        ),
        row(
            "6.3-unknown-servable-no-spec",
            pb.PredictRequest(instances=[GOOD]),
            UNAVAILABLE.format("", "", "", "servable"),
        ),
        row(
            "6.3-unknown-servable-empty-request",
            pb.PredictRequest(),
            UNAVAILABLE.format("", "", "", "servable"),
        ),
        row(
            "6.3-zero-instances",
            request("add", "add_common", []),
            "Instances count of request cannot be 0, servable: add, method: add_common",
        ),
        row(
            "6.3-zero-instances",
            request("pystage", "identity", []),
            "Instances count of request cannot be 0, servable: pystage, method: identity",
        ),
        row(
            "6.3-missing-input",
            request("add", "add_common", [instance(x1=tensor(SQUARE))]),
            "Cannot find input x2 in instance input , servable add, method add_common",
        ),
        row(
            "6.3-missing-input-of-3",
            request("add", "add_common", [instance(x1=tensor(SQUARE))] * 3),
            "Cannot find input x2 in instance input , servable add, method add_common",
        ),
        row(
            "6.3-missing-input-in-any-instance",
            request("add", "add_common", [GOOD, instance(x1=tensor(SQUARE)), GOOD]),
            "Cannot find input x2 in instance input , servable add, method add_common",
        ),
        row(
            "6.3-missing-input-all",
            request("add", "add_common", [instance()]),
            "Cannot find input x1 in instance input , servable add, method add_common",
        ),
    ],
)
def test_request_level_error(raw: RawClient, message: pb.PredictRequest, text: str) -> None:
    reply = raw.predict(message)
    assert errors(reply) == [(INVALID, text)]
    assert len(reply.instances) == 0
    assert reply.servable_spec == message.servable_spec


TENSOR = "Tensor check failed: "
TEXT_COUNT = "Instance tensor check failed: bytes or string type shape batch size can only be 1"
TEXT_SHAPE = (
    "Instance tensor check failed: bytes or string type input  shape can only be (1,) or empty, "
    "but given shape is {}"
)
FLOAT32 = pb.MS_FLOAT32

BAD_TENSORS: dict[str, tuple[pb.Tensor, str]] = {
    "negative dim": (
        raw_tensor(FLOAT32, [-2, 2], SQUARE.tobytes()),
        TENSOR + "input  shape [-2, 2] invalid",
    ),
    "two negative dims": (
        raw_tensor(FLOAT32, [-2, -2], SQUARE.tobytes()),
        TENSOR + "input  shape [-2, -2] invalid",
    ),
    "negative dim, no data": (raw_tensor(FLOAT32, [0, -1], b""), TENSOR + "input  shape [0, -1] invalid"),
    "smallest dim": (
        raw_tensor(FLOAT32, [-(1 << 63)], b""),
        TENSOR + "input  shape [-9223372036854775808] invalid",
    ),
    "dim after 0": (raw_tensor(FLOAT32, [2, 0, 3], b""), TENSOR + "input  shape [2, 0, 3] invalid"),
    "dim after leading 0": (raw_tensor(FLOAT32, [0, 2], b""), TENSOR + "input  shape [0, 2] invalid"),
    "dtype 0": (
        raw_tensor(pb.MS_UNKNOWN, [2, 2], SQUARE.tobytes()),
        TENSOR + "input data type proto::MS_UNKNOWN invalid",
    ),
    "dtype 99": (
        raw_tensor(99, [2, 2], SQUARE.tobytes()),
        TENSOR + "input data type proto::MS_UNKNOWN invalid",
    ),
    "dtype 15": (raw_tensor(15, [], b""), TENSOR + "input data type proto::MS_UNKNOWN invalid"),
    "dtype -1": (raw_tensor(-1, [], b""), TENSOR + "input data type proto::MS_UNKNOWN invalid"),
    "empty tensor": (pb.Tensor(), TENSOR + "input data type proto::MS_UNKNOWN invalid"),
    "7 bytes": (raw_tensor(FLOAT32, [2, 2], b"1234567"), TENSOR + "input data size 7 invalid"),
    "one byte short": (raw_tensor(FLOAT32, [2, 2], bytes(15)), TENSOR + "input data size 15 invalid"),
    "one byte long": (raw_tensor(FLOAT32, [2, 2], bytes(17)), TENSOR + "input data size 17 invalid"),
    "no data": (raw_tensor(FLOAT32, [2, 2], b""), TENSOR + "input data size 0 invalid"),
    "scalar without data": (raw_tensor(FLOAT32, [], b""), TENSOR + "input data size 0 invalid"),
    "data for a 0 dim": (raw_tensor(FLOAT32, [2, 0], bytes(4)), TENSOR + "input data size 4 invalid"),
    "huge dims": (raw_tensor(FLOAT32, [10**9, 10**9], bytes(16)), TENSOR + "input data size 16 invalid"),
    "dims that overflow to 0": (
        raw_tensor(FLOAT32, [1 << 62, 4], b""),
        TENSOR + "input data size 0 invalid",
    ),
    "dims that overflow to 16 bytes": (
        raw_tensor(FLOAT32, [(1 << 62) + 1, 4], bytes(16)),
        TENSOR + "input data size 16 invalid",
    ),
    "numbers in bytes_val": (
        text_tensor(SQUARE.tobytes(), dtype=FLOAT32, dims=[2, 2]),
        TENSOR + "input data size 0 invalid",
    ),
    "shared memory": (
        pb.Tensor(
            shape=pb.TensorShape(dims=[2, 2]),
            dtype=FLOAT32,
            shm_data=pb.ShmTensorData(memory_key="x", bytes_size=16, data_offset=0, data_size=16),
        ),
        TENSOR + "input data size 0 invalid",
    ),
    "no bytes": (text_tensor(dtype=pb.MS_BYTES), TEXT_COUNT),
    "two bytes": (text_tensor(b"a", b"b", dtype=pb.MS_BYTES), TEXT_COUNT),
    "two bytes, shape 2": (text_tensor(b"a", b"b", dtype=pb.MS_BYTES, dims=[2]), TEXT_COUNT),
    "no text": (text_tensor(), TEXT_COUNT),
    "two texts": (text_tensor(b"a", b"b"), TEXT_COUNT),
    "text in data": (raw_tensor(pb.MS_STRING, [1], b"abc"), TEXT_COUNT),
    "text of shape [1, 1]": (text_tensor(b"a", dims=[1, 1]), TEXT_SHAPE.format("[1, 1]")),
    "bytes of shape [1, 1]": (
        text_tensor(b"a", dtype=pb.MS_BYTES, dims=[1, 1]),
        TEXT_SHAPE.format("[1, 1]"),
    ),
    "text of shape [2]": (text_tensor(b"a", dims=[2]), TEXT_SHAPE.format("[2]")),
    "text of shape [0]": (text_tensor(b"a", dims=[0]), TEXT_SHAPE.format("[0]")),
}


ROW_OF_TEXT = {
    "can only be (1,) or empty": "6.3-text-shape",
    "batch size can only be 1": "6.3-text-count",
    "input  shape": "6.3-dims",
    "MS_UNKNOWN": "6.3-unknown-dtype",
    "data size": "6.3-data-length",
}


def named(case: str) -> Any:
    name = next(name for text, name in ROW_OF_TEXT.items() if text in BAD_TENSORS[case][1])
    return row(f"{name}-{case.replace(' ', '-')}", case)


@pytest.mark.parametrize("case", [named(case) for case in BAD_TENSORS])
@pytest.mark.parametrize("method", ["identity", "echo"])
def test_bad_tensor(raw: RawClient, case: str, method: str) -> None:
    bad, text = BAD_TENSORS[case]
    expected = [(INVALID, f"Instances input x check failed, detail: {text}")]
    good = instance(x=tensor(SQUARE))
    for instances in ([instance(x=bad)], [good, instance(x=bad), good]):
        reply = raw.predict(request("pystage", method, instances))
        assert errors(reply) == expected
        assert len(reply.instances) == 0


@stands_for("6.3-data-length-model")
def test_bad_tensor_of_a_model(raw: RawClient) -> None:
    bad = instance(x1=tensor(SQUARE), x2=raw_tensor(FLOAT32, [2, 2], b"1234567"))
    assert errors(raw.predict(request("add", "add_common", [bad]))) == [
        (INVALID, "Instances input x2 check failed, detail: Tensor check failed: input data size 7 invalid")
    ]


@pytest.mark.parametrize(
    "extra", [row("6.3-extra-input-" + case.replace(" ", "-"), bad) for case, (bad, _) in BAD_TENSORS.items()]
)
def test_extra_input_is_not_even_looked_at(raw: RawClient, extra: pb.Tensor) -> None:
    reply = raw.predict(request("pystage", "identity", [instance(x=tensor(SQUARE), other=extra)]))
    assert errors(reply) == []
    assert same(array_of(reply.instances[0].items["y"]), SQUARE)


@pytest.mark.parametrize(
    "method",
    [
        row("6.1-text-not-utf8", "identity"),
        row("6.1-text-not-utf8", "text"),
        row("6.1-text-not-utf8", "echo"),
    ],
)
def test_text_that_is_not_utf8_is_answered(raw: RawClient, method: str) -> None:
    reply = raw.predict(request("pystage", method, [instance(x=text_tensor(b"\xff\xfe"))]))
    if errors(reply):
        [(code, text)] = errors(reply)
        assert code in (INVALID, SYSTEM_ERROR)
        assert text
    else:
        assert method == "echo"
        assert reply.instances[0].items["y"].bytes_val == [b"\xff\xfe"]
    assert errors(raw.predict(request("pystage", method, [instance(x=text_tensor(b"good"))]))) == []


# --- Bytes on the wire ---

WHOLE = request("pystage", "identity", [instance(x=tensor(SQUARE))], 1)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field; number and length below 16 and 128."""
    assert number < 16
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def entry(value: bytes, key: bytes = b"x") -> bytes:
    """One instance with one item, in field 2 of a request."""
    return field(2, field(1, field(1, key) + field(2, value)))


SPEC = pb.PredictRequest(servable_spec=WHOLE.servable_spec).SerializeToString()
DATA = field(3, SQUARE.tobytes())
PACKED = field(1, field(1, b"\x02\x02"))
FLOAT = b"\x10\x0b"

ODD_ENCODINGS = {
    "as usual": SPEC + entry(PACKED + FLOAT + DATA),
    "dims not packed": SPEC + entry(field(1, b"\x08\x02\x08\x02") + FLOAT + DATA),
    "dims half packed": SPEC + entry(field(1, b"\x0a\x01\x02\x08\x02") + FLOAT + DATA),
    "shape in two parts": SPEC + entry(field(1, b"\x08\x02") + FLOAT + DATA + field(1, b"\x08\x02")),
    "fields the other way round": entry(DATA + FLOAT + PACKED) + SPEC,
    "long varint": SPEC + entry(field(1, field(1, b"\x82\x80\x00\x02")) + b"\x10\x8b\x80\x00" + DATA),
    "last dtype counts": SPEC + entry(PACKED + b"\x10\x01" + FLOAT + DATA),
    "last data counts": SPEC + entry(PACKED + FLOAT + field(3, b"123") + DATA),
    "last of the oneof counts": SPEC + entry(PACKED + FLOAT + field(5, b"") + DATA),
    "last item counts": SPEC
    + field(
        2,
        field(1, field(1, b"x") + field(2, b"\x10\x01"))
        + field(1, field(1, b"x") + field(2, PACKED + FLOAT + DATA)),
    ),
    "item in value, key order": SPEC + field(2, field(1, field(2, PACKED + FLOAT + DATA) + field(1, b"x"))),
    "item value in two parts": SPEC
    + field(2, field(1, field(1, b"x") + field(2, PACKED + FLOAT) + field(2, DATA))),
    "spec in two parts": field(1, field(1, b"nosuch") + field(2, b"identity"))
    + field(1, field(1, b"pystage") + b"\x18\x01")
    + entry(PACKED + FLOAT + DATA),
    "unknown varint": SPEC + b"\x78\x05" + entry(PACKED + FLOAT + DATA + b"\x78\x05"),
    "unknown fixed64": SPEC + b"\x79" + bytes(8) + entry(PACKED + FLOAT + b"\x79" + bytes(8) + DATA),
    "unknown fixed32": SPEC + b"\x7d" + bytes(4) + entry(PACKED + FLOAT + b"\x7d" + bytes(4) + DATA),
    "unknown bytes": SPEC + field(15, b"abc") + entry(PACKED + field(15, b"abc") + FLOAT + DATA),
    "unknown group": SPEC + b"\x7b\x08\x01\x7c" + entry(PACKED + FLOAT + b"\x7b\x08\x01\x7c" + DATA),
    "data of the wrong wire type is unknown": SPEC + entry(PACKED + FLOAT + DATA + b"\x18\x05"),
}


@pytest.mark.parametrize(
    "case", [row("6.1-encoding-" + case.replace(" ", "-"), case) for case in ODD_ENCODINGS]
)
def test_odd_encoding_means_what_protobuf_says(raw: RawClient, case: str) -> None:
    content = ODD_ENCODINGS[case]
    parsed = pb.PredictRequest.FromString(content)
    assert same(array_of(parsed.instances[0].items["x"]), SQUARE), "the case itself"
    reply = raw.predict(content)
    assert errors(reply) == []
    assert [same(array_of(got.items["y"]), SQUARE) for got in reply.instances] == [True]
    assert reply.servable_spec == WHOLE.servable_spec


UNPARSABLE = (grpc.StatusCode.INTERNAL, "Unable to parse request")


@pytest.mark.parametrize(
    "content",
    [
        row("6.1-undecodable", b"\xff\xff\xff"),
        row("6.1-undecodable", b"\x00"),
        row("6.1-undecodable", b"\x0f"),
        row("6.1-undecodable", b"\x07\x01"),
        row("6.1-undecodable", b"\x0c"),
        row("6.1-undecodable", b"\x80" * 11),
        row("6.1-undecodable", SPEC + b"\x78" + b"\xff" * 10),
        row("6.1-undecodable", b"\x12\xff\xff\xff\xff\x7f"),
        row("6.1-undecodable", SPEC + entry(PACKED + FLOAT + DATA)[:-1]),
        row("6.1-undecodable", SPEC + b"\x7b\x08\x01"),
        row(
            "6.1-undecodable",
            field(1, field(1, b"\xff\xfe") + field(2, b"identity")) + entry(PACKED + FLOAT + DATA),
        ),
        row("6.1-undecodable", SPEC + entry(PACKED + FLOAT + DATA, key=b"\xff")),
    ],
)
def test_undecodable_bytes(raw: RawClient, content: bytes) -> None:
    assert raw.failure(content) == UNPARSABLE


@stands_for("6.1-undecodable-cut")
def test_every_cut_of_a_request_is_answered_as_protobuf_reads_it(raw: RawClient) -> None:
    whole = WHOLE.SerializeToString()
    for length in range(len(whole)):
        cut = whole[:length]
        try:
            pb.PredictRequest.FromString(cut)
        except Exception:
            assert raw.failure(cut) == UNPARSABLE, length
        else:
            assert len(errors(raw.predict(cut))) == 1, length


@stands_for("6.1-unknown-rpc")
def test_unknown_rpc(raw: RawClient) -> None:
    for path in ("/mindspore.serving.proto.MSService/Nosuch", "/nosuch/Predict"):
        code, _ = raw.failure(WHOLE.SerializeToString(), path)
        assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("count", [row("6.1-field-3-count", 1), row("6.1-field-3-count", 5)])
def test_clients_of_the_first_generation_send_field_3(raw: RawClient, count: int) -> None:
    instances = [instance(x=tensor(SQUARE * i)) for i in range(count)]
    sent = pb.PredictRequest(
        servable_spec=pb.ServableSpec(name="pystage", method_name="identity"),
        instances_of_first_generation=instances,
    )
    reply = raw.predict(sent)
    assert errors(reply) == []
    assert [array_of(got.items["y"])[1, 1] for got in reply.instances] == [4 * i for i in range(count)]


# --- Values ---

SHAPES = [(), (1,), (3,), (2, 2), (2, 1, 3), (0,), (1, 0), (2, 0)]


@pytest.mark.parametrize("dtype", [row(f"10-value-array-{dtype}", dtype) for dtype in DTYPES])
@pytest.mark.parametrize("method", ["identity", "echo"])
def test_arrays_keep_dtype_and_shape(infer: Callable[..., Any], dtype: str, method: str) -> None:
    arrays = [(np.arange(np.prod(shape)) + 1).astype(dtype).reshape(shape) for shape in SHAPES]
    replies = infer("pystage", method, [{"x": array} for array in arrays])
    assert len(replies) == len(arrays)
    for array, reply in zip(arrays, replies, strict=True):
        assert same(reply["y"], array), array.shape


@pytest.mark.parametrize(
    "dtype",
    [
        row("10-extreme-numbers", "int8"),
        row("10-extreme-numbers", "uint8"),
        row("10-extreme-numbers", "int16"),
        row("10-extreme-numbers", "int32"),
        row("10-extreme-numbers", "int64"),
        row("10-extreme-numbers", "uint32"),
        row("10-extreme-numbers", "uint64"),
    ],
)
def test_extreme_numbers(infer: Callable[..., Any], dtype: str) -> None:
    limits = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    [reply] = infer("pystage", "identity", {"x": limits})
    assert same(reply["y"], limits)


@pytest.mark.parametrize(
    "dtype",
    [row("10-not-finite", "float16"), row("10-not-finite", "float32"), row("10-not-finite", "float64")],
)
def test_not_finite_numbers(infer: Callable[..., Any], dtype: str) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0], dtype)
    [reply] = infer("pystage", "identity", {"x": odd})
    assert reply["y"].tobytes() == odd.tobytes()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        row("10-value-bool", True, np.array([True])),
        row("10-value-int", 7, np.array([7], np.int64)),
        row("10-value-float", 1.5, np.array([1.5], np.float64)),
        row("10-value-float16", np.float16(1.5), np.array(1.5, np.float16)),
        row("10-value-uint8", np.uint8(200), np.array(200, np.uint8)),
    ],
)
def test_scalars(infer: Callable[..., Any], value: Any, expected: Array) -> None:
    for method in ("identity", "echo"):
        [reply] = infer("pystage", method, {"x": value})
        assert same(reply["y"], expected)


@pytest.mark.parametrize(
    "text",
    [
        row("10-value-str", "abc"),
        row("10-value-str", ""),
        row("10-value-str", "h\u00e9llo \U0001f600"),
        row("10-value-str", "a\0b"),
        row("10-value-str", "long " * 50_000),
    ],
)
def test_texts(infer: Callable[..., Any], text: str) -> None:
    for method in ("identity", "echo", "text"):
        assert infer("pystage", method, {"x": text}) == [{"y": text}]


@pytest.mark.parametrize(
    "content",
    [
        row("10-value-bytes", b"abc"),
        row("10-value-bytes", b""),
        row("10-value-bytes", bytes(range(256))),
        row("10-value-bytes", b"\xff" * 200_000),
    ],
)
def test_bytes(infer: Callable[..., Any], content: bytes) -> None:
    assert infer("pystage", "echo", {"x": content}) == [{"y": content}]
    [reply] = infer("pystage", "identity", {"x": content})
    assert same(reply["y"], np.frombuffer(content, np.uint8))


@stands_for("10-mixed-values")
def test_mixed_values_in_one_request(infer: Callable[..., Any]) -> None:
    values = [
        SQUARE,
        SQUARE[0],
        SQUARE.astype(np.int32),
        "text",
        SQUARE,
        b"bytes",
        np.zeros((2, 0)),
        WIDE,
        7,
        "",
        SQUARE[:1],
    ]
    for count in range(1, len(values) + 1):
        replies = infer("pystage", "echo", [{"x": value} for value in values[:count]])
        assert len(replies) == count
        for value, reply in zip(values, replies, strict=False):
            if isinstance(value, np.ndarray):
                assert same(reply["y"], value)
            else:
                assert reply["y"] == value


@stands_for("6.1-large-arrays")
def test_large_arrays(infer: Callable[..., Any]) -> None:
    large = np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)
    replies = infer("pystage", "identity", [{"x": large}, {"x": large[:2]}, {"x": large.T}])
    assert same(replies[0]["y"], large)
    assert same(replies[1]["y"], large[:2])
    assert same(replies[2]["y"], large.T)


# --- Numbers of instances ---


@pytest.mark.parametrize(
    ("servable", "x1", "x2"),
    [
        row("5.4-order-of-the-reply-model", "add", SQUARE, ONES),
        row("5.4-order-of-the-reply-batch-model", "batch_add", SQUARE[0], ONES[0]),
        row("5.4-order-of-the-reply-function", "pystage", SQUARE, None),
    ],
)
def test_1_to_70_and_1000_instances_keep_their_order(
    infer: Callable[..., Any], servable: str, x1: Array, x2: Array | None
) -> None:
    method = "identity" if x2 is None else "add_common"
    for count in [*range(1, 71), 1000]:
        if x2 is None:
            instances = [{"x": x1 + i} for i in range(count)]
        else:
            instances = [{"x1": x1 + i, "x2": x2 * 1000} for i in range(count)]
        replies = infer(servable, method, instances)
        assert len(replies) == count
        offset = 0 if x2 is None else 1000
        got = np.array([reply["y"] for reply in replies])
        expected = x1 + np.arange(count, dtype=np.float32).reshape(-1, *[1] * x1.ndim) + offset
        np.testing.assert_array_equal(got, expected)


# --- Size limits ---


@stands_for("6.1-size-limit", "10-grpc-failure-resource-exhausted")
def test_message_above_the_limit(small_server: RunningServer) -> None:
    large = {"x": np.zeros(MEGABYTE, np.uint8)}
    message = request("pystage", "identity", [instance(x=tensor(large["x"]))])
    with RawClient(small_server.grpc) as client:
        code, details = client.failure(message.SerializeToString())
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"eceived message larger than max ({message.ByteSize()} vs. {MEGABYTE})" in details
    with Client(small_server.grpc, "pystage", "identity") as with_client:
        text = with_client.infer(large)["error"]
        assert text.startswith("Grpc Error, (8, 'resource exhausted'), ")
        assert "eceived message larger than max (" in text
        fits = np.zeros(MEGABYTE - 1000, np.uint8)
        [reply] = with_client.infer({"x": fits})
        assert same(reply["y"], fits)


@stands_for("6.1-size-limit-of-the-reply")
def test_reply_above_the_limit_is_answered(small_server: RunningServer) -> None:
    with Client(small_server.grpc, "pystage", "zeros") as client:
        assert "error" in client.infer({"x": np.int64(2 * MEGABYTE)})
        [reply] = client.infer({"x": np.int64(1000)})
        assert same(reply["y"], np.zeros(1000, np.uint8))


@stands_for("6.1-size-limit-default")
def test_message_above_the_default_limit(server: RunningServer) -> None:
    with Client(server.grpc, "pystage", "identity") as client:
        text = client.infer({"x": np.zeros(110 * MEGABYTE, np.uint8)})["error"]
        assert text.startswith("Grpc Error, (8, 'resource exhausted'), ")
        assert text.endswith(f" vs. {100 * MEGABYTE})")
        [reply] = client.infer({"x": SQUARE})
        assert same(reply["y"], SQUARE)


# --- Unix socket and TLS ---


@stands_for("3.1-unix-socket")
def test_unix_socket(tmp_path: Path) -> None:
    add_servable(tmp_path, "pystage", servables.PYSTAGE, ())
    with (
        serving(tmp_path, ['".", "pystage"'], grpc=f"unix:{tmp_path}/serving.sock") as running,
        Client(running.grpc, "pystage", "identity") as client,
    ):
        assert "Serving: Serving gRPC server start success, listening on " + running.grpc in running.lines
        [reply] = client.infer({"x": SQUARE})
        assert same(reply["y"], SQUARE)
        assert client.infer({"y": SQUARE}) == {
            "error": "Cannot find input x in instance input , servable pystage, method identity"
        }


def by_name(running: RunningServer) -> str:
    """The gRPC address with the name that the certificates hold."""
    return running.grpc.replace("127.0.0.1", "localhost")


def ask(running: RunningServer, ssl_config: SSLConfig | None) -> Any:
    with Client(by_name(running), "pystage", "identity", ssl_config=ssl_config) as client:
        return client.infer({"x": SQUARE})


@stands_for("9-one-way")
def test_one_way_tls(tls_server: RunningServer, authority: Authority, client_pair: Pair) -> None:
    [reply] = ask(tls_server, SSLConfig(custom_ca=authority.certificate))
    assert same(reply["y"], SQUARE)
    shown = SSLConfig(client_pair.certificate, client_pair.private_key, authority.certificate)
    [reply] = ask(tls_server, shown)
    assert same(reply["y"], SQUARE)


@stands_for("9-one-way-refuses")
def test_one_way_tls_refuses(tls_server: RunningServer, stranger: Authority) -> None:
    for config in (None, SSLConfig(), SSLConfig(custom_ca=stranger.certificate)):
        assert ask(tls_server, config)["error"].startswith("Grpc Error, (14, 'unavailable'), ")


@stands_for("9-mutual")
def test_mutual_tls(mutual_server: RunningServer, authority: Authority, client_pair: Pair) -> None:
    config = SSLConfig(client_pair.certificate, client_pair.private_key, authority.certificate)
    [reply] = ask(mutual_server, config)
    assert same(reply["y"], SQUARE)


@stands_for("9-mutual-refuses")
def test_mutual_tls_refuses(
    mutual_server: RunningServer, authority: Authority, stranger: Authority, client_pair: Pair
) -> None:
    foreign = stranger.issue("foreign")
    for config in (
        None,
        SSLConfig(custom_ca=authority.certificate),
        SSLConfig(foreign.certificate, foreign.private_key, authority.certificate),
        SSLConfig(client_pair.certificate, client_pair.private_key, stranger.certificate),
    ):
        assert ask(mutual_server, config)["error"].startswith("Grpc Error, (14, 'unavailable'), ")
