"""Files that declare services, found by names."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from mindspore_serving.proto import ms_service_pb2, ms_worker_pb2
from mindspore_serving.proto.foreign import health_pb2, open_inference_pb2, reflection_pb2
from mindspore_serving.server.dialect.reflection.descriptors import ServedFiles, renamed

MODULES = (ms_service_pb2, ms_worker_pb2, health_pb2, open_inference_pb2)
FILES = ServedFiles(module.DESCRIPTOR.serialized_pb for module in MODULES)


def names(files: list[bytes] | None) -> list[str] | None:
    return None if files is None else [FileDescriptorProto.FromString(file).name for file in files]


HEALTH = [health_pb2.DESCRIPTOR.name]
INFERENCE = [open_inference_pb2.DESCRIPTOR.name]


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("grpc.health.v1.Health", HEALTH),
        ("grpc.health.v1.Health.Check", HEALTH),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", HEALTH),
        ("grpc.health.v1.HealthCheckResponse.NOT_SERVING", HEALTH),
        ("grpc.health.v1.HealthCheckRequest.service", HEALTH),
        ("inference.GRPCInferenceService", INFERENCE),
        ("inference.ModelInferRequest.InferInputTensor.shape", INFERENCE),
        ("inference.InferParameter.parameter_choice", INFERENCE),
        ("inference.TYPE_FP32", INFERENCE),
        ("inference.DataType", INFERENCE),
        ("mindspore.serving.proto.MSService.Predict", [ms_service_pb2.DESCRIPTOR.name]),
        ("inference.Nothing", None),
        ("", None),
        ("inference", None),
    ],
)
def test_a_file_is_found_by_what_it_declares(symbol: str, expected: list[str] | None) -> None:
    assert names(FILES.file_of(symbol)) == expected
    assert FILES.declare(symbol) == (expected is not None)


def test_a_file_comes_with_what_it_imports() -> None:
    worker, service = ms_worker_pb2.DESCRIPTOR.name, ms_service_pb2.DESCRIPTOR.name
    assert names(FILES.file(worker)) == [worker, service]
    assert names(FILES.file("no.proto")) is None


def test_services_are_named_in_full() -> None:
    assert [name for name in FILES.services if "MSWorker" not in name] == [
        "grpc.health.v1.Health",
        "inference.GRPCInferenceService",
        "mindspore.serving.proto.MSService",
    ]


def test_a_file_of_another_package_is_whole() -> None:
    file = renamed(reflection_pb2.DESCRIPTOR.serialized_pb, "grpc.reflection.v1alpha")
    pool = DescriptorPool()
    made = pool.AddSerializedFile(file)
    [service] = made.services_by_name.values()
    assert service.full_name == "grpc.reflection.v1alpha.ServerReflection"
    assert service.methods[0].input_type.full_name == "grpc.reflection.v1alpha.ServerReflectionRequest"
    assert not any(b"reflection.v1." in part for part in (file,))
