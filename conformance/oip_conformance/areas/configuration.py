"""Model configuration, REST and gRPC."""

from __future__ import annotations

from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, Tier, expect
from oip_conformance.messages import new
from oip_conformance.rpc import expect_ok
from oip_conformance.server import Server, as_list, as_object, expect_error, offered, ok_json, rpc_offered
from oip_conformance.tensors import DATATYPES

AREA = Area("Model configuration", "http")

_TYPES = {f"TYPE_{'STRING' if name == 'BYTES' else name}" for name in DATATYPES}


def _config(server: Server, **path: str) -> dict[str, Any]:
    return as_object(ok_json(offered(server.rest.get(server.path("/config", **path)))), "the configuration")


@AREA.check(
    "config.model",
    Tier.TRITON,
    "The configuration has the model's name and batch limit.",
    sources.CONFIGURATION,
)
def model(server: Server) -> None:
    """GET /v2/models/MODEL/config has name and max_batch_size."""
    found = _config(server)
    expect(found.get("name") == server.model, f"name {server.model!r}", found.get("name"))
    size = found.get("max_batch_size", 0)
    expect(isinstance(size, int) and size >= 0, "a whole number max_batch_size", size)


@AREA.check(
    "config.tensors", Tier.TRITON, "input and output have name, data_type and dims.", sources.CONFIGURATION
)
def tensors(server: Server) -> None:
    """Inputs and outputs have name, data_type as TYPE_ text, and dims."""
    found = _config(server)
    for side in ("input", "output"):
        for tensor in as_list(found.get(side), side):
            entry = as_object(tensor, f"an {side}")
            expect(isinstance(entry.get("name"), str), "a text name", entry)
            expect(entry.get("data_type") in _TYPES, "TYPE_ and a datatype", entry)
            dims = as_list(entry.get("dims"), "dims")
            # Triton's JSON writes 64-bit numbers as numbers, protobuf's own JSON as texts.
            expect(all(isinstance(each, int) for each in dims), "whole numbers as dims", dims)


@AREA.check(
    "config.agrees",
    Tier.TRITON,
    "dims are the shape of the metadata, without the batch dimension when max_batch_size is above 0.",
    sources.CONFIGURATION,
)
def agrees(server: Server) -> None:
    """Configuration and metadata describe the same inputs."""
    found = _config(server)
    batched = found.get("max_batch_size", 0) > 0
    got = {each["name"]: ([-1] if batched else []) + list(map(int, each["dims"])) for each in found["input"]}
    wanted = {spec.name: list(spec.shape) for spec in server.specs()}
    expect(got == wanted, str(wanted), got)


@AREA.check("config.version", Tier.TRITON, "A version may be named.", sources.CONFIGURATION)
def version(server: Server) -> None:
    """The configuration of a named version is that of the model."""
    _config(server)
    found = _config(server, version=server.versions()[0])
    expect(found.get("name") == server.model, f"name {server.model!r}", found.get("name"))


@AREA.check(
    "config.unknown", Tier.TRITON, "A failed request has an error status and object.", sources.CONFIGURATION
)
def unknown(server: Server) -> None:
    """The configuration of an unknown model is refused."""
    _config(server)
    expect_error(server.rest.get(server.path("/config", model="oip-conformance-no-such-model")))


@AREA.check(
    "config.grpc", Tier.TRITON, "gRPC has the same configuration.", sources.CONFIGURATION, transport="both"
)
def over_grpc(server: Server) -> None:
    """ModelConfig has name, max_batch_size and inputs as REST."""
    found = _config(server)
    config = expect_ok(
        rpc_offered(server.rpc.call("ModelConfig", new("NameVersion", name=server.model)))
    ).config
    got = (config.name, config.max_batch_size, [(each.name, list(each.dims)) for each in config.input])
    dims = [(each["name"], list(map(int, each["dims"]))) for each in found["input"]]
    wanted = (found["name"], found.get("max_batch_size", 0), dims)
    expect(got == wanted, str(wanted), got)
