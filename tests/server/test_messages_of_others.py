"""Our messages beside those of other packages in one process, with each implementation of protobuf."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIMIT_S = 60.0
# As tritonclient, kserve, mlserver, grpcio-health-checking and grpcio-reflection do it: the same names, in the pool of
# the process, in files of their own.
THEIRS = """
from google.protobuf import descriptor_pb2, descriptor_pool

for package, name in (
    ("inference", "ModelInferRequest"),
    ("inference", "ModelConfig"),
    ("grpc.health.v1", "HealthCheckRequest"),
    ("grpc.reflection.v1", "ServerReflectionRequest"),
):
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=package, syntax="proto3")
    field = file.message_type.add(name=name).field.add(name="other", number=1)
    field.type, field.label = field.TYPE_INT32, field.LABEL_OPTIONAL
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
"""
OURS = """
import asyncio

from mindspore_serving.proto.foreign import health_pb2, open_inference_pb2, reflection_pb2
from mindspore_serving.server.dialect.open_inference.grpc.reply import parts_of_reply
from mindspore_serving.server.dialect.open_inference.grpc.request import read_message, request_in
from mindspore_serving.server.dialect.open_inference.messages import InferReply, OutputTensor
from mindspore_serving.server.start import dialects

message = open_inference_pb2.ModelInferRequest(model_name="m", id="1", raw_input_contents=[b"abcd"])
message.inputs.add(name="x", datatype="FP32", shape=[1])
message.parameters["p"].uint64_param = 2**64 - 1
request = asyncio.run(request_in(read_message(message.SerializeToString())))
assert (request.model, request.id, request.parameters["p"]) == ("m", "1", 2**64 - 1)
assert bytes(request.inputs[0].data) == b"abcd"
reply = InferReply("m", "1", "1", [OutputTensor("y", "FP32", (1,), b"abcd")])
read = open_inference_pb2.ModelInferResponse.FromString(b"".join(parts_of_reply(reply)))
assert (read.outputs[0].name, list(read.raw_output_contents)) == ("y", [b"abcd"])
health = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
assert health.SerializeToString() == b"\\x08\\x01"
kind = open_inference_pb2.ModelInferRequest.InferInputTensor
assert kind.__module__ == open_inference_pb2.__name__
"""
WHICH = """
from google.protobuf.internal import api_implementation

print(api_implementation.Type())
"""


@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("order", ["ours, theirs", "theirs, ours"])
def test_neither_disturbs_the_other(implementation: str, order: str) -> None:
    script = "".join({"ours": OURS, "theirs": THEIRS}[one] for one in order.split(", ")) + WHICH
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, implementation), done.stderr
