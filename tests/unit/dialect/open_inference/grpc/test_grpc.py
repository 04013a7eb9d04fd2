"""The calls of the service, with a core that a test gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelError,
    NotOffered,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    UnknownTarget,
)
from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dialect.open_inference.grpc.service import (
    LARGEST_QUESTION,
    SERVICE,
    GrpcInference,
)
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest, OutputTensor
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcStatus, StreamMethod, UnaryMethod
from tests.unit.dialect.grpc_calls import FakeCall
from tests.unit.dialect.open_inference.messages import request, tensor

LIMIT_S = 20.0
MIB = 1 << 20


class FakeInference:
    """A core that knows the model `m`, and gives back each input as an output; or fails as a test says."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[InferRequest] = []

    def destination(self, model: str, version: str) -> Any:
        raise ServerStopping()  # so nothing is remembered

    def check_room(self, model: str, version: str) -> None:
        if model != "m":
            raise UnknownTarget(f"There is no model '{model}'")

    async def infer(self, request: InferRequest, *, peer: object) -> InferReply:
        self.check_room(request.model, request.version)
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        outputs = [OutputTensor(one.name, one.datatype, one.shape, one.data) for one in request.inputs]  # type: ignore[arg-type]
        return InferReply(request.model, "1", request.id, outputs)


DURATION = {"count": 3, "ns": 2**63}


class FakeModels:
    """Documents as those of REST, with a key that gRPC does not have."""

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "s", "version": "0", "extensions": ["a", "b"], "more": 1}

    def server_ready(self) -> bool:
        return True

    def ready(self, model: str, version: str) -> bool:
        if model not in ("m", "n"):
            raise UnknownTarget(f"There is no model '{model}'")
        return model == "m"

    def metadata(self, model: str, version: str) -> dict[str, Any]:
        if model != "m":
            raise UnknownTarget("There is no such model in /home/user/models")
        one = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
        return {
            "name": "m",
            "versions": ["1"],
            "platform": "python",
            "inputs": [one],
            "outputs": [one],
            "more": {},
        }

    def config(self, model: str, version: str) -> dict[str, Any]:
        return {
            "name": "m",
            "max_batch_size": 8,
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}],
            "dynamic_batching": {"preferred_batch_size": [4, 8]},
            "version_policy": {"specific": {"versions": [1]}},
            "instance_group": [{"kind": "KIND_CPU", "count": 2}],
            "more": 1,
        }

    def statistics(self, model: str, version: str) -> dict[str, Any]:
        return {
            "model_stats": [
                {
                    "name": model,
                    "version": version,
                    "last_inference": 2**53,
                    "inference_count": 9,
                    "execution_count": 3,
                    "inference_stats": {"success": DURATION, "fail": DURATION},
                    "response_stats": {"0": {"success": DURATION}},
                    "batch_stats": [{"batch_size": 3, "compute_infer": DURATION}],
                    "memory_usage": [],
                }
            ]
        }

    def index(self, *, ready: bool) -> list[dict[str, str]]:
        entry = {"name": "m", "version": "1", "state": "READY", "reason": ""}
        return [entry] if ready else [entry, {"name": "n"}]


class Service:
    """The dialect's side, and what calls it."""

    def __init__(self, inference: FakeInference | None = None, regions: Any = None) -> None:
        self.inference = inference or FakeInference()
        made = GrpcInference(self.inference, FakeModels(), regions or SharedMemoryRegions())  # type: ignore[arg-type]
        self.methods = {method.path.removeprefix(f"/{SERVICE}/"): method for method in made.grpc_methods}

    def ask(self, name: str, message: Any = b"", call: FakeCall | None = None) -> Any:
        method = self.methods[name]
        assert isinstance(method, UnaryMethod)
        content = message if isinstance(message, bytes) else message.SerializeToString()

        async def asked() -> bytes:
            reply = await asyncio.wait_for(method.handler(content, call or FakeCall()), LIMIT_S)  # type: ignore[arg-type]
            assert not reply.failures
            return reply.message

        return getattr(pb, f"{name}Response").FromString(asyncio.run(asked()))

    def failure(self, name: str, message: Any = b"", call: FakeCall | None = None) -> GrpcError:
        with pytest.raises(GrpcError) as raised:
            self.ask(name, message, call)
        return raised.value


def echo(**fields: Any) -> pb.ModelInferRequest:
    return request(tensor("x", "INT8", [3]), raw=[b"abc"], **{"model": "m", **fields})


def test_every_call_of_the_service_has_a_handler() -> None:
    methods = Service().methods
    declared = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    assert set(methods) == set(declared)
    streams = {name for name, method in methods.items() if isinstance(method, StreamMethod)}
    assert streams == {name for name, method in declared.items() if method.server_streaming}


def test_everybody_may_ask_whether_it_is_ready_and_nothing_else() -> None:
    methods = Service().methods
    open_to_all = {name for name, method in methods.items() if method.right is Right.NONE}
    assert open_to_all == {"ServerLive", "ServerReady", "ModelReady"}
    assert open_to_all == {name for name, method in methods.items() if method.probe}


def test_documents_of_rest_become_messages() -> None:
    service = Service()
    assert list(service.ask("ServerMetadata").extensions) == ["a", "b"]
    metadata = service.ask("ModelMetadata", pb.ModelMetadataRequest(name="m"))
    assert [list(one.shape) for one in metadata.inputs] == [[-1, 2]]
    config = service.ask("ModelConfig", pb.ModelConfigRequest(name="m")).config
    assert (config.max_batch_size, config.input[0].data_type) == (8, pb.TYPE_FP32)
    assert list(config.version_policy.specific.versions) == [1]
    [statistics] = service.ask(
        "ModelStatistics", pb.ModelStatisticsRequest(name="m", version="2")
    ).model_stats
    assert (statistics.name, statistics.version, statistics.inference_count) == ("m", "2", 9)
    assert statistics.inference_stats.fail == pb.StatisticDuration(**DURATION)
    assert statistics.response_stats["0"].success.ns == 2**63
    assert statistics.batch_stats[0].batch_size == 3
    assert [
        len(service.ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready)).models)
        for ready in (True, False)
    ] == [1, 2]


def test_readiness() -> None:
    service = Service()
    assert service.ask("ServerLive").live
    assert service.ask("ServerReady").ready
    for model, ready in (("m", True), ("n", False), ("none", False)):
        assert service.ask("ModelReady", pb.ModelReadyRequest(name=model)).ready is ready


def test_what_fails_names_the_model_for_the_log() -> None:
    error = Service().failure("ModelMetadata", pb.ModelMetadataRequest(name="none", version="3"))
    assert (error.status, error.target) == (GrpcStatus.NOT_FOUND, "model(none) version(3)")


@pytest.mark.parametrize("name", ["ServerLive", "ModelMetadata", "LogSettings", "CudaSharedMemoryRegister"])
def test_questions_are_small(name: str) -> None:
    service = Service()
    content = bytes(LARGEST_QUESTION + 1)
    assert service.failure(name, content).status is GrpcStatus.RESOURCE_EXHAUSTED
    refuses = service.methods[name].refuses
    assert refuses is not None
    assert refuses(content) and not refuses(content[1:])
    assert service.failure(name, b"\xff\xff").status is GrpcStatus.INTERNAL


def test_loading_is_refused_whatever_is_sent_with_it() -> None:
    service = Service()
    for name in ("RepositoryModelLoad", "RepositoryModelUnload"):
        error = service.failure(name, b"\xff")
        assert (error.status, str(error)[:28]) == (GrpcStatus.UNIMPLEMENTED, "explicit model load / unload")
        refuses = service.methods[name].refuses
        assert refuses is not None and refuses(b"")  # a folder full of files may follow


def test_a_request_has_its_reply() -> None:
    service = Service()
    reply = service.ask("ModelInfer", echo(id="7"))
    assert (reply.model_name, reply.model_version, reply.id) == ("m", "1", "7")
    assert list(reply.raw_output_contents) == [b"abc"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("a"), GrpcStatus.INVALID_ARGUMENT),
        (UnknownTarget("a"), GrpcStatus.NOT_FOUND),
        (ServableUnavailable("a"), GrpcStatus.UNAVAILABLE),
        (ServerStopping(), GrpcStatus.UNAVAILABLE),
        (QueueFull("a"), GrpcStatus.RESOURCE_EXHAUSTED),
        (DeadlineExceeded("a"), GrpcStatus.DEADLINE_EXCEEDED),
        (NotOffered("a"), GrpcStatus.UNIMPLEMENTED),
        (ModelError("a"), GrpcStatus.INTERNAL),
        (ZeroDivisionError("a"), GrpcStatus.INTERNAL),
    ],
)
def test_a_failure_has_its_status(error: Exception, status: GrpcStatus) -> None:
    raised = Service(FakeInference(error)).failure("ModelInfer", echo())
    assert (raised.status, raised.target) == (status, "model(m)")
    if not isinstance(error, ZeroDivisionError):
        assert str(raised) == str(error)


def test_a_large_message_is_counted_while_it_is_read_and_refused_before() -> None:
    service, call = Service(), FakeCall()
    message = request(tensor("x", "INT8", [MIB]), raw=[bytes(MIB)], model="m")
    assert service.ask("ModelInfer", message, call).raw_output_contents[0] == bytes(MIB)
    assert (call.counted_sizes, call.arriving) == ([message.ByteSize()], 0)
    assert service.failure("ModelInfer", message, FakeCall(has_room=False)).status is (
        GrpcStatus.RESOURCE_EXHAUSTED
    )
    message.model_name = "none"
    assert service.failure("ModelInfer", message, call).status is GrpcStatus.NOT_FOUND
    assert len(call.counted_sizes) == 1
    refuses = service.methods["ModelInfer"].refuses
    assert refuses is not None
    content = message.SerializeToString()
    assert refuses(content[:MIB]) and not refuses(b"\xff") and not refuses(echo().SerializeToString())
    # What has been cut off is refused for its model, not for its end.
    assert service.failure("ModelInfer", content[: MIB // 2]).status is GrpcStatus.NOT_FOUND


def test_a_reply_that_is_too_large_is_refused_before_it_is_written() -> None:
    error = Service().failure("ModelInfer", echo(), FakeCall(largest_reply=10))
    assert error.status is GrpcStatus.RESOURCE_EXHAUSTED
    assert "Sent message larger than max" in str(error)


def test_a_stream_says_what_is_wrong_with_one_request_and_goes_on() -> None:
    service = Service()
    method = service.methods["ModelStreamInfer"]
    assert isinstance(method, StreamMethod)

    async def sent() -> AsyncIterator[bytes]:
        for message in (echo(id="1"), echo(model="none", id="2"), request(model="m", raw=[b""], id="3")):
            yield message.SerializeToString()
        yield b"\xff\xff"

    async def played() -> dict[str, Any]:
        found = {}
        async for reply in method.handler(sent(), FakeCall()):  # type: ignore[arg-type]
            message = pb.ModelStreamInferResponse.FromString(reply.message)
            found[message.infer_response.id] = message
            assert bool(reply.failures) == bool(message.error_message)
        return found

    found = asyncio.run(asyncio.wait_for(played(), LIMIT_S))
    assert {name: message.error_message[:20] for name, message in found.items()} == {
        "1": "",
        "2": "There is no model 'n",
        "3": "The request has 1 ra",
        "": "Unable to parse requ",
    }
    assert list(found["1"].infer_response.raw_output_contents) == [b"abc"]


def test_replies_of_a_stream_are_held_for_their_client_until_they_are_taken() -> None:
    method = Service().methods["ModelStreamInfer"]
    assert isinstance(method, StreamMethod)
    call = FakeCall()

    async def sent() -> AsyncIterator[bytes]:
        for number in range(3):
            yield echo(id=str(number)).SerializeToString()
        yield b"\xff\xff"

    async def played() -> list[int]:
        held = []
        async for reply in method.handler(sent(), call):  # type: ignore[arg-type]
            held.append(call.held)
            assert call.held >= len(reply.message) > 0
        return held

    assert len(asyncio.run(asyncio.wait_for(played(), LIMIT_S))) == 4
    assert call.held == 0


def test_a_request_of_a_stream_whose_client_takes_no_replies_is_refused() -> None:
    method = Service().methods["ModelStreamInfer"]
    assert isinstance(method, StreamMethod)
    call = FakeCall()
    call.most_held = 1

    async def sent() -> AsyncIterator[bytes]:
        yield echo(id="0").SerializeToString()
        yield echo(id="1").SerializeToString()

    async def played() -> list[str]:
        return [
            pb.ModelStreamInferResponse.FromString(reply.message).error_message
            async for reply in method.handler(sent(), call)  # type: ignore[arg-type]
        ]

    assert asyncio.run(asyncio.wait_for(played(), LIMIT_S)) == ["", "replies are not taken"]
    assert call.held == 0


def test_shared_memory_is_registered_listed_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(bytes(64))
    service = Service(regions=SharedMemoryRegions(True, tmp_path))
    call = FakeCall()
    message = pb.SystemSharedMemoryRegisterRequest(name="r", key="/k", offset=8, byte_size=16)
    service.ask("SystemSharedMemoryRegister", message, call)
    assert service.failure("SystemSharedMemoryRegister", message, call).status is GrpcStatus.ALREADY_EXISTS
    regions = service.ask("SystemSharedMemoryStatus", b"", call).regions
    region = pb.SystemSharedMemoryStatusResponse.RegionStatus(name="r", key="/k", offset=8, byte_size=16)
    assert dict(regions) == {"r": region}
    missing = pb.SystemSharedMemoryStatusRequest(name="no")
    assert service.failure("SystemSharedMemoryStatus", missing, call).status is GrpcStatus.NOT_FOUND
    service.ask("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name=""), call)
    assert not service.ask("SystemSharedMemoryStatus", b"", call).regions
    assert service.failure("CudaSharedMemoryStatus", b"", call).status is GrpcStatus.UNIMPLEMENTED
