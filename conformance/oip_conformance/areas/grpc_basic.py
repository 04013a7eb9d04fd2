"""gRPC: health and metadata."""

from __future__ import annotations

from oip_conformance import sources
from oip_conformance.areas.grpc_refused import expect_refused
from oip_conformance.check import Area, Tier, expect
from oip_conformance.messages import new
from oip_conformance.rpc import expect_ok
from oip_conformance.server import Server
from oip_conformance.tensors import DATATYPES

AREA = Area("gRPC: health and metadata", "grpc")

_NO_SUCH_MODEL = "oip-conformance-no-such-model"


@AREA.check("grpc.live", Tier.REQUIRED, "ServerLive says live.", sources.GRPC_HEALTH)
def live(server: Server) -> None:
    """ServerLive answers live."""
    expect(expect_ok(server.rpc.call("ServerLive", b"")).live, "live", "not live")


@AREA.check("grpc.ready", Tier.REQUIRED, "ServerReady says ready.", sources.GRPC_HEALTH)
def ready(server: Server) -> None:
    """ServerReady answers ready."""
    expect(expect_ok(server.rpc.call("ServerReady", b"")).ready, "ready", "not ready")


@AREA.check(
    "grpc.model_ready", Tier.REQUIRED, "Without a version the server chooses one.", sources.GRPC_HEALTH
)
def model_ready(server: Server) -> None:
    """ModelReady without a version answers ready."""
    found = expect_ok(server.rpc.call("ModelReady", new("NameVersion", name=server.model)))
    expect(found.ready, "ready", "not ready")


@AREA.check("grpc.version_ready", Tier.REQUIRED, "A version may be named.", sources.GRPC_HEALTH)
def version_ready(server: Server) -> None:
    """ModelReady with a version answers ready."""
    request = new("NameVersion", name=server.model, version=server.versions()[0])
    expect(expect_ok(server.rpc.call("ModelReady", request)).ready, "ready", "not ready")


@AREA.check(
    "grpc.unknown_not_ready",
    Tier.REQUIRED,
    "An unknown model is not ready, or an error.",
    sources.GRPC_HEALTH,
)
def unknown_not_ready(server: Server) -> None:
    """ModelReady of an unknown model is an error, or answers not ready."""
    reply = server.rpc.call("ModelReady", new("NameVersion", name=_NO_SUCH_MODEL))
    if reply.ok:
        expect(not reply.message.ready, "not ready", "ready")
    else:
        expect_refused(reply)


@AREA.check(
    "grpc.server_metadata",
    Tier.REQUIRED,
    "The reply has name, version and extensions.",
    sources.GRPC_METADATA,
)
def server_metadata(server: Server) -> None:
    """ServerMetadata answers with name and version."""
    found = expect_ok(server.rpc.call("ServerMetadata", b""))
    expect(bool(found.name) and bool(found.version), "name and version", found)


@AREA.check(
    "grpc.model_metadata", Tier.REQUIRED, "The reply has the model's name and tensors.", sources.GRPC_METADATA
)
def model_metadata(server: Server) -> None:
    """ModelMetadata answers with the name, and tensors of known datatypes."""
    found = expect_ok(server.rpc.call("ModelMetadata", new("NameVersion", name=server.model)))
    expect(found.name == server.model, f"name {server.model!r}", found.name)
    for tensor in [*found.inputs, *found.outputs]:
        legal = tensor.name and tensor.datatype in DATATYPES and all(size >= -1 for size in tensor.shape)
        expect(bool(legal), "a name, a known datatype, and sizes of -1 or more", tensor)


@AREA.check("grpc.version_metadata", Tier.REQUIRED, "A version may be named.", sources.GRPC_METADATA)
def version_metadata(server: Server) -> None:
    """ModelMetadata of a listed version answers."""
    request = new("NameVersion", name=server.model, version=server.versions()[0])
    found = expect_ok(server.rpc.call("ModelMetadata", request))
    expect(found.name == server.model, f"name {server.model!r}", found.name)


@AREA.check(
    "grpc.unknown_model", Tier.REQUIRED, "A failure is a status that is not OK.", sources.GRPC_METADATA
)
def unknown_model(server: Server) -> None:
    """ModelMetadata of an unknown model is an error."""
    expect_refused(server.rpc.call("ModelMetadata", new("NameVersion", name=_NO_SUCH_MODEL)))


@AREA.check("grpc.unknown_model_code", Tier.TRITON, "What is not found is NOT_FOUND.", sources.GRPC_CODES)
def unknown_model_code(server: Server) -> None:
    """ModelMetadata of an unknown model is NOT_FOUND, with a text."""
    reply = server.rpc.call("ModelMetadata", new("NameVersion", name=_NO_SUCH_MODEL))
    expect(reply.code.name == "NOT_FOUND" and bool(reply.details), "NOT_FOUND and a text", reply)


@AREA.check(
    "grpc.unknown_version", Tier.REQUIRED, "A failure is a status that is not OK.", sources.GRPC_METADATA
)
def unknown_version(server: Server) -> None:
    """ModelMetadata of an unknown version is an error."""
    server.versions()
    expect_refused(server.rpc.call("ModelMetadata", new("NameVersion", name=server.model, version="987654")))


@AREA.check(
    "grpc.unknown_method", Tier.REQUIRED, "A method that is not there is UNIMPLEMENTED.", sources.GRPC_CODES
)
def unknown_method(server: Server) -> None:
    """A method that does not exist is UNIMPLEMENTED."""
    reply = server.rpc.call("OipNoSuchMethod", b"", reply="Nothing")
    expect(reply.code.name == "UNIMPLEMENTED", "UNIMPLEMENTED", reply)
