"""The service `inference.GRPCInferenceService`: its calls to the core, and the replies to messages.

ModelInfer and ModelStreamInfer carry tensors, and are read and written field by field (`request`, `reply`).
The other calls are asked rarely: the protobuf library reads them, and makes their replies of the documents of REST.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message as ProtobufMessage

from mindspore_serving.errors import NotOffered, ServingError, UnknownTarget, excerpt
from mindspore_serving.proto.foreign import open_inference_pb2 as messages_pb2
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dialect.open_inference.grpc.known_requests import KnownRequests
from mindspore_serving.server.dialect.open_inference.grpc.reply import (
    parts_of_reply,
    size_of,
    streamed,
    streamed_error,
)
from mindspore_serving.server.dialect.open_inference.grpc.request import (
    Message,
    heading_in,
    read_message,
    request_in,
)
from mindspore_serving.server.dialect.open_inference.grpc.stream import RequestStream
from mindspore_serving.server.dialect.open_inference.http.pages import (
    LOG_SETTINGS,
    NO_LOADING,
    NO_SETTING,
    TRACE_SETTINGS,
)
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest, RawData
from mindspore_serving.server.dialect.open_inference.models import Models
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.service.error_text import text_for_client
from mindspore_serving.server.transport.grpc_failure import error_of
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcMethod,
    GrpcReply,
    GrpcStatus,
    StreamMethod,
    UnaryMethod,
    client_error,
)

SERVICE: Final = "inference.GRPCInferenceService"
LARGEST_QUESTION: Final = 1 << 16
"""Bytes of a message that asks for no inference."""
_SMALL_BYTES = 1 << 16
"""Bytes of a message up to which its reading cannot take so long that others would notice."""


Ask: TypeAlias = Callable[[Any, GrpcCall], ProtobufMessage]
"""Given a request and its call, makes the reply; may raise `ServingError`."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A call that asks for no inference.

    Attributes:
        kind: Class of its requests.
        ask: Answers one.
    """

    kind: type[ProtobufMessage]
    ask: Ask

    async def answer(self, message: bytes, call: GrpcCall) -> GrpcReply:
        """Answer one message.

        Raises:
            GrpcError: It is none, is too large, or has no answer.
        """
        target = ""
        try:
            if _is_too_large(message):
                raise client_error(
                    GrpcStatus.RESOURCE_EXHAUSTED,
                    f"Request of {len(message)} bytes, expected are at most {LARGEST_QUESTION}",
                )
            request = self.kind.FromString(message)
            target = _target(getattr(request, "name", ""), getattr(request, "version", ""))
            return GrpcReply(self.ask(request, call).SerializeToString())
        except Exception as error:  # whatever goes wrong here, the client gets a status of this dialect
            raise error_of(error, target) from error


class GrpcInference:
    """Answers calls of the service.

    Args:
        inference: Answers requests for inference.
        models: Describes what there is.
        regions: Shared memory of clients.

    Attributes:
        grpc_methods: Its calls.
    """

    def __init__(self, inference: Inference, models: Models, regions: SharedMemoryRegions) -> None:
        self._inference = inference
        self._models = models
        self._regions = regions
        self._known = KnownRequests(inference)
        self.grpc_methods: Sequence[GrpcMethod] = (
            UnaryMethod(path=f"/{SERVICE}/ModelInfer", handler=self.infer, refuses=self.refuses),
            StreamMethod(
                path=f"/{SERVICE}/ModelStreamInfer",
                handler=self.stream,
                refuses=self.refuses,
                at_a_time=True,
            ),
            *self._questions(),
        )

    # --- Inference ---

    def refuses(self, beginning: bytes) -> bool:
        """Whether a message that begins so is refused for its model, or because there is no room for any."""
        try:
            self._check_target(beginning)
        except ServingError:
            return True
        return False

    async def infer(self, message: bytes, call: GrpcCall) -> GrpcReply:
        """Answer one request.

        Args:
            message: Serialised ModelInferRequest.
            call: Of the message.

        Returns:
            Serialised ModelInferResponse.

        Raises:
            GrpcError: The request has no result.
        """
        try:
            parts = await self._answer(self._read(message, call), call)
            _check_size(size_of(parts), call.largest_reply)
            return GrpcReply(b"".join(parts))
        except Exception as error:  # whatever goes wrong here, the client gets a status of this dialect
            raise error_of(error, _target_of(message)) from error

    async def stream(self, messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        """Answer the requests of a stream, each as soon as it is done.

        Args:
            messages: Serialised ModelInferRequests.
            call: Of the messages.

        Yields:
            Serialised ModelStreamInferResponse; an error of one request is in it, and the stream goes on.
        """
        stream = RequestStream(
            messages,
            lambda message: self._answer_in_stream(message, call),
            call.stopping,
            call.largest_reply,
            call.release_reply,
        )
        replies = stream.replies()
        try:
            async for reply in replies:
                yield reply
        finally:
            await replies.aclose()

    async def _answer_in_stream(self, message: bytes, call: GrpcCall) -> GrpcReply:
        """The reply to a message of a stream, which is held for its client until the stream releases it."""
        reply = await self._streamed_reply(message, call)
        call.hold_reply(len(reply.message))
        call.answered(reply)
        return reply

    async def _streamed_reply(self, message: bytes, call: GrpcCall) -> GrpcReply:
        try:
            call.check_replies()
            _, reply = await self._infer(self._read(message, call), call)
            call.check_replies()  # others may have been made meanwhile
            parts = streamed(parts_of_reply(reply, final=True))
            _check_size(size_of(parts), call.largest_reply)
            return GrpcReply(b"".join(parts))
        except Exception as error:  # an error of one request does not end the stream
            failure = error_of(error).failure
            encoded = streamed_error(text_for_client(failure), heading_in(message))
            return GrpcReply(encoded, [FailedRows(failure, 1)], 0, _target_of(message))

    def _read(self, message: bytes, call: GrpcCall) -> Message:
        """Cut a message apart.

        Raises:
            GrpcError: There is no room for a large one.
            ServingError: A large one will be refused for its model; or as `read_message`.
            DecodeError, UnicodeDecodeError: As `read_message`.
        """
        if len(message) <= _SMALL_BYTES:
            return read_message(message)
        self._check_target(message)
        with call.counted(len(message)):
            return read_message(message)

    def _check_target(self, message: bytes) -> None:
        """Refuse a message for its model, of which the rest may be missing then; see `GrpcMethod.refuses`."""
        heading = heading_in(message)
        if heading is not None:
            self._inference.check_room(heading.model, heading.version)

    async def _answer(self, message: Message, call: GrpcCall) -> list[RawData]:
        """The reply to a message, in parts."""
        parts = await self._known.answer(message)
        if parts is None:
            request, reply = await self._infer(message, call)
            parts = parts_of_reply(reply)
            self._known.learn(message, request)
        return parts

    async def _infer(self, message: Message, call: GrpcCall) -> tuple[InferRequest, InferReply]:
        """The request that a message is, and its reply.

        Raises:
            GrpcError: There is no room for it while it is read.
            ServingError: As `request_in`, and as `Inference.infer`.
        """
        if message.byte_size > _SMALL_BYTES and not message.raw:
            with call.counted(message.byte_size):
                request = await request_in(message)
        else:
            request = await request_in(message)
        return request, await self._inference.infer(request, peer=call)

    # --- Everything else ---

    def _questions(self) -> Sequence[GrpcMethod]:
        """The calls that ask for no inference."""
        asked: Mapping[str, Ask] = {
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._metadata,
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "TraceSetting": _trace_setting,
            "LogSettings": _log_settings,
            "SystemSharedMemoryStatus": self._region_status,
            "SystemSharedMemoryRegister": self._register_region,
            "SystemSharedMemoryUnregister": self._unregister_region,
            "CudaSharedMemoryStatus": self._refuse_cuda,
            "CudaSharedMemoryRegister": self._refuse_cuda,
            "CudaSharedMemoryUnregister": self._refuse_cuda,
        }
        probes: Mapping[str, Ask] = {
            "ServerLive": _live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
        }
        return (
            *(_method(name, ask) for name, ask in asked.items()),
            *(_method(name, ask, Right.NONE, probe=True) for name, ask in probes.items()),
            *(
                UnaryMethod(path=f"/{SERVICE}/{name}", handler=_refuse_loading, refuses=_always)
                for name in ("RepositoryModelLoad", "RepositoryModelUnload")
            ),
        )

    def _ready(self, request: Any, call: GrpcCall) -> ProtobufMessage:
        return messages_pb2.ServerReadyResponse(ready=self._models.server_ready())

    def _model_ready(self, request: messages_pb2.ModelReadyRequest, call: GrpcCall) -> ProtobufMessage:
        try:
            ready = self._models.ready(request.name, request.version)
        except UnknownTarget:  # Triton's clients ask so whether a model is there
            ready = False
        return messages_pb2.ModelReadyResponse(ready=ready)

    def _server_metadata(self, request: Any, call: GrpcCall) -> ProtobufMessage:
        return _parsed(self._models.server_metadata(), messages_pb2.ServerMetadataResponse())

    def _metadata(self, request: messages_pb2.ModelMetadataRequest, call: GrpcCall) -> ProtobufMessage:
        document = self._models.metadata(request.name, request.version)
        return _parsed(document, messages_pb2.ModelMetadataResponse())

    def _config(self, request: messages_pb2.ModelConfigRequest, call: GrpcCall) -> ProtobufMessage:
        document = {"config": self._models.config(request.name, request.version)}
        return _parsed(document, messages_pb2.ModelConfigResponse())

    def _statistics(self, request: messages_pb2.ModelStatisticsRequest, call: GrpcCall) -> ProtobufMessage:
        document = self._models.statistics(request.name, request.version)
        return _parsed(document, messages_pb2.ModelStatisticsResponse())

    def _index(self, request: messages_pb2.RepositoryIndexRequest, call: GrpcCall) -> ProtobufMessage:
        document = {"models": self._models.index(ready=request.ready)}
        return _parsed(document, messages_pb2.RepositoryIndexResponse())

    # --- Shared memory ---

    def _region_status(
        self, request: messages_pb2.SystemSharedMemoryStatusRequest, call: GrpcCall
    ) -> ProtobufMessage:
        reply = messages_pb2.SystemSharedMemoryStatusResponse()
        for region in self._regions.status(request.name, call):
            ParseDict(dict(region), reply.regions[region["name"]])
        return reply

    def _register_region(
        self, request: messages_pb2.SystemSharedMemoryRegisterRequest, call: GrpcCall
    ) -> ProtobufMessage:
        self._regions.register(request.name, request.key, request.offset, request.byte_size, call)
        return messages_pb2.SystemSharedMemoryRegisterResponse()

    def _unregister_region(
        self, request: messages_pb2.SystemSharedMemoryUnregisterRequest, call: GrpcCall
    ) -> ProtobufMessage:
        self._regions.unregister(request.name, call)
        return messages_pb2.SystemSharedMemoryUnregisterResponse()

    def _refuse_cuda(self, request: Any, call: GrpcCall) -> ProtobufMessage:
        self._regions.refuse_cuda(call)


def _method(name: str, ask: Ask, right: Right = Right.INFER, *, probe: bool = False) -> UnaryMethod:
    """The call of a question."""
    kind = getattr(messages_pb2, f"{name}Request")
    return UnaryMethod(
        path=f"/{SERVICE}/{name}",
        handler=_Question(kind, ask).answer,
        right=right,
        refuses=_is_too_large,
        probe=probe,
    )


def _live(request: Any, call: GrpcCall) -> ProtobufMessage:
    return messages_pb2.ServerLiveResponse(live=True)


def _trace_setting(request: messages_pb2.TraceSettingRequest, call: GrpcCall) -> ProtobufMessage:
    if request.settings:
        raise NotOffered(NO_SETTING)
    reply = messages_pb2.TraceSettingResponse()
    for name, value in TRACE_SETTINGS.items():
        reply.settings[name].value.extend(value if isinstance(value, list) else [value])
    return reply


def _log_settings(request: messages_pb2.LogSettingsRequest, call: GrpcCall) -> ProtobufMessage:
    if request.settings:
        raise NotOffered(NO_SETTING)
    reply = messages_pb2.LogSettingsResponse()
    for name, value in LOG_SETTINGS.items():
        setting = reply.settings[name]
        if isinstance(value, bool):
            setting.bool_param = value
        elif isinstance(value, int):
            setting.uint32_param = value
        else:
            setting.string_param = value
    return reply


async def _refuse_loading(message: bytes, call: GrpcCall) -> GrpcReply:
    raise error_of(NotOffered(NO_LOADING))


def _always(beginning: bytes) -> bool:
    return True


def _is_too_large(message: bytes) -> bool:
    return len(message) > LARGEST_QUESTION


def _parsed(document: Mapping[str, Any], message: ProtobufMessage) -> ProtobufMessage:
    """A document of REST as a message; what gRPC has no field for is left out."""
    return ParseDict(dict(document), message, ignore_unknown_fields=True)


def _check_size(size: int, most_bytes: int) -> None:
    """Refuse what gRPC would refuse too, but only once all of it has been written into one message.

    Raises:
        GrpcError: The reply has more bytes than a message may have.
    """
    if size > most_bytes:
        text = f"SERVER: Sent message larger than max ({size} vs. {most_bytes})"
        raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, text)


def _target_of(message: bytes) -> str:
    """What a message asks for, as the log calls it; "" where that cannot be read."""
    heading = heading_in(message)
    return _target(heading.model, heading.version) if heading else ""


def _target(model: str, version: str) -> str:
    if not model:
        return ""
    return f"model({excerpt(model)})" + (f" version({excerpt(version)})" if version else "")


__all__ = ["LARGEST_QUESTION", "SERVICE", "GrpcInference"]
