"""REST: metadata of the server and of a model."""

from __future__ import annotations

from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, Skip, Tier, expect
from oip_conformance.messages import new
from oip_conformance.rest import JSON_TYPE
from oip_conformance.rpc import expect_ok
from oip_conformance.server import Server, as_list, as_object, expect_error, offered, ok_json
from oip_conformance.tensors import DATATYPES

AREA = Area("REST: metadata", "http")

_NO_SUCH_MODEL = "oip-conformance-no-such-model"
_FAILED = (
    "A failed request has an error status, typically 400, and the body is an object with the text error."
)


def _server_metadata(server: Server) -> dict[str, Any]:
    return as_object(ok_json(server.rest.get("/v2")), "the server's metadata")


def _model_metadata(server: Server, **path: str) -> dict[str, Any]:
    return as_object(ok_json(server.rest.get(server.path(**path))), "the model's metadata")


@AREA.check(
    "metadata.server", Tier.REQUIRED, "The reply has the texts name and version.", sources.SERVER_METADATA
)
def server_metadata(server: Server) -> None:
    """GET /v2 answers with name and version."""
    found = _server_metadata(server)
    for key in ("name", "version"):
        expect(isinstance(found.get(key), str) and bool(found[key]), f"a text {key}", found)


@AREA.check("metadata.extensions", Tier.REQUIRED, "extensions is an array of texts.", sources.SERVER_METADATA)
def extensions(server: Server) -> None:
    """GET /v2 lists the extensions as an array of texts."""
    listed = as_list(_server_metadata(server).get("extensions"), "extensions")
    expect(all(isinstance(each, str) for each in listed), "texts", listed)


@AREA.check(
    "metadata.slash",
    Tier.KSERVE,
    "The OpenAPI document writes the path as /v2/ with a slash.",
    sources.SERVER_PATH,
)
def slash(server: Server) -> None:
    """GET /v2/ answers like GET /v2."""
    found = as_object(ok_json(server.rest.get("/v2/")), "the server's metadata")
    expect(found == _server_metadata(server), "the same as GET /v2", found)


@AREA.check("metadata.json_type", Tier.REQUIRED, "Replies are JSON.", sources.SERVER_METADATA)
def json_type(server: Server) -> None:
    """Metadata has the content type application/json."""
    reply = server.rest.get("/v2")
    expect(reply.content_type == JSON_TYPE, JSON_TYPE, reply.headers.get("content-type"))


@AREA.check(
    "metadata.model",
    Tier.REQUIRED,
    "The reply has the model's name and the text platform.",
    sources.MODEL_METADATA,
)
def model_metadata(server: Server) -> None:
    """GET /v2/models/MODEL answers with name and platform."""
    found = _model_metadata(server)
    expect(found.get("name") == server.model, f"name {server.model!r}", found.get("name"))
    expect(isinstance(found.get("platform"), str), "a text platform", found.get("platform"))


@AREA.check(
    "metadata.tensors", Tier.REQUIRED, "inputs and outputs are arrays of tensors.", sources.MODEL_METADATA
)
def tensors(server: Server) -> None:
    """The metadata lists inputs and outputs with name, datatype and shape."""
    found = _model_metadata(server)
    for side in ("inputs", "outputs"):
        for tensor in as_list(found.get(side), side):
            _look_at_tensor(as_object(tensor, "a tensor"))


def _look_at_tensor(tensor: dict[str, Any]) -> None:
    expect(isinstance(tensor.get("name"), str) and bool(tensor["name"]), "a text name", tensor)
    expect(tensor.get("datatype") in DATATYPES, f"one of {', '.join(DATATYPES)}", tensor)
    shape = as_list(tensor.get("shape"), "shape")
    legal = all(isinstance(size, int) and not isinstance(size, bool) and size >= -1 for size in shape)
    expect(legal, "whole numbers, -1 for any size", tensor)


@AREA.check(
    "metadata.unique_tensors", Tier.REQUIRED, "A tensor is known by its name.", sources.MODEL_METADATA
)
def unique_tensors(server: Server) -> None:
    """No two inputs and no two outputs have the same name."""
    for side in ("inputs", "outputs"):
        names = [spec.name for spec in server.specs(side)]
        expect(len(set(names)) == len(names), f"each name of {side} once", names)


@AREA.check(
    "metadata.versions",
    Tier.REQUIRED,
    "versions, which is optional, is an array of texts: those that may be asked for.",
    sources.MODEL_METADATA,
)
def versions(server: Server) -> None:
    """Listed versions are texts, each once."""
    listed = as_list(_model_metadata(server).get("versions", []), "versions")
    legal = all(isinstance(each, str) and each for each in listed) and len(set(listed)) == len(listed)
    expect(legal, "different texts", listed)


@AREA.check(
    "metadata.version", Tier.REQUIRED, "Each listed version may be asked for.", sources.MODEL_METADATA
)
def version(server: Server) -> None:
    """GET /v2/models/MODEL/versions/VERSION answers for every listed version."""
    for each in server.versions():
        found = _model_metadata(server, version=each)
        expect(found.get("name") == server.model, f"name {server.model!r}", found.get("name"))


@AREA.check("metadata.unknown_model", Tier.REQUIRED, _FAILED, sources.METADATA_ERROR)
def unknown_model(server: Server) -> None:
    """Metadata of an unknown model is refused with the error object."""
    expect_error(server.rest.get(server.path(model=_NO_SUCH_MODEL)))


@AREA.check("metadata.unknown_model_404", Tier.TRITON, "What is not found is 404.", sources.TRITON_CODES)
def unknown_model_404(server: Server) -> None:
    """Metadata of an unknown model is 404."""
    expect_error(server.rest.get(server.path(model=_NO_SUCH_MODEL)), 404)


@AREA.check("metadata.unknown_version", Tier.REQUIRED, _FAILED, sources.METADATA_ERROR)
def unknown_version(server: Server) -> None:
    """Metadata of an unknown version is refused with the error object."""
    server.versions()
    expect_error(server.rest.get(server.path(version="987654")))


@AREA.check("metadata.case", Tier.REQUIRED, "All texts have case.", sources.STRINGS)
def case(server: Server) -> None:
    """The model's name in other case is another model."""
    other = server.model.swapcase()
    if other == server.model:
        raise Skip("needs a model whose name has letters")
    expect_error(server.rest.get(server.path(model=other)))


@AREA.check("metadata.models", Tier.KSERVE, "GET /v2/models lists the models by name.", sources.KSERVE_MODELS)
def models(server: Server) -> None:
    """GET /v2/models answers {"models": [names]}."""
    found = as_object(ok_json(offered(server.rest.get("/v2/models"))), "the list of models")
    names = [
        each.get("name") if isinstance(each, dict) else each
        for each in as_list(found.get("models"), "models")
    ]
    expect(server.model in names, f"{server.model!r} among the models", names)


_PATHS_OF_EXTENSIONS = {
    "statistics": ("GET", "/v2/models/stats"),
    "model_repository": ("POST", "/v2/repository/index"),
    "system_shared_memory": ("GET", "/v2/systemsharedmemory/status"),
    "cuda_shared_memory": ("GET", "/v2/cudasharedmemory/status"),
    "trace": ("GET", "/v2/trace/setting"),
    "logging": ("GET", "/v2/logging"),
}


@AREA.check(
    "metadata.honest",
    Tier.TRITON,
    "A server names an extension because it supports it.",
    sources.TRITON_EXTENSIONS,
)
def honest(server: Server) -> None:
    """Every announced extension that has a path of its own is served there."""
    paths = dict(_PATHS_OF_EXTENSIONS)
    paths["model_configuration"] = ("GET", server.path("/config"))
    announced = [name for name in server.extensions() if name in paths]
    for name in announced:
        method, path = paths[name]
        reply = server.rest.request(method, path)
        expect(reply.status not in (404, 405, 501), f"{method} {path}, as {name} is announced", reply)


@AREA.check(
    "metadata.grpc_agrees",
    Tier.REQUIRED,
    "gRPC follows the concepts of REST: both describe the same server and model.",
    sources.GRPC_API,
    transport="both",
)
def grpc_agrees(server: Server) -> None:
    """REST and gRPC describe the same server and the same model."""
    told = expect_ok(server.rpc.call("ServerMetadata", b""))
    found = _server_metadata(server)
    expect(
        (told.name, told.version) == (found["name"], found["version"]), f"{told.name} {told.version}", found
    )
    model = expect_ok(server.rpc.call("ModelMetadata", new("NameVersion", name=server.model)))
    rest = _model_metadata(server)
    for side in ("inputs", "outputs"):
        over_grpc = [(each.name, each.datatype, list(each.shape)) for each in getattr(model, side)]
        over_rest = [(each["name"], each["datatype"], each["shape"]) for each in rest.get(side, [])]
        expect(over_rest == over_grpc, f"{side} {over_grpc}, as over gRPC", over_rest)
