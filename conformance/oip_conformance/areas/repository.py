"""Model repository, REST and gRPC."""

from __future__ import annotations

import time
from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, NotOffered, Skip, Tier, expect
from oip_conformance.messages import new
from oip_conformance.rpc import expect_ok
from oip_conformance.server import Server, as_list, as_object, expect_error, offered, ok_json, rpc_offered

AREA = Area("Model repository", "http")

_INDEX = "/v2/repository/index"
_STATES = ("UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING")
_SAYS = "The index is an array of models with name, version, state and reason."


def _index(server: Server, body: bytes = b"{}") -> list[dict[str, Any]]:
    listed = as_list(ok_json(offered(server.rest.post(_INDEX, body))), "the index")
    return [as_object(each, "an entry") for each in listed]


@AREA.check("repository.index", Tier.TRITON, _SAYS, sources.REPOSITORY)
def index(server: Server) -> None:
    """POST of the index with {} lists the model as READY."""
    states = {each.get("name"): each.get("state") for each in _index(server)}
    expect(states.get(server.model) == "READY", f"{server.model!r} as READY", states)


@AREA.check("repository.entries", Tier.TRITON, _SAYS, sources.REPOSITORY)
def entries(server: Server) -> None:
    """Entries have texts, and a known state."""
    for entry in _index(server):
        expect(isinstance(entry.get("name"), str), "a text name", entry)
        expect(all(isinstance(value, str) for value in entry.values()), "texts", entry)
        expect(entry.get("state", "READY") in _STATES, f"one of {', '.join(_STATES)}", entry)


@AREA.check(
    "repository.index_empty", Tier.TRITON, "Triton's clients send an empty body.", sources.TRITON_CLIENT
)
def index_empty(server: Server) -> None:
    """POST of the index with an empty body answers like {}."""
    names = sorted(str(each.get("name")) for each in _index(server, b""))
    wanted = sorted(str(each.get("name")) for each in _index(server))
    expect(names == wanted, f"the models {wanted}, as with {{}}", names)


@AREA.check(
    "repository.ready", Tier.TRITON, "With ready true only models that are ready come.", sources.REPOSITORY
)
def ready(server: Server) -> None:
    """With ready true the index has only READY models, and the model."""
    found = _index(server, b'{"ready": true}')
    expect(server.model in [each.get("name") for each in found], f"{server.model!r}", found)
    expect(all(each.get("state") == "READY" for each in found), "only READY", found)


@AREA.check("repository.ready_text", Tier.TRITON, "ready is a boolean.", sources.REPOSITORY, hostile=True)
def ready_text(server: Server) -> None:
    """A text as ready is refused with 4xx."""
    _index(server)
    expect_error(server.rest.post(_INDEX, b'{"ready": "yes"}'))


@AREA.check("repository.not_json", Tier.TRITON, "The request is an object.", sources.REPOSITORY, hostile=True)
def not_json(server: Server) -> None:
    """An index request that is not JSON is refused with 4xx."""
    _index(server)
    expect_error(server.rest.post(_INDEX, b"this is not JSON"))


@AREA.check(
    "repository.load_unknown",
    Tier.TRITON,
    "A failed load has an error status and object.",
    sources.REPOSITORY_LOAD,
)
def load_unknown(server: Server) -> None:
    """The load of an unknown model is refused with the error object."""
    _index(server)
    path = "/v2/repository/models/oip-conformance-no-such-model/load"
    reply = server.rest.post(path, b"{}")
    if reply.status in (405, 501):
        raise NotOffered(f"status {reply.status}")
    expect_error(reply)


def _spare(server: Server) -> str:
    if not server.target.spare:
        raise Skip("needs --spare NAME: a model that may be unloaded and loaded")
    return server.target.spare


def _state_of(server: Server, name: str) -> str:
    return next((str(each.get("state", "")) for each in _index(server) if each.get("name") == name), "")


@AREA.check(
    "repository.unload",
    Tier.TRITON,
    "An unload is answered with 200, also with an empty body.",
    sources.REPOSITORY_LOAD,
)
def unload_and_load(server: Server) -> None:
    """A model is unloaded, refuses, is loaded, and is ready again."""
    name = _spare(server)
    path = f"/v2/repository/models/{name}"
    reply = offered(server.rest.post(f"{path}/unload"))
    expect(reply.status == 200, "status 200 for the unload", reply)
    deadline = time.monotonic() + server.target.timeout_s
    while _state_of(server, name) in ("READY", "UNLOADING") and time.monotonic() < deadline:
        time.sleep(0.05)
    state = _state_of(server, name)
    expect(state not in ("READY", "UNLOADING"), "UNAVAILABLE after the unload", state)
    refused = server.rest.get(server.path("/ready", model=name))
    expect(refused.status != 200, "not ready after the unload", refused)
    reply = server.rest.post(f"{path}/load")
    expect(reply.status == 200, "status 200 for the load", reply)
    again = server.rest.get(server.path("/ready", model=name))
    expect(again.status == 200, "ready when the load is answered", again)


@AREA.check("repository.grpc", Tier.TRITON, "gRPC has the same index.", sources.REPOSITORY, transport="both")
def over_grpc(server: Server) -> None:
    """RepositoryIndex has the models and states of REST."""
    found = expect_ok(rpc_offered(server.rpc.call("RepositoryIndex", b"")))
    got = sorted((each.name, each.version, each.state) for each in found.models)
    wanted = sorted(
        (each.get("name", ""), each.get("version", ""), each.get("state", "")) for each in _index(server)
    )
    expect(got == wanted, str(wanted), got)


@AREA.check(
    "repository.grpc_ready",
    Tier.TRITON,
    "With ready only models that are ready come.",
    sources.REPOSITORY,
    transport="grpc",
)
def ready_over_grpc(server: Server) -> None:
    """RepositoryIndex with ready has only READY models, and the model."""
    found = expect_ok(
        rpc_offered(server.rpc.call("RepositoryIndex", new("RepositoryIndexRequest", ready=True)))
    )
    states = {each.name: each.state for each in found.models}
    expect(
        server.model in states and set(states.values()) == {"READY"},
        f"READY models with {server.model!r}",
        states,
    )
