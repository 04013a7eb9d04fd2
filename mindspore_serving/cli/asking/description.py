"""Learns what a server serves: its methods with their types, by what the server speaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from mindspore_serving.cli.asking.described_types import native_type, oip_type, v1_type
from mindspore_serving.cli.asking.method import READY, Method
from mindspore_serving.cli.asking.open_inference import SERVICE
from mindspore_serving.cli.asking.session import GrpcSession, RestSession, Session, WireReply, WireRequest
from mindspore_serving.cli.asking.wire import refused
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import REFUSED
from mindspore_serving.proto.foreign import open_inference_pb2
from mindspore_serving.server.dialect.open_inference.datatypes import BYTES
from mindspore_serving.server.dialect.open_inference.models import SERVER_NAME

_LONGEST_HINT = 1000
"""Of a reply that says that a port speaks HTTPS."""


@dataclass(frozen=True, slots=True)
class ServerKind:
    """What answers.

    Attributes:
        name: What the server calls itself; "" where it does not say it.
        version: Likewise.
        speaks: `native`, `oip` or `v1`: the richest protocol that it speaks.
    """

    name: str
    version: str
    speaks: str


def kind_of(session: Session) -> ServerKind:
    """What kind of server answers.

    Raises:
        CommandError: No server answers, or it refuses the question.
    """
    if session.over == "grpc":
        reply = session.ask(WireRequest(f"{SERVICE}/ServerMetadata"))
        if not reply.ok:
            # A server of ours always has this service, and an earlier one the native protocol alone.
            return ServerKind("", "", "native")
        said = open_inference_pb2.ServerMetadataResponse.FromString(reply.body)
        return ServerKind(said.name, said.version, "native" if said.name == SERVER_NAME else "oip")
    reply = _get(session, "/v2")
    document = _document(reply)
    if reply.ok and "name" in document:
        name = str(document["name"])
        return ServerKind(name, str(document.get("version", "")), "native" if name == SERVER_NAME else "oip")
    if reply.status in ("401", "403"):
        raise refused(
            Method("the question what it is"),
            reply,
            str(document.get("error_msg") or document.get("error") or ""),
        )
    if reply.status == "400" and b"HTTPS" in reply.body[:_LONGEST_HINT]:
        raise CommandError(
            f"The server at {session.address} speaks HTTPS only",
            "Say https:// in place of http://, or give --tls.",
            REFUSED,
        )
    return ServerKind("", "", "v1")


def methods_of(session: Session, kind: ServerKind) -> list[Method]:
    """All methods that a server serves, and models that are not ready.

    Args:
        session: With the server.
        kind: Of the server.

    Raises:
        CommandError: It does not tell.
    """
    if isinstance(session, GrpcSession):
        return list(_grpc_methods(session))
    if kind.speaks == "native":
        return _native_methods(session)
    if kind.speaks == "oip":
        return [_or_untyped(session, row) for row in _index(session) if row.get("name")]
    listed = _document(_get(session, "/v1/models")).get("models")
    if not isinstance(listed, list):
        raise CommandError(
            f"The server at {session.address} does not list its models: GET /v2 and GET /v1/models are not known there",
            "Name a model: `mindspore-serving infer NAME --url ...`.",
            REFUSED,
        )
    return [one for name in listed for one in _v1_methods(session, str(name), "")]


def method_of(session: Session, kind: ServerKind, name: str, version: str) -> Method:
    """One method, by `SERVABLE`, `SERVABLE.METHOD` or the name of a model.

    Args:
        session: With the server.
        kind: Of the server.
        name: As the user wrote it.
        version: A version; "" for the newest.

    Returns:
        The method with its types; its version is the one that was asked for.

    Raises:
        CommandError: There is no such method; the text lists what there is.
    """
    if kind.speaks == "v1" and isinstance(session, RestSession):
        return replace(_v1_methods(session, name, version)[0], version=version)
    if isinstance(session, GrpcSession):
        if kind.speaks == "native":
            return _native_over_grpc(session, name, version)
        return replace(_grpc_model(session, name, version), version=version)
    if kind.speaks == "oip":
        return replace(_rest_model(session, name, version), version=version)
    return replace(_chosen(_native_methods(session), name, version), version=version)


def _chosen(methods: Sequence[Method], name: str, version: str) -> Method:
    """The method that a name means; without a method, the only one."""
    ready = [one for one in methods if version in ("", one.version)]
    newest_first = sorted(ready, key=lambda one: -int(one.version or 0))
    exact = [one for one in newest_first if one.model == name and one.method]
    of_servable = [one for one in newest_first if one.servable == name]
    if of_servable:
        of_servable = [one for one in of_servable if one.version == of_servable[0].version]
    found = exact or of_servable
    if not found:
        raise _not_served(name, version, list(dict.fromkeys(one.model for one in methods)))
    if not exact and len(found) > 1:
        raise _ambiguous(name, [one.model for one in found])
    if found[0].state != READY:
        raise CommandError(
            f"'{name}' is not ready: {found[0].state.lower()}{found[0].reason and f', {found[0].reason}'}",
            "Wait, or look at the server's log.",
            REFUSED,
        )
    return found[0]


# --- Servers of ours, over REST ---


def _native_methods(session: Session) -> list[Method]:
    reply = _get(session, "/v2/models")
    document = _document(reply)
    if not reply.ok:
        raise refused(Method("the list of models"), reply, str(document.get("error", "")))
    rows = {(row["servable"], row["method"], row["version"]): row for row in document["methods"]}
    found: list[Method] = []
    for servable, version in dict.fromkeys((row[0], row[2]) for row in rows):
        described = _document(_get(session, f"/model/{quote(servable, safe='')}/version/{version}"))
        for one in described.get("methods", ()):
            row = rows.get((servable, one["name"], version), {})
            found.append(_native_method(servable, version, one, row))
    known = {(one.servable, one.version) for one in found}
    models = {one.model for one in found}
    for row in _index(session):
        if row["name"] not in models and (row["name"], row.get("version", "")) not in known:
            found.append(
                Method(
                    row["name"],
                    "",
                    row.get("version", ""),
                    row.get("state", ""),
                    row.get("reason", ""),
                    typed=False,
                )
            )
    return found


def _native_method(servable: str, version: str, one: Mapping[str, Any], row: Mapping[str, Any]) -> Method:
    shared = {
        tensor["name"]
        for tensor in row.get("inputs", ())
        if row.get("rows") and tensor["datatype"] != BYTES and tensor["shape"][:1] != [-1]
    }
    example = one.get("example")
    return Method(
        servable,
        one["name"],
        version,
        row.get("state", READY),
        row.get("reason", ""),
        tuple(replace(native_type(tensor), shared=tensor["name"] in shared) for tensor in one["inputs"]),
        tuple(native_type(tensor) for tensor in one["outputs"]),
        bool(row.get("rows")),
        description=one.get("description", ""),
        example=example["instances"][0] if example else None,
    )


# --- The Open Inference Protocol ---


def _index(session: Session) -> list[dict[str, Any]]:
    reply = session.ask(WireRequest("/v2/repository/index", b"{}", {"content-type": "application/json"}))
    rows = json.loads(reply.body) if reply.ok else []
    return [row for row in rows if isinstance(row, dict)]


def _or_untyped(session: Session, row: Mapping[str, Any]) -> Method:
    """A model of the index with its types, as far as the server tells them."""
    name, version, state = str(row["name"]), str(row.get("version", "")), str(row.get("state", READY))
    for asked in dict.fromkeys((version, "")):  # not every server has paths with versions
        try:
            return replace(_rest_model(session, name, asked), version=version, state=state)
        except CommandError as error:
            if error.exit_code != REFUSED:
                raise
    return Method(name, "", version, state, str(row.get("reason", "")), typed=False)


def _rest_model(session: Session, name: str, version: str) -> Method:
    path = f"/v2/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
    reply = _get(session, path)
    document = _document(reply)
    if not reply.ok:
        raise refused(Method(name), reply, str(document.get("error", "")))
    config = _document(_get(session, f"{path}/config"))
    return _oip_method(name, document, config.get("max_batch_size"))


def _oip_method(name: str, document: Mapping[str, Any], most: int | None) -> Method:
    """A model of a server of the Open Inference Protocol.

    Args:
        name: Its name.
        document: Its metadata.
        most: `max_batch_size` of its configuration; None where the server has none, and a -1 in front of every shape
            stands for rows.
    """
    tensors = [*document.get("inputs", ()), *document.get("outputs", ())]
    shapes = [list(tensor["shape"]) for tensor in tensors]
    rows = most > 0 if most is not None else bool(shapes) and all(shape[:1] == [-1] for shape in shapes)
    versions = document.get("versions") or [""]
    return Method(
        name,
        version=str(versions[-1]),
        inputs=tuple(oip_type(tensor, rows) for tensor in document.get("inputs", ())),
        outputs=tuple(oip_type(tensor, rows) for tensor in document.get("outputs", ())),
        rows=rows,
        typed=bool(document.get("inputs")),
    )


def _grpc_methods(session: GrpcSession) -> Iterator[Method]:
    reply = session.ask(WireRequest(f"{SERVICE}/RepositoryIndex"))
    if not reply.ok:
        raise refused(Method("the list of models"), reply, reply.details)
    models = open_inference_pb2.RepositoryIndexResponse.FromString(reply.body).models
    names = {one.name for one in models}
    for one in models:
        # Of a servable with several methods, each is a model of its own.
        if any(other.startswith(f"{one.name}.") for other in names):
            continue
        try:
            described = _grpc_model(session, one.name, one.version)
        except CommandError as error:
            if error.exit_code != REFUSED:
                raise
            described = Method(one.name, typed=False)
        yield replace(described, version=one.version, state=one.state or READY, reason=one.reason)


def _grpc_model(session: GrpcSession, name: str, version: str) -> Method:
    asked = open_inference_pb2.ModelMetadataRequest(name=name, version=version).SerializeToString()
    reply = session.ask(WireRequest(f"{SERVICE}/ModelMetadata", asked))
    if not reply.ok:
        raise refused(Method(name), reply, reply.details)
    said = open_inference_pb2.ModelMetadataResponse.FromString(reply.body)
    reply = session.ask(WireRequest(f"{SERVICE}/ModelConfig", asked))
    most = None
    if reply.ok:
        most = open_inference_pb2.ModelConfigResponse.FromString(reply.body).config.max_batch_size
    document = {
        "versions": list(said.versions),
        "inputs": [{"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in said.inputs],
        "outputs": [{"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in said.outputs],
    }
    return _oip_method(name, document, most)


def _native_over_grpc(session: GrpcSession, name: str, version: str) -> Method:
    """A method of a server of ours that is asked over gRPC.

    The list says the names of methods only where a servable has several: the method of another stays unnamed, unless
    the user has named it.
    """
    reply = session.ask(WireRequest(f"{SERVICE}/RepositoryIndex"))
    if not reply.ok:
        servable, _, method = name.rpartition(".")
        return Method(servable or name, method if servable else "", version, typed=False)
    names = {one.name for one in open_inference_pb2.RepositoryIndexResponse.FromString(reply.body).models}
    servables = {one for one in names if not any(one.startswith(f"{other}.") for other in names)}
    owner = next((one for one in servables if name == one or name.startswith(f"{one}.")), None)
    methods = sorted(one for one in names - servables if owner and one.startswith(f"{owner}."))
    if owner is None:
        raise _not_served(name, version, sorted(servables))
    if owner == name and methods:
        raise _ambiguous(name, methods)
    described = _grpc_model(session, name, version)
    return replace(described, servable=owner, method=name[len(owner) + 1 :], version=version)


def _not_served(name: str, version: str, there: Sequence[str]) -> CommandError:
    what = f"'{name}'" + (f" version {version}" if version else "")
    return CommandError(
        f"The server does not serve {what}; it serves {', '.join(there) or 'nothing'}",
        "`mindspore-serving models list` says more.",
        REFUSED,
    )


def _ambiguous(name: str, methods: Sequence[str]) -> CommandError:
    return CommandError(
        f"Servable '{name}' has several methods: {', '.join(methods)}", f"Name one: {methods[0]}", REFUSED
    )


# --- TensorFlow Serving ---


def _v1_methods(session: RestSession, name: str, version: str) -> list[Method]:
    path = f"/v1/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
    reply = _get(session, f"{path}/metadata")
    document = _document(reply)
    if not reply.ok:
        status = _get(session, path)
        if not status.ok:
            raise refused(Method(name), status, str(_document(status).get("error", "")))
        return [Method(name, version=version, typed=False)]  # KServe v1 has no metadata
    signatures = document.get("metadata", {}).get("signature_def", {}).get("signature_def", {})
    signature: dict[str, Any] = signatures.get("serving_default") or next(iter(signatures.values()), {})
    return [
        Method(
            name,
            version=str(document.get("model_spec", {}).get("version", "")),
            inputs=tuple(v1_type(*item) for item in signature.get("inputs", {}).items()),
            outputs=tuple(v1_type(*item) for item in signature.get("outputs", {}).items()),
            rows=True,
            typed=bool(signature),
        )
    ]


def _get(session: Session, path: str) -> WireReply:
    return session.ask(WireRequest(path, verb="GET"))


def _document(reply: WireReply) -> dict[str, Any]:
    """The object of a reply; empty where it is none."""
    try:
        document = json.loads(reply.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
