"""gRPC of the reference server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from oip_conformance.check import Deviation
from oip_conformance.messages import MESSAGES, METHODS, SERVICE, new
from oip_conformance.tensors import DATATYPES, Tensor, from_reply_tensor, to_bytes

from . import rest
from .core import EXTENSIONS, NAME, VERSION, Core, Model, Refused, checked_shape, classified, decoded

# Name of the method, request, reply -> what is sent instead.
Edit = Callable[[str, Any, Any], Any]


class Front:
    """Answers calls."""

    def __init__(self, core: Core, edit: Edit | None = None) -> None:
        self.core = core
        self._edit = edit or (lambda _method, _request, reply: reply)

    def call(self, method: str, data: bytes, context: grpc.ServicerContext) -> bytes:
        request: Any = None
        try:
            if self.core.broken:
                raise Refused("broken", code="INTERNAL")
            try:
                request = MESSAGES[METHODS[method][0]].FromString(data)
            except Exception as error:
                raise Refused(str(error)) from error
            reply = getattr(self, method)(request)
        except (Refused, Deviation) as error:
            code = getattr(error, "code", "INVALID_ARGUMENT")
            self.core.broken = (
                "dies" in self.core.quirks and method == "ModelInfer" and code == "INVALID_ARGUMENT"
            )
            code = "INVALID_ARGUMENT" if "plain_codes" in self.core.quirks else code
            if "lenient" in self.core.quirks:
                return new(METHODS[method][1]).SerializeToString()
            context.abort(grpc.StatusCode[code], str(error))
            raise
        changed = self._edit(method, request, reply)
        if isinstance(changed, grpc.StatusCode):
            context.abort(changed, "as the test wants it")
        return changed if isinstance(changed, bytes) else changed.SerializeToString()

    def ServerLive(self, _: Any) -> Any:
        return new("Live", live=True)

    def ServerReady(self, _: Any) -> Any:
        return new("Ready", ready=True)

    def ModelReady(self, request: Any) -> Any:
        if "all_ready" in self.core.quirks:
            return new("Ready", ready=True)
        self.core.model(request.name, request.version)
        return new("Ready", ready=True)

    def ServerMetadata(self, _: Any) -> Any:
        return new("ServerMetadata", name=NAME, version=VERSION, extensions=EXTENSIONS)

    def ModelMetadata(self, request: Any) -> Any:
        return new("ModelMetadata", **rest.metadata(self.core.model(request.name, request.version)))

    def ModelConfig(self, request: Any) -> Any:
        found = rest.configuration(self.core.model(request.name, request.version))
        for side in ("input", "output"):
            found[side] = [{"name": each["name"], "dims": each["dims"]} for each in found[side]]
        return new("ModelConfigResponse", config=found)

    def ModelStatistics(self, request: Any) -> Any:
        names = [self.core.model(request.name).name] if request.name else list(self.core.models)
        return new("ModelStatisticsResponse", model_stats=[self.core.statistics(name) for name in names])

    def RepositoryIndex(self, request: Any) -> Any:
        return new("RepositoryIndexResponse", models=rest.index(self.core, request.ready))

    def SystemSharedMemoryStatus(self, request: Any) -> Any:
        return new(
            "SharedMemoryStatus", regions={each["name"]: each for each in self.core.entries(request.name)}
        )

    def SystemSharedMemoryRegister(self, request: Any) -> Any:
        self.core.register(request.name, request.key, request.offset, request.byte_size)
        return new("Nothing")

    def SystemSharedMemoryUnregister(self, request: Any) -> Any:
        self.core.regions.pop(request.name, None)
        return new("Nothing")

    def TraceSetting(self, _: Any) -> Any:
        return new("TraceSettings", settings={"trace_level": new("TraceValue", value=["OFF"])})

    def LogSettings(self, _: Any) -> Any:
        return new("LogSettings", settings={"log_info": new("LogSetting", bool_param=True)})

    def ModelInfer(self, request: Any) -> Any:
        model = self.core.model(request.model_name, request.model_version)
        inputs = list(self._inputs(request))
        found = self.core.infer(model, inputs, [each.name for each in request.outputs])
        return self._reply(model, request, found)

    def _inputs(self, request: Any) -> Iterator[Tensor]:
        raw = list(request.raw_input_contents)
        for message in request.inputs:
            shape = checked_shape(list(message.shape))
            parameters = _parameters(message.parameters)
            if message.datatype not in DATATYPES:
                raise Refused(f"datatype {message.datatype!r}")
            if "shared_memory_region" in parameters:
                yield decoded(message.name, message.datatype, shape, self.core.read_shared(parameters))
            elif request.raw_input_contents:
                if message.contents.ByteSize() or not raw:
                    raise Refused("raw and typed contents, or too few raw contents")
                yield decoded(message.name, message.datatype, shape, raw.pop(0))
            else:
                used = [field.name for field, _ in message.contents.ListFields()]
                if used not in ([], [DATATYPES[message.datatype].contents]):
                    raise Refused(f"contents in {used}")
                yield from_reply_tensor(message, None)
        if raw:
            raise Refused("more raw contents than inputs")

    def _reply(self, model: Model, request: Any, found: list[Tensor]) -> Any:
        reply = new("ModelInferResponse", model_name=model.name, model_version="1", id=request.id)
        asked = {each.name: _parameters(each.parameters) for each in request.outputs}
        for tensor in found:
            parameters = asked.get(tensor.name, {})
            if "classification" in parameters:
                tensor = classified(tensor, parameters["classification"])
            shared = "shared_memory_region" in parameters
            if shared:
                self.core.write_shared(parameters, tensor)
            reply.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            reply.raw_output_contents.append(b"" if shared else to_bytes(tensor))
        return reply

    def stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self._left)
        count = 0
        for data in requests:
            count += 1
            request = MESSAGES["ModelInferRequest"].FromString(data)
            try:
                found = self.ModelInfer(request)
                if request.parameters["triton_enable_empty_final_response"].bool_param:
                    found.parameters["triton_final_response"].bool_param = True
                reply = new("ModelStreamInferResponse", infer_response=found)
            except (Refused, Deviation) as error:
                reply = new("ModelStreamInferResponse", error_message=str(error))
            changed = self._edit("ModelStreamInfer", request, reply)
            if changed is None:
                return
            if isinstance(changed, grpc.StatusCode):
                context.abort(changed, "as the test wants it")
            yield changed if isinstance(changed, bytes) else changed.SerializeToString()

        if not count and "empty_stream_fails" in self.core.quirks:
            context.abort(grpc.StatusCode.INTERNAL, "no request")

    def _left(self) -> None:
        self.core.broken = "dies_when_left" in self.core.quirks

    def health(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        service = MESSAGES["HealthRequest"].FromString(data).service
        if service not in ("", SERVICE) and "knows_all" not in self.core.quirks:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {service!r}")
        return self._edit("Check", service, new("HealthReply", status=1)).SerializeToString()

    def watch(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield self.health(data, context)

    def reflect(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        for data in requests:
            request = MESSAGES["ReflectionRequest"].FromString(data)
            reply = new("ReflectionReply")
            if request.WhichOneof("choice") == "list_services":
                reply.list_services_response.service.add(name=SERVICE)
            elif request.file_containing_symbol == SERVICE:
                file = descriptor_pb2.FileDescriptorProto()
                MESSAGES["Live"].DESCRIPTOR.file.CopyToProto(file)
                reply.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
            else:
                reply.error_response.error_code = 5
            yield self._edit("Reflection", request, reply).SerializeToString()


def _parameters(parameters: Any) -> dict[str, Any]:
    found = {}
    for name, value in parameters.items():
        choice = value.WhichOneof("choice")
        found[name] = getattr(value, choice) if choice else None
    return found


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, front: Front) -> None:
        self._front = front

    def service(self, details: Any) -> Any:
        _, service, method = details.method.split("/")
        front = self._front
        if service == SERVICE and method == "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(front.stream)
        if service == SERVICE and method in METHODS and hasattr(front, method):
            return grpc.unary_unary_rpc_method_handler(
                lambda data, context: front.call(method, data, context)
            )
        if service == SERVICE and "all_methods" in front.core.quirks:
            return grpc.unary_unary_rpc_method_handler(lambda data, context: data)
        if service == "grpc.health.v1.Health" and method == "Check":
            return grpc.unary_unary_rpc_method_handler(front.health)
        if service == "grpc.health.v1.Health" and method == "Watch":
            return grpc.unary_stream_rpc_method_handler(front.watch)
        if service == "grpc.reflection.v1.ServerReflection":
            return grpc.stream_stream_rpc_method_handler(front.reflect)
        return None


def serve(front: Front) -> tuple[grpc.Server, int]:
    """Serve on a free port of loopback."""
    sizes = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[_Handlers(front)], options=sizes)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
