"""Open Inference Protocol over gRPC, with real workers: what clients of other projects send, by hand."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from mindspore_serving.proto.foreign import reflection_pb2
from tests.support.gate import Gate
from tests.support.grpc_stub import Stub, inference_stub
from tests.support.serving import RunningServer, add_servable, serving
from tests.unit.dialect.open_inference.messages import request, set_parameters, tensor

ANSWER_TIMEOUT_S = 20.0
MEBIBYTE = 1 << 20
KEY = "a-key-of-sixteen-or-more"
SERVABLE = """\
import numpy as np

from mindspore_serving.server import register


def method(name, function):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


def twice(x):
    if np.issubdtype(x.dtype, np.number) and (x < 0).any():
        raise register.InvalidInput("negative input")
    return x * 2


def zeros(count):
    return np.zeros(int(count), np.uint8)


def gated(x):
    if x > 0:
        pass_gate()
    return x


@register.register_method(output_names=["y"])
def echo(x):
    return x


method("twice", twice)
method("zeros", zeros)
method("gated", gated)
"""
LIMITS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Served:
    """A server, a gate in one of its methods, and a client."""

    def __init__(self, server: RunningServer, gate: Gate, channel: grpc.Channel) -> None:
        self.server = server
        self.gate = gate
        self.channel = channel
        self.stub = inference_stub(channel)

    def infer(self, message: pb.ModelInferRequest) -> pb.ModelInferResponse:
        reply: pb.ModelInferResponse = self.stub.ModelInfer(message, timeout=ANSWER_TIMEOUT_S)
        return reply

    def failure(self, call: Callable[..., Any], message: Any) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as raised:
            call(message, timeout=ANSWER_TIMEOUT_S)
        error: Any = raised.value
        return error.code().name, error.details()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("oip")
    gate = Gate(folder / "gate")
    add_servable(folder, "some", gate.source + SERVABLE, files=("1/x",))
    with (
        serving(folder, ['".", "some", device_ids=0'], grpc_options="max_msg_mb_size=8") as server,
        grpc.insecure_channel(server.grpc, LIMITS) as channel,
    ):
        yield Served(server, gate, channel)


def values(array: Any, dtype: str = "<f4") -> bytes:
    return np.array(array, dtype).tobytes()


@pytest.mark.both_grpc_servers
def test_what_there_is(served: Served) -> None:
    stub = served.stub
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    for name, version, ready in (
        ("some", "", True),
        ("some.twice", "1", True),
        ("some", "2", False),
        ("none", "", False),
    ):
        assert stub.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready is ready
    metadata = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert metadata.name == "mindspore_serving"
    assert "statistics" in metadata.extensions
    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="some.twice"))
    assert (model.name, list(model.versions)) == ("some.twice", ["1"])
    assert [one.name for one in (*model.inputs, *model.outputs)] == ["x", "y"]
    config = stub.ModelConfig(pb.ModelConfigRequest(name="some", version="1")).config
    assert (config.name, config.instance_group[0].kind) == ("some", pb.ModelInstanceGroup.KIND_MODEL)
    assert [one.name for one in config.input] == ["x"]
    index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
    assert {(one.name, one.version, one.state) for one in index} >= {("some", "1", "READY")}


def test_statistics_are_of_each_method(served: Served) -> None:
    one = served.stub.ModelStatistics(pb.ModelStatisticsRequest(name="some.twice")).model_stats
    assert [(entry.name, entry.version) for entry in one] == [("some.twice", "1")]
    assert one[0].inference_stats.HasField("success")
    everything = served.stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
    assert {entry.name for entry in everything} == {
        f"some.{name}" for name in ("echo", "twice", "zeros", "gated")
    }


@pytest.mark.both_grpc_servers
def test_raw_and_typed_contents_have_raw_replies(served: Served) -> None:
    for message in (
        request(tensor("x", "FP32", [2, 2]), raw=[values([1, 2, 3, 4])], model="some.twice", id="7"),
        request(tensor("x", "FP32", [2, 2], fp32_contents=[1, 2, 3, 4]), model="some.twice", id="7"),
    ):
        reply = served.infer(message)
        assert (reply.model_name, reply.model_version, reply.id) == ("some.twice", "1", "7")
        [y] = reply.outputs
        assert (y.name, y.datatype, list(y.shape), y.HasField("contents")) == ("y", "FP32", [2, 2], False)
        assert list(reply.raw_output_contents) == [values([2, 4, 6, 8])]


def test_texts_and_nothing_come_back(served: Served) -> None:
    text = b"\x02\x00\x00\x00hi"
    reply = served.infer(request(tensor("x", "BYTES", [1]), raw=[text], model="some.echo"))
    assert list(reply.raw_output_contents) == [text]
    typed = request(tensor("x", "BYTES", [1], bytes_contents=[b"hi"]), model="some.echo")
    assert list(served.infer(typed).raw_output_contents) == [text]
    nothing = served.infer(request(tensor("x", "FP32", [1, 0]), raw=[b""], model="some.echo"))
    assert (list(nothing.outputs[0].shape), list(nothing.raw_output_contents)) == ([1, 0], [b""])


def test_parameters_come_back_where_there_are_any(served: Served) -> None:
    message = request(tensor("x", "FP32", [1, 3]), raw=[values([1, 3, 2])], model="some.echo")
    message.outputs.add(name="y").parameters["classification"].int64_param = 2
    reply = served.infer(message)
    assert reply.outputs[0].datatype == "BYTES"
    assert b"3.000000:1" in reply.raw_output_contents[0]


def test_large_tensors(served: Served) -> None:
    array = np.arange(MEBIBYTE, dtype="<f4").reshape(4, -1)
    message = request(tensor("x", "FP32", array.shape), raw=[array.tobytes()], model="some.twice")
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        reply = served.stub.ModelInfer(message, timeout=ANSWER_TIMEOUT_S, compression=compression)
        assert reply.raw_output_contents[0] == (array * 2).tobytes()


BAD: list[tuple[pb.ModelInferRequest, str, str]] = [
    (request(tensor("x", "INT8", [1]), raw=[b"1"], model="none"), "NOT_FOUND", "none"),
    (request(tensor("x", "INT8", [1]), raw=[b"1"], model="some", version="9"), "NOT_FOUND", "9"),
    (request(tensor("x", "INT8", [1]), raw=[b"1"], model="some.no"), "NOT_FOUND", "some.no"),
    (request(tensor("z", "INT8", [1]), raw=[b"1"], model="some"), "INVALID_ARGUMENT", "'z'"),
    (
        request(tensor("x", "INT8", [1]), tensor("x", "INT8", [1]), raw=[b"1", b"1"], model="some"),
        "INVALID_ARGUMENT",
        "'x'",
    ),
    (request(tensor("x", "INT8", [2]), raw=[b"1"], model="some"), "INVALID_ARGUMENT", "'x' has 1 bytes"),
    (request(tensor("x", "INT8", [-1]), raw=[b"1"], model="some"), "INVALID_ARGUMENT", "negative"),
    (request(tensor("x", "FP32", [2**62, 4]), raw=[b"1"], model="some"), "INVALID_ARGUMENT", "too large"),
    (request(tensor("x", "FLOAT", [1]), raw=[b"1234"], model="some"), "INVALID_ARGUMENT", "FLOAT"),
    (request(tensor("x", "BYTES", [1]), raw=[b"\xff\0\0\0"], model="some"), "INVALID_ARGUMENT", "'x'"),
    (
        request(tensor("x", "INT8", [1], int_contents=[1]), raw=[b"1"], model="some"),
        "INVALID_ARGUMENT",
        "raw_input_contents",
    ),
    (request(model="some"), "INVALID_ARGUMENT", "x"),
    (
        request(tensor("x", "FP32", [1]), raw=[values([-1])], model="some.twice"),
        "INVALID_ARGUMENT",
        "negative input",
    ),
]


@pytest.mark.parametrize(
    ("message", "status", "text"), BAD, ids=[f"{text}-{i}" for i, (_, _, text) in enumerate(BAD)]
)
def test_what_is_wrong_has_a_status(
    served: Served, message: pb.ModelInferRequest, status: str, text: str
) -> None:
    code, details = served.failure(served.stub.ModelInfer, message)
    assert code == status
    assert text in details


def test_bytes_that_are_no_request(served: Served) -> None:
    for path in ("ModelInfer", "ModelMetadata"):
        call = served.channel.unary_unary(f"/inference.GRPCInferenceService/{path}")
        assert served.failure(call, b"\xff\xff") == ("INTERNAL", "Unable to parse request")


def test_a_reply_that_is_too_large_is_refused_before_it_is_written(served: Served) -> None:
    message = request(tensor("count", "INT64", [1]), raw=[values([9 * MEBIBYTE], "<i8")], model="some.zeros")
    message.inputs[0].name = "x"
    code, details = served.failure(served.stub.ModelInfer, message)
    assert (code, details[:39]) == ("RESOURCE_EXHAUSTED", "SERVER: Sent message larger than max (9")


def test_a_compressed_message_for_nobody_is_not_read_to_its_end(served: Served) -> None:
    message = request(tensor("x", "INT8", [7 * MEBIBYTE]), raw=[bytes(7 * MEBIBYTE)], model="none")
    with pytest.raises(grpc.RpcError) as raised:
        served.stub.ModelInfer(message, timeout=ANSWER_TIMEOUT_S, compression=grpc.Compression.Gzip)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="some")),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="some")),
        ("TraceSetting", pb.TraceSettingRequest(settings={"a": pb.TraceSettingRequest.SettingValue()})),
        ("LogSettings", pb.LogSettingsRequest(settings={"a": pb.LogSettingsRequest.SettingValue()})),
        ("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
        ("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="a")),
        ("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest()),
        ("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()),
        ("CudaSharedMemoryRegister", pb.CudaSharedMemoryRegisterRequest()),
        ("CudaSharedMemoryUnregister", pb.CudaSharedMemoryUnregisterRequest()),
    ],
)
def test_what_is_not_offered_says_so(served: Served, name: str, message: Any) -> None:
    code, details = served.failure(getattr(served.stub, name), message)
    assert code == "UNIMPLEMENTED"
    assert "this server" in details.lower() or "Shared memory" in details


def test_settings_may_be_read(served: Served) -> None:
    assert served.stub.TraceSetting(pb.TraceSettingRequest()).settings["trace_level"].value == ["OFF"]
    settings = served.stub.LogSettings(pb.LogSettingsRequest()).settings
    assert settings["log_info"].bool_param
    assert settings["log_verbose_level"].WhichOneof("parameter_choice") == "uint32_param"


class Talk:
    """A stream that stays open."""

    def __init__(self, stub: Stub) -> None:
        self._sent: queue.Queue[pb.ModelInferRequest | None] = queue.Queue()
        self.call = stub.ModelStreamInfer(iter(self._sent.get, None), timeout=ANSWER_TIMEOUT_S)
        self._told: queue.Queue[pb.ModelStreamInferResponse | str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, message: pb.ModelInferRequest) -> None:
        self._sent.put(message)

    def next(self) -> pb.ModelStreamInferResponse | str:
        return self._told.get(timeout=ANSWER_TIMEOUT_S)

    def end(self) -> None:
        self._sent.put(None)

    def _read(self) -> None:
        try:
            for reply in self.call:
                self._told.put(reply)
            self._told.put("end")
        except grpc.RpcError as error:
            self._told.put(error.code().name)


def gated(name: str, value: float) -> pb.ModelInferRequest:
    return request(tensor("x", "FP32", [1]), raw=[values([value])], model="some.gated", id=name)


@pytest.mark.both_grpc_servers
def test_a_stream_answers_in_the_order_of_completion_and_outlives_errors(served: Served) -> None:
    talk = Talk(served.stub)
    talk.send(gated("slow", 1))
    held = served.gate.hold()
    talk.send(request(tensor("x", "FP32", [1]), raw=[values([3])], model="none", id="wrong"))
    first = talk.next()
    assert isinstance(first, pb.ModelStreamInferResponse)
    assert "none" in first.error_message
    assert first.infer_response.id == "wrong"
    held.release()
    second = talk.next()
    assert isinstance(second, pb.ModelStreamInferResponse)
    assert (second.error_message, second.infer_response.id) == ("", "slow")
    assert list(second.infer_response.raw_output_contents) == [values([1])]
    assert second.infer_response.parameters["triton_final_response"].bool_param
    talk.end()
    assert talk.next() == "end"


def test_the_end_of_a_stream_is_the_end_of_what_it_has_in_flight(served: Served) -> None:
    talk = Talk(served.stub)
    talk.send(gated("a", 1))
    held = served.gate.hold()
    for _ in range(3):
        talk.send(gated("b", 1))
    talk.call.cancel()
    assert talk.next() == "CANCELLED"
    held.release()
    assert (
        served.infer(gated("c", 0)).id == "c"
    )  # behind what was in flight, and none of that waits at the gate


def reflection(channel: grpc.Channel, version: str, metadata: Any = ()) -> Callable[..., Any]:
    """Asks one question."""
    stub = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )

    def ask(**question: Any) -> Any:
        messages = iter([reflection_pb2.ServerReflectionRequest(**question)])
        [reply] = stub(messages, timeout=ANSWER_TIMEOUT_S, metadata=metadata)
        return reply

    return ask


@pytest.mark.both_grpc_servers
def test_a_tool_learns_by_reflection_what_to_send(served: Served) -> None:
    for version in ("v1", "v1alpha"):
        ask = reflection(served.channel, version)
        services = [one.name for one in ask(list_services="").list_services_response.service]
        assert services == [
            "baidu.paddle_serving.pipeline_serving.PipelineService",
            "baidu.paddle_serving.predictor.general_model.GeneralModelService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "inference.GRPCInferenceService",
            "mindspore.serving.proto.MSService",
        ]
        pool = DescriptorPool()
        for name in services:
            for file in ask(file_containing_symbol=name).file_descriptor_response.file_descriptor_proto:
                pool.AddSerializedFile(file)
        for name in services:
            service = pool.FindServiceByName(name)
            assert service.methods
        method = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name["ServerMetadata"]
        call = served.channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        assert call(b"", timeout=ANSWER_TIMEOUT_S).name == "mindspore_serving"


def test_tensors_in_shared_memory(tmp_path: Path) -> None:
    add_servable(tmp_path, "some", Gate(tmp_path / "gate").source + SERVABLE, files=("1/x",))
    memory = SharedMemory(create=True, size=64)
    try:
        memory.buf[:8] = values([1, 2])
        with (
            serving(
                tmp_path,
                ['".", "some", device_ids=0'],
                start_options="allow_client_shared_memory=True",
            ) as server,
            grpc.insecure_channel(server.grpc) as channel,
        ):
            use_shared_memory(inference_stub(channel), memory.name)
        assert bytes(memory.buf[16:24]) == values([2, 4])
    finally:
        memory.close()
        memory.unlink()


def use_shared_memory(stub: Stub, key: str) -> None:
    """Have two numbers doubled from one place of a region to another."""
    stub.SystemSharedMemoryRegister(
        pb.SystemSharedMemoryRegisterRequest(name="r", key=f"/{key}", byte_size=64), timeout=ANSWER_TIMEOUT_S
    )
    assert stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()).regions["r"].byte_size == 64
    place = {"shared_memory_region": {"string_param": "r"}, "shared_memory_byte_size": {"int64_param": 8}}
    message = request(tensor("x", "FP32", [2], parameters=place), model="some.twice")
    output = message.outputs.add(name="y")
    set_parameters(output.parameters, {**place, "shared_memory_offset": {"int64_param": 16}})
    reply = stub.ModelInfer(message, timeout=ANSWER_TIMEOUT_S)
    assert list(reply.raw_output_contents) == [b""]
    assert reply.outputs[0].parameters["shared_memory_byte_size"].int64_param == 8
    stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
    assert not stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()).regions


def test_who_has_no_key_learns_whether_it_is_ready_and_no_more(tmp_path: Path) -> None:
    add_servable(tmp_path, "some", Gate(tmp_path / "gate").source + SERVABLE, files=("1/x",))
    with (
        serving(
            tmp_path,
            ['".", "some", device_ids=0'],
            grpc_options=f"api_keys=[{KEY!r}]",
        ) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        stub = inference_stub(channel)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name="some")).ready
        for call, message in (
            (stub.ServerMetadata, pb.ServerMetadataRequest()),
            (stub.ModelMetadata, pb.ModelMetadataRequest(name="some")),
            (stub.ModelStatistics, pb.ModelStatisticsRequest()),
            (stub.ModelInfer, pb.ModelInferRequest(model_name="some")),
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest()),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call(message, timeout=ANSWER_TIMEOUT_S)
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
        with pytest.raises(grpc.RpcError, match="Not let in"):
            reflection(channel, "v1")(list_services="")
        key = (("authorization", f"Bearer {KEY}"),)
        assert reflection(channel, "v1", key)(list_services="").list_services_response.service
