"""Section 6.1: the messages field by field, and replies byte by byte."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mindspore_serving.client import Client
from mindspore_serving.client.python.request import encode_request
from mindspore_serving.proto import (
    ms_agent_pb2,
    ms_distributed_pb2,
    ms_master_pb2,
    ms_service_pb2,
    ms_worker_pb2,
)
from mindspore_serving.proto.foreign import health_pb2, reflection_pb2
from tests.conformance.row import row, stands_for
from tests.support.grpc_messages import PREDICT, RawClient
from tests.support.serving import RunningServer

PACKAGE = "mindspore.serving.proto"
FILES = [ms_service_pb2, ms_master_pb2, ms_worker_pb2, ms_agent_pb2, ms_distributed_pb2]

# Number, name and type of every field. Ours alone: PredictRequest reads the field 3 of clients of 1.2.
MESSAGES = {
    "PredictRequest": "1 servable_spec ServableSpec; 2 instances repeated Instance; "
    "3 instances_of_first_generation repeated Instance",
    "PredictReply": "1 servable_spec ServableSpec; 3 instances repeated Instance; 4 error_msg repeated ErrorMsg",
    "ServableSpec": "1 name string; 2 method_name string; 3 version_number uint64",
    "ErrorMsg": "1 error_code int64; 2 error_msg bytes",
    "Instance": "1 items map<string,Tensor>; 2 output_buffers map<string,ShmTensorData>",
    "Tensor": "1 shape TensorShape; 2 dtype DataType; 3 data bytes; 4 bytes_val repeated bytes; "
    "5 shm_data ShmTensorData",
    "TensorShape": "1 dims repeated int64",
    "ShmTensorData": "1 memory_key string; 2 bytes_size uint64; 3 data_offset uint64; 4 data_size uint64",
    "PingRequest": "1 address string",
    "PingReply": "1 address string",
    "PongRequest": "1 address string",
    "PongReply": "1 address string",
    "TensorInfo": "1 shape TensorShape; 2 dtype DataType; 3 size uint64; 4 is_no_batch_dim bool",
    "RegisterRequest": "1 worker_spec WorkerRegSpec",
    "WorkerRegSpec": "1 worker_pid uint64; 2 address string; 4 servable_spec ServableRegSpec",
    "ServableRegSpec": "1 name string; 2 version_number uint64; 4 batch_size uint64; 5 methods repeated MethodInfo; "
    "6 model_infos ModelInfos; 7 own_device bool",
    "MethodInfo": "1 name string; 2 input_names repeated string; 3 only_model_stage bool",
    "RegisterReply": "1 error_msg ErrorMsg",
    "ExitReply": "1 error_msg ErrorMsg",
    "ExitRequest": "1 address string",
    "NotifyFailedRequest": "1 worker_pid uint64; 2 error_msg string",
    "NotifyFailedReply": "",
    "GetModelInfoRequest": "1 servable_name string; 2 version_number uint32",
    "ModelSubGraphInfo": "3 inputs repeated TensorInfo; 4 outputs repeated TensorInfo",
    "ModelInfo": "1 subgraph_infos repeated ModelSubGraphInfo; 2 batch_size uint64",
    "ModelInfos": "1 model_infos map<string,ModelInfo>",
    "GetModelInfoReply": "1 servable_name string; 2 version_number uint32; 3 model_infos ModelInfos; "
    "4 error_msg ErrorMsg",
    "DistributedPredictRequest": "1 inputs repeated Tensor; 2 return_result bool; 3 subgraph int64",
    "DistributedPredictReply": "1 outputs repeated Tensor; 2 error_msg ErrorMsg",
    "DistributedExitRequest": "1 address string",
    "DistributedExitReply": "1 error_msg ErrorMsg",
    "AgentSpec": "1 rank_id int64; 2 batch_size int64; 3 inputs repeated TensorInfo; 4 outputs repeated TensorInfo",
    "CommonModelMeta": "1 servable_name string; 2 model_key string; 3 with_batch_dim bool; "
    "4 without_batch_dim_inputs repeated int64; 5 inputs_count map<uint64,int64>; 6 outputs_count map<uint64,int64>",
    "DistributedModelMeta": "1 rank_size int64; 2 stage_size int64",
    "AgentRegisterRequest": "1 agent_spec repeated AgentSpec; 2 address string",
    "AgentRegisterReply": "1 error_msg ErrorMsg",
    "AgentExitRequest": "1 address string; 2 agent_ip string",
    "AgentExitReply": "1 error_msg ErrorMsg",
    "AgentFailedRequest": "",
    "AgentFailedReply": "1 error_msg ErrorMsg",
    "AgentConfigAcquireRequest": "",
    "AgentConfigAcquireReply": "1 rank_table_content string; 2 rank_list repeated OneRankConfig; "
    "3 common_meta CommonModelMeta; 4 distributed_meta DistributedModelMeta",
    "OneRankConfig": "1 ip string; 2 device_id int64",
}
SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("string", "bytes", "bool", "int64", "uint64", "uint32")
}


def type_of(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (type_of(part) for part in field.message_type.fields)
        return f"map<{key},{value}>"
    kind = field.message_type or field.enum_type
    return kind.name if kind is not None else SCALARS[field.type]


def shown(message: Descriptor) -> str:
    """A message as the table has it."""
    fields = sorted(message.fields, key=lambda field: field.number)
    return "; ".join(
        f"{f.number} {f.name} {'repeated ' if f.is_repeated and '<' not in type_of(f) else ''}{type_of(f)}"
        for f in fields
    )


@pytest.mark.parametrize("name", [row(f"6.1-{name}", name) for name in MESSAGES])
def test_fields(name: str) -> None:
    [found] = [file.DESCRIPTOR.message_types_by_name.get(name) for file in FILES if hasattr(file, name)]
    assert found.file.package == PACKAGE
    assert shown(found) == MESSAGES[name]


SERVICES = {
    "MSService": ("ms_service", "Predict(PredictRequest) PredictReply"),
    "MSMaster": (
        "ms_master",
        "Register(RegisterRequest) RegisterReply; Exit(ExitRequest) ExitReply; "
        "NotifyFailed(NotifyFailedRequest) NotifyFailedReply; CallModel(PredictRequest) PredictReply; "
        "GetModelInfo(GetModelInfoRequest) GetModelInfoReply",
    ),
    "MSWorker": ("ms_worker", "Predict(PredictRequest) PredictReply; Exit(ExitRequest) ExitReply"),
    "MSAgent": (
        "ms_agent",
        "Predict(DistributedPredictRequest) DistributedPredictReply; Exit(DistributedExitRequest) "
        "DistributedExitReply; Ping(PingRequest) PingReply; Pong(PongRequest) PongReply",
    ),
    "MSDistributedWorker": (
        "ms_distributed",
        "AgentRegister(AgentRegisterRequest) AgentRegisterReply; AgentExit(AgentExitRequest) AgentExitReply; "
        "AgentFailed(AgentFailedRequest) AgentFailedReply; AgentConfigAcquire(AgentConfigAcquireRequest) "
        "AgentConfigAcquireReply; Ping(PingRequest) PingReply; Pong(PongRequest) PongReply",
    ),
}


@pytest.mark.parametrize("name", [row(f"6.1-{name}", name) for name in SERVICES])
def test_services(name: str) -> None:
    file_name, expected = SERVICES[name]
    [file] = [file for file in FILES if file.__name__.endswith(f"{file_name}_pb2")]
    service = file.DESCRIPTOR.services_by_name[name]
    assert service.full_name == f"{PACKAGE}.{name}"
    methods = [f"{m.name}({m.input_type.name}) {m.output_type.name}" for m in service.methods]
    assert sorted(methods) == sorted(expected.split("; "))


@stands_for("6.1-DataType")
def test_data_types() -> None:
    names = (
        "UNKNOWN BOOL INT8 UINT8 INT16 UINT16 INT32 UINT32 INT64 UINT64 FLOAT16 FLOAT32 FLOAT64 STRING BYTES"
    )
    values = ms_service_pb2.DataType.items()
    assert values == [(f"MS_{name}", number) for number, name in enumerate(names.split())]


# --- Bytes ---


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(number: int, value: int) -> bytes:
    """A varint field."""
    return varint(number << 3) + varint(value)


def tensor(dims: list[int], dtype: int, data: bytes) -> bytes:
    shape = field(1, b"".join(map(varint, dims))) if dims else b""
    return field(1, shape) + number(2, dtype) + field(3, data)


def text(value: bytes, dtype: int, dims: bytes = b"") -> bytes:
    return field(1, dims) + number(2, dtype) + field(4, value)


def item(name: bytes, value: bytes) -> bytes:
    return field(1, field(1, name) + field(2, value))


FLOATS = struct.pack("<4f", 1, 2, 3, 4)
NEGATIVES = struct.pack("<4f", -1, -2, -3, -4)
SQUARE = tensor([2, 2], 11, FLOATS)
NEGATIVE = tensor([2, 2], 11, NEGATIVES)
BOOM = (
    b"Call Function 'pystage.raise_fun' Failed, method: 'raises', stage index(begin with 1): 1, "
    b"error msg: boom from stage"
)
PARTIAL = (
    b"Call Function 'pystage.partial_fun' Failed, method: 'partial', stage index(begin with 1): 1, "
    b"error msg: negative input"
)


def spec(name: bytes, method: bytes, version: int = 0) -> bytes:
    return field(1, field(1, name) + field(2, method) + (number(3, version) if version else b""))


def request(method: bytes, *values: bytes, version: int = 0, name: bytes = b"pystage", at: int = 2) -> bytes:
    return spec(name, method, version) + b"".join(field(at, item(b"x", value)) for value in values)


def results(*values: bytes) -> bytes:
    return b"".join(field(3, item(b"y", value)) for value in values)


IDENTITY = spec(b"pystage", b"identity")
ECHO = spec(b"pystage", b"echo")

REPLIES = [
    row("6.1-reply-one", request(b"identity", SQUARE), IDENTITY + results(SQUARE)),
    row(
        "6.1-reply-spec-is-echoed",
        request(b"identity", SQUARE, version=1),
        spec(b"pystage", b"identity", 1) + results(SQUARE),
    ),
    row(
        "6.1-reply-three",
        request(b"identity", SQUARE, NEGATIVE, SQUARE),
        IDENTITY + results(SQUARE, NEGATIVE, SQUARE),
    ),
    row(
        "6.1-reply-scalar",
        request(b"identity", tensor([], 6, struct.pack("<i", 7))),
        IDENTITY + results(tensor([], 6, struct.pack("<i", 7))),
    ),
    row(
        "6.1-reply-float16",
        request(b"echo", tensor([2], 10, b"\x00\x3c\x00\xc0")),
        ECHO + results(tensor([2], 10, b"\x00\x3c\x00\xc0")),
    ),
    row("6.1-reply-text", request(b"identity", text(b"abc", 13)), IDENTITY + results(text(b"abc", 13))),
    row(
        "6.1-reply-bytes",
        request(b"echo", text(b"\xff\x00", 14, b"\x0a\x01\x01")),
        ECHO + results(text(b"\xff\x00", 14, b"\x0a\x01\x01")),
    ),
    row(
        "6.1-reply-all-failed",
        request(b"raises", SQUARE, SQUARE),
        spec(b"pystage", b"raises") + field(4, number(1, 3) + field(2, BOOM)),
    ),
    row(
        "6.1-reply-mixed",
        request(b"partial", SQUARE, NEGATIVE),
        spec(b"pystage", b"partial")
        + results(SQUARE)
        + field(3, b"")
        + field(4, b"")
        + field(4, number(1, 3) + field(2, PARTIAL)),
    ),
    row(
        "6.1-reply-request-level",
        request(b"nosuch", SQUARE),
        spec(b"pystage", b"nosuch")
        + field(
            4,
            number(1, 2) + field(2, b"Request servable(pystage) method(nosuch) , method is not available"),
        ),
    ),
]


@pytest.mark.parametrize(("sent", "expected"), REPLIES)
def test_reply_bytes(raw: RawClient, sent: bytes, expected: bytes) -> None:
    assert raw.call(sent, PREDICT) == expected


UNKNOWN = (
    (15 << 3).to_bytes(1, "little") + b"\x05" + field(15, b"abc") + b"\x79" + bytes(8) + b"\x7d" + bytes(4)
)


@pytest.mark.parametrize(
    "sent",
    [
        row("6.1-unknown-fields-request", request(b"identity", SQUARE) + UNKNOWN),
        row("6.1-unknown-fields-instance", IDENTITY + field(2, item(b"x", SQUARE) + UNKNOWN)),
        row("6.1-unknown-fields-tensor", IDENTITY + field(2, item(b"x", SQUARE + UNKNOWN))),
        row(
            "6.1-unknown-fields-shape",
            IDENTITY + field(2, item(b"x", field(1, field(1, b"\2\2") + UNKNOWN) + SQUARE[6:])),
        ),
    ],
)
def test_unknown_fields_are_ignored(raw: RawClient, sent: bytes) -> None:
    assert raw.call(sent, PREDICT) == IDENTITY + results(SQUARE)


@stands_for("6.1-unknown-fields-spec")
def test_the_spec_is_echoed_as_it_came(raw: RawClient) -> None:
    spec = field(1, field(1, b"pystage") + field(2, b"identity") + UNKNOWN)
    assert raw.call(spec + field(2, item(b"x", SQUARE)), PREDICT) == spec + results(SQUARE)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        row(
            "6.1-field-3", request(b"identity", SQUARE, NEGATIVE, at=3), IDENTITY + results(SQUARE, NEGATIVE)
        ),
        row(
            "6.1-field-3-error",
            request(b"raises", SQUARE, at=3),
            spec(b"pystage", b"raises") + field(4, number(1, 3) + field(2, BOOM)),
        ),
    ],
)
def test_instances_of_1_2_are_in_field_3(raw: RawClient, sent: bytes, expected: bytes) -> None:
    assert raw.call(sent, PREDICT) == expected


@stands_for("6.1-client-sends-field-2")
def test_our_client_sends_field_2() -> None:
    array = np.array([[1, 2], [3, 4]], np.float32)
    assert encode_request("pystage", "identity", 0, [{"x": array}] * 2) == request(
        b"identity", SQUARE, SQUARE
    )


# --- Clients of other releases: their own messages, their own grpc stub ---

_F = descriptor_pb2.FieldDescriptorProto


def messages_of(release: str) -> Any:
    """The messages of a release, made of the table of 6.1, in a pool of their own."""
    first = release == "1.2"
    file = descriptor_pb2.FileDescriptorProto(name=f"{release}.proto", package=PACKAGE, syntax="proto3")
    dtype = file.enum_type.add(name="DataType")
    for value in range(15):
        dtype.value.add(name=f"V{value}", number=value)

    def message(name: str, *fields: tuple[int, str, int, str, bool]) -> Any:
        made = file.message_type.add(name=name)
        for at, field_name, kind, of, many in fields:
            label = _F.LABEL_REPEATED if many else _F.LABEL_OPTIONAL
            made.field.add(
                name=field_name,
                number=at,
                type=kind,
                label=label,
                type_name=f".{PACKAGE}.{of}" if of else None,
            )
        return made

    message("TensorShape", (1, "dims", _F.TYPE_INT64, "", True))
    message(
        "Tensor",
        (1, "shape", _F.TYPE_MESSAGE, "TensorShape", False),
        (2, "dtype", _F.TYPE_ENUM, "DataType", False),
        (3, "data", _F.TYPE_BYTES, "", False),
        (4, "bytes_val", _F.TYPE_BYTES, "", True),
    )
    instance = message("Instance", (1, "items", _F.TYPE_MESSAGE, "Instance.ItemsEntry", True))
    entry = instance.nested_type.add(name="ItemsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_F.TYPE_STRING, label=_F.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=_F.TYPE_MESSAGE,
        label=_F.LABEL_OPTIONAL,
        type_name=f".{PACKAGE}.Tensor",
    )
    message(
        "ServableSpec",
        (1, "name", _F.TYPE_STRING, "", False),
        (2, "method_name", _F.TYPE_STRING, "", False),
        (3, "version_number", _F.TYPE_INT64 if first else _F.TYPE_UINT64, "", False),
    )
    message(
        "ErrorMsg", (1, "error_code", _F.TYPE_INT64, "", False), (2, "error_msg", _F.TYPE_BYTES, "", False)
    )
    message(
        "PredictRequest",
        (1, "servable_spec", _F.TYPE_MESSAGE, "ServableSpec", False),
        (3 if first else 2, "instances", _F.TYPE_MESSAGE, "Instance", True),
    )
    status = [(2, "status", _F.TYPE_BOOL, "", False)] if first else []
    message(
        "PredictReply",
        (1, "servable_spec", _F.TYPE_MESSAGE, "ServableSpec", False),
        *status,
        (3, "instances", _F.TYPE_MESSAGE, "Instance", True),
        (4, "error_msg", _F.TYPE_MESSAGE, "ErrorMsg", True),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in ("PredictRequest", "PredictReply")
    }


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("release", [row("6.1-client-of-1.2", "1.2"), row("6.1-client-of-2.x", "2.x")])
def test_clients_of_other_releases(server: RunningServer, raw: RawClient, release: str, version: int) -> None:
    classes = messages_of(release)
    sent = classes["PredictRequest"]()
    sent.servable_spec.name, sent.servable_spec.method_name = "pystage", "partial"
    sent.servable_spec.version_number = version
    for values in (FLOATS, NEGATIVES, FLOATS):
        value = sent.instances.add().items["x"]
        value.shape.dims.extend([2, 2])
        value.dtype, value.data = 11, values
    reply = classes["PredictReply"].FromString(raw.call(sent.SerializeToString(), PREDICT))
    assert reply.servable_spec == sent.servable_spec
    assert [(e.error_code, e.error_msg) for e in reply.error_msg] == [(0, b""), (3, PARTIAL), (0, b"")]
    assert [dict(i.items) for i in reply.instances] == [
        {"y": sent.instances[0].items["x"]},
        {},
        {"y": sent.instances[2].items["x"]},
    ]
    assert not getattr(reply, "status", False)
    assert reply.SerializeToString(deterministic=True) == raw.call(sent.SerializeToString(), PREDICT)


@pytest.mark.parametrize(
    ("method", "value"),
    [row("6.1-bytes_val-one-element", "echo", b"abc"), row("6.1-bytes_val-text", "identity", "h\u00e9llo")],
)
def test_text_and_bytes_come_back(server: RunningServer, method: str, value: object) -> None:
    with Client(server.grpc, "pystage", method) as client:
        assert client.infer({"x": value}) == [{"y": value}]


@pytest.mark.parametrize("service", [row("6.1-no-reflection", "mindspore.serving.proto.MSService")])
def test_reflection_names_the_service(raw: RawClient, service: str) -> None:
    question = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    reply = raw.call(question, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    services = reflection_pb2.ServerReflectionResponse.FromString(reply).list_services_response.service
    assert service in [one.name for one in services]


@pytest.mark.parametrize("status", [row("6.1-no-health", health_pb2.HealthCheckResponse.SERVING)])
def test_health_service(raw: RawClient, status: int) -> None:
    reply = raw.call(b"", "/grpc.health.v1.Health/Check")
    assert health_pb2.HealthCheckResponse.FromString(reply).status == status
