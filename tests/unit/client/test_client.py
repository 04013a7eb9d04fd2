"""The client against a small gRPC server in this process that answers as it is told."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mindspore_serving.client import AsyncClient, Client, SSLConfig
from mindspore_serving.client.python.reply import ReplyReader, grpc_failure
from mindspore_serving.client.python.request import encode_request
from mindspore_serving.errors import InvalidParameter, ServingError
from mindspore_serving.proto import ms_service_pb2, ms_service_pb2_grpc

Answer = Callable[[ms_service_pb2.PredictRequest, grpc.ServicerContext], ms_service_pb2.PredictReply]
NUMERIC = [np.dtype(code) for code in "?bhilBHILefd"]


def echo(request: ms_service_pb2.PredictRequest, _: Any) -> ms_service_pb2.PredictReply:
    """Outputs equal inputs."""
    return ms_service_pb2.PredictReply(servable_spec=request.servable_spec, instances=request.instances)


@dataclass
class FakeServer(ms_service_pb2_grpc.MSServiceServicer):
    """A server whose replies the test chooses.

    Attributes:
        answer: Makes the reply to each request.
        address: Where it listens.
        requests: What came in.
    """

    answer: Answer = echo
    address: str = ""
    requests: list[ms_service_pb2.PredictRequest] = field(default_factory=list)

    def Predict(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return self.answer(request, context)

    def reply(self, **fields: Any) -> None:
        """Answer everything with this reply from now on."""
        self.answer = lambda request, context: ms_service_pb2.PredictReply(**fields)

    def fail(self, code: grpc.StatusCode, details: str) -> None:
        """Answer everything with this gRPC status from now on."""
        self.answer = lambda request, context: context.abort(code, details)


@pytest.fixture
def listen() -> Iterator[Callable[..., FakeServer]]:
    """Starts fake servers, and stops them after the test."""
    running: list[grpc.Server] = []

    def start(
        address: str = "127.0.0.1:0",
        credentials: grpc.ServerCredentials | None = None,
        raw_reply: bytes | None = None,
    ) -> FakeServer:
        grpc_server = grpc.server(futures.ThreadPoolExecutor(4))
        fake = FakeServer()
        if raw_reply is None:
            ms_service_pb2_grpc.add_MSServiceServicer_to_server(fake, grpc_server)
        else:
            predict = grpc.unary_unary_rpc_method_handler(lambda request, context: raw_reply)
            grpc_server.add_registered_method_handlers(
                "mindspore.serving.proto.MSService", {"Predict": predict}
            )
        if credentials:
            port = grpc_server.add_secure_port(address, credentials)
        else:
            port = grpc_server.add_insecure_port(address)
        fake.address = address if address.startswith("unix:") else address.replace(":0", f":{port}")
        grpc_server.start()
        running.append(grpc_server)
        return fake

    yield start
    for grpc_server in running:
        grpc_server.stop(None).wait()


@pytest.fixture
def server(listen: Callable[..., FakeServer]) -> FakeServer:
    return listen()


def infer_blocking(address: str, instances: Any, **options: Any) -> Any:
    with Client(address, "add", "add_common") as client:
        return client.infer(instances, **options)


def infer_by_result(address: str, instances: Any, **options: Any) -> Any:
    with Client(address, "add", "add_common") as client:
        return client.infer_async(instances, **options).result()


def infer_on_a_loop(address: str, instances: Any, **options: Any) -> Any:
    async def infer() -> Any:
        async with AsyncClient(address, "add", "add_common") as client:
            return await client.infer(instances, **options)

    return asyncio.run(infer())


def infer_by_result_on_a_loop(address: str, instances: Any, **options: Any) -> Any:
    async def infer() -> Any:
        async with AsyncClient(address, "add", "add_common") as client:
            return await client.infer_async(instances, **options).result()

    return asyncio.run(infer())


each_way = pytest.mark.parametrize(
    "infer", [infer_blocking, infer_by_result, infer_on_a_loop, infer_by_result_on_a_loop]
)


def tensor_of(value: object) -> ms_service_pb2.Tensor:
    """The tensor that a client sends for a value."""
    data = encode_request("s", "m", 0, {"x": value})
    return ms_service_pb2.PredictRequest.FromString(data).instances[0].items["x"]


def wire(dtype: str, shape: list[int], **data: Any) -> ms_service_pb2.Tensor:
    """A tensor as it stands on the wire."""
    return ms_service_pb2.Tensor(dtype=dtype, shape=ms_service_pb2.TensorShape(dims=shape), **data)


def error_msg(code: int, text: str) -> ms_service_pb2.ErrorMsg:
    return ms_service_pb2.ErrorMsg(error_code=code, error_msg=text.encode())


def instance_with(**items: ms_service_pb2.Tensor) -> ms_service_pb2.Instance:
    return ms_service_pb2.Instance(items=items)


# --- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (0,), (2, 0), (1, 2, 2)])
def test_arrays_keep_dtype_shape_and_values(
    server: FakeServer, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    sent = (np.arange(np.prod(shape, dtype=int)) % 2).astype(dtype).reshape(shape)
    ((got,),) = [result.values() for result in infer_blocking(server.address, {"x": sent})]
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.shape) == (dtype, shape)
    np.testing.assert_array_equal(got, sent)


def test_arrays_of_a_result_are_read_only(server: FakeServer) -> None:
    got = infer_blocking(server.address, {"x": np.zeros(3)})[0]["x"]
    assert not got.flags.writeable
    assert got.copy().flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3).T,
        np.arange(10, dtype=np.float32)[::3],
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">f8").reshape(3, 2)),
        np.ma.masked_array([1.0, 2.0], mask=[False, False]),
        np.ma.masked_array([[1, 2], [3, 4]]).T,
        np.ma.masked_array(np.arange(9999.0)),
        np.arange(4, dtype=np.longlong),
    ],
    ids=[
        "transposed",
        "strided",
        "big-endian",
        "big-endian fortran",
        "subclass",
        "transposed subclass",
        "large subclass",
        "longlong",
    ],
)
def test_any_memory_layout_is_sent_in_c_order_little_endian(array: Any) -> None:
    tensor = tensor_of(array)
    assert tensor.data == np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    assert list(tensor.shape.dims) == list(array.shape)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, wire("MS_BOOL", [1], data=b"\1")),
        (-2, wire("MS_INT64", [1], data=b"\xfe" + b"\xff" * 7)),
        (1.5, wire("MS_FLOAT64", [1], data=np.float64(1.5).tobytes())),
        ("né", wire("MS_STRING", [1], bytes_val=["né".encode()])),
        ("", wire("MS_STRING", [1], bytes_val=[b""])),
        (b"\0\xff", wire("MS_BYTES", [1], bytes_val=[b"\0\xff"])),
        (b"", wire("MS_BYTES", [1], bytes_val=[b""])),
        (np.float32(1), wire("MS_FLOAT32", [], data=np.float32(1).tobytes())),
        (np.float64(1), wire("MS_FLOAT64", [], data=np.float64(1).tobytes())),
        (np.bool_(True), wire("MS_BOOL", [], data=b"\1")),
        (np.array(3, np.int16), wire("MS_INT16", [], data=b"\3\0")),
        (np.str_("a"), wire("MS_STRING", [1], bytes_val=[b"a"])),
    ],
)
def test_tensor_of_each_form_of_value(value: object, expected: ms_service_pb2.Tensor) -> None:
    assert tensor_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("", ""),
        (b"bytes", b"bytes"),
        (b"", b""),
        (True, np.array([True])),
        (7, np.array([7], np.int64)),
        (0.5, np.array([0.5], np.float64)),
        (np.int8(3), np.array(3, np.int8)),
    ],
)
def test_values_come_back(server: FakeServer, value: Any, expected: Any) -> None:
    got = infer_blocking(server.address, {"x": value})[0]["x"]
    assert type(got) is type(expected)
    np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize(
    ("instances", "text"),
    [
        ({"x": [1, 2]}, "Not support value type <class 'list'>"),
        ({"x": None}, "Not support value type <class 'NoneType'>"),
        ({"x": np.datetime64(0, "s")}, "Not support value type <class 'numpy.datetime64'>"),
        ({"x": np.array([[1], 2], dtype=object)}, "Unknown data type object"),
        ({"x": np.array(["abc"])}, "Unknown data type <U3"),
        ({"x": np.array(1j)}, "Unknown data type complex128"),
        (
            {"x": 2**63},
            "int value 9223372036854775808 should fit into 64 bits, input 'x'; send it as numpy.uint64(92233720368547",
        ),
        ({"y": -(2**63) - 1}, "int value -9223372036854775809 should fit into 64 bits, input 'y'"),
        ({"y": 10**5000}, "int value of 16610 bits should fit into 64 bits, input 'y'"),
        ({"x": Decimal("0.1")}, "Not support value type <class 'decimal.Decimal'>"),
        ({"x": Fraction(1, 3)}, "Not support value type <class 'fractions.Fraction'>"),
        ({"x": np.array([2**63, -1], object)}, "Unknown data type object"),
        ({"x": np.ones(2, np.longdouble)}, "Unknown data type float128"),
        ({"x": np.longdouble(1)}, "Unknown data type float128"),
        ({"x": np.array(["2020"], "M8[D]")}, "Unknown data type datetime64[D]"),
        (
            [{"y": 1}, {"x": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0])}],
            "Input 'x' is a masked array, 1 of its 3 values are masked, and none would be sent for them: choose one, "
            "for example with .filled(0)",
        ),
        (
            {"x": np.ma.masked_less(np.zeros((2, 3)), 1)},
            "Input 'x' is a masked array, 6 of its 6 values are masked",
        ),
        ({"x": np.ma.masked}, "Input 'x' is a masked array, 1 of its 1 values are masked"),
        ({"x": "\ud800"}, "str value is not valid Unicode text: "),
        ({1: 1}, "instance key should be str, but actually <class 'int'>"),
        ("x", "instance should be a map"),
        ([{"x": 1}, [1]], "instance should be a map"),
        ([{"x": np.ones(2)}, {"x": np.ones(2)}, "x"], "instance should be a map"),
        ([{"x": np.ones(2)}, {"x": np.ones(2, np.longdouble)}], "Unknown data type float128"),
        ([{1: np.ones(2)}, {1: np.ones(2)}], "instance key should be str, but actually <class 'int'>"),
        (None, "instance should be a map"),
    ],
)
@each_way
def test_what_cannot_be_sent_is_refused_before_any_call(infer: Any, instances: Any, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        infer("127.0.0.1:1", instances)
    assert str(refused.value).startswith(text)


# --- Requests and replies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instances", [{"x": 1}, [{"x": 1}], ({"x": 1}, {"y": 2}), [], [{}]])
@each_way
def test_request_names_the_method_and_holds_each_instance(
    server: FakeServer, infer: Any, instances: Any
) -> None:
    result = infer(server.address, instances)
    (request,) = server.requests
    spec = request.servable_spec
    assert (spec.name, spec.method_name, spec.version_number) == ("add", "add_common", 0)
    sent = [instances] if isinstance(instances, dict) else list(instances)
    assert [set(instance.items) for instance in request.instances] == [set(instance) for instance in sent]
    assert [set(instance) for instance in result] == [set(instance) for instance in sent]


def test_request_carries_the_version(server: FakeServer) -> None:
    with Client(server.address, "add", "add_common", version_number=3) as client:
        client.infer({"x": 1})
    assert server.requests[0].servable_spec.version_number == 3


@each_way
def test_32_instances_keep_their_order(server: FakeServer, infer: Any) -> None:
    instances = [{"x1": np.full((2, 2), i, np.float32), "x2": np.full(i, i, np.int16)} for i in range(32)]
    result = infer(server.address, instances)
    assert len(result) == 32
    for sent, got in zip(instances, result, strict=True):
        np.testing.assert_equal(got, sent)


@each_way
def test_one_error_stands_for_the_whole_request(server: FakeServer, infer: Any) -> None:
    server.reply(error_msg=[error_msg(2, "no such servable")])
    assert infer(server.address, [{"x": 1}] * 3) == {"error": "no such servable"}


@each_way
def test_one_error_per_instance_stands_at_its_instance(server: FakeServer, infer: Any) -> None:
    good = instance_with(y=wire("MS_STRING", [1], bytes_val=[b"fine"]))
    server.reply(
        instances=[good, instance_with(), good],
        error_msg=[error_msg(0, ""), error_msg(3, "négative"), error_msg(0, "")],
    )
    assert infer(server.address, [{"x": 1}] * 3) == [{"y": "fine"}, {"error": "négative"}, {"y": "fine"}]


@each_way
def test_contradictory_reply_is_an_error(server: FakeServer, infer: Any) -> None:
    server.reply(instances=[instance_with()] * 3, error_msg=[error_msg(0, "")] * 2)
    with pytest.raises(ServingError) as refused:
        infer(server.address, [{"x": 1}] * 3)
    assert str(refused.value) == "error msg result size 2 not be 0, 1 or length of instances 3"


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (wire("MS_INT32", [2], data=b"1234567"), "Tensor of shape [2] has 7 bytes, not 8"),
        (wire("MS_INT32", [-1], data=b"1234"), "Tensor of shape [-1] has 4 bytes, not -4"),
        (wire("MS_UNKNOWN", [1], data=b"1"), "Unknown data type 0 in the reply"),
        (ms_service_pb2.Tensor.FromString(b"\x10\x63"), "Unknown data type 99 in the reply"),
    ],
)
def test_damaged_tensor_is_an_error(server: FakeServer, tensor: ms_service_pb2.Tensor, text: str) -> None:
    server.reply(instances=[instance_with(y=tensor)])
    with pytest.raises(ServingError) as refused:
        infer_blocking(server.address, {"x": 1})
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (wire("MS_BYTES", [2], bytes_val=[b"a", b"b"]), [b"a", b"b"]),
        (wire("MS_STRING", [2], bytes_val=[b"a", b"b"]), ["a", "b"]),
        (wire("MS_STRING", [], bytes_val=[b"a"]), "a"),
        (wire("MS_STRING", [1], bytes_val=[b"a\xff"]), "a\\xff"),
    ],
)
def test_texts_of_a_reply(server: FakeServer, tensor: ms_service_pb2.Tensor, expected: Any) -> None:
    server.reply(instances=[instance_with(y=tensor)])
    assert infer_blocking(server.address, {"x": 1}) == [{"y": expected}]


# --- The bytes of requests and replies -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 31, 32, 127, 128, 4096, 5000, 1 << 19])
@pytest.mark.parametrize("name", ["x", "é" * 70])
def test_request_bytes_are_those_of_the_generated_classes(size: int, name: str) -> None:
    array = np.arange(size, dtype=np.float32)
    instances = [{name: array}, {name: array.reshape(-1, 1)}, {name: "t" * size}, {name: array[::2]}, {}]
    expected = ms_service_pb2.PredictRequest()
    expected.servable_spec.name, expected.servable_spec.method_name = "add", "add_common"
    expected.servable_spec.version_number = 3
    for tensor in (
        wire("MS_FLOAT32", [size], data=array.tobytes()),
        wire("MS_FLOAT32", [size, 1], data=array.tobytes()),
        wire("MS_STRING", [1], bytes_val=[b"t" * size]),
        wire("MS_FLOAT32", [(size + 1) // 2], data=array[::2].tobytes()),
    ):
        expected.instances.add().items[name].CopyFrom(tensor)
    expected.instances.add()
    assert encode_request("add", "add_common", 3, instances) == expected.SerializeToString()


ALIKE = {"x": np.array([1, 2], np.int16), "y": np.array(0.5)}
UNLIKE_ALIKE: dict[str, dict[Any, Any]] = {
    "another value": {"x": np.array([3, 4], np.int16), "y": np.array(1.5)},
    "another order": {"y": np.array(1.5), "x": np.array([3, 4], np.int16)},
    "another shape": ALIKE | {"x": np.array([[3, 4]], np.int16)},
    "another type": ALIKE | {"x": np.array([3, 4], np.uint16)},
    "big-endian": ALIKE | {"x": np.array([3, 4], ">i2")},
    "a type of its own": ALIKE | {"x": np.array([3, 4], np.dtype("i2", metadata={"a": 1}))},
    "every other value": ALIKE | {"x": np.arange(4, dtype=np.int16)[::2]},
    "nothing masked": ALIKE | {"x": np.ma.masked_array([3, 4], [0, 0], np.int16)},
    "another name": {"x": ALIKE["x"], "z": ALIKE["y"]},
    "a missing input": {"x": ALIKE["x"]},
    "another input": ALIKE | {"z": ALIKE["y"]},
    "a number": ALIKE | {"y": 1.5},
    "a NumPy scalar": ALIKE | {"y": np.float64(1.5)},
    "text": ALIKE | {"x": "text"},
    "nothing": {},
    "large arrays": {"x": np.zeros((3, 1 << 14))},
    "empty arrays": {"x": np.zeros((0, 2))},
}


@pytest.mark.parametrize("first", UNLIKE_ALIKE.values(), ids=UNLIKE_ALIKE)
def test_an_instance_is_sent_beside_others_as_it_is_alone(first: Any) -> None:
    [alone] = sent([first])
    for name, second in UNLIKE_ALIKE.items():
        [other] = sent([second])
        assert sent([first, first, second, first]) == [alone, alone, other, alone], name


def sent(instances: list[dict[Any, Any]]) -> list[ms_service_pb2.Instance]:
    """The instances of a request."""
    return list(ms_service_pb2.PredictRequest.FromString(encode_request("s", "m", 0, instances)).instances)


def reply_of(*instances: dict[str, ms_service_pb2.Tensor], **fields: Any) -> bytes:
    """A reply as the generated classes serialize it."""
    fields = {"servable_spec": ms_service_pb2.ServableSpec(name="add"), **fields}
    return ms_service_pb2.PredictReply(
        instances=[instance_with(**items) for items in instances], **fields
    ).SerializeToString()


def pair(x: int, y: float) -> dict[str, ms_service_pb2.Tensor]:
    """An instance of two small arrays."""
    return {
        "x": wire("MS_INT16", [2], data=np.int16([x, -x]).tobytes()),
        "y": wire("MS_FLOAT64", [], data=np.float64(y).tobytes()),
    }


LIKE_PAIRS = reply_of(pair(1, 0.5), pair(2, 1.5))
UNLIKE_PAIRS = {
    "more instances": reply_of(*[pair(i, i) for i in range(40)]),
    "one instance": reply_of(pair(7, 7.0)),
    "no instance": reply_of(),
    "same again": LIKE_PAIRS,
    "other order": reply_of(pair(1, 2), dict(reversed(pair(3, 4).items()))),
    "other shape in between": reply_of(
        pair(1, 2), pair(3, 4) | {"x": wire("MS_INT16", [1, 2], data=b"abcd")}, pair(5, 6)
    ),
    "other type": reply_of(pair(1, 2), pair(3, 4) | {"x": wire("MS_UINT16", [2], data=b"abcd")}),
    "other name": reply_of(pair(1, 2), {"z": pair(1, 2)["x"]}),
    "text in between": reply_of(pair(1, 2), pair(3, 4) | {"y": wire("MS_STRING", [1], bytes_val=[b"t"])}),
    "more outputs": reply_of(pair(1, 2) | {"z": wire("MS_INT8", [0], data=b"")}),
    "fewer outputs": reply_of(pair(1, 2), {"x": pair(1, 2)["x"]}),
    "empty instance": reply_of(pair(1, 2), {}, pair(3, 4)),
    "scalar without shape": reply_of({"y": ms_service_pb2.Tensor(dtype="MS_INT8", data=b"1")}),
    "no data at all": reply_of({"y": ms_service_pb2.Tensor(dtype="MS_INT8", shape={"dims": [0]})}),
    "other servable": reply_of(pair(1, 2), servable_spec=ms_service_pb2.ServableSpec(name="sub")),
    "no servable": reply_of(pair(1, 2), servable_spec=None),
    "request error": reply_of(error_msg=[error_msg(2, "wrong")]),
    "partial error": reply_of(pair(1, 2), {}, error_msg=[error_msg(0, ""), error_msg(3, "failed")]),
}


@pytest.mark.parametrize("second", UNLIKE_PAIRS.values(), ids=UNLIKE_PAIRS)
@pytest.mark.parametrize("first", UNLIKE_PAIRS.values(), ids=UNLIKE_PAIRS)
def test_reader_reads_each_reply_as_if_it_were_the_first(first: bytes, second: bytes) -> None:
    reader = ReplyReader()
    reader.read(first)
    np.testing.assert_equal(reader.read(second), ReplyReader().read(second))
    np.testing.assert_equal(reader.read(second), ReplyReader().read(second))


@pytest.mark.parametrize("end", range(len(LIKE_PAIRS)))
def test_reader_never_takes_a_cut_reply_for_a_whole_one(end: int) -> None:
    reader = ReplyReader()
    whole = reader.read(LIKE_PAIRS)
    np.testing.assert_equal(reader.read(LIKE_PAIRS), whole)
    try:
        got = reader.read(LIKE_PAIRS[:end])
    except ServingError as error:
        assert str(error).startswith("The reply cannot be read: ")
    else:
        # A protobuf message may end after any of its fields.
        np.testing.assert_equal(got, whole[: len(got)])
        assert len(got) < 2


def test_reader_gives_aligned_arrays_of_their_own() -> None:
    reader = ReplyReader()
    for _ in range(2):
        for instance in reader.read(LIKE_PAIRS):
            assert isinstance(instance, dict)
            assert all(array.flags.aligned and not array.flags.writeable for array in instance.values())


@each_way
def test_undecodable_reply_is_an_error(listen: Callable[..., FakeServer], infer: Any) -> None:
    with pytest.raises(ServingError, match="The reply cannot be read: "):
        infer(listen(raw_reply=b"\xff\xff").address, {"x": 1})


# --- Failures of gRPC ------------------------------------------------------------------------------------------------


@each_way
def test_grpc_status_becomes_an_error_result(server: FakeServer, infer: Any) -> None:
    server.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (3 vs. 2)")
    assert infer(server.address, {"x": 1}) == {
        "error": "Grpc Error, (8, 'resource exhausted'), Received message larger than max (3 vs. 2)"
    }


@pytest.mark.parametrize("address", ["127.0.0.1:1", "unix:/no/such/socket", "invalid address"])
@each_way
def test_no_server_becomes_an_error_result(infer: Any, address: str) -> None:
    result = infer(address, {"x": 1})
    assert list(result) == ["error"]
    assert result["error"].startswith("Grpc Error, (14, 'unavailable'), ")


def test_text_of_a_grpc_failure() -> None:
    assert grpc_failure(grpc.StatusCode.UNAVAILABLE, "gone") == {
        "error": "Grpc Error, (14, 'unavailable'), gone"
    }


@each_way
def test_timeout_becomes_an_error_result(server: FakeServer, infer: Any) -> None:
    release = threading.Event()

    def wait_until_released(request: Any, context: Any) -> ms_service_pb2.PredictReply:
        release.wait(60)
        return echo(request, context)

    server.answer = wait_until_released
    try:
        result = infer(server.address, {"x": 1}, timeout=0.05)
    finally:
        release.set()
    assert result["error"].startswith("Grpc Error, (4, 'deadline exceeded'), ")


@each_way
def test_without_timeout_the_call_has_no_deadline(server: FakeServer, infer: Any) -> None:
    remaining: list[float | None] = []

    def note_deadline(request: Any, context: Any) -> ms_service_pb2.PredictReply:
        remaining.append(context.time_remaining())
        return echo(request, context)

    server.answer = note_deadline
    infer(server.address, {"x": 1})
    infer(server.address, {"x": 1}, timeout=50)
    assert remaining[0] is None or remaining[0] > 1e6
    assert remaining[1] is not None
    assert 40 < remaining[1] < 60


class HeldServer:
    """Makes a fake server hold each request until its client has gone, and tells when one came and went."""

    def __init__(self, fake: FakeServer) -> None:
        self.came, self.gone = threading.Event(), threading.Event()
        fake.answer = self._hold

    def _hold(self, request: Any, context: grpc.ServicerContext) -> ms_service_pb2.PredictReply:
        context.add_callback(self.gone.set)
        self.came.set()
        self.gone.wait(60)
        return ms_service_pb2.PredictReply()


def test_close_ends_calls_under_way_with_an_error_result(server: FakeServer) -> None:
    held = HeldServer(server)
    client = Client(server.address, "add", "add_common")
    call = client.infer_async({"x": 1})
    assert held.came.wait(60)
    client.close()
    assert str(call.result()).startswith("{'error': \"Grpc Error, (1, 'cancelled'), ")


def test_async_close_ends_calls_under_way_with_an_error_result(server: FakeServer) -> None:
    held = HeldServer(server)

    async def close_during_a_call() -> Any:
        client = AsyncClient(server.address, "add", "add_common")
        call = client.infer_async({"x": 1})
        assert await asyncio.to_thread(held.came.wait, 60)
        await client.close()
        return await call.result()

    assert str(asyncio.run(close_during_a_call())).startswith("{'error': \"Grpc Error, (1, 'cancelled'), ")


def test_cancelled_task_cancels_its_call(server: FakeServer) -> None:
    held = HeldServer(server)

    async def cancel_during_a_call() -> None:
        async with AsyncClient(server.address, "add", "add_common") as client:
            task = asyncio.ensure_future(client.infer({"x": 1}))
            assert await asyncio.to_thread(held.came.wait, 60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(held.gone.wait, 60)

    asyncio.run(cancel_during_a_call())


# --- The client itself -----------------------------------------------------------------------------------------------


def test_attributes() -> None:
    client = Client("127.0.0.1:5500", "add", "add_common", 2)
    assert (client.address, client.ip, client.port) == ("127.0.0.1:5500", "127.0.0.1", 5500)
    assert (client.servable_name, client.method_name, client.version_number) == ("add", "add_common", 2)
    assert isinstance(client.channel, grpc.Channel)
    assert isinstance(client.stub, ms_service_pb2_grpc.MSServiceStub)
    assert repr(client) == "<Client add.add_common version 2 at 127.0.0.1:5500>"


def test_attributes_with_a_unix_socket() -> None:
    client = Client("unix:dir/socket:1", "add", "add_common")
    assert (client.ip, client.port) == (None, None)
    assert repr(client) == "<Client add.add_common at unix:dir/socket:1>"


@pytest.mark.parametrize(
    ("arguments", "named", "version"),
    [
        (("localhost", 5500, "add", "add_common"), {}, 0),
        (("localhost", 5500, "add", "add_common", 3), {}, 3),
        (("localhost", 5500, "add", "add_common"), {"version_number": 3}, 3),
        (("localhost", 5500), {"servable_name": "add", "method_name": "add_common"}, 0),
        ((), {"ip": "localhost", "port": 5500, "servable_name": "add", "method_name": "add_common"}, 0),
        (("localhost:5500", "add", "add_common", 3), {}, 3),
        ((), {"address": "localhost:5500", "servable_name": "add", "method_name": "add_common"}, 0),
    ],
)
def test_both_forms_of_the_constructor(
    arguments: tuple[Any, ...], named: dict[str, Any], version: int
) -> None:
    client = Client(*arguments, **named)
    assert (client.address, client.ip, client.port) == ("localhost:5500", "localhost", 5500)
    assert (client.servable_name, client.method_name, client.version_number) == ("add", "add_common", version)


KEY = "0123456789-this-is-the-key"


async def _infer_with_key_on_a_loop(address: str) -> Any:
    async with AsyncClient(address, "add", "m", api_key=KEY) as client:
        return await client.infer({"x": "a"})


def test_a_key_is_sent_with_each_call(server: FakeServer) -> None:
    sent: list[Any] = []

    def note(request: Any, context: Any) -> ms_service_pb2.PredictReply:
        sent.append(dict(context.invocation_metadata()).get("authorization"))
        return echo(request, context)

    server.answer = note
    ip, _, port = server.address.rpartition(":")
    for client in (
        Client(server.address, "add", "m", api_key=KEY),
        Client(ip, int(port), "add", "m", api_key=KEY),
    ):
        with client:
            assert client.infer({"x": "a"}) == client.infer_async({"x": "a"}).result() == [{"x": "a"}]
            assert KEY not in repr(client)
    assert asyncio.run(_infer_with_key_on_a_loop(server.address)) == [{"x": "a"}]
    with Client(server.address, "add", "m") as without:
        without.infer({"x": "a"})
    assert sent == [f"Bearer {KEY}"] * 5 + [None]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("key", ["short", "with blanks in it, which no header has", 5, KEY + "\n"])
def test_a_key_that_cannot_be_sent_is_not_shown(kind: Any, key: Any) -> None:
    with pytest.raises(InvalidParameter, match="Parameter 'api_key' should ") as raised:
        kind("localhost:1", "add", "m", api_key=key)
    assert str(key) not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("10.1.2.3:5500", 1),
        ("host.example:5500", 1),
        ("localhost:5500", 0),
        ("[::1]:1", 0),
        ("unix:/tmp/a", 0),
    ],
)
def test_a_key_that_others_could_read_on_its_way_is_warned_of(
    address: str, warned: int, capsys: pytest.CaptureFixture[str]
) -> None:
    Client(address, "add", "m", api_key=KEY).close()
    output = capsys.readouterr().err
    assert output.count("without TLS: whoever listens on the way can read it") == warned
    assert KEY not in output


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_signature_shows_the_present_form(kind: type) -> None:
    names = ["address", "servable_name", "method_name", "version_number", "ssl_config", "api_key"]
    assert list(inspect.signature(kind).parameters) == names


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1, "add", "m"), "Parameter 'address' should be str, but actually <class 'int'>"),
        (("", "add", "m"), "Parameter 'address' should not be empty str"),
        (("a:1", 5, "m"), "Parameter 'servable_name' should be str, but actually <class 'int'>"),
        (("a:1", "", "m"), "Parameter 'servable_name' should not be empty str"),
        (("a:1", "add", None), "Parameter 'method_name' should be str, but actually <class 'NoneType'>"),
        (("a:1", "add", "m", -1), "Parameter 'version_number' should be >= 0"),
        (("a:1", "add", "m", "1"), "Parameter 'version_number' should be int, but actually <class 'str'>"),
        (("a:1", "add", "m", 0, {}), "The type of ssl_config should be type of SSLConfig"),
        (("a", 0, "add", "m"), "Parameter 'port' should be in range [1,65535]"),
        (("", 5500, "add", "m"), "Parameter 'ip' should not be empty str"),
        (("a", 5500, "add", 1), "Parameter 'method_name' should be str, but actually <class 'int'>"),
    ],
)
def test_constructor_refuses(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        Client(*arguments)
    assert str(refused.value) == text


def test_infer_on_a_unix_socket(listen: Callable[..., FakeServer], tmp_path: Path) -> None:
    fake = listen(f"unix:{tmp_path}/socket")
    assert infer_blocking(fake.address, {"x": "a"}) == [{"x": "a"}]
    assert infer_on_a_loop(fake.address, {"x": "b"}) == [{"x": "b"}]


def test_messages_beyond_grpcs_own_limit_pass(listen: Callable[..., FakeServer]) -> None:
    fake = listen()
    fake.reply(instances=[instance_with(y=wire("MS_UINT8", [5 << 20], data=bytes(5 << 20)))])
    assert infer_blocking(fake.address, {"x": 1})[0]["y"].nbytes == 5 << 20
    assert infer_on_a_loop(fake.address, {"x": 1})[0]["y"].nbytes == 5 << 20


def test_calls_under_way_at_the_same_time(server: FakeServer) -> None:
    both_are_there = threading.Barrier(2)

    def answer_when_both_are_there(request: Any, context: Any) -> ms_service_pb2.PredictReply:
        both_are_there.wait(60)
        return echo(request, context)

    server.answer = answer_when_both_are_there
    with Client(server.address, "add", "add_common") as client:
        calls = [client.infer_async({"x": text}) for text in ("a", "b")]
        assert [call.result() for call in calls] == [[{"x": "a"}], [{"x": "b"}]]
        assert calls[0].result() == [{"x": "a"}]


def test_closed_client_refuses_calls_and_may_be_closed_again(server: FakeServer) -> None:
    client = Client(server.address, "add", "add_common")
    client.close()
    client.close()
    for infer in (client.infer, client.infer_async):
        with pytest.raises(ServingError, match=r"<Client add\.add_common at .*> is closed"):
            infer({"x": 1})


def test_closed_async_client_refuses_calls_and_may_be_closed_again(server: FakeServer) -> None:
    async def use_after_close() -> None:
        client = AsyncClient(server.address, "add", "add_common")
        await client.close()
        await client.infer({"x": 1})

    with pytest.raises(ServingError, match=r"<AsyncClient add\.add_common at .*> is closed"):
        asyncio.run(use_after_close())


def test_async_client_made_before_its_loop(server: FakeServer) -> None:
    client = AsyncClient(server.address, "add", "add_common")

    async def use() -> Any:
        async with client:
            return await asyncio.gather(*(client.infer({"x": str(i)}) for i in range(5)))

    assert asyncio.run(use()) == [[{"x": str(i)}] for i in range(5)]


def test_client_imports_nothing_of_the_server() -> None:
    script = """
import sys, mindspore_serving.client
for name in ("mindspore_serving.server", "mindspore", "aiohttp"):
    assert not any(module == name or module.startswith(name + ".") for module in sys.modules), name
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- TLS -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """PEM files: a root, and a certificate for localhost with its key."""

    root: str
    certificate: str
    private_key: str

    def server_credentials(self, verify_client: bool) -> grpc.ServerCredentials:
        pair = (Path(self.private_key).read_bytes(), Path(self.certificate).read_bytes())
        root = Path(self.root).read_bytes() if verify_client else None
        return grpc.ssl_server_credentials([pair], root, verify_client)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = signed_certificate("root", root_key.public_key(), "root", root_key)
    leaf = signed_certificate("localhost", key.public_key(), "root", root_key)
    for name, certificate in (("root.crt", root), ("leaf.crt", leaf)):
        (folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "leaf.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Certificates(*(str(folder / name) for name in ("root.crt", "leaf.crt", "leaf.key")))


def signed_certificate(name: str, key: Any, issuer: str, issuer_key: Any) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(named(issuer), named(name), key, x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    return builder.add_extension(names, critical=False).sign(issuer_key, hashes.SHA256())


def infer_with_tls(address: str, ssl_config: SSLConfig | None) -> list[Any]:
    """Results of the blocking client and of the asynchronous one."""

    async def infer() -> Any:
        async with AsyncClient(address, "add", "add_common", ssl_config=ssl_config) as client:
            return await client.infer({"x": "a"})

    with Client(address, "add", "add_common", ssl_config=ssl_config) as client:
        return [client.infer({"x": "a"}), asyncio.run(infer())]


@pytest.mark.parametrize("verify_client", [False, True])
def test_tls(listen: Callable[..., FakeServer], certificates: Certificates, verify_client: bool) -> None:
    fake = listen("localhost:0", certificates.server_credentials(verify_client))
    own = (certificates.certificate, certificates.private_key) if verify_client else (None, None)
    assert infer_with_tls(fake.address, SSLConfig(*own, custom_ca=certificates.root)) == [[{"x": "a"}]] * 2


@pytest.mark.parametrize("has_root", [False, True])
def test_mutual_tls_refuses_clients_without_certificate(
    listen: Callable[..., FakeServer], certificates: Certificates, has_root: bool
) -> None:
    fake = listen("localhost:0", certificates.server_credentials(verify_client=True))
    ssl_config = SSLConfig(custom_ca=certificates.root) if has_root else None
    for result in infer_with_tls(fake.address, ssl_config):
        assert "unavailable" in result["error"]
    assert fake.requests == []


def test_client_refuses_server_of_an_unknown_root(
    listen: Callable[..., FakeServer], certificates: Certificates
) -> None:
    fake = listen("localhost:0", certificates.server_credentials(verify_client=False))
    for result in infer_with_tls(fake.address, SSLConfig()):
        assert "unavailable" in result["error"]
    assert fake.requests == []


def test_ssl_config_keeps_its_paths() -> None:
    ssl_config = SSLConfig("client.crt", "client.key", "ca.crt")
    assert (ssl_config.certificate, ssl_config.private_key, ssl_config.custom_ca) == (
        "client.crt",
        "client.key",
        "ca.crt",
    )
    assert vars(SSLConfig()) == {"certificate": None, "private_key": None, "custom_ca": None}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"certificate": 1}, "Parameter 'certificate' should be str, but actually <class 'int'>"),
        ({"private_key": b"k"}, "Parameter 'private_key' should be str, but actually <class 'bytes'>"),
        ({"custom_ca": ""}, "Parameter 'custom_ca' should not be empty str"),
        ({"certificate": "c"}, "The certificate and private_key should be passed at the same time"),
        ({"private_key": "k"}, "The certificate and private_key should be passed at the same time"),
    ],
)
def test_ssl_config_refuses(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        SSLConfig(**options)
    assert str(refused.value) == text


def test_missing_tls_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"/no/such/ca\.crt"):
        Client("localhost:1", "add", "m", ssl_config=SSLConfig(custom_ca="/no/such/ca.crt"))
