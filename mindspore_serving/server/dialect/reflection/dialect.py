"""The services `grpc.reflection.v1.ServerReflection` and `grpc.reflection.v1alpha.ServerReflection`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import Final

from google.protobuf.descriptor import FileDescriptor

from mindspore_serving.errors import Failure, excerpt
from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.proto.foreign import reflection_pb2
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dialect.reflection.descriptors import ServedFiles, renamed
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcMethod,
    GrpcReply,
    GrpcStatus,
    StreamMethod,
    client_error,
)
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route

PACKAGES: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
"""The versions, which differ in the name alone."""
LARGEST_QUESTION: Final = 4096
"""Bytes of a message; names of protobuf are shorter."""


class ReflectionDialect:
    """Tells which services there are, and what their messages look like.

    Where a front end asks for keys, those who have none learn nothing.

    Args:
        files: Those that declare the services of the server, imported ones before those that import them.

    Attributes:
        grpc_methods: ServerReflectionInfo of both versions.
        routes: None.
    """

    name = "reflection"
    routes: Sequence[Route] = ()

    def __init__(self, files: Iterable[FileDescriptor]) -> None:
        own = reflection_pb2.DESCRIPTOR.serialized_pb
        self._files = ServedFiles(
            [*(file.serialized_pb for file in files), *(renamed(own, package) for package in PACKAGES)]
        )
        self.grpc_methods: Sequence[GrpcMethod] = tuple(
            StreamMethod(
                path=f"/{package}.ServerReflection/ServerReflectionInfo",
                handler=self.tell,
                right=Right.INFER,
                refuses=_is_too_large,
            )
            for package in PACKAGES
        )

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """Not called: there are no routes."""
        return HttpReply(failure.status, b"")

    async def tell(self, messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        """Answer questions, one after the other.

        Args:
            messages: Serialised ServerReflectionRequests.
            call: Of the messages.

        Yields:
            Serialised ServerReflectionResponse.

        Raises:
            GrpcError: A message is too large, or no question.
        """
        async for message in _until(call.stopping, messages):
            if _is_too_large(message):
                raise client_error(
                    GrpcStatus.RESOURCE_EXHAUSTED,
                    f"Reflection request of {len(message)} bytes, expected are at most {LARGEST_QUESTION}",
                )
            yield GrpcReply(self._answer(message))

    def _answer(self, message: bytes) -> bytes:
        try:
            request = reflection_pb2.ServerReflectionRequest.FromString(message)
            reply = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request)
            self._fill(reply, request)
            return bytes(reply.SerializeToString())
        except UNDECODABLE as cause:
            raise client_error(GrpcStatus.INTERNAL, "Unable to parse request") from cause

    def _fill(
        self,
        reply: reflection_pb2.ServerReflectionResponse,
        request: reflection_pb2.ServerReflectionRequest,
    ) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._files.services:
                    reply.list_services_response.service.add(name=name)
            case "file_by_filename":
                name = request.file_by_filename
                _give(reply, self._files.file(name), "file", name)
            case "file_containing_symbol":
                name = request.file_containing_symbol
                _give(reply, self._files.file_of(name), "symbol", name)
            case "file_containing_extension":
                name = request.file_containing_extension.containing_type
                _give(reply, None, "extension of", name)
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                if self._files.declare(name):  # proto3 has no extensions
                    reply.all_extension_numbers_response.base_type_name = name
                else:
                    _give(reply, None, "symbol", name)
            case _:
                _refuse(reply, GrpcStatus.INVALID_ARGUMENT, "The request asks for nothing")


async def _until(stopping: asyncio.Event, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Messages, until there are none any more, or an event is set: a client need not end its stream."""
    stop = asyncio.create_task(stopping.wait())
    following: asyncio.Task[bytes] | None = None
    try:
        while not stop.done():
            following = asyncio.create_task(_next(messages))
            await asyncio.wait((following, stop), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                try:
                    message = following.result()
                except StopAsyncIteration:
                    return
                yield message
    finally:
        tasks = [task for task in (stop, following) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(messages: AsyncIterator[bytes]) -> bytes:
    return await anext(messages)


def _give(
    reply: reflection_pb2.ServerReflectionResponse, files: list[bytes] | None, what: str, name: str
) -> None:
    """Put files into a reply, or that there are none."""
    if files is None:
        _refuse(reply, GrpcStatus.NOT_FOUND, f"There is no {what} '{excerpt(name)}'")
    else:
        reply.file_descriptor_response.file_descriptor_proto.extend(files)


def _refuse(reply: reflection_pb2.ServerReflectionResponse, status: GrpcStatus, text: str) -> None:
    reply.error_response.error_code = status
    reply.error_response.error_message = text


def _is_too_large(message: bytes) -> bool:
    return len(message) > LARGEST_QUESTION
