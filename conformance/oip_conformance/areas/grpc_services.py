"""gRPC: the services beside the protocol's own."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2

from oip_conformance import sources
from oip_conformance.check import Area, NotOffered, Tier, expect
from oip_conformance.messages import MESSAGES, SERVICE, new
from oip_conformance.rpc import StreamUnimplemented, expect_ok
from oip_conformance.server import Server, rpc_offered

HEALTH = Area("gRPC: health service", "grpc")
REFLECTION = Area("gRPC: reflection", "grpc")

_HEALTH_SERVICE = "grpc.health.v1.Health"
_SERVING = 1
_SAYS = "Check answers SERVING; Kubernetes' probe asks it."
_VERSIONS = ("v1", "v1alpha")


def _check(server: Server, service: str) -> Any:
    request = new("HealthRequest", service=service)
    return server.rpc.call("Check", request, service=_HEALTH_SERVICE, reply="HealthReply")


@HEALTH.check("health_service.all", Tier.TRITON, _SAYS, sources.GRPC_HEALTH_SERVICE)
def whole_server(server: Server) -> None:
    """Check of the whole server answers SERVING."""
    found = expect_ok(rpc_offered(_check(server, "")))
    expect(found.status == _SERVING, "status 1 (SERVING)", found.status)


@HEALTH.check("health_service.named", Tier.KSERVE, _SAYS, sources.GRPC_HEALTH_SERVICE)
def named(server: Server) -> None:
    """Check of the inference service answers SERVING."""
    found = expect_ok(rpc_offered(_check(server, SERVICE)))
    expect(found.status == _SERVING, "status 1 (SERVING)", found.status)


@HEALTH.check(
    "health_service.unknown",
    Tier.TRITON,
    "A service that is not known is NOT_FOUND.",
    sources.GRPC_HEALTH_SERVICE,
)
def unknown(server: Server) -> None:
    """Check of an unknown service is NOT_FOUND."""
    rpc_offered(_check(server, ""))
    reply = _check(server, "oip.NoSuchService")
    expect(reply.code.name == "NOT_FOUND", "NOT_FOUND", reply)


@HEALTH.check(
    "health_service.watch", Tier.KSERVE, "Watch answers with the status at once.", sources.GRPC_HEALTH_SERVICE
)
def watch(server: Server) -> None:
    """Watch answers SERVING at once."""
    request = new("HealthRequest", service="")
    reply = server.rpc.first_of("Watch", request, service=_HEALTH_SERVICE, reply="HealthReply")
    found = expect_ok(rpc_offered(reply))
    expect(found.status == _SERVING, "status 1 (SERVING)", found.status)


def _reflected(server: Server, version: str, **request: str) -> Any:
    service = f"grpc.reflection.{version}.ServerReflection"
    with server.rpc.stream("ServerReflectionInfo", service=service, reply="ReflectionReply") as stream:
        stream.send(new("ReflectionRequest", **request))
        try:
            return stream.read()
        except StreamUnimplemented as error:
            raise NotOffered(f"UNIMPLEMENTED {error}") from error


def _any_version(server: Server, **request: str) -> Any:
    try:
        return _reflected(server, _VERSIONS[0], **request)
    except NotOffered:
        return _reflected(server, _VERSIONS[1], **request)


@REFLECTION.check(
    "reflection.services", Tier.KSERVE, "list_services names the services.", sources.GRPC_REFLECTION
)
def services(server: Server) -> None:
    """The list of services has the inference service."""
    found = [each.name for each in _any_version(server, list_services="").list_services_response.service]
    expect(SERVICE in found, SERVICE, found)


@REFLECTION.check(
    "reflection.v1",
    Tier.KSERVE,
    "The service is grpc.reflection.v1.ServerReflection.",
    sources.GRPC_REFLECTION,
)
def newest(server: Server) -> None:
    """Reflection is served under its name of today, v1."""
    found = _reflected(server, "v1", list_services="").list_services_response.service
    expect(bool(found), "services", found)


def _described(server: Server) -> dict[str, Any]:
    """Return the messages of the file that describes the inference service, by name."""
    found = _any_version(server, file_containing_symbol=SERVICE)
    files = found.file_descriptor_response.file_descriptor_proto
    expect(len(files) > 0, "a file", found)
    messages = {}
    for data in files:
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        if file.package == "inference":
            messages.update({message.name: message for message in file.message_type})
    return messages


@REFLECTION.check(
    "reflection.numbers",
    Tier.KSERVE,
    "The described messages are those on the wire.",
    sources.GRPC_REFLECTION,
)
def numbers(server: Server) -> None:
    """The described request and reply have the protocol's field numbers."""
    described = _described(server)
    for name in ("ModelInferRequest", "ModelInferResponse", "InferTensorContents"):
        expect(name in described, f"a message {name}", sorted(described))
        got = {field.name: field.number for field in described[name].field}
        wanted = {field.name: field.number for field in MESSAGES[name].DESCRIPTOR.fields}
        expect(wanted.items() <= got.items(), f"{name} with {wanted}", got)


@REFLECTION.check(
    "reflection.unknown", Tier.KSERVE, "What is not known is an error_response.", sources.GRPC_REFLECTION
)
def unknown_symbol(server: Server) -> None:
    """An unknown symbol is answered with error_response."""
    found = _any_version(server, file_containing_symbol="oip.NoSuchSymbol")
    expect(found.HasField("error_response"), "error_response", found)
