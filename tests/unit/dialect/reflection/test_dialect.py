"""Reflection, without gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.proto.foreign import reflection_pb2 as pb
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dialect.reflection.dialect import LARGEST_QUESTION, ReflectionDialect
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcStatus
from tests.unit.dialect.grpc_calls import FakeCall

LIMIT_S = 20.0
DIALECT = ReflectionDialect([ms_service_pb2.DESCRIPTOR])


async def sent(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def asked(*requests: pb.ServerReflectionRequest | bytes) -> list[pb.ServerReflectionResponse]:
    async def play() -> list[pb.ServerReflectionResponse]:
        messages = [
            request if isinstance(request, bytes) else request.SerializeToString() for request in requests
        ]
        replies = DIALECT.tell(sent(*messages), FakeCall())
        return [pb.ServerReflectionResponse.FromString(reply.message) async for reply in replies]

    return asyncio.run(asyncio.wait_for(play(), LIMIT_S))


def test_it_asks_for_a_key_where_metadata_does() -> None:
    assert [(method.path, method.right) for method in DIALECT.grpc_methods] == [
        (f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", Right.INFER)
        for version in ("v1", "v1alpha")
    ]
    assert not DIALECT.routes


def test_a_stream_has_an_answer_to_each_question() -> None:
    requests = [
        pb.ServerReflectionRequest(host="h", list_services="*"),
        pb.ServerReflectionRequest(file_containing_symbol="mindspore.serving.proto.MSService"),
        pb.ServerReflectionRequest(file_by_filename=ms_service_pb2.DESCRIPTOR.name),
        pb.ServerReflectionRequest(all_extension_numbers_of_type="mindspore.serving.proto.Tensor"),
    ]
    services, symbol, file, extensions = replies = asked(*requests)
    assert [reply.original_request for reply in replies] == requests
    assert services.valid_host == "h"
    assert [one.name for one in services.list_services_response.service] == [
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "mindspore.serving.proto.MSService",
    ]
    content = [ms_service_pb2.DESCRIPTOR.serialized_pb]
    assert list(symbol.file_descriptor_response.file_descriptor_proto) == content
    assert list(file.file_descriptor_response.file_descriptor_proto) == content
    assert extensions.all_extension_numbers_response.base_type_name == "mindspore.serving.proto.Tensor"


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (pb.ServerReflectionRequest(), GrpcStatus.INVALID_ARGUMENT, "The request asks for nothing"),
        (pb.ServerReflectionRequest(file_by_filename="a.proto"), GrpcStatus.NOT_FOUND, "no file 'a.proto'"),
        (pb.ServerReflectionRequest(file_containing_symbol="a.B"), GrpcStatus.NOT_FOUND, "no symbol 'a.B'"),
        (
            pb.ServerReflectionRequest(all_extension_numbers_of_type="a.B"),
            GrpcStatus.NOT_FOUND,
            "no symbol 'a.B'",
        ),
        (
            pb.ServerReflectionRequest(
                file_containing_extension=pb.ExtensionRequest(containing_type="a.B", extension_number=1)
            ),
            GrpcStatus.NOT_FOUND,
            "no extension of 'a.B'",
        ),
    ],
)
def test_what_is_not_there_is_said_and_the_stream_goes_on(
    request_: pb.ServerReflectionRequest, status: GrpcStatus, text: str
) -> None:
    wrong, right = asked(request_, pb.ServerReflectionRequest(list_services=""))
    assert wrong.error_response.error_code == status
    assert text in wrong.error_response.error_message
    assert right.list_services_response.service


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"\xff\xff", GrpcStatus.INTERNAL), (bytes(LARGEST_QUESTION + 1), GrpcStatus.RESOURCE_EXHAUSTED)],
)
def test_what_is_no_question_ends_the_stream(content: bytes, status: GrpcStatus) -> None:
    with pytest.raises(GrpcError) as raised:
        asked(content)
    assert raised.value.status is status


def test_the_end_of_the_server_is_the_end_of_a_stream_that_waits() -> None:
    async def play() -> None:
        call = FakeCall()

        async def endless() -> AsyncIterator[bytes]:
            yield pb.ServerReflectionRequest(list_services="").SerializeToString()
            call.stopping.set()
            await asyncio.Event().wait()

        messages = endless()
        assert len([reply async for reply in DIALECT.tell(messages, call)]) == 1
        with pytest.raises(StopAsyncIteration):  # it is not running any more
            await anext(messages)

    asyncio.run(asyncio.wait_for(play(), LIMIT_S))
